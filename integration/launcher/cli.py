"""The command line of `integration/servers`."""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys

from . import install
from .cache import LauncherError, note
from .client import SqlError
from .control import COMMANDS, Control, Terminated, raise_on_termination
from .fleet import Fleet, Shape
from .watchdog import die_with_parent

EXAMPLES = f"""
  integration/servers install all
  integration/servers up --cluster main=mysql+2 --cluster maria=mariadb+1 --cluster solo=mysql
  integration/servers up --cluster galera=mariadb*3 --cluster group=mysql*3    # Galera, Group Replication
  integration/servers run --cluster main=mysql+2 -- cargo nextest run --test scenarios
  integration/servers tell 'kill main-1'         # inside `run`: TIDEGATE_SERVERS names the servers

`up` prints one JSON line when the servers are ready, stays until its stdin ends (or SIGTERM, Ctrl-C), and answers line
commands on stdin: {COMMANDS}. The same commands work on the socket that the JSON names "control".
"""


def main(arguments: list) -> int:
    given = _parser().parse_args(arguments)
    try:
        raise_on_termination()
        return given.function(given)
    except (LauncherError, SqlError) as error:
        note(f"error: {error}")
        return 1
    except Terminated as signal_name:
        note(f"ended by {signal_name}")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="integration/servers", epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     description="Starts real MySQL and MariaDB servers in a temporary directory on free ports of 127.0.0.1.")
    verbs = parser.add_subparsers(required=True, metavar="install | up | run | tell")
    installing = verbs.add_parser("install", help="find the servers and tools, or install them")
    installing.add_argument("what", nargs="?", default="all", choices=["mysql", "mariadb", "tools", "all", "orm", "mariadb-test"])
    installing.set_defaults(function=_install)
    shape = argparse.ArgumentParser(add_help=False)
    shape.add_argument("--cluster", action="append", default=[], metavar="NAME=DIALECT[+REPLICAS|*MEMBERS]")
    shape.add_argument("--opt", action="append", default=[], metavar="NAME:OPTION",
                       help="a server option for a cluster, a server or `all`, e.g. main:max-connections=50")
    shape.add_argument("--performance-schema", action="store_true", help="on all servers (off by default: it costs memory)")
    shape.add_argument("--disk", type=int, default=0, metavar="MIB",
                       help="each server's data directory on a filesystem of its own of this size, which `fill NAME` fills (root only)")
    shape.add_argument("--apart", action="store_true", help="each server in a session of its own: Linux (autogroup) gives each an equal part of "
                       "the CPUs, as if it were a service of its own. For measurements: with all cores busy 6.18 lets such a server wait for seconds")
    up = verbs.add_parser("up", parents=[shape], help="start servers and keep them until stdin ends")
    up.set_defaults(function=_up)
    run = verbs.add_parser("run", parents=[shape], help="start servers, run a command with TIDEGATE_SERVERS set, end with its exit code")
    run.add_argument("command", nargs="+", metavar="-- COMMAND")
    run.set_defaults(function=_run)
    tell = verbs.add_parser("tell", help="send one line command to the launcher of this `run`")
    tell.add_argument("line")
    tell.set_defaults(function=_tell)
    return parser


def _install(given) -> int:
    install.install(given.what)
    return 0


def _up(given) -> int:
    with _Running(given) as fleet:
        control = Control(fleet)
        print(json.dumps(fleet.json()), flush=True)
        control.until_stdin_ends()
    return 0


def _run(given) -> int:
    with _Running(given) as fleet:
        description = fleet.folder / "servers.json"
        description.write_text(json.dumps(fleet.json(), indent=1))
        control = Control(fleet)
        try:
            child = subprocess.Popen(given.command, env={**os.environ, "TIDEGATE_SERVERS": str(description)},
                                     preexec_fn=lambda: die_with_parent(signal.SIGTERM))
        except OSError as error:
            raise LauncherError(f"cannot run {given.command[0]}: {error.strerror}") from None
        try:
            return control.until_exit(child)
        finally:
            _end(child)


def _end(child: subprocess.Popen) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _tell(given) -> int:
    description = os.environ.get("TIDEGATE_SERVERS")
    if not description:
        raise LauncherError("TIDEGATE_SERVERS is not set: `tell` works inside `integration/servers run`")
    with open(description) as file:
        path = json.load(file)["control"]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(180)
        connection.connect(path)
        connection.sendall(given.line.encode() + b"\n")
        reply = connection.makefile().readline()
    print(reply, end="")
    return 0 if json.loads(reply)["ok"] else 1


class _Running:
    """The fleet, started; stopped at the end whatever happens."""

    def __init__(self, given):
        options = []
        for text in given.opt:
            target, colon, option = text.partition(":")
            if not colon or not option:
                raise LauncherError(f"--opt {text}: write NAME:OPTION, e.g. main:max-connections=50")
            options.append((target, option if option.startswith("--") else f"--{option}"))
        self._fleet = Fleet([Shape.parse(text) for text in given.cluster], options, given.performance_schema, given.apart, given.disk)

    def __enter__(self) -> Fleet:
        try:
            self._fleet.start()
        except BaseException:
            self._fleet.stop()
            raise
        return self._fleet

    def __exit__(self, *_) -> None:
        self._fleet.stop()
