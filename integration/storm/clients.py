"""The workload: sessions through Tidegate, each a thread that does one thing again and again at its pace.

Knows what each answer means for the history. Invariant: a session in which an error occurred is given up, and so is its view: what it
had begun is rolled back, and only a COMMIT or a statement of its own may have happened.
"""

import random
import threading
import time
from collections import Counter
from pathlib import Path

from launcher.client import Client, SqlError

from .history import ACKNOWLEDGED, REFUSED, UNKNOWN, History, Pulse

#: Seconds between two doings of a session, about.
PACE_S = 0.04
#: A statement may wait for a fault to end; one that is not answered by then hangs. Servers whose binary log finds no space look again once
#: a minute.
HANGS_S = 100
ACCOUNTS, BALANCE = 20, 1000
#: Errors that say: it was not done. No usable primary or read only; no usable server; too many connections; lock wait; deadlock;
#: read only transaction; read only mode; no space for a table.
REFUSALS = {1290, 1429, 1040, 1205, 1213, 1792, 1836, 1114}

SCHEMA = f"""
CREATE TABLE test.account (id INT PRIMARY KEY, balance INT NOT NULL) ENGINE=InnoDB;
CREATE TABLE test.counter (id INT PRIMARY KEY, value INT NOT NULL) ENGINE=InnoDB;
CREATE TABLE test.ledger (id BIGINT AUTO_INCREMENT PRIMARY KEY, written BIGINT NOT NULL, KEY (written)) ENGINE=InnoDB;
INSERT INTO test.account VALUES {', '.join(f'({id}, {BALANCE})' for id in range(ACCOUNTS))}
"""


class Statistics:
    """Counts of a run. Every method may be called by any thread."""

    def __init__(self):
        self._lock = threading.Lock()
        self.done, self.errors = Counter(), Counter()
        self.slowest = (0.0, "")
        self.writes, self.reads = Pulse(), Pulse()

    def count(self, what: str, took_s: float) -> None:
        with self._lock:
            self.done[what] += 1
            self.slowest = max(self.slowest, (took_s, what))

    def failed(self, error: str) -> None:
        with self._lock:
            self.errors[error] += 1


class Session(threading.Thread):
    """One client: connects, works, and connects anew after an error."""

    level = "session"

    def __init__(self, number: int, way_in: Path, history: History, statistics: Statistics, leave: threading.Event):
        super().__init__(name=f"{type(self).__name__.lower()} {number}", daemon=True)
        self._number, self._way_in, self._history, self._statistics, self._leave = number, way_in, history, statistics, leave
        self._written = 0
        self._dice = random.Random(number)

    def run(self) -> None:
        while not self._leave.is_set():
            try:
                with Client(self._way_in, HANGS_S, user="u_empty", database="test") as self._client:
                    self._client.query(f"SET SESSION tidegate_consistency = '{self.level}'")
                    self._view = self._history.view(self.name)
                    while not self._leave.wait(self._dice.uniform(0, 2 * PACE_S)):
                        self._work()
            except SqlError as error:
                self._statistics.failed(f"{error.code} {type(self).__name__}")
            except TimeoutError:
                self._statistics.failed(f"timeout {type(self).__name__}")
                self._history.report("hangs", f"{self.name}: no answer in {HANGS_S} s")
            except OSError as error:
                self._statistics.failed(f"{type(error).__name__} {type(self).__name__}")
            except Exception as error:  # the harness' own fault must not pass for silence
                self._history.report("harness", f"{self.name}: {type(error).__name__}: {error}")
                raise
            self._leave.wait(PACE_S)

    def _work(self) -> None:
        raise NotImplementedError

    def _query(self, sql: str) -> list:
        started = time.monotonic()
        rows = self._client.query(sql)
        self._statistics.count(sql.split()[0].upper(), time.monotonic() - started)
        return rows

    def _read(self, sql: str) -> list:
        rows = self._query(sql)
        self._statistics.reads.beat()
        return rows

    def _counters(self) -> None:
        began = self._history.promised()
        rows = self._read("SELECT id, value FROM counter")
        self._view.saw({int(row["id"]): int(row["value"]) for row in rows}, began, is_global=self.level == "global")

    def _sum(self) -> None:
        self._history.summed(self.name, int(self._read("SELECT SUM(balance) AS total FROM account")[0]["total"]))

    def _insert(self, sql: str, key: int) -> None:
        """Runs the statement that makes a row last, its own INSERT or a COMMIT."""
        try:
            self._query(sql)
        except SqlError as error:
            self._history.inserted(key, REFUSED if error.code in REFUSALS else UNKNOWN, str(error))
            raise
        except OSError as error:
            self._history.inserted(key, UNKNOWN, repr(error))
            raise
        self._history.inserted(key, ACKNOWLEDGED)
        self._statistics.writes.beat()

    def _key(self) -> int:
        self._written += 1
        return self._number * 10_000_000 + self._written


