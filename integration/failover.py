#!/usr/bin/env python3
"""Failovers and switchovers, timed; see `integration/failover`."""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from launcher import tidegate  # noqa: E402
from launcher.client import Client, SqlError  # noqa: E402
from launcher.ports import take_port  # noqa: E402

GOAL_S = 3.0
IDLE_SESSIONS = 8
IDLE_S = 1.5  # a session keeps its connection for a second after some statements, for questions about them
PATIENCE_S = 60


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True, type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--switchovers", type=int, default=10)
    parser.add_argument("--threads", type=int, default=8)
    given = parser.parse_args()
    servers = json.loads(Path(os.environ["TIDEGATE_SERVERS"]).read_text())
    cluster, folder = servers["clusters"]["main"], Path(servers["dir"])
    way_in = folder / "clients.sock"
    with Client(cluster["servers"][0]["socket"]) as root:
        root.query("CREATE TABLE test.acknowledged (id INT PRIMARY KEY AUTO_INCREMENT, round INT)")
    console_port = take_port()
    addresses = [f"{server['host']}:{server['port']}" for server in cluster["servers"]]
    with tidegate.running(given.binary, cluster, folder,
                          rules_of=lambda port, http: tidegate.plain_rules(addresses, port, http, way_in, console_port)) as proxy:
        faults = _failovers(cluster, servers["control"], way_in, given.rounds)
        faults += _switchovers(servers, cluster, proxy.port, console_port, given)
    for fault in faults:
        print(f"failover: {fault}", file=sys.stderr)
    return 1 if faults else 0


def _failovers(cluster: dict, control: str, way_in: Path, rounds: int) -> list:
    times, faults = [], []
    for number in range(rounds):
        primary = _primary(cluster)
        sessions = [Client(way_in, user="u_empty", database="test") for _ in range(IDLE_SESSIONS)]
        for session in sessions:
            session.query("SET @a = 1")
        time.sleep(IDLE_S)
        ended = []

        def write(session: Client) -> None:
            try:
                session.query(f"INSERT INTO acknowledged (round) VALUES ({number})")
                ended.append(time.monotonic())
            except (SqlError, OSError) as error:
                faults.append(f"round {number + 1}: an idle session's write: {error}")

        threads = [threading.Thread(target=write, args=(session,)) for session in sessions]
        start = time.monotonic()
        _tell(control, f"kill {primary['name']}")
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if ended:
            times.append(min(ended) - start)
        for session in sessions:
            session.__exit__()
        _tell(control, f"start {primary['name']}")
        _wait_whole(cluster)
        with Client(_primary(cluster)["socket"]) as root:
            rows = int(root.value(f"SELECT COUNT(*) FROM test.acknowledged WHERE round = {number}"))
        if rows != len(ended):
            faults.append(f"round {number + 1}: {len(ended)} writes were acknowledged, {rows} are there")
    shown = ", ".join(f"{each:.2f}" for each in times)
    median = statistics.median(times) if times else float("inf")
    print(f"{cluster['dialect']} {cluster['version']}: kill -9 to the first write, {len(times)} rounds: median {median:.2f} s ({shown}); "
          f"{rounds * IDLE_SESSIONS} idle sessions, {len(faults)} errors")
    if median > GOAL_S:
        faults.append(f"the median {median:.2f} s is above {GOAL_S} s")
    return faults


def _switchovers(servers: dict, cluster: dict, port: int, console_port: int, given) -> list:
    if not given.switchovers:
        return []
    common = ["sysbench", "oltp_read_write", "--mysql-host=127.0.0.1", f"--mysql-port={port}", "--mysql-user=app",
              "--mysql-password=app-pw", "--mysql-db=test", "--tables=4", "--table-size=20000", f"--threads={given.threads}"]
    subprocess.run([*common, "prepare"], check=True, capture_output=True, timeout=600)
    _wait_whole(cluster)
    # Deadlocks are the workload's own; anything else ends sysbench.
    load = subprocess.Popen([*common, "--time=0", "--mysql-ignore-errors=1213", "--report-interval=1", "run"],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    times, faults = [], []
    user, password = tidegate.CONSOLE_USER
    client = servers["clients"].get(cluster["dialect"]) or next(iter(servers["clients"].values()))
    time.sleep(2)
    for number in range(given.switchovers):
        at = _primary(cluster)
        to = next(server for server in cluster["servers"][number % 3:] + cluster["servers"] if server["name"] != at["name"])
        start = time.monotonic()
        done = subprocess.run([client, "-h127.0.0.1", f"-P{console_port}", f"-u{user}", f"-p{password}",
                               "-e", f"SWITCHOVER TO '{to['host']}:{to['port']}'"], capture_output=True, text=True, timeout=60)
        times.append(time.monotonic() - start)
        if done.returncode:
            faults.append(f"switchover {number + 1}: {done.stderr.strip()}")
        elif _primary(cluster)["name"] != to["name"]:
            faults.append(f"switchover {number + 1}: the primary is another one")
        if load.poll() is not None:
            faults.append(f"switchover {number + 1}: sysbench has ended")
            break
        time.sleep(1)
        _wait_whole(cluster)
    load.terminate()
    said = load.communicate(timeout=60)[0]
    fatal = [line for line in said.splitlines() if "FATAL" in line or "error" in line.lower() and "err/s" not in line]
    faults += [f"sysbench: {line}" for line in fatal[:5]]
    print(f"{cluster['dialect']} {cluster['version']}: {len(times)} switchovers under sysbench with {given.threads} threads: "
          f"median {statistics.median(times):.2f} s, longest {max(times):.2f} s; {len(fatal)} errors")
    return faults


def _primary(cluster: dict) -> dict:
    writable = []
    for server in cluster["servers"]:
        with Client(server["socket"]) as root:
            if root.value("SELECT @@global.read_only") == "0":
                writable.append(server)
    if len(writable) != 1:
        raise SystemExit(f"failover: {len(writable)} writable servers: {[server['name'] for server in writable]}")
    return writable[0]


def _wait_whole(cluster: dict) -> None:
    """Until one server is writable and the others follow it."""
    deadline = time.monotonic() + PATIENCE_S
    while not _is_whole(cluster):
        if time.monotonic() > deadline:
            raise SystemExit("failover: the cluster does not become whole again")
        time.sleep(0.05)


def _is_whole(cluster: dict) -> bool:
    status, port, io, sql = ("SHOW REPLICA STATUS", "Source_Port", "Replica_IO_Running", "Replica_SQL_Running") \
        if cluster["dialect"] == "mysql" else ("SHOW SLAVE STATUS", "Master_Port", "Slave_IO_Running", "Slave_SQL_Running")
    writable, followed = [], []
    for server in cluster["servers"]:
        with Client(server["socket"]) as root:
            if root.value("SELECT @@global.read_only") == "0":
                writable.append(str(server["port"]))
                continue
            rows = root.query(status)
            followed += [row[port] for row in rows if row[io] == row[sql] == "Yes"]
    return len(writable) == 1 and followed == writable * 2


def _tell(control: str, line: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(90)
        connection.connect(control)
        connection.sendall(line.encode() + b"\n")
        answer = json.loads(connection.makefile().readline())
    if not answer["ok"]:
        raise SystemExit(f"failover: {line}: {answer['error']}")


if __name__ == "__main__":
    sys.exit(main())
