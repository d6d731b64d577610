"""MySQL from Debian's `sid` archive, unpacked into the cache folder: no root, no chroot, nothing installed.

Debian stable has no MySQL server. A private apt configuration (own lists, caches and an empty dpkg status, so that the
closure goes down to libc) downloads `mysql-server-core` and `mysql-client-core`; every package is unpacked into one
folder, whose own dynamic loader runs the programs. apt checks the archive's signature as always.
"""

import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

from .cache import LauncherError, note

PACKAGES = ("mysql-server-core", "mysql-client-core")
PROGRAMS = {"mysqld": "usr/sbin/mysqld", "mysql": "usr/bin/mysql"}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

#: Min-ValidTime: mirrors may lag behind sid's week of validity; 90 days is the bound that apt then holds them to.
CONFIGURATION = """
Dir::State "{apt}/state";
Dir::State::status "{apt}/status";
Dir::Cache "{apt}/cache";
Dir::Etc::sourcelist "{apt}/sources.list";
Dir::Etc::sourceparts "{apt}/none";
Dir::Etc::preferences "{apt}/none";
Dir::Etc::preferencesparts "{apt}/none";
APT::Install-Recommends "false";
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Sandbox::User "";
Acquire::Languages "none";
APT::Update::Error-Mode "any";
Acquire::Retries "2";
Acquire::Min-ValidTime "7776000";
"""

WRAPPER = """#!/bin/sh
# Runs the unpacked program with the libraries and the loader of its own folder; exec keeps the process id.
here=$(dirname "$(readlink -f "$0")")
root=$here/../root
exec "$root/{loader}" --library-path "$root/{libraries}" "$root/{program}" "$@"
"""


def unpack(folder: Path, apt_install) -> None:
    """Makes `folder` with `bin/` and `root/`; `apt_install(packages)` is called for what apt itself needs."""
    for program in ("apt-get", "dpkg-deb"):
        if not shutil.which(program):
            raise LauncherError(f"no mysqld on PATH, and without {program} (Debian, Ubuntu) it cannot be fetched: install MySQL 8.0 or "
                                "later, or set TIDEGATE_MYSQLD to its mysqld")
    if not KEYRING.exists():
        apt_install(["debian-archive-keyring"])
    note("fetching MySQL from Debian's archive into the cache (70 MB)")
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix="mysql-", dir=folder.parent))
    try:
        for package in _download(building / "apt"):
            _run(["dpkg-deb", "-x", str(package), str(building / "root")], f"unpack {package.name}", 120)
        _wrap(building)
        shutil.rmtree(building / "apt")
        building.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)  # what is there does not run, else nobody would unpack
        os.rename(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _download(apt: Path) -> list:
    for name in ("state/lists/partial", "cache/archives/partial", "none"):
        (apt / name).mkdir(parents=True)
    (apt / "status").touch()
    (apt / "sources.list").write_text(f"deb [signed-by={KEYRING}] {_mirror()} sid main\n")
    architecture = _run(["dpkg", "--print-architecture"], "ask dpkg for the architecture", 10).strip()
    configuration = apt / "apt.conf"
    configuration.write_text(CONFIGURATION.format(apt=apt, architecture=architecture))
    environment = {**os.environ, "APT_CONFIG": str(configuration), "LC_ALL": "C"}
    _run(["apt-get", "update", "-qq"], "read Debian's package list (is the machine online?)", 300, environment)
    _run(["apt-get", "install", "--download-only", "-y", "-qq", *PACKAGES], "download MySQL (is the machine online?)", 900, environment)
    return sorted((apt / "cache" / "archives").glob("*.deb"))


def _mirror() -> str:
    """The mirror that this machine's own apt uses for Debian; `TIDEGATE_DEBIAN_MIRROR` names another."""
    named = os.environ.get("TIDEGATE_DEBIAN_MIRROR")
    if named:
        return named
    listed = _run(["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)"], "ask apt for its mirror", 60)
    for line in listed.splitlines():
        origin, label, uri = line.split("|", 2)
        if origin == label == "Debian":
            return uri.rstrip("/")
    raise LauncherError("apt knows no Debian mirror: run `apt-get update` on Debian, or set TIDEGATE_DEBIAN_MIRROR to the address of one, "
                        "or TIDEGATE_MYSQLD to a mysqld of MySQL 8.0 or later")


def _wrap(building: Path) -> None:
    root = building / "root"
    loaders = [*root.glob("usr/lib64/ld-linux-*.so.*"), *root.glob("usr/lib/ld-linux-*.so.*"), *root.glob("usr/lib/*/ld-linux-*.so.*")]
    libc = next(root.glob("usr/lib/*/libc.so.6"), None)
    if not loaders or not libc:
        raise LauncherError("the unpacked packages hold no loader and libc: Debian's layout has changed, or this architecture is unknown")
    (building / "bin").mkdir()
    for name, program in PROGRAMS.items():
        wrapper = building / "bin" / name
        wrapper.write_text(WRAPPER.format(loader=loaders[0].relative_to(root), libraries=libc.parent.relative_to(root), program=program))
        wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def _run(command: list, purpose: str, timeout_s: float, environment: dict | None = None) -> str:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, env=environment)
    except subprocess.TimeoutExpired:
        raise LauncherError(f"cannot {purpose}: no end after {timeout_s:.0f} s") from None
    if done.returncode:
        raise LauncherError(f"cannot {purpose}: {(done.stdout + done.stderr).strip()[-1500:]}")
    return done.stdout
