"""The cache folder (`$TIDEGATE_CACHE`, else `~/.cache/tidegate`) and the locks inside it.

Invariant: what stands under its final name in the cache is complete; it is built beside it and renamed.
"""

import contextlib
import fcntl
import os
import sys
import time
from pathlib import Path


class LauncherError(Exception):
    """Something the user must hear about: what happened and what to do."""


def cache_dir() -> Path:
    configured = os.environ.get("TIDEGATE_CACHE")
    path = Path(configured) if configured else Path.home() / ".cache" / "tidegate"
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve()


def note(message: str) -> None:
    """Progress for people: stderr, because stdout carries JSON."""
    print(f"servers: {message}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def locked(name: str, timeout_s: float = 900):
    """Holds the cache's lock `name`; the kernel frees it when the holder dies."""
    path = cache_dir() / f"{name}.lock"
    deadline = time.monotonic() + timeout_s
    with open(path, "w") as handle:
        waiting = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LauncherError(f"{path} is still held by another launcher after {timeout_s:.0f} s") from None
                if not waiting:
                    note(f"waiting for another launcher that holds {path}")
                    waiting = True
                time.sleep(0.1)
        yield
