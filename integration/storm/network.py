"""Relays in front of the servers that cut, hold and delay by who talks to whom.

All of Tidegate and all replication goes through them: a server has one address for everybody, and a connection's other end is told
by its process. Does not know the protocol. Invariant: what a link that holds has swallowed goes on when it is mended, as TCP's own
retransmissions would.
"""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import socket
import struct
from dataclasses import dataclass, field

from launcher.ports import take_port
from launcher.watchdog import die_with_parent

CHUNK = 64 * 1024
#: Before the servers, where that is allowed.
PRIORITY = -10
ANSWER_TIMEOUT_S = 20
#: A link's ways: all goes through; connections are reset and new ones too; nothing goes through and nobody is told.
PASS, CUT, HOLD = "pass", "cut", "hold"


class Network:
    """Relays in a process of their own; it dies with its parent."""

    def __init__(self, targets: dict):
        """`targets`: servers' names and ports."""
        self._ports = {name: take_port() for name in targets}
        listeners = {name: socket.create_server(("127.0.0.1", port), backlog=512) for name, port in self._ports.items()}
        self._orders, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("fork").Process(target=_run, args=(theirs, listeners, targets), daemon=True)
        self._process.start()
        theirs.close()
        for listener in listeners.values():
            listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.join()

    def port(self, server: str) -> int:
        return self._ports[server]

    def know(self, who: str, pid: int) -> None:
        """From now on connections of this process are `who`'s."""
        self._order(("know", who, pid))

    def link(self, who: str, server: str, way: str, delay_s: float = 0) -> None:
        """How connections of `who` to `server` fare from now on, also those that are there."""
        self._order(("link", who, server, way, delay_s))

    def mend(self) -> None:
        self._order(("mend",))

    def _order(self, order: tuple) -> None:
        self._orders.send(order)
        if not self._orders.poll(ANSWER_TIMEOUT_S) or self._orders.recv() != order[0]:
            raise RuntimeError(f"the relays do not answer: {order}")


def owner(port: int, pids: dict) -> str | None:
    """Whose process has the connection that comes from this port of 127.0.0.1."""
    local = f"0100007F:{port:04X}"
    with open("/proc/net/tcp") as table:
        inodes = {fields[9] for line in table if (fields := line.split())[1] == local}
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for who, pid in pids.items():
        with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if os.readlink(entry.path) in wanted:
                        return who
    return None


@dataclass
class _Link:
    way: str = PASS
    delay_s: float = 0
    mended: asyncio.Event = field(default_factory=asyncio.Event)
    connections: set = field(default_factory=set)

    async def passage(self) -> None:
        """Until something may go through."""
        while self.way == HOLD:
            await self.mended.wait()
        if self.delay_s:
            await asyncio.sleep(self.delay_s)

    def set(self, way: str, delay_s: float) -> None:
        self.way, self.delay_s = way, delay_s
        (self.mended.clear if way == HOLD else self.mended.set)()
        if way == CUT:
            for task in list(self.connections):
                task.cancel()


class _Relays:
    def __init__(self, targets: dict):
        self._targets, self._pids, self._links = targets, {}, {}

    def obey(self, order: tuple) -> None:
        match order:
            case ("know", who, pid):
                self._pids[who] = pid
            case ("link", who, server, way, delay_s):
                self._link(who, server).set(way, delay_s)
            case ("mend",):
                for link in self._links.values():
                    link.set(PASS, 0)

    def _link(self, who: str | None, server: str) -> _Link:
        return self._links.setdefault((who, server), _Link())

    async def serve(self, server: str, listener: socket.socket) -> None:
        async def accepted(reader, writer):
            task = asyncio.current_task()
            link = self._link(owner(writer.get_extra_info("peername")[1], self._pids), server)
            link.connections.add(task)
            ends = [writer]
            close = _reset
            try:
                if link.way != CUT:
                    await link.passage()
                    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._targets[server])
                    ends.append(far_writer)
                    await _both(_copy(reader, far_writer, link), _copy(far_reader, writer, link))
                    close = asyncio.StreamWriter.close
            except (OSError, asyncio.CancelledError):
                pass
            finally:
                link.connections.discard(task)
                for end in ends:
                    close(end)

        async with await asyncio.start_server(accepted, sock=listener) as relay:
            await relay.serve_forever()


async def _both(*ways) -> None:
    """Until one direction ends: MySQL's protocol knows no half-closed connection."""
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: _Link) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            await link.passage()
            writer.write(data)
            await writer.drain()
        await link.passage()


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _run(orders, listeners: dict, targets: dict) -> None:
    die_with_parent()
    with contextlib.suppress(PermissionError):
        # Each new connection's owner is looked for: on a busy machine that alone would make all servers time out, and connect anew.
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_DFL)  # not the runner's handler: nothing is to be cleaned up here
    asyncio.run(_serve(orders, listeners, targets))


async def _serve(orders, listeners: dict, targets: dict) -> None:
    relays = _Relays(targets)

    def ordered() -> None:
        order = orders.recv()
        relays.obey(order)
        orders.send(order[0])

    asyncio.get_running_loop().add_reader(orders.fileno(), ordered)
    await asyncio.gather(*(relays.serve(name, listener) for name, listener in listeners.items()))
