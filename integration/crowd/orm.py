"""An application of SQLAlchemy with one thread per connection of its pool.

As a program (`python -m crowd.orm PORT DRIVER THREADS FIRST`; FIRST numbers its threads among all applications) it prints
`ready` when every connection is open, works until its stdin ends, then prints what it did as a line of JSON.
"""

import json
import random
import sys
import threading
import time
import traceback
from collections import Counter

from sqlalchemy import create_engine, insert, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from .models import PRODUCTS, Base, Customer, Product
from .units import ORDINARY, any_unit

#: Between two units of a thread, on average.
PAUSE_S = 8
READY_TIMEOUT_S = 120
#: Deadlock, lock wait timeout: what every application must try again, and not at once: who has met in a gap meets there again. Of 20 threads
#: that begin `units.bulk` together at one server, without Tidegate, 19 have a deadlock (tried on both dialects and with both drivers).
RETRIED = (1213, 1205)
TRIES = 6
#: Before the first retry, at most; doubled before each further one.
RETRY_S = 0.5
#: In Python throughout: a thread that waits for the server must not keep those from running that hold transactions.
CONNECT_ARGS = {"mysqlconnector": {"use_pure": True, "ssl_disabled": True}}


class Application:
    def __init__(self, port: int, driver: str, threads: int, first: int):
        # The pool's own ping and its reset on return are what every application has.
        self.engine = create_engine(f"mysql+{driver}://app:app-pw@127.0.0.1:{port}/test", pool_size=threads, max_overflow=0, pool_timeout=60,
                                    pool_pre_ping=True, pool_recycle=20, connect_args=CONNECT_ARGS.get(driver, {}))
        self.threads = [threading.Thread(target=self._live, args=(first + number,)) for number in range(threads)]
        self.opened = threading.Barrier(threads + 1)
        self.leave = threading.Event()
        self.seen, self.lock = Counter(units=0, errors=0, retried=0, duplicates=0), threading.Lock()

    def _live(self, owner: int) -> None:
        try:
            with Session(self.engine) as session:
                session.add(Customer(owner=owner, name="first"))
                session.commit()
                session.connection()
                self.opened.wait(READY_TIMEOUT_S)  # with its connection in hand: so each thread has one
            for unit in random.sample(ORDINARY, len(ORDINARY)):
                if self.leave.wait(random.uniform(0, 2 * PAUSE_S)):
                    return
                self._do(unit, owner)
            while not self.leave.wait(random.uniform(0, 2 * PAUSE_S)):
                self._do(any_unit(), owner)
        except Exception:
            self._count("errors")
            traceback.print_exc()

    def _do(self, unit, owner: int) -> None:
        for attempt in range(1, TRIES + 1):
            try:
                if unit.__name__ == "savepoint":
                    self._count("duplicates")
                unit(self.engine, owner)
                self._count("units", unit.__name__)
                return
            except Exception as error:
                code = error.orig.args[0] if isinstance(error, DBAPIError) and error.orig.args else None
                if code in RETRIED and attempt < TRIES:
                    self._count("retried")
                    time.sleep(random.uniform(0, RETRY_S * 2 ** (attempt - 1)))
                    continue
                self._count("errors")
                print(f"{self.engine.driver}, {unit.__name__}: {type(error).__name__}: {str(error)[:600]}", file=sys.stderr)
                return

    def _count(self, *keys: str) -> None:
        with self.lock:
            self.seen.update(keys)

    def run(self) -> None:
        for thread in self.threads:
            thread.start()
        self.opened.wait(READY_TIMEOUT_S)
        print("ready", flush=True)
        sys.stdin.read()
        self.leave.set()
        for thread in self.threads:
            thread.join()
        self.engine.dispose()
        print(json.dumps(self.seen))


def create(port: int, driver: str) -> None:
    """The tables and the rows that never change, as a deployment makes them: through Tidegate."""
    engine = create_engine(f"mysql+{driver}://app:app-pw@127.0.0.1:{port}/test")
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.execute(insert(Product), [{"id": number, "code": f"P{number}", "price": number} for number in range(PRODUCTS)])
        session.commit()
        if len(session.scalars(select(Product)).all()) != PRODUCTS:
            raise SystemExit("the products are not all there")
    engine.dispose()


if __name__ == "__main__":
    if sys.argv[2] == "create":
        create(int(sys.argv[1]), "pymysql")
    else:
        Application(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])).run()
