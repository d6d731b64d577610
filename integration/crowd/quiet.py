"""Clients that are there and say little: one statement or transaction each, every few seconds, and every session with a
state of its own. As a program (`python -m crowd.quiet PORT COUNT`) it prints `ready` when all are logged in, works until its
stdin ends, then prints what it did as a line of JSON."""

import asyncio
import json
import random
import sys
from collections import Counter

from benchmark import accounting
from benchmark.client import Connection

LOGINS_AT_ONCE = 16
LOGIN_TIMEOUT_S = 180
#: Between two of a client's doings, on average.
PAUSE_S = 30


class Deviation(Exception):
    """An answer that one server would not have given."""


async def work(client: Connection, number: int) -> None:
    """Each condition holds only where the session's own state is."""
    async def one(sql: str) -> None:
        if await client.query(sql) != 1:
            raise Deviation(sql)

    match random.randrange(5):
        case 0:
            await one(f"SELECT c FROM sbtest1 WHERE id = {random.randint(1, 1000)}")
        case 1:
            await one(f"SELECT 1 FROM DUAL WHERE @@session.time_zone = '{_zone(number)}'")
        case 2:
            await one(f"SELECT 1 FROM DUAL WHERE @me = {number}")
        case 3:
            await client.query("BEGIN")
            await one("SELECT k FROM sbtest2 WHERE id = 1")
            await client.query("COMMIT")
        case 4:
            await client.query(f"SET @me = {number}")
            await one(f"SELECT 1 FROM DUAL WHERE @me = {number} AND @@session.sql_mode = ''")


async def live(port: int, number: int, gate: asyncio.Semaphore, all_in: asyncio.Event, leave: asyncio.Event, seen: Counter) -> None:
    async with gate:
        client = await Connection.open("127.0.0.1", port, "app", "app-pw", "test")
        for sql in (f"SET time_zone = '{_zone(number)}', sql_mode = ''", f"SET @me = {number}"):
            await client.query(sql)
    seen["clients"] += 1
    await all_in.wait()
    while not leave.is_set():
        try:
            await asyncio.wait_for(leave.wait(), random.uniform(0, 2 * PAUSE_S))
        except asyncio.TimeoutError:
            try:
                await work(client, number)
                seen["done"] += 1
            except Exception as error:
                seen["errors"] += 1
                print(f"client {number}: {type(error).__name__}: {error}", file=sys.stderr)
                return


def _zone(number: int) -> str:
    return f"+{number % 12:02}:00"


async def main(port: int, count: int) -> None:
    accounting.raise_open_files()
    gate, all_in, leave = asyncio.Semaphore(LOGINS_AT_ONCE), asyncio.Event(), asyncio.Event()
    seen = Counter(clients=0, done=0, errors=0)
    lives = [asyncio.create_task(live(port, number, gate, all_in, leave, seen)) for number in range(count)]
    async with asyncio.timeout(LOGIN_TIMEOUT_S):
        while seen["clients"] < count:
            for failed in (life for life in lives if life.done()):
                failed.result()
            await asyncio.sleep(0.1)
    all_in.set()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    leave.set()
    await asyncio.gather(*lives)
    print(json.dumps(seen))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
