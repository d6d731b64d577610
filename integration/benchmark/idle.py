"""Clients that are logged in and say nothing.

`held` keeps some in a child process beside a workload; `memory_kib_per_client` measures what they cost the target.
As a program (`python -m benchmark.idle PORT COUNT`) it is that child: it prints `ready`, and ends with its stdin.
"""

import asyncio
import contextlib
import subprocess
import sys
from pathlib import Path

from launcher.cache import LauncherError
from launcher.watchdog import die_with_parent

from . import accounting
from .client import Connection
from .targets import Target
from .workloads import DATABASE, PASSWORD, USER

LOGINS_AT_ONCE = 16
TIMEOUT_S = 180


@contextlib.contextmanager
def held(target: Target, count: int):
    if not count:
        yield
        return
    child = subprocess.Popen([sys.executable, "-B", "-m", "benchmark.idle", str(target.port), str(count)], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parents[1],
                             preexec_fn=die_with_parent)
    try:
        if child.stdout.readline() != "ready\n":
            raise LauncherError(f"{count} idle clients on {target.name}: {child.stderr.read()[-800:].strip()}")
        yield
    finally:
        child.kill()
        child.communicate()


def memory_kib_per_client(target: Target, count: int) -> float:
    before = accounting.pss_kib(target.pid)
    with held(target, count):
        return (accounting.pss_kib(target.pid) - before) / count


async def _hold(port: int, count: int) -> None:
    accounting.raise_open_files()
    gate, connections = asyncio.Semaphore(LOGINS_AT_ONCE), []

    async def log_in():
        async with gate:
            connection = await Connection.open("127.0.0.1", port, USER, PASSWORD, DATABASE)
            await connection.query("SELECT 1")
            connections.append(connection)

    await asyncio.wait_for(asyncio.gather(*(log_in() for _ in range(count))), TIMEOUT_S)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_hold(int(sys.argv[1]), int(sys.argv[2])))
