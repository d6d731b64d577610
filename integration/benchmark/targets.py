"""What is measured: a port of 127.0.0.1 and the process whose CPU and memory count (none for the server itself)."""

import contextlib
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from launcher import binaries, tidegate
from launcher.cache import LauncherError
from launcher.ports import take_port
from launcher.watchdog import die_with_parent

START_TIMEOUT_S = 20


@dataclass(frozen=True)
class Target:
    name: str
    port: int
    pid: int | None


def direct(cluster: dict) -> Target:
    return Target("direct", cluster["servers"][0]["port"], None)


@contextlib.contextmanager
def haproxy(cluster: dict, folder: Path, threads: int):
    """HAProxy in TCP mode, to the primary alone: it cannot tell reads from writes."""
    program = shutil.which("haproxy", path=binaries.SEARCH_PATH)
    if not program:
        raise LauncherError("haproxy is missing: run `integration/servers install tools`")
    port = take_port()
    configuration, log = folder / "haproxy.cfg", folder / "haproxy.log"
    configuration.write_text(f"""global
    maxconn 6000
    nbthread {threads}
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend clients
    bind 127.0.0.1:{port}
    default_backend primary
backend primary
    server s1 127.0.0.1:{cluster["servers"][0]["port"]}
""")
    with open(log, "ab") as output:
        process = subprocess.Popen([program, "-db", "-f", str(configuration)], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                   preexec_fn=die_with_parent)
    try:
        _wait_open(port, process, log)
        yield Target("haproxy", port, process.pid)
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def proxied(binary: Path, cluster: dict, folder: Path, name: str = "tidegate"):
    # HAProxy carries what the client sends, and sysbench sends plain text: so does Tidegate here.
    with tidegate.running(binary, cluster, folder, name, server_tls="off") as proxy:
        yield Target(name, proxy.port, proxy.process.pid)


def _wait_open(port: int, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise LauncherError(f"haproxy does not answer: {log.read_text(errors='replace')[-1000:]}") from None
        time.sleep(0.05)
