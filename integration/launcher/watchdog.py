"""Ends the servers and removes their directory when the launcher is gone, however it ended.

A child process in a session of its own holds the read end of a pipe. The launcher writes `+PID` and `-PID` lines into it;
when the pipe closes (the kernel does that also after SIGKILL) the child kills what is still listed and removes the
directory. Beside that, each server asks the kernel to be killed with its parent (`PR_SET_PDEATHSIG`): that one also
works if the watchdog dies first. A pid is only killed while its process is the one that was listed (its start time).
"""

import ctypes
import os
import shutil
import signal
import time
from pathlib import Path

from . import disks

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(with_signal: int = signal.SIGKILL) -> None:
    """For `preexec_fn`: runs in the child before exec; the setting survives exec."""
    _libc.prctl(PR_SET_PDEATHSIG, with_signal, 0, 0, 0)


class Watchdog:
    def __init__(self, folder: Path):
        read_end, self._write_end = os.pipe()  # close-on-exec: no server holds the pipe open
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.close(self._write_end)
                _guard(read_end, folder)
                status = 0
            finally:
                os._exit(status)
        os.close(read_end)

    def watch(self, pid: int) -> None:
        os.write(self._write_end, f"+{pid} {_started(pid)}\n".encode())

    def forget(self, pid: int) -> None:
        os.write(self._write_end, f"-{pid} 0\n".encode())

    def close(self) -> None:
        """Lets the watchdog clean up what is left, and waits for it."""
        os.close(self._write_end)
        os.waitpid(self.pid, 0)


def _guard(read_end: int, folder: Path) -> None:
    os.setsid()  # Ctrl-C in the terminal is the launcher's
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    quiet = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # whoever reads the launcher's output must see its end
        os.dup2(quiet, stream)
    os.chdir("/")
    listed = {}
    with os.fdopen(read_end) as lines:
        for line in lines:
            pid, started = line[1:].split()
            if line[0] == "+":
                listed[int(pid)] = started
            else:
                listed.pop(int(pid), None)
    for pid, started in listed.items():
        if started != "0" and _started(pid) == started:
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not any(_started(pid) == started for pid, started in listed.items()):
            disks.unmount_below(folder)
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():  # a `cp` of the launcher's may still have been writing
                return
        time.sleep(0.02)


def _started(pid: int) -> str:
    """The process' start time in clock ticks since boot, "0" when there is none (or only its zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return "0"
    return "0" if fields[0] in "ZX" else fields[19]
