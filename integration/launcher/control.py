"""Line commands from stdin and from the control socket, each answered by one JSON line.

One loop in the main thread serves all of them, so commands never overlap. It ends when stdin ends (`up`), when the
command ends (`run`), or on SIGTERM, SIGINT or SIGHUP.
"""

import json
import os
import selectors
import signal
import socket
import subprocess

from . import disks
from .cache import LauncherError
from .client import SqlError
from .fleet import Fleet

COMMANDS = "kill NAME, stop NAME, pause NAME, resume NAME, start NAME, start-read-only NAME, empty NAME, fill NAME, free NAME, add CLUSTER, status"
LINE_MAX = 4096
TERMINATION = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Terminated(Exception):
    """A signal asked the launcher to end."""


def raise_on_termination() -> None:
    """Before anything is started: from here on a signal unwinds, so that what was started is stopped."""
    def handler(number, _):
        for each in TERMINATION:
            signal.signal(each, signal.SIG_IGN)  # a second Ctrl-C must not interrupt the clean-up
        raise Terminated(signal.Signals(number).name)
    for each in TERMINATION:
        signal.signal(each, handler)


def answer(fleet: Fleet, line: str) -> dict:
    """Carries out one command; errors are answers too."""
    words = line.split()
    try:
        match words:
            case ["status"]:
                return {"ok": True, **fleet.json()}
            case ["kill" | "stop" | "pause" | "resume" | "start" | "start-read-only" as verb, name]:
                server = fleet.server(name)
                if verb.startswith("start"):
                    fleet.start_again(server, ["--read-only=ON"] if verb == "start-read-only" else [])
                else:
                    getattr(server, verb)()
            case ["empty", name]:
                server = fleet.empty(name)
            case ["fill" | "free" as verb, name]:
                server = fleet.server(name)
                getattr(disks, verb)(fleet.disk(server))
            case ["add", cluster]:
                server = fleet.add(cluster)
            case _:
                return {"ok": False, "error": f"unknown command {line!r}; known: {COMMANDS}"}
        return {"ok": True, "command": words[0], "server": server.json()}
    except (LauncherError, SqlError, OSError) as error:
        return {"ok": False, "error": str(error)}


class Control:
    def __init__(self, fleet: Fleet):
        self._fleet = fleet
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(fleet.folder / "control.sock"))
        self._listener.listen(64)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._done = False

    def until_stdin_ends(self) -> None:
        try:
            self._selector.register(0, selectors.EVENT_READ, _Lines(self, os.dup(0), os.dup(1), ends_loop=True))
        except PermissionError:  # a regular file or /dev/null: always ready, which epoll refuses
            lines = _Lines(self, os.dup(0), os.dup(1), ends_loop=True)
            while not self._done:
                lines()
        self._loop()

    def until_exit(self, child: subprocess.Popen) -> int:
        """The child's exit code, as a shell reports it."""
        self._selector.register(os.pidfd_open(child.pid), selectors.EVENT_READ, self.end)
        self._loop()
        status = child.wait()
        return status if status >= 0 else 128 - status

    def end(self) -> None:
        self._done = True

    def answer(self, line: str) -> bytes:
        return json.dumps(answer(self._fleet, line)).encode() + b"\n"

    def forget(self, descriptor: int) -> None:
        self._selector.unregister(descriptor)

    def _loop(self) -> None:
        while not self._done:
            for key, _ in self._selector.select():
                key.data()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(10)  # somebody who does not read his answers cannot hold up the others
        descriptor = connection.detach()
        self._selector.register(descriptor, selectors.EVENT_READ, _Lines(self, descriptor, descriptor, ends_loop=False))


class _Lines:
    """One source of command lines and where their answers go."""

    def __init__(self, control: Control, source: int, answers: int, ends_loop: bool):
        self._control, self._source, self._answers, self._ends_loop = control, source, answers, ends_loop
        self._buffer = b""

    def __call__(self) -> None:
        try:
            data = os.read(self._source, LINE_MAX)
        except OSError:
            data = b""
        if not data or len(self._buffer) > LINE_MAX:
            return self._end()
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            if line.strip():
                try:
                    _write_all(self._answers, self._control.answer(line.decode(errors="replace").strip()))
                except OSError:
                    return self._end()

    def _end(self) -> None:
        if self._ends_loop:
            self._control.end()
        else:
            self._control.forget(self._source)
            os.close(self._source)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data):]
