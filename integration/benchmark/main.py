"""The bench's run, inside `integration/servers run`: prints the report, and each run's numbers as they come on stderr."""

import argparse
import contextlib
import functools
import json
import os
import subprocess
import sys
from pathlib import Path

from launcher import fleet
from launcher.cache import LauncherError
from launcher.client import Client

from . import accounting, idle, targets, workloads
from .report import report

TABLES = workloads.Tables(count=4, rows=100_000)
QUICK_TABLES = workloads.Tables(count=4, rows=20_000)
IDLE_CLIENTS, QUICK_IDLE_CLIENTS = 2000, 500


def main() -> int:
    given = _arguments()
    servers = json.loads(Path(os.environ["TIDEGATE_SERVERS"]).read_text())
    cluster, folder = servers["clusters"]["main"], Path(servers["dir"])
    accounting.raise_open_files()
    tables, idle_clients = (QUICK_TABLES, QUICK_IDLE_CLIENTS) if given.quick else (TABLES, IDLE_CLIENTS)
    seconds, rounds = given.time or (3 if given.quick else 15), given.rounds or (1 if given.quick else 3)
    chosen = [w for w in workloads.workloads(idle_clients) if not given.workloads or w.name in given.workloads.split(",")]
    try:
        _load(cluster, tables)
        with contextlib.ExitStack() as stack:
            measured = [targets.direct(cluster), stack.enter_context(targets.haproxy(cluster, folder, os.cpu_count()))]
            if given.tidegate:
                measured.append(stack.enter_context(targets.proxied(given.tidegate, cluster, folder)))
            measured += [stack.enter_context(targets.proxied(binary, cluster, folder, binary.name)) for binary in given.beside]
            for target in measured:
                _warm(servers, cluster, target)
            memory = {target.name: idle.memory_kib_per_client(target, idle_clients) for target in measured if target.pid}
            run = functools.partial(workloads.run, tables=tables, seconds=seconds, apart=not given.together,
                                    server_pids=[server["pid"] for server in cluster["servers"]])
            results, failures = _measure(chosen, measured, rounds, run)
    except LauncherError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(f"{cluster['dialect']} {cluster['version']}, {len(cluster['servers'])} servers, {os.cpu_count()} cores, {rounds} × {seconds} s, "
          f"{tables.count} × {tables.rows} rows, {idle_clients} idle clients\n")
    print(report(results, memory, failures))
    return 1 if failures else 0


def _arguments():
    parser = argparse.ArgumentParser(prog="integration/bench")
    parser.add_argument("--quick", action="store_true", help="one short round, smaller tables, 500 idle clients")
    parser.add_argument("--tidegate", type=Path, metavar="BINARY")
    parser.add_argument("--beside", type=Path, metavar="BINARY", action="append", default=[],
                        help="another build of Tidegate, measured under its file's name; may be given more than once")
    parser.add_argument("--time", type=int, help="seconds per run")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--workloads", default="", help="only these, separated by commas")
    parser.add_argument("--together", action="store_true", help="the clients in the session of the servers and proxies")
    return parser.parse_args()


def _load(cluster: dict, tables: workloads.Tables) -> None:
    primary, *replicas = cluster["servers"]
    workloads.prepare(primary["port"], tables)
    for replica in replicas:
        with Client(primary["socket"]) as source, Client(replica["socket"], 120) as client:
            fleet.wait_caught_up(source, client, cluster["dialect"], replica["name"])


def _warm(servers: dict, cluster: dict, target: targets.Target) -> None:
    """One log-in over TLS or RSA, so that caching_sha2_password takes its fast path in the measured runs."""
    key = ["--get-server-public-key"] if cluster["dialect"] == "mysql" else []
    done = subprocess.run([servers["clients"][cluster["dialect"]], "--no-defaults", "--host=127.0.0.1", f"--port={target.port}",
                           f"--user={workloads.USER}", *key, "--execute=SELECT 1"], capture_output=True, text=True, timeout=30,
                          env={**os.environ, "MYSQL_PWD": workloads.PASSWORD})
    if done.returncode:
        raise LauncherError(f"cannot log in through {target.name}: {done.stderr.strip()}")


def _measure(chosen: list, measured: list, rounds: int, run) -> tuple:
    """(results, failures); the order of the targets turns with each round, so that none is always first."""
    results, failures = [], []
    for number in range(rounds):
        for workload in chosen:
            for target in measured[number % len(measured):] + measured[:number % len(measured)]:
                try:
                    with idle.held(target, workload.idle_clients):
                        result = run(workload, target)
                except LauncherError as error:
                    failures.append(str(error))
                    print(f"bench: {error}", file=sys.stderr)
                    continue
                results.append(result)
                print(json.dumps(result), file=sys.stderr, flush=True)
    return results, failures


if __name__ == "__main__":
    sys.exit(main())
