"""A TCP relay: what a client sends goes to the server, and back. The baseline of the comparison.

It adds to a direct connection only what every proxy adds: another socket in between. A process of its own, so that it does
not share the runner's interpreter; it dies with its parent.
"""

import asyncio
import contextlib
import multiprocessing
import signal
import socket

from launcher.watchdog import die_with_parent

CHUNK = 64 * 1024


@contextlib.contextmanager
def relaying(target: int):
    """The port of 127.0.0.1 on which connections to `target` are accepted."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    process = multiprocessing.get_context("fork").Process(target=_run, args=(listener, target), daemon=True)
    process.start()
    port = listener.getsockname()[1]
    listener.close()
    try:
        yield port
    finally:
        process.terminate()
        process.join()


def _run(listener: socket.socket, target: int) -> None:
    die_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the runner's handler: nothing is to be cleaned up here
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(listener, target))


async def _serve(listener: socket.socket, target: int) -> None:
    async def connected(reader, writer):
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, server_writer), _copy(server_reader, writer))

    async with await asyncio.start_server(connected, sock=listener) as server:
        await server.serve_forever()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one side ends; then the other is told."""
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()
