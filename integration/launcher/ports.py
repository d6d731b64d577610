"""Free ports of 127.0.0.1 for servers.

They lie below the kernel's range for outgoing connections, so that a server can come back on its port after it was
killed, and each is held by a file lock for the launcher's life, so that no second launcher takes it meanwhile.
"""

import fcntl
import random
import socket

from .cache import LauncherError, cache_dir

FIRST, LAST = 20000, 32000
_held = []  # open lock files; the process' end frees them


def take_port() -> int:
    folder = cache_dir() / "ports"
    folder.mkdir(exist_ok=True)
    for port in random.sample(range(FIRST, LAST), 400):
        lock = open(folder / str(port), "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
            continue
        _held.append(lock)
        return port
    raise LauncherError(f"no free port of 127.0.0.1 between {FIRST} and {LAST}")
