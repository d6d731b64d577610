"""What is installed: how to run the server, its initialiser and its client for each dialect.

Looks, for MySQL, at `$TIDEGATE_MYSQLD`, the cache (see `install`), then PATH; for MariaDB at `$TIDEGATE_MARIADBD`, then
PATH. Does not install. Debian's MariaDB also answers to `mysqld`, so the version's text decides, not the name.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .cache import LauncherError, cache_dir

DIALECTS = ("mysql", "mariadb")
#: The oldest versions whose replication statements and options the launcher uses.
OLDEST = {"mysql": (8, 0, 30), "mariadb": (10, 6, 0)}


@dataclass(frozen=True)
class Installation:
    dialect: str
    version: str          # 9.7.4, 10.11.19
    server: Path          # the program to start; may be a wrapper that execs the real one
    client: Path | None   # `mysql` or `mariadb`
    basedir: Path | None  # where the server finds its messages and character sets, if not where it was built for

    def initialise(self, datadir: Path) -> list:
        """The command that makes a data directory in which root has no password."""
        if self.dialect == "mysql":
            return [*self.command(), "--initialize-insecure", "--skip-log-bin", f"--datadir={datadir}"]
        script = shutil.which("mariadb-install-db", path=SEARCH_PATH)
        if not script:
            raise LauncherError("mariadb-install-db is missing beside mariadbd: run `integration/servers install mariadb`")
        return [script, "--no-defaults", f"--datadir={datadir}", "--auth-root-authentication-method=normal", "--skip-test-db",
                "--skip-log-bin", "--innodb-log-file-size=10M", *_as_user()]

    def command(self) -> list:
        """The server with the options that every use shares; `--no-defaults` keeps the machine's own configuration out."""
        base = [f"--basedir={self.basedir}"] if self.basedir else []
        return [str(self.server), "--no-defaults", *base, "--secure-file-priv=" + ("NULL" if self.dialect == "mysql" else ""), *_as_user()]


#: sbin holds the servers, and is not on everybody's PATH.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/usr/local/mysql/bin", "/opt/mysql/bin"])


def find(dialect: str) -> Installation | None:
    for server, client, basedir in _candidates(dialect):
        version = _version(dialect, server)
        if version:
            return Installation(dialect, version, server, client, basedir)
    return None


def require(dialect: str) -> Installation:
    found = find(dialect)
    if not found:
        oldest = ".".join(map(str, OLDEST[dialect]))
        raise LauncherError(f"no {dialect} server {oldest} or later on PATH or in the cache: run `integration/servers install {dialect}`")
    return found


def mysql_folder() -> Path:
    """Where `install` puts MySQL: `bin/` with wrappers, `root/` with the unpacked packages."""
    return cache_dir() / "mysql"


def _candidates(dialect: str):
    named = os.environ.get(f"TIDEGATE_{dialect.upper()}D")
    client = _which({"mysql": "mysql", "mariadb": "mariadb"}[dialect])
    if named:
        yield Path(named), client, None
    if dialect == "mysql":
        folder = mysql_folder()
        if (folder / "bin" / "mysqld").exists():
            yield folder / "bin" / "mysqld", folder / "bin" / "mysql", folder / "root" / "usr"
    for name in ("mariadbd", "mysqld") if dialect == "mariadb" else ("mysqld",):
        found = _which(name)
        if found:
            yield found, client, None


def _which(name: str) -> Path | None:
    found = shutil.which(name, path=SEARCH_PATH)
    return Path(found) if found else None


def _version(dialect: str, server: Path) -> str | None:
    """The server's version when it is of this dialect and not too old."""
    try:
        said = subprocess.run([server, "--no-defaults", "--version"], capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"Ver (\d+)\.(\d+)\.(\d+)", said)
    if not match or ("MariaDB" in said) != (dialect == "mariadb"):
        return None
    numbers = tuple(map(int, match.groups()))
    return ".".join(map(str, numbers)) if numbers >= OLDEST[dialect] else None


def _as_user() -> list:
    return ["--user=root"] if os.geteuid() == 0 else []
