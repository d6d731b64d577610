"""One server process: its options, its life (start, stop, kill, pause), how it is described.

Does not know clusters or replication. Invariant: `process` is the running server or None, and its pid is known to the
watchdog before anything waits for it.
"""

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from .binaries import Installation
from .cache import LauncherError
from .client import Client, SqlError
from .watchdog import Watchdog, die_with_parent

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30

#: Small, fast to start, nothing durable against a power cut. Later options win, so `--opt` overrides any of these.
COMMON_OPTIONS = (
    "--bind-address=127.0.0.1", "--skip-name-resolve", "--performance-schema=OFF", "--innodb-buffer-pool-size=64M",
    "--innodb-use-native-aio=OFF", "--innodb-flush-log-at-trx-commit=2", "--sync-binlog=0", "--max-connections=2000", "--max-connect-errors=1000000",
    "--max-allowed-packet=64M", "--back-log=1024", "--local-infile=ON", "--log-bin=binlog",
    "--log-bin-trust-function-creators=ON", "--character-set-server=utf8mb4",
)
DIALECT_OPTIONS = {
    # The redo log's size bounds a BLOB: 10 % of it per row. `replica-net-timeout` lets a replica notice a paused primary.
    "mysql": ("--mysqlx=OFF", "--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--innodb-redo-log-capacity=512M",
              "--relay-log=relay", "--relay-log-recovery=ON", "--replica-net-timeout=10"),
    "mariadb": ("--binlog-format=ROW", "--log-slave-updates=ON", "--gtid-strict-mode=ON", "--innodb-log-file-size=256M", "--relay-log=relay",
                "--relay-log-recovery=ON", "--slave-net-timeout=10"),
}


@dataclass
class Server:
    name: str
    role: str
    installation: Installation
    folder: Path               # the run's directory: sockets and logs
    port: int
    server_id: int
    certificates: dict
    watchdog: Watchdog
    options: list = field(default_factory=list)
    apart: bool = False        # in a session of its own
    process: subprocess.Popen | None = None
    paused: bool = False

    @property
    def datadir(self) -> Path:
        return self.folder / self.name

    @property
    def socket(self) -> Path:
        return self.folder / f"{self.name}.sock"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def json(self) -> dict:
        return {"name": self.name, "role": self.role, "host": "127.0.0.1", "port": self.port, "socket": str(self.socket),
                "pid": self.process.pid if self.process else None, "datadir": str(self.datadir), "log": str(self.log),
                "server_id": self.server_id, "state": self.state()}

    def state(self) -> str:
        if not self.process or self.process.poll() is not None:
            return "stopped"
        return "paused" if self.paused else "running"

    def command(self) -> list:
        tls = self.certificates
        read_only = []
        if self.role == "replica":
            read_only = ["--read-only=ON"] + (["--super-read-only=ON"] if self.installation.dialect == "mysql" else [])
        # A temporary directory of its own: a MariaDB that starts removes what others have in a common one.
        return [*self.installation.command(), f"--datadir={self.datadir}", f"--tmpdir={self.datadir}", f"--port={self.port}", f"--socket={self.socket}",
                f"--pid-file={self.folder / (self.name + '.pid')}", f"--log-error={self.log}", f"--server-id={self.server_id}",
                "--report-host=127.0.0.1", f"--report-port={self.port}", f"--ssl-ca={tls['ca']}", f"--ssl-cert={tls['cert']}",
                f"--ssl-key={tls['key']}", *COMMON_OPTIONS, *DIALECT_OPTIONS[self.installation.dialect], *read_only, *self.options]

    def spawn(self, more: list = ()) -> None:
        """Starts the process without waiting for it. Main thread only: the servers die with the thread that made them."""
        if self.state() != "stopped":
            raise LauncherError(f"{self.name} runs already")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([*self.command(), *more], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                                            preexec_fn=self._detach)
        self.paused = False
        self.watchdog.watch(self.process.pid)

    def _detach(self) -> None:
        """In the child before exec. At least a group of its own: Ctrl-C in the terminal is the launcher's."""
        os.setsid() if self.apart else os.setpgid(0, 0)
        die_with_parent()

    def wait_ready(self) -> None:
        """Until the server accepts connections on its socket and its port."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            if self.process.poll() is not None:
                raise LauncherError(f"{self.name} ended with status {self.process.returncode} while starting\n{self.log_tail()}")
            try:
                with self.connect(timeout_s=5) as client:
                    client.query("SELECT 1")
                return
            except (OSError, SqlError) as error:
                if time.monotonic() > deadline:
                    raise LauncherError(f"{self.name} does not answer after {START_TIMEOUT_S} s ({error})\n{self.log_tail()}") from None
            time.sleep(0.05)

    def connect(self, timeout_s: float = 30) -> Client:
        return Client(self.socket, timeout_s)

    def stop(self) -> None:
        """Graceful; killed when it takes too long. A server that does not run stays as it is."""
        if self.state() == "stopped":
            return
        self.resume()
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise LauncherError(f"{self.name} did not stop within {STOP_TIMEOUT_S} s and was killed\n{self.log_tail()}") from None
        self.watchdog.forget(self.process.pid)

    def kill(self) -> None:
        if self.state() == "stopped":
            return
        self.process.kill()
        self.process.wait()
        self.paused = False
        self.watchdog.forget(self.process.pid)

    def pause(self) -> None:
        if self.state() == "stopped":
            raise LauncherError(f"{self.name} does not run")
        if self.paused:
            return
        os.kill(self.process.pid, signal.SIGSTOP)
        # The signal stops one thread after the other: until the last has stopped, the server may still answer.
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)
        self.paused = True

    def resume(self) -> None:
        if self.state() == "stopped":
            raise LauncherError(f"{self.name} does not run")
        os.kill(self.process.pid, signal.SIGCONT)
        self.paused = False

    def log_tail(self, lines: int = 25) -> str:
        try:
            tail = self.log.read_text(errors="replace").splitlines()[-lines:]
        except OSError:
            tail = ["(no log)"]
        return "\n".join([f"--- last lines of {self.log.name} ---", *tail])