class Writer(Session):
    """Single rows, each its own transaction."""

    def _work(self) -> None:
        key = self._key()
        self._history.inserting(key)
        self._insert(f"INSERT INTO ledger (written) VALUES ({key})", key)


class Teller(Session):
    """Transfers between accounts; each leaves a row."""

    def _work(self) -> None:
        key, amount = self._key(), self._dice.randrange(1, 50)
        giver, taker = self._dice.sample(range(ACCOUNTS), 2)
        self._history.inserting(key)
        try:
            self._query("BEGIN")
            # In one order, or each second transfer is a deadlock.
            self._query(f"SELECT balance FROM account WHERE id IN ({giver}, {taker}) ORDER BY id FOR UPDATE")
            self._query(f"UPDATE account SET balance = balance - {amount} WHERE id = {giver}")
            self._query(f"UPDATE account SET balance = balance + {amount} WHERE id = {taker}")
            self._query(f"INSERT INTO ledger (written) VALUES ({key})")
        except (SqlError, OSError) as error:
            self._history.inserted(key, REFUSED, f"before COMMIT: {error!r}")
            raise
        self._insert("COMMIT", key)


class Counting(Session):
    """Raises a counter of its own and reads it back."""

    def _work(self) -> None:
        value = self._history.tried(self._number) + 1
        self._history.raising(self._number, value)
        self._query(f"UPDATE counter SET value = {value} WHERE id = {self._number}")
        self._statistics.writes.beat()
        self._history.raised(self._number, value)
        self._view.wrote(self._number, value)
        self._counters()


class Watcher(Session):
    """Reads everything, in the order that it comes to replicas."""

    def _work(self) -> None:
        if self._dice.random() < 0.5:
            return self._counters()
        if self._dice.random() < 0.5:
            return self._sum()
        # Two reads of one snapshot.
        self._query("START TRANSACTION READ ONLY")
        self._sum()
        self._sum()
        self._query("COMMIT")


class Newest(Session):
    """Misses nothing that was acknowledged, to whomever."""

    level = "global"

    def _work(self) -> None:
        self._counters()
        if self._dice.random() < 0.3:
            self._sum()


#: Sessions of each kind.
CROWD = ((Writer, 3), (Teller, 3), (Counting, 3), (Watcher, 2), (Newest, 2))


def crowd(ways_in: list, history: History, statistics: Statistics, leave: threading.Event) -> list:
    """All sessions, spread over the instances; every counter has its row already."""
    kinds = [kind for kind, many in CROWD for _ in range(many)]
    return [kind(number, ways_in[number % len(ways_in)], history, statistics, leave) for number, kind in enumerate(kinds)]


def counters() -> list:
    """The sessions that have a counter."""
    kinds = [kind for kind, many in CROWD for _ in range(many)]
    return [number for number, kind in enumerate(kinds) if kind is Counting]
