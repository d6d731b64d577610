"""`integration/servers install`: find what is there, or get it.

MariaDB and the tools come from the machine's own packages (root or sudo). MySQL comes from Debian's archive without root
(see `mysql_packages`). Nothing that was installed is ever started here as a service. Idempotent; a lock per part keeps
two installs apart.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from . import binaries, mysql_packages
from .cache import LauncherError, cache_dir, locked, note

#: What the tests, drivers and benches call, and the package that has it.
TOOLS = {"openssl": "openssl", "sysbench": "sysbench", "haproxy": "haproxy", "node": "nodejs", "npm": "npm", "mariadb": "mariadb-client"}
PYTHON_PACKAGES = ("PyMySQL==1.1.1", "mysql-connector-python==9.1.0", "cryptography>=42")
#: In an environment of their own: only `integration/many` wants an ORM.
ORM_PACKAGES = (*PYTHON_PACKAGES, "SQLAlchemy==2.0.36")
NODE_PACKAGES = ("mysql2@3.11.5",)
POLICY = Path("/usr/sbin/policy-rc.d")


def install(what: str) -> None:
    if what in ("mariadb", "all"):
        _mariadb()
    if what in ("mysql", "all"):
        _mysql()
    if what in ("tools", "all"):
        _tools()
    if what == "orm":
        _orm()
    if what == "mariadb-test":
        _mariadb_test()


def _mariadb() -> None:
    with locked("install-mariadb"):
        if not binaries.find("mariadb"):
            _apt_install(["mariadb-server", "mariadb-client"])
        found = binaries.require("mariadb")
    note(f"mariadb {found.version}: {found.server}")


def _mysql() -> None:
    with locked("install-mysql"):
        if not binaries.find("mysql"):
            mysql_packages.unpack(binaries.mysql_folder(), _apt_install)
        found = binaries.require("mysql")
    note(f"mysql {found.version}: {found.server}")


def _mariadb_test() -> None:
    """Its package depends on the server's of the same version, so apt may bring both up to date."""
    _mariadb()
    with locked("install-mariadb-test"):
        if not shutil.which("mariadb-test", path=binaries.SEARCH_PATH):
            _apt_install(["mariadb-test"])


def _tools() -> None:
    with locked("install-tools"):
        missing = [package for program, package in TOOLS.items() if not shutil.which(program, path=binaries.SEARCH_PATH)]
        if subprocess.run([sys.executable, "-c", "import ensurepip, venv"], capture_output=True).returncode:
            missing.append("python3-venv")
        if missing:
            _apt_install(missing)
        _python_packages("venv", PYTHON_PACKAGES)
        _node_packages()
    note("tools: ready")


def _orm() -> None:
    with locked("install-orm"):
        _python_packages("venv-orm", ORM_PACKAGES)
    note("orm: ready")


def python(environment: str = "venv") -> Path:
    """The Python that has the drivers; the one of `venv-orm` has an ORM as well."""
    return cache_dir() / environment / "bin" / "python"


def _python_packages(environment: str, packages: tuple) -> None:
    stamp = cache_dir() / environment / ".installed"
    wanted = "\n".join(packages)
    if stamp.is_file() and stamp.read_text() == wanted and python(environment).exists():
        return
    note(f"installing {', '.join(packages)}")
    _run([sys.executable, "-m", "venv", "--clear", str(cache_dir() / environment)], "make a Python environment", 120)
    _run([str(python(environment)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
         "install the Python drivers (is the machine online?)", 300)
    stamp.write_text(wanted)


def _node_packages() -> None:
    folder = cache_dir() / "node"
    stamp = folder / ".installed"
    wanted = "\n".join(NODE_PACKAGES)
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    note(f"installing {', '.join(NODE_PACKAGES)}")
    folder.mkdir(exist_ok=True)
    _run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), *NODE_PACKAGES],
         "install the Node driver (is the machine online?)", 300)
    stamp.write_text(wanted)


def _apt_install(packages: list) -> None:
    if not shutil.which("apt-get"):
        raise LauncherError(f"this is no Debian or Ubuntu machine: install what provides {', '.join(packages)} yourself, so that it is on PATH")
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if as_root and not shutil.which("sudo"):
        raise LauncherError(f"not root and no sudo: run `apt-get install {' '.join(packages)}` as root, then again")
    note(f"installing {', '.join(packages)} with apt")
    environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
    apt = [*as_root, *environment, "apt-get", "-o", "DPkg::Lock::Timeout=600"]
    with _no_service_starts(as_root):
        _run([*apt, "update", "-qq"], "update apt's package lists (is the machine online?)", 600)
        _run([*apt, "install", "-y", "-qq", "--no-install-recommends", *packages], f"install {', '.join(packages)}", 1500)


@contextlib.contextmanager
def _no_service_starts(as_root: list):
    """While packages install, `policy-rc.d` forbids starting their services; what stood there before comes back."""
    kept = POLICY.with_name("policy-rc.d.tidegate-kept")
    with locked("policy-rc.d"):
        # Where the kept file is there already, an install was killed here: that file is the machine's own.
        if POLICY.exists() and not kept.exists():
            _run([*as_root, "mv", str(POLICY), str(kept)], "set policy-rc.d aside", 10)
        write = f"printf '#!/bin/sh\\n# made by tidegate for one installation\\nexit 101\\n' > {POLICY} && chmod 755 {POLICY}"
        _run([*as_root, "sh", "-c", write], "write policy-rc.d", 10)
        try:
            yield
        finally:
            restore = ["mv", str(kept), str(POLICY)] if kept.exists() else ["rm", "-f", str(POLICY)]
            _run([*as_root, *restore], "restore policy-rc.d", 10)


def _run(command: list, purpose: str, timeout_s: float) -> None:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s)
    except FileNotFoundError:
        raise LauncherError(f"cannot {purpose}: {command[0]} is missing") from None
    except subprocess.TimeoutExpired:
        raise LauncherError(f"cannot {purpose}: no end after {timeout_s:.0f} s") from None
    if done.returncode:
        raise LauncherError(f"cannot {purpose}: {' '.join(command[:6])} … ended with {done.returncode}\n{(done.stdout + done.stderr).strip()[-1500:]}")
