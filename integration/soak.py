#!/usr/bin/env python3
"""sysbench through Tidegate, with the servers' own counters before and after; see `integration/soak`."""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from launcher import fleet, tidegate  # noqa: E402
from launcher.cache import LauncherError  # noqa: E402
from launcher.client import Client  # noqa: E402

WEIGHTS = (1, 1, 3)          # of the primary (no matter), and of the two replicas
SHARE_TOLERANCE = 0.05       # of the reads, around the share that the weights give
COUNTERS = ("Com_select", "Com_insert", "Com_update", "Com_delete", "Com_begin", "Com_stmt_execute")
RUNS = [(script, mode) for script in ("oltp_read_write", "oltp_read_only") for mode in ("disable", "auto")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True, type=Path)
    parser.add_argument("--time", type=int, default=60)
    parser.add_argument("--threads", type=int, default=32)
    parser.add_argument("--rows", type=int, default=20_000, help="in each of 4 tables; few rows make deadlocks")
    given = parser.parse_args()
    servers = json.loads(Path(os.environ["TIDEGATE_SERVERS"]).read_text())
    cluster = servers["clusters"]["main"]
    _sysbench("oltp_read_write", cluster["servers"][0]["port"], given.rows, "--threads=2", "prepare")
    _catch_up(cluster)
    faults = []
    with tidegate.running(given.binary, cluster, Path(servers["dir"]), weights=WEIGHTS) as proxy:
        for script, mode in RUNS:
            faults += _run(cluster, proxy.port, script, mode, given, transactions=True)
        # The same reads outside transactions: these are what the replicas share by weight.
        for mode in ("disable", "auto"):
            faults += _run(cluster, proxy.port, "oltp_read_only", mode, given, transactions=False)
    for fault in faults:
        print(f"soak: {fault}", file=sys.stderr)
    print(f"{len(RUNS) + 2 - len(faults)} passed, {len(faults)} failed")
    return 1 if faults else 0


def _run(cluster: dict, port: int, script: str, mode: str, given, transactions: bool) -> list:
    name = f"{script} {'text' if mode == 'disable' else 'prepared'}{'' if transactions else ', no transactions'}"
    _catch_up(cluster)
    before = [_counters(server) for server in cluster["servers"]]
    deadlocks = _deadlocks(cluster)
    said = _sysbench(script, port, given.rows, f"--threads={given.threads}", f"--time={given.time}", f"--db-ps-mode={mode}",
                     *([] if transactions else ["--skip-trx=on"]), "run")
    _catch_up(cluster)
    after = [_counters(server) for server in cluster["servers"]]
    moved = [{key: a[key] - b[key] for key in COUNTERS} for a, b in zip(after, before)]
    # sysbench goes on only after deadlocks and lock waits, which 32 clients on few rows have without any proxy, too.
    errors, deadlocks = int(_number(said, r"ignored errors:\s+(\d+)")), _deadlocks(cluster) - deadlocks
    queries = int(_number(said, r"queries:\s+(\d+)"))
    print(f"{name}: {queries} queries, {queries / given.time:.0f}/s, errors {errors}, "
          f"of which deadlocks by the primary's own count {deadlocks}")
    for server, counts in zip(cluster["servers"], moved):
        print(f"    {server['name']:8} {server['role']:8} " + ", ".join(f"{key[4:]} {counts[key]}" for key in COUNTERS))
    faults = [f"{name}: {errors} errors, {deadlocks} deadlocks"] if errors > deadlocks else []
    reads = [max(counts["Com_select"], counts["Com_stmt_execute"]) for counts in moved[1:]]
    if transactions and sum(reads) > queries * 0.01:
        faults.append(f"{name}: {sum(reads)} reads of read-write transactions at replicas")
    if not transactions:
        share, wanted = reads[1] / max(1, sum(reads)), WEIGHTS[2] / (WEIGHTS[1] + WEIGHTS[2])
        print(f"    share of the second replica {share:.3f}, by weight {wanted:.3f}")
        if abs(share - wanted) > SHARE_TOLERANCE or sum(reads) < queries * 0.99:
            faults.append(f"{name}: reads do not spread by weight: {reads} of {queries}")
    return faults


def _catch_up(cluster: dict) -> None:
    primary, *replicas = cluster["servers"]
    for replica in replicas:
        with Client(replica["socket"]) as client, Client(primary["socket"]) as source:
            fleet.wait_caught_up(source, client, cluster["dialect"], replica["name"])


def _counters(server: dict) -> dict:
    """Statements by kind. On a replica the writes and BEGIN are the applier's; a client's would have failed as read only
    and shown as an error."""
    with Client(server["socket"]) as client:
        rows = client.query("SHOW GLOBAL STATUS WHERE Variable_name LIKE 'Com%'")
    return {row["Variable_name"]: int(row["Value"]) for row in rows if row["Variable_name"] in COUNTERS}


def _deadlocks(cluster: dict) -> int:
    with Client(cluster["servers"][0]["socket"]) as client:
        return fleet.deadlocks(client, cluster["dialect"])


def _sysbench(script: str, port: int, rows: int, *options: str) -> str:
    command = ["sysbench", script, "--mysql-host=127.0.0.1", f"--mysql-port={port}", "--mysql-user=app", "--mysql-password=app-pw",
               "--mysql-db=test", "--tables=4", f"--table-size={rows}", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    if done.returncode:
        raise LauncherError(f"{script} failed: {(done.stderr or done.stdout)[-800:].strip()}")
    return done.stdout


def _number(text: str, pattern: str) -> float:
    found = re.search(pattern, text)
    return float(found.group(1)) if found else 0.0


if __name__ == "__main__":
    sys.exit(main())
