"""Data directories on small filesystems of their own, so that a server's disk can be full. Only root may mount them."""

import errno
import os
import subprocess
from pathlib import Path

from .cache import LauncherError

BALLAST = "ballast"
CHUNK = 64 * 1024


def may_mount() -> bool:
    return os.geteuid() == 0


def mount(path: Path, mib: int) -> None:
    """An empty filesystem of this size at `path`, which is made."""
    if not may_mount():
        raise LauncherError("--disk: only root may mount a filesystem")
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0755", "tidegate", str(path)], capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise LauncherError(f"--disk: {done.stderr.strip()}")


def unmount(path: Path) -> None:
    """The filesystem at `path`, if there is one, also while something on it is still open."""
    if os.path.ismount(path):
        subprocess.run(["umount", "--lazy", str(path)], capture_output=True, timeout=30)


def unmount_below(folder: Path) -> None:
    """Those of a run's directory."""
    for path in folder.glob("*/"):
        unmount(path)


def fill(path: Path) -> None:
    """Leaves no byte free."""
    with open(path / BALLAST, "ab", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(CHUNK))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def free(path: Path) -> None:
    """Undoes `fill`."""
    (path / BALLAST).unlink(missing_ok=True)
