"""What clients were promised, and what breaks a promise.

Pure: no connections; whoever does something says so here. Invariant: each finding names the row or the counter, what was promised
and what was seen; a statement whose outcome is unknown promises nothing but that it happens once at most.

| Promise | |
|---|---|
| acknowledged | a row whose INSERT or COMMIT was answered OK is on every server in the end; one that was refused is on none; none is there twice |
| session | a session sees its own writes, and never less than it has seen before of what was acknowledged by then |
| global | a read sees all that was acknowledged before it began, whoever wrote it |
| sum | transfers do not change the sum of the balances |
"""

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass

#: What may have become of a write.
ACKNOWLEDGED, REFUSED, UNKNOWN = "acknowledged", "refused", "unknown"
EVENTS_MAX = 200_000


@dataclass(frozen=True)
class Violation:
    at: float           # monotonic
    promise: str
    text: str
    keys: tuple = ()    # of the rows or the counters that it is about


class History:
    """All promises of a run. Every method may be called by any thread."""

    def __init__(self, sum_of_balances: int):
        self._lock = threading.Lock()
        self._sum = sum_of_balances
        self._outcomes = {}                   # key of a row → what became of its write; None while it runs
        self._written = Counter()             # counter → the highest value that was acknowledged
        self._tried = Counter()               # counter → the highest value that anybody tried to write
        self._events = deque(maxlen=EVENTS_MAX)
        self.violations = []
        self.seen_early = 0
        self.broken = threading.Event()

    # Rows.

    def inserting(self, key: int) -> None:
        with self._lock:
            self._outcomes[key] = None
            self._note("insert", key)

    def inserted(self, key: int, outcome: str, why: str = "") -> None:
        with self._lock:
            self._outcomes[key] = outcome
            self._note(outcome, key, why)

    def acknowledged_rows(self) -> int:
        with self._lock:
            return sum(outcome == ACKNOWLEDGED for outcome in self._outcomes.values())

    def keys_so_far(self) -> frozenset:
        """Of all rows whose outcome is known: what is to be held against a server that has caught up afterwards."""
        with self._lock:
            return frozenset(key for key, outcome in self._outcomes.items() if outcome)

    def rows_found(self, server: str, found: Counter, of: frozenset) -> None:
        """A server has these rows, by their keys; `of` are those that were settled before it was asked."""
        with self._lock:
            lost = [key for key in of if self._outcomes[key] == ACKNOWLEDGED and not found[key]]
            ghosts = [key for key in of if self._outcomes[key] == REFUSED and found[key]]
            twice = [key for key, times in found.items() if times > 1]
            strange = [key for key in found if key not in self._outcomes]
        for keys, what in ((lost, "acknowledged rows are not there"), (ghosts, "rows are there whose write was refused"),
                           (twice, "rows are there more than once"), (strange, "rows are there that nobody wrote")):
            if keys:
                self.report("acknowledged", f"{server}: {len(keys)} {what}: {sorted(keys)[:10]}", tuple(sorted(keys)))

    # Counters.

    def raising(self, counter: int, value: int) -> None:
        with self._lock:
            self._tried[counter] = max(self._tried[counter], value)
            self._note("raise", counter, value)

    def raised(self, counter: int, value: int) -> None:
        with self._lock:
            self._written[counter] = max(self._written[counter], value)
            self._note("raised", counter, value)

    def promised(self) -> dict:
        """All counters as they were acknowledged by now: what a `global` read that begins after this may not miss."""
        with self._lock:
            return dict(self._written)

    def tried(self, counter: int) -> int:
        with self._lock:
            return self._tried[counter]

    def taken_back(self) -> None:
        """Somebody has seen what was not acknowledged yet, and then not any more."""
        with self._lock:
            self.seen_early += 1

    def view(self, who: str) -> "View":
        return View(self, who)

    # The sum.

    def summed(self, who: str, total: int) -> None:
        if total != self._sum:
            self.report("sum", f"{who} has seen a sum of {total}, not of {self._sum}")

    # What was found.

    def report(self, promise: str, text: str, keys: tuple = ()) -> None:
        with self._lock:
            self.violations.append(Violation(time.monotonic(), promise, text, keys))
        self.broken.set()

    def events_of(self, keys) -> list:
        """(time, what, key, …) of these rows and counters."""
        wanted = set(keys)
        with self._lock:
            return [event for event in self._events if event[2] in wanted]

    def _note(self, *event) -> None:
        self._events.append((time.monotonic(), *event))


class View:
    """What one session has seen and written. Of one thread."""

    def __init__(self, history: History, who: str):
        self._history, self._who, self._seen, self._own = history, who, {}, {}

    def wrote(self, counter: int, value: int) -> None:
        self._own[counter] = value

    def saw(self, values: dict, began: dict, is_global: bool = False) -> None:
        """It has read these counters; `began` is what was promised when the read began."""
        for counter, value in values.items():
            seen, own = self._seen.get(counter, value), self._own.get(counter, value)
            if value < own:
                self._report("session", counter, value, f"had written {own}")
            if value < seen:
                # With semi-synchronous replication a replica shows a transaction while its primary still waits to do so.
                if seen <= began.get(counter, 0):
                    self._report("session", counter, value, f"had seen {seen}")
                else:
                    self._history.taken_back()
            if is_global and value < began.get(counter, 0):
                self._report("global", counter, value, f"somebody was acknowledged {began[counter]} before")
            if value > self._history.tried(counter):
                self._report("session", counter, value, "nobody has written that")
            self._seen[counter] = max(value, seen)
        for counter in {**self._own, **began}:
            if counter not in values:
                self._report("session", counter, None, "its row was there")

    def _report(self, promise: str, counter: int, value: int | None, but: str) -> None:
        self._history.report(promise, f"{self._who} reads {value} of counter {counter}, and {but}", (counter,))


class Pulse:
    """When something last went well, and the longest time in which nothing did. Every method may be called by any thread."""

    def __init__(self, clock=time.monotonic):
        self._lock, self._clock = threading.Lock(), clock
        self._last, self._longest, self.count = clock(), 0.0, 0

    def beat(self) -> None:
        with self._lock:
            now = self._clock()
            self._longest, self._last, self.count = max(self._longest, now - self._last), now, self.count + 1

    def longest(self) -> float:
        """Since this was last asked, in seconds; a time that goes on counts up to now, and once more when it has ended."""
        with self._lock:
            longest, self._longest = max(self._longest, self._clock() - self._last), 0.0
            return longest
