"""What sharding costs, inside `integration/servers run`: statements of one shard beside statements of the home's tables through the same process,
plans kept under load, a reload under load, and reads of four shards whose rows come in order. Prints Markdown.

The home is a server, the four shards are databases on two others. Tables of sysbench are made and filled through Tidegate."""

import argparse
import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from launcher import tidegate
from launcher.cache import LauncherError
from launcher.client import Client
from launcher.watchdog import die_with_parent

from . import accounting, workloads
from .targets import Target

SHARDS = 4
TABLES = workloads.Tables(count=4, rows=50_000)
THREADS = 16
#: Who asks: its rows are in the home's tables, or in one shard each.
DATABASES = {"home": "plain", "one shard": "sharded"}
#: A scan's rows are numbered on one server before they go to their shards: as many as one statement of that server makes.
SEED_ROWS = 1000


def main() -> int:
    given = _arguments()
    servers = json.loads(Path(os.environ["TIDEGATE_SERVERS"]).read_text())
    clusters, folder = servers["clusters"], Path(servers["dir"])
    try:
        _prepare(clusters)
        with tidegate.running(given.tidegate, clusters["main"], folder, rules_of=lambda *ports: _rules(clusters, *ports)) as proxy:
            # Each row with its id, by which it has its shard.
            for database in DATABASES.values():
                _sysbench(proxy, database, ["oltp_read_write", "--auto_inc=off", "--threads=1", "prepare"])
            _cost(given, proxy, clusters)
            _reload(given, proxy)
            _scan(given, proxy, servers)
    except LauncherError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def _arguments():
    parser = argparse.ArgumentParser(prog="integration/bench --shards")
    parser.add_argument("--tidegate", type=Path, required=True, metavar="BINARY")
    parser.add_argument("--time", type=int, default=8, help="seconds per run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=10_000_000, help="of the table that is read in order")
    return parser.parse_args()


def _shards(clusters: dict):
    """Each shard's cluster and database."""
    names = [name for name in clusters if name != "main"]
    for number in range(SHARDS):
        yield names[number % len(names)], f"shard_{number}"


def _prepare(clusters: dict) -> None:
    """Databases; the account that Tidegate keeps its journal with; and the rights of the client's account."""
    for name, cluster in clusters.items():
        databases = ["plain", "sharded"] if name == "main" else [database for at, database in _shards(clusters) if at == name]
        with Client(cluster["servers"][0]["socket"]) as client:
            for database in databases:
                client.query(f"CREATE DATABASE {database}; GRANT ALL ON {database}.* TO {workloads.USER}@'%'")
            if name == "main":
                client.query("GRANT CREATE, SELECT, INSERT, UPDATE, DELETE ON tidegate.* TO tidegate@'%'")


def _rules(clusters: dict, port: int, http_port: int, more: str = "") -> str:
    listed = "\n".join(f"  {name}: {{servers: ['{cluster['servers'][0]['host']}:{cluster['servers'][0]['port']}'], tls: {{mode: off}}}}"
                       for name, cluster in clusters.items())
    hashed = "".join(f"\n          s{number}: {{cluster: {cluster}, schema: {database}, slots: {number * 256}-{number * 256 + 255}}}"
                     for number, (cluster, database) in enumerate(_shards(clusters)))
    remainders = "".join(f"\n          s{number}: {{cluster: {cluster}, schema: {database}, slots: {number}}}"
                         for number, (cluster, database) in enumerate(_shards(clusters)))
    tables = "".join(f"\n          sbtest{number}: id" for number in range(1, TABLES.count + 1))
    return f"""version: 1
listen: 127.0.0.1:{port}
admin: {{http: 127.0.0.1:{http_port}}}
monitor: {{user: tidegate, password: monitor-pw}}
default_cluster: main
clusters:
{listed}
databases:
  sharded:
    home: {{cluster: main, schema: sharded}}
    keyspaces:
      by_hash:
        method: hash
        key_type: integer
        slots: 1024
        shards:{hashed}
        tables:{tables}
      by_remainder:
        method: mod
        key_type: integer
        slots: {SHARDS}
        shards:{remainders}
        tables:
          big: id{more}
"""


def _sysbench(proxy, database: str, arguments: list, seconds: int = 600) -> str:
    command = workloads.sysbench(arguments[0], proxy.port, TABLES, database)
    done = subprocess.run([*command, *arguments[1:]], capture_output=True, text=True, timeout=seconds + 120)
    if done.returncode:
        raise LauncherError(f"sysbench {' '.join(arguments)} in {database} failed: {(done.stderr or done.stdout)[-800:]}")
    return done.stdout


def _cost(given, proxy, clusters: dict) -> None:
    """CPU of Tidegate per statement, home and one shard in turn, and how many plans were made meanwhile."""
    target = Target("tidegate", proxy.port, proxy.process.pid)
    pids = [server["pid"] for cluster in clusters.values() for server in cluster["servers"]]
    options = {"point select, text": workloads.TEXT, "point select, prepared": workloads.PREPARED}
    print("| workload | asked of | CPU µs/query | queries/s | noise | CPU ÷ home |\n|---|---|--:|--:|--:|--:|")
    before = _plans(proxy)
    for name, option in options.items():
        runs = {asked: [] for asked in DATABASES}
        for turn in range(given.rounds):
            for asked, database in list(DATABASES.items())[:: -1 if turn % 2 else 1]:
                workload = workloads.Workload(name, "oltp_point_select", THREADS, (option,))
                runs[asked].append(workloads.run(workload, target, TABLES, given.time, pids, apart=True, database=database))
        cost = {asked: statistics.median(run["cpu_us"] for run in each) for asked, each in runs.items()}
        for asked, each in runs.items():
            print(f"| {name} | {asked} | {cost[asked]:.1f} | {statistics.median(run['qps'] for run in each):.0f} "
                  f"| {max(run['noise'] for run in each):.2f} | {cost[asked] / cost['home']:.2f} |", flush=True)
    kept, made = (after - earlier for after, earlier in zip(_plans(proxy), before))
    print(f"\nPlans: {kept} kept, {made} made: {100 * kept / max(kept + made, 1):.4f} % were kept.\n", flush=True)


def _plans(proxy) -> tuple:
    """Plans that were kept, and plans that were made."""
    text = _metrics(proxy)
    return tuple(int(re.search(rf'^tidegate_sharded_plans_total{{plan="{plan}"}} (\d+)', text, re.M)[1]) for plan in ("kept", "made"))


def _metrics(proxy) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{proxy.http_port}/metrics", timeout=10) as answer:
        return answer.read().decode()


def _reload(given, proxy) -> None:
    """A keyspace with a table comes while sysbench runs; any error ends sysbench, and so this."""
    more = """
      later:
        method: mod
        key_type: integer
        slots: 1
        shards:
          only: {cluster: east, schema: shard_0, slots: 0}
        tables:
          latecomers: id"""
    command = workloads.sysbench("oltp_point_select", proxy.port, TABLES, DATABASES["one shard"])
    running = subprocess.Popen([*command, f"--threads={THREADS}", f"--time={given.time}", workloads.TEXT,
                                "--report-interval=1", "run"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
    reloaded, queries = False, 0
    for line in running.stdout:
        if line.startswith("[ ") and not reloaded:  # it has asked for a second
            text = proxy.config.read_text()
            proxy.config.write_text(text.rstrip("\n") + more + "\n")
            proxy.process.send_signal(signal.SIGHUP)
            reloaded = True
        if match := re.search(r"queries:\s+(\d+)", line):
            queries = int(match[1])
    said = running.stderr.read()
    if running.wait():
        raise LauncherError(f"sysbench failed beside a reload: {said[-800:]}")
    done = subprocess.run([*_client(proxy, "sharded"), "--execute=EXPLAIN TIDEGATE SELECT * FROM latecomers WHERE id = 1"], capture_output=True, text=True,
                          timeout=30, env={**os.environ, "MYSQL_PWD": workloads.PASSWORD})
    if "later" not in done.stdout and "only" not in done.stdout:
        raise LauncherError(f"the reload has brought no table: {done.stdout}{done.stderr}\n{proxy.log.read_text()[-800:]}")
    print(f"Reload that adds a keyspace with a table, in {queries} point selects: no error.\n", flush=True)


def _client(proxy, database: str, server: dict | None = None) -> list:
    servers = json.loads(Path(os.environ["TIDEGATE_SERVERS"]).read_text())
    client = next(servers["clients"][dialect] for dialect in ("mysql", "mariadb") if servers["clients"].get(dialect))
    port = server["port"] if server else proxy.port
    return [client, "--no-defaults", "--host=127.0.0.1", f"--port={port}", f"--user={workloads.USER}", "--quick", "--batch", "--skip-column-names", database]


def _scan(given, proxy, servers: dict) -> None:
    """Rows of a large table in order, and its first ten, through Tidegate and of each shard alone."""
    shards = list(_shards(servers["clusters"]))
    at = {number: servers["clusters"][cluster]["servers"][0] for number, (cluster, _) in enumerate(shards)}
    for number, (_, database) in enumerate(shards):
        _fill(at[number], database, number, given.rows // SHARDS)
    print(f"| {given.rows} rows in {SHARDS} shards | the slowest shard alone, s | all four, one after the other, s | Tidegate, s | ÷ slowest | ÷ all four |\n"
          "|---|--:|--:|--:|--:|--:|", flush=True)
    peak = _peak_mib(proxy)
    for what, sql, times in (("all, ORDER BY its key", "SELECT id, v FROM big ORDER BY id", 1),
                             ("all, ORDER BY an indexed column", "SELECT id, v FROM big ORDER BY v, id", 1),
                             ("LIMIT 10 of the same", "SELECT id, v FROM big ORDER BY v, id LIMIT 10", 200)):
        alone = [_timed(_client(proxy, database, at[number]), sql, times) for number, (_, database) in enumerate(shards)]
        through = _timed(_client(proxy, "sharded"), sql, times)
        print(f"| {what} | {max(alone) / times:.4f} | {sum(alone) / times:.4f} | {through / times:.4f} | {through / max(alone):.2f} | {through / sum(alone):.2f} |", flush=True)
    _in_order(_client(proxy, "sharded"), "SELECT id, v FROM big ORDER BY id", given.rows)
    print(f"\nTidegate's memory at its highest: {peak:.0f} MiB before these, {_peak_mib(proxy):.0f} MiB after them.")


def _fill(server: dict, database: str, number: int, rows: int) -> None:
    """`rows` rows whose ids have this remainder. Their other column has them in no order that the ids have."""
    with Client(server["socket"], 600) as client:
        client.query(f"USE {database}; CREATE TABLE big (id BIGINT PRIMARY KEY, v BIGINT NOT NULL, pad CHAR(40) NOT NULL DEFAULT 'tide', KEY (v, id)); "
                     "SET unique_checks = 0")
        values = ",".join(f"({row * SHARDS + number}, 0)" for row in range(min(SEED_ROWS, rows)))
        client.query(f"INSERT INTO big (id, v) VALUES {values}")
        have = min(SEED_ROWS, rows)
        while have < rows:
            more = min(have, rows - have)
            client.query(f"INSERT INTO big (id, v) SELECT id + {have * SHARDS}, 0 FROM big WHERE id < {more * SHARDS + number}")
            have += more
        client.query("UPDATE big SET v = id * 2654435761 % 4294967296; ANALYZE TABLE big")


def _timed(client: list, sql: str, times: int) -> float:
    """Seconds for the statement, that many times; the rows go nowhere."""
    began = time.monotonic()
    with open(os.devnull, "wb") as nowhere:
        done = subprocess.run(client, input=f"{sql};\n" * times, stdout=nowhere, stderr=subprocess.PIPE, text=True, timeout=900,
                              env={**os.environ, "MYSQL_PWD": workloads.PASSWORD})
    if done.returncode:
        raise LauncherError(f"{sql} failed: {done.stderr[-800:]}")
    return time.monotonic() - began


def _in_order(client: list, sql: str, rows: int) -> None:
    """Every id once, and in order."""
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen([*client, f"--execute={sql}"], stdout=subprocess.PIPE, env={**os.environ, "MYSQL_PWD": workloads.PASSWORD}))
        wanted = 0
        for line in process.stdout:
            if int(line.split(b"\t", 1)[0]) != wanted:
                process.kill()
                raise LauncherError(f"{wanted} was due: {line!r}")
            wanted += 1
    if wanted != rows:
        raise LauncherError(f"{wanted} rows of {rows}")


def _peak_mib(proxy) -> float:
    status = Path(f"/proc/{proxy.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


if __name__ == "__main__":
    accounting.raise_open_files()
    sys.exit(main())
