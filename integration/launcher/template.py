"""One initialised data directory per server version, with the accounts inside, copied for each server.

Invariant: a template in the cache was shut down cleanly and holds no binary log and no server UUID.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import accounts
from .binaries import Installation
from .cache import LauncherError, cache_dir, locked, note
from .client import Client
from .server import Server
from .watchdog import Watchdog

INITIALISE_TIMEOUT_S = 180
#: The template's server answers on its socket only and writes no binary log.
TEMPLATE_OPTIONS = {
    "mysql": ["--skip-networking", "--skip-log-bin", "--gtid-mode=OFF", "--innodb-redo-log-capacity=8M"],
    "mariadb": ["--skip-networking", "--skip-log-bin", "--log-slave-updates=OFF", "--innodb-log-file-size=10M"],
}


def template(installation: Installation, certificates: dict) -> Path:
    """The path of this version's template; makes it where it is missing (some seconds, once)."""
    recipe = "\n".join([*accounts.statements(installation.dialect), *TEMPLATE_OPTIONS[installation.dialect]])
    key = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    name = f"{installation.dialect}-{installation.version}-{key}"
    path = cache_dir() / "templates" / name
    with locked(f"template-{installation.dialect}"):
        if not path.is_dir():
            note(f"preparing a data directory for {installation.dialect} {installation.version}")
            path.parent.mkdir(exist_ok=True)
            _build(installation, certificates, path)
    return path


def copy(source: Path, destination: Path) -> None:
    done = subprocess.run(["cp", "-r", "--reflink=auto", "--sparse=auto", f"{source}/.", str(destination)], capture_output=True,
                          text=True, timeout=120)
    if done.returncode:
        raise LauncherError(f"cannot copy the data directory: {done.stderr.strip()}")


def _build(installation: Installation, certificates: dict, path: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="tidegate-template-"))
    watchdog = Watchdog(folder)
    try:
        server = Server("template", "primary", installation, folder, 0, 1, certificates, watchdog,
                        list(TEMPLATE_OPTIONS[installation.dialect]))
        _initialise(installation, server)
        server.spawn()
        server.wait_ready()
        with server.connect() as client:
            _run(client, installation.dialect)
        server.stop()
        for pattern in ("auto.cnf", "binlog.*", "*.pid", "relay*"):
            for leftover in server.datadir.glob(pattern):
                leftover.unlink()
        beside = path.with_name(path.name + f".{os.getpid()}")
        shutil.copytree(server.datadir, beside)
        os.rename(beside, path)
    finally:
        watchdog.close()


def _initialise(installation: Installation, server: Server) -> None:
    with open(server.log, "ab") as log:
        try:
            done = subprocess.run(installation.initialise(server.datadir), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                  timeout=INITIALISE_TIMEOUT_S, cwd=server.folder)
        except subprocess.TimeoutExpired:
            raise LauncherError(f"initialising a data directory took over {INITIALISE_TIMEOUT_S} s\n{server.log_tail()}") from None
    if done.returncode:
        raise LauncherError(f"cannot initialise a {installation.dialect} data directory\n{server.log_tail()}")


def _run(client: Client, dialect: str) -> None:
    for statement in accounts.statements(dialect):
        client.query(statement)
