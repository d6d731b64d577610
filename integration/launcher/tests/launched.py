"""A launcher as a child process, and waiting for the end of processes without sleeping."""

import json
import os
import select
import subprocess
import time
from pathlib import Path

from launcher.client import Client, SqlError

SERVERS = Path(__file__).resolve().parents[2] / "servers"
TIMEOUT_S = 60


class Launched:
    def __init__(self, *arguments: str):
        self.process = subprocess.Popen([SERVERS, "up", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"the launcher did not start: {self.process.stderr.read()}")
        self.json = json.loads(line)
        self.watchdog = os.pidfd_open(_only_watchdog(self.process.pid, self.pids()))
        return self

    def __exit__(self, *_):
        if not self.process.stdin.closed:
            self.process.stdin.close()
        self.process.wait(TIMEOUT_S)
        self.process.stdout.close()
        self.process.stderr.close()
        os.close(self.watchdog)

    def servers(self) -> dict:
        return {server["name"]: server for cluster in self.json["clusters"].values() for server in cluster["servers"]}

    def pids(self) -> list:
        return [server["pid"] for server in self.servers().values()]

    def tell(self, line: str) -> dict:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def query(self, name: str, sql: str, timeout_s: float = 30) -> list:
        with Client(self.servers()[name]["socket"], timeout_s) as client:
            return client.query(sql)

    def until(self, name: str, sql: str, expected: list) -> None:
        """Polls: only replication's own pace says when a row, or its table, is there."""
        deadline = time.monotonic() + TIMEOUT_S
        while (found := self._rows_or_error(name, sql)) != expected:
            if time.monotonic() > deadline:
                raise AssertionError(f"{name}: {sql} still gives {found}, not {expected}")

    def _rows_or_error(self, name: str, sql: str):
        try:
            return self.query(name, sql)
        except SqlError as error:
            return error


def wait_gone(pidfds: list) -> None:
    """Until every process has ended."""
    deadline = time.monotonic() + TIMEOUT_S
    left = set(pidfds)
    while left:
        ended, _, _ = select.select(list(left), [], [], max(0, deadline - time.monotonic()))
        if not ended:
            raise AssertionError(f"{len(left)} processes are still there")
        left -= set(ended)


def _only_watchdog(launcher: int, servers: list) -> int:
    children = {int(pid) for pid in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()}
    (watchdog,) = children - set(servers)
    return watchdog
