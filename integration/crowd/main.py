"""Starts the crowd before Tidegate, watches, and judges; see `integration/many`."""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from benchmark import accounting
from launcher import fleet, install, tidegate
from launcher.cache import LauncherError
from launcher.client import Client
from launcher.watchdog import die_with_parent

from .watch import Metrics, Watch, console_of, on_server

HERE = Path(__file__).resolve().parents[1]
READY_TIMEOUT_S = 240
END_TIMEOUT_S = 120
SYSBENCH = ("sysbench", "--mysql-host=127.0.0.1", "--mysql-user=app", "--mysql-password=app-pw", "--mysql-db=test", "--tables=4",
            "--table-size=20000")
DRIVERS = ("pymysql", "mysqlconnector")
#: Reasons to keep a server connection that this crowd gives, and what ends each; any other is a fault.
EXPLAINED = {
    "diagnostics": "a warning or an error, about which the client may ask: until its next statement, or a moment later",
    "user lock": "GET_LOCK of a migration: until RELEASE_LOCK",
    "temporary table": "a report's temporary table: until DROP TABLE",
    "user variables": "SET @name: until the value is read back, with the next statement or a moment later",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="integration/many", description="Many clients over few server connections.")
    parser.add_argument("--binary", required=True, type=Path)
    parser.add_argument("--time", type=int, default=60, help="seconds at full strength")
    parser.add_argument("--clients", type=int, default=2000, help="of sysbench and those that say little; the ORM's come on top")
    parser.add_argument("--threads", type=int, default=200, help="of each sysbench: one read-write, one read-only")
    parser.add_argument("--rate", type=int, default=20, help="transactions that each sysbench begins in a second, 0 for as many as it can")
    parser.add_argument("--sessions", type=int, default=50, help="of the ORM with each driver")
    # Three servers, Tidegate and 2,000 clients on one machine, perhaps with others: the default of 5 s would test that machine.
    parser.add_argument("--wait", type=int, default=20, help="seconds that a session may wait for a connection (pool.queue_timeout)")
    parser.add_argument("--pool", type=int, default=20, help="connections to each server")
    given = parser.parse_args()
    # The ORM's come on top: its pools close a connection now and then and open another.
    quiet = given.clients - 2 * given.threads
    if quiet < 0:
        parser.error("--clients are fewer than --threads ask for")
    accounting.raise_open_files()
    description = json.loads(Path(os.environ["TIDEGATE_SERVERS"]).read_text())
    cluster = description["clusters"]["main"]
    _run([*SYSBENCH, f"--mysql-port={cluster['servers'][0]['port']}", "--threads=2", "oltp_read_write", "prepare"])
    _catch_up(cluster)
    with tidegate.running(given.binary, cluster, Path(description["dir"]), console=True, pool=f"{{max: {given.pool}, queue_timeout: {given.wait}s}}",
                          users=(("app", "app-pw"),)) as proxy:
        faults = Crowd(proxy, cluster, given, quiet).judge()
        faults += [line for line in proxy.log.read_text(errors="replace").splitlines() if "panicked" in line]
    print(*(f"FAULT: {fault}" for fault in faults), sep="\n", file=sys.stderr)
    print("passed" if not faults else f"{len(faults)} faults")
    return 1 if faults else 0


