"""Tidegate in front of servers that run: writes a rules file, starts the program, waits until it is ready.

Knows the rules file's language and `/readyz`, nothing else of the program. The process dies with its parent.
"""

import contextlib
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from .cache import LauncherError
from .ports import take_port
from .watchdog import die_with_parent

READY_TIMEOUT_S = 30
STOP_TIMEOUT_S = 30
#: The account of the SQL console.
CONSOLE_USER = ("operator", "operator-pw")


@dataclass
class Tidegate:
    binary: Path
    process: subprocess.Popen
    config: Path
    log: Path
    port: int
    http_port: int
    console_port: int | None

    def crash(self) -> None:
        """kill -9; `start_again` undoes it."""
        self.process.kill()
        self.process.wait()

    def start_again(self) -> None:
        """With the same rules, at the same ports."""
        self.process = _spawn(self.binary, self.config, self.log)
        _wait_ready(self)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@contextlib.contextmanager
def running(binary: Path, cluster: dict, folder: Path, name: str = "tidegate", server_tls: str = "preferred", weights: tuple = (),
            console: bool = False, compression: str = "none", pool: str = "{}", users: tuple = (), rules_of=None):
    """`cluster` as in the launcher's JSON; `folder` gets the rules file and the log; `server_tls` is the mode towards the
    servers, `weights` their shares of the reads, all alike by default; `console`: with the SQL console for CONSOLE_USER;
    `compression` is that towards the servers, `pool` as in the rules; `users` are listed there by (name, password), without any the
    servers judge. `rules_of(port, http_port)` gives another rules file than `rules`."""
    console_port = take_port() if console else None
    proxy = _start(binary, folder, name, console_port,
                   rules_of or (lambda port, http_port: rules(cluster, port, http_port, server_tls, weights, console_port, compression, pool, users)))
    try:
        _wait_ready(proxy)
        yield proxy
    finally:
        proxy.stop()


def rules(cluster: dict, port: int, http_port: int, server_tls: str = "preferred", weights: tuple = (),
          console_port: int | None = None, compression: str = "none", pool: str = "{}", users: tuple = ()) -> str:
    shares = weights or (1,) * len(cluster["servers"])
    servers = "\n".join(f"      - {{address: '{server['host']}:{server['port']}', weight: {share}}}"
                        for server, share in zip(cluster["servers"], shares))
    user, password = CONSOLE_USER
    compressed = f"\n    compression: {compression}" if compression != "none" else ""
    console = f"\n  sql: 127.0.0.1:{console_port}\n  users: [{{name: {user}, password: {password}}}]" if console_port else ""
    listed = ", ".join(f"{{name: {name}, password: {password}}}" for name, password in users)
    auth = f"users\nusers: [{listed}]" if users else "passthrough"
    return f"""version: 1
listen: 127.0.0.1:{port}
admin:
  http: 127.0.0.1:{http_port}{console}
auth: {auth}
monitor:
  user: tidegate
  password: monitor-pw
clusters:
  main:
    servers:
{servers}
    tls: {{mode: {server_tls}}}{compressed}
    pool: {pool}
"""


def plain_rules(addresses, port: int, http_port: int, way_in: Path, console_port: int, promotes: bool = True) -> str:
    """Everything by default, but for what must be given; `way_in` is a Unix socket for clients. Tidegate promotes, or follows."""
    user, password = CONSOLE_USER
    promote = "{mode: promote, user: failover, password: failover-pw, replication: {user: repl, password: repl-pw}}"
    servers = ", ".join(f"'{address}'" for address in addresses)
    return f"""version: 1
listen: [127.0.0.1:{port}, "unix:{way_in}"]
admin:
  http: 127.0.0.1:{http_port}
  sql: 127.0.0.1:{console_port}
  users: [{{name: {user}, password: {password}}}]
monitor: {{user: tidegate, password: monitor-pw}}
clusters:
  main:
    servers: [{servers}]
    failover: {promote if promotes else '{mode: follow}'}
"""


def _start(binary: Path, folder: Path, name: str, console_port: int | None, rules_for) -> Tidegate:
    port, http_port = take_port(), take_port()
    config, log = folder / f"{name}.yaml", folder / f"{name}.log"
    config.write_text(rules_for(port, http_port))
    return Tidegate(binary, _spawn(binary, config, log), config, log, port, http_port, console_port)


def _spawn(binary: Path, config: Path, log: Path) -> subprocess.Popen:
    try:
        with open(log, "ab") as output:
            return subprocess.Popen([str(binary), "run", "--config", str(config)], stdin=subprocess.DEVNULL, stdout=output,
                                    stderr=output, preexec_fn=die_with_parent)
    except OSError as error:
        raise LauncherError(f"cannot start {binary}: {error.strerror}") from None


def _wait_ready(proxy: Tidegate) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        if proxy.process.poll() is not None:
            raise LauncherError(f"tidegate ended with status {proxy.process.returncode}\n{_tail(proxy.log)}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{proxy.http_port}/readyz", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError as error:  # also HTTP errors: not ready yet
            if time.monotonic() > deadline:
                raise LauncherError(f"tidegate is not ready after {READY_TIMEOUT_S} s: {error}\n{_tail(proxy.log)}") from None
        time.sleep(0.05)


def _tail(log: Path, lines: int = 25) -> str:
    return "\n".join([f"--- last lines of {log.name} ---", *log.read_text(errors="replace").splitlines()[-lines:]])