class Crowd:
    def __init__(self, proxy: tidegate.Tidegate, cluster: dict, given, quiet: int):
        self._proxy, self._cluster, self._given, self._quiet = proxy, cluster, given, quiet
        self._watch = Watch(proxy, cluster, given.pool)
        self._said = {}                     # child → what it said it did
        self._broken = []                   # children that failed
        self._before = Counter()            # errors by kind that making the tables gave (SQLAlchemy asks whether they exist)

    def judge(self) -> list:
        _run([str(install.python("venv-orm")), "-B", "-m", "crowd.orm", str(self._proxy.port), "create"])
        _catch_up(self._cluster)
        self._before = Metrics(self._proxy).by("tidegate_errors_total", "kind")
        deadlocks = self._deadlocks()
        queries = self._at_work()
        deadlocks = self._deadlocks() - deadlocks
        metrics = self._settled()
        self._report(metrics, queries, deadlocks)
        return [*self._faults_of_connections(metrics), *self._faults_of_errors(metrics, deadlocks), *self._faults_of_pins(metrics)]

    def _at_work(self) -> dict:
        """Everybody at once, for the time given; sysbench's own words."""
        given, python, port = self._given, str(install.python("venv-orm")), str(self._proxy.port)
        with contextlib.ExitStack() as stack:
            children = {"quiet": [sys.executable, "-B", "-m", "crowd.quiet", port, str(self._quiet)]}
            for number, driver in enumerate(DRIVERS):
                children[driver] = [python, "-B", "-m", "crowd.orm", port, driver, str(given.sessions), str(number * given.sessions)]
            started = {name: stack.enter_context(_child(command)) for name, command in children.items()}
            for name, child in started.items():
                if child.stdout.readline() != "ready\n":
                    raise LauncherError(f"{name} did not come in")
            # All are connected; together they begin so much in a second, as people do. As fast as they can they would only show
            # how much longer 20 connections take than the queue's time limit.
            common = [*SYSBENCH, f"--mysql-port={port}", f"--threads={given.threads}", f"--time={given.time}", f"--rate={given.rate}"]
            sysbench = {"read-write": [*common, "oltp_read_write", "run"], "read-only": [*common, "--skip-trx=on", "oltp_read_only", "run"]}
            running = {name: stack.enter_context(_child(command)) for name, command in sysbench.items()}
            self._until_all_are_in()
            with self._watch:
                # A margin at the end: then sysbench's clients leave.
                self._watch_until(time.monotonic() + given.time - 5, running)
            words = {name: self._end(child, name) for name, child in running.items()}
            ends = {name: self._end(child, name).splitlines() for name, child in started.items()}
            self._said = {name: json.loads(end[-1]) for name, end in ends.items() if end}
        return words

    def _end(self, child: subprocess.Popen, name: str) -> str:
        said, _ = child.communicate(timeout=END_TIMEOUT_S)
        if child.returncode:
            self._broken.append(f"{name} ended with {child.returncode}: {said[-300:].strip()}")
        return said

    def _until_all_are_in(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while Metrics(self._proxy).sum("tidegate_clients") < self._given.clients:
            if time.monotonic() > deadline:
                raise LauncherError(f"only {Metrics(self._proxy).sum('tidegate_clients'):.0f} clients came in")
            time.sleep(0.1)

    def _watch_until(self, deadline: float, running: dict) -> None:
        while time.monotonic() < deadline:
            if any(child.poll() is not None for child in running.values()):
                return
            time.sleep(0.1)

    def _settled(self) -> Metrics:
        """When the crowd has gone."""
        deadline = time.monotonic() + 20
        while True:
            metrics = Metrics(self._proxy)
            if time.monotonic() > deadline or not metrics.sum("tidegate_clients") + metrics.sum("tidegate_pool_in_use"):
                return metrics
            time.sleep(0.1)

    def _report(self, metrics: Metrics, words: dict, deadlocks: int) -> None:
        given, watch = self._given, self._watch
        statements = metrics.sum("tidegate_statements_total")
        print(f"{self._cluster['dialect']} {self._cluster['version']}: {watch.clients_least:.0f} clients at the least (sysbench 2 × {given.threads}, "
              f"{' and '.join(DRIVERS)} {given.sessions} each, quiet {self._quiet}), {statements:.0f} statements, of "
              f"these by sysbench {', '.join(f'{name} {_number(said, QUERIES):.0f}' for name, said in words.items())}")
        columns = [metrics.by(f"tidegate_pool_{name}", "server") for name in ("opened_total", "waits_total", "wait_seconds_total")]
        for server in self._cluster["servers"]:
            opened, waits, waited_s = (column.get(f"{server['host']}:{server['port']}", 0) for column in columns)
            print(f"    {server['name']:8} {server['role']:8} connections by its own count: at most {watch.connections[server['name']]} of {given.pool}; "
                  f"opened {opened:.0f}; waits {waits:.0f}, on average {1000 * waited_s / max(waits, 1):.1f} ms")
        print(f"    errors told to clients: {_counts(metrics.by('tidegate_errors_total', 'kind'))}; retries {metrics.sum('tidegate_retries_total'):.0f}; "
              f"deadlocks and lock waits by the primary's count {deadlocks}; sysbench ignored {self._ignored(words)}")
        for name, said in self._said.items():
            print(f"    {name}: {_counts(said)}")
        with console_of(self._proxy) as console, console.cursor() as cursor:
            cursor.execute("SELECT errors, digest_text FROM digests WHERE errors > 0 ORDER BY errors DESC")
            for errors, digest in cursor.fetchall():
                print(f"    {errors} errors: {digest[:110]}")
        print(f"    server connections taken, on average of {watch.looks} looks: {sum(watch.holders.values()) / max(watch.looks, 1):.1f}; most often by")
        for (state, digest), seen in watch.holders.most_common(8):
            print(f"        {seen / watch.looks:5.1f} {state}: {(digest or '-')[:100]}")
        for reason, times in sorted(metrics.by("tidegate_pins_total", "reason").items()):
            print(f"    pin \"{reason}\": {times:.0f} times in {statements:.0f} statements, at most {watch.pinned[reason]} at once; "
                  f"{EXPLAINED.get(reason, 'NOT EXPLAINED')}")
            for digest, seen in watch.pins.get(reason, Counter()).most_common(3):
                print(f"        {(digest or '-')[:110]} ({seen} × in SHOW PINS)")

    def _faults_of_connections(self, metrics: Metrics) -> list:
        watch, given = self._watch, self._given
        faults = [f"{name}: {most} connections, more than {given.pool}" for name, most in watch.connections.items() if most > given.pool]
        if watch.failure:
            faults.append(f"nobody watched: {watch.failure}")
        if watch.clients_least is None or watch.clients_least < given.clients:
            faults.append(f"{watch.clients_least} clients, fewer than {given.clients}")
        if held := metrics.by("tidegate_pool_in_use", "server"):
            faults.append(f"connections are held when all clients have gone: {_counts(held)}")
        for server in self._cluster["servers"]:
            with Client(server["socket"]) as client:
                if on_server(client, given.pool) > given.pool:
                    faults.append(f"{server['name']} has more than {given.pool} connections at the end")
        return faults

    def _faults_of_errors(self, metrics: Metrics, deadlocks: int) -> list:
        """An error that is not a server's is a fault; of servers' errors there are the deadlocks and the duplicates made on purpose."""
        told = metrics.by("tidegate_errors_total", "kind") - self._before
        # MySQL cannot prepare BEGIN; each thread of sysbench's read-write tries it once.
        unprepared = self._given.threads if self._cluster["dialect"] == "mysql" else 0
        wanted = deadlocks + unprepared + sum(said.get("duplicates", 0) for said in self._said.values())
        faults = [f"{count:.0f} errors of kind {kind}" for kind, count in told.items() if kind != "backend"]
        if told["backend"] > wanted:
            faults.append(f"{told['backend']:.0f} errors of servers, {wanted} were to be expected")
        for cause in ("clients_refused", "logins_failed", "pool_failed"):
            if count := metrics.sum(f"tidegate_{cause}_total"):
                faults.append(f"tidegate_{cause}_total is {count:.0f}")
        return faults + self._broken + [f"{name}: {said['errors']} errors" for name, said in self._said.items() if said["errors"]]

    def _faults_of_pins(self, metrics: Metrics) -> list:
        faults = [f"sessions were pinned by \"{reason}\"" for reason in metrics.by("tidegate_pins_total", "reason") if reason not in EXPLAINED]
        if left := metrics.by("tidegate_pinned_sessions", "reason"):
            faults.append(f"pins are left when all clients have gone: {_counts(left)}")
        with console_of(self._proxy) as console, console.cursor() as cursor:
            for verb in ("PREPARE", "EXECUTE", "DEALLOCATE"):
                if cursor.execute(f"SHOW DIGESTS LIKE '{verb} %'"):
                    faults.append(f"a client sent {verb} as text")
        return faults

    def _ignored(self, words: dict) -> int:
        return sum(int(_number(said, r"ignored errors:\s+(\d+)")) for said in words.values())

    def _deadlocks(self) -> int:
        with Client(self._cluster["servers"][0]["socket"]) as client:
            return fleet.deadlocks(client, self._cluster["dialect"])


QUERIES = r"queries:\s+(\d+)"


@contextlib.contextmanager
def _child(command: list):
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sys.stderr, text=True, cwd=HERE, preexec_fn=die_with_parent)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def _run(command: list) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=HERE)
    if done.returncode:
        raise LauncherError(f"{' '.join(command[-3:])} failed: {(done.stderr or done.stdout)[-800:].strip()}")


def _catch_up(cluster: dict) -> None:
    primary, *replicas = cluster["servers"]
    for replica in replicas:
        with Client(replica["socket"]) as client, Client(primary["socket"]) as source:
            fleet.wait_caught_up(source, client, cluster["dialect"], replica["name"])


def _number(text: str, pattern: str) -> float:
    found = re.search(pattern, text)
    return float(found.group(1)) if found else 0.0


def _counts(of: dict) -> str:
    return ", ".join(f"{name} {count:.0f}" for name, count in of.items()) or "none"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LauncherError as error:
        sys.exit(f"many: {error}")
