"""The command line, the rounds, the report; see `integration/chaos`."""

import argparse
import contextlib
import json
import os
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from launcher.cache import LauncherError
from launcher.client import SqlError

from . import clients, evidence, faults
from .clients import ACCOUNTS, BALANCE, Statistics
from .history import History
from .network import Network
from .site import Broken, Site

#: All must be whole again by then: a server that had no space looks once a minute whether it has some.
WHOLE_S = 90
#: For so long a server must stay apart until it is rebuilt: while a promotion goes on, replicas are apart for a moment, too.
APART_S = 3
#: Ordinary work before a fault, and after it before the next.
CALM_S = (0.5, 1.5)


def main() -> int:
    parser = argparse.ArgumentParser(prog="integration/chaos", description=__doc__)
    parser.add_argument("--binary", required=True, type=Path)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--faults", type=int, default=30)
    parser.add_argument("--time", type=float, default=float("inf"), help="seconds after which no further fault begins")
    parser.add_argument("--instances", type=int, default=1, help="of Tidegate")
    parser.add_argument("--follow", action="store_true", help="without promotions by Tidegate")
    parser.add_argument("--disk", action="store_true", help="the servers have small filesystems of their own: `disk` is among the faults")
    parser.add_argument("--only", action="append", choices=sorted(faults.KINDS), help="kinds of faults (repeatable)")
    parser.add_argument("--keep", type=Path, default=Path("chaos-evidence"), help="where to keep what shows a violation's cause")
    given = parser.parse_args()
    given.only = given.only or sorted(faults.KINDS.keys() - ({faults.Disk.kind} if not given.disk else set()))
    if faults.Disk.kind in given.only and not given.disk:
        parser.error("the fault `disk` needs --disk")
    description = json.loads(Path(os.environ["TIDEGATE_SERVERS"]).read_text())
    cluster = description["clusters"]["main"]
    print(f"chaos: {cluster['dialect']} {cluster['version']}, seed {given.seed}, {given.instances} × Tidegate "
          f"{'that follows' if given.follow else 'that promotes'}", flush=True)
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(Network({server["name"]: server["port"] for server in cluster["servers"]}))
        site = Site(description, network, promotes=not given.follow)
        site.prepare()
        names = ["tidegate", *(f"tidegate-{number}" for number in range(2, given.instances + 1))]
        for name in names:
            stack.enter_context(site.tidegate(given.binary, name))
        return Run(site, names, given).judge()


class Run:
    def __init__(self, site: Site, names: list, given):
        self._site, self._names, self._given = site, names, given
        self._dice = random.Random(given.seed)
        self._history, self._statistics, self._leave = History(ACCOUNTS * BALANCE), Statistics(), threading.Event()
        self._by_kind, self._unavailable, self._rebuilt = Counter(), [], 0
        self._timeline = []

    def judge(self) -> int:
        site, history = self._site, self._history
        sessions = clients.crowd([site.way_in(name) for name in self._names], history, self._statistics, self._leave)
        for session in sessions:
            session.start()
        started = time.monotonic()
        try:
            site.until(site.tidegates_not_whole, "the start")
            while sum(self._by_kind.values()) < self._given.faults and time.monotonic() - started < self._given.time and not history.violations:
                self._round()
            self._end(sessions)
        except (Broken, LauncherError, SqlError, OSError) as error:
            history.report("whole", f"{type(error).__name__}: {error}")
        folder = self._given.keep / f"{site.dialect}-{self._given.seed}"
        if history.violations:
            evidence.keep(folder, site, history, self._timeline)
            print(f"chaos: what shows the cause is in {folder}", file=sys.stderr)
        self._leave.set()
        self._report()
        return 1 if history.violations else 0

    def _round(self) -> None:
        """One fault, or two at a time, and everything whole again."""
        self._calm()
        statistics, site = self._statistics, self._site
        statistics.writes.longest(), statistics.reads.longest()
        chosen = faults.draw(self._dice, site, self._given.only)
        errors = sum(statistics.errors.values())
        begun, primary = time.monotonic(), site.primary()
        with contextlib.ExitStack() as stack:
            for number, fault in enumerate(chosen):
                if number:
                    self._history.broken.wait(self._dice.uniform(0, 2))
                self._by_kind[fault.kind] += 1
                self._note(f"{sum(self._by_kind.values())}: {fault}")
                stack.callback(fault.end)
                fault.begin()
            self._history.broken.wait(max(fault.lasts_s for fault in chosen))
        ended = time.monotonic()
        site.wake(primary)
        rebuilt = self._until_whole()
        whole = time.monotonic()
        self._calm()
        writes, reads = statistics.writes.longest(), statistics.reads.longest()
        self._unavailable.append((writes, reads, " and ".join(map(str, chosen))))
        self._note(f"   lasted {ended - begun:.1f} s, whole after {whole - ended:.1f} s more; without writes {writes:.2f} s, without reads {reads:.2f} s; "
                   f"errors {sum(statistics.errors.values()) - errors}" + (f"; rebuilt {', '.join(rebuilt)}" if rebuilt else ""))
        self._check_rows()
        if isinstance(chosen[0], faults.Switchover):
            self._check_switchover(chosen[0], sum(statistics.errors.values()) - errors)

    def _check_switchover(self, order: faults.Switchover, errors: int) -> None:
        if order.refused:
            self._history.report("switchover", f"{order}: {order.refused}")
        elif self._site.promotes and errors:
            self._history.report("switchover", f"{order}: {errors} errors of clients")

    def _until_whole(self) -> list:
        """What only a person may mend is mended: a server with transactions that the primary lacks gets new data."""
        site, rebuilt, apart_since = self._site, [], {}

        def missing():
            lacks = site.servers_not_whole()
            apart = site.diverged() if lacks else []
            now = time.monotonic()
            for server in site.servers:
                if server not in apart:
                    apart_since.pop(server, None)
                elif now - apart_since.setdefault(server, now) > APART_S:
                    rebuilt.append(server)
                    site.rebuild(server)
            return lacks

        site.until(missing, "the servers", WHOLE_S)
        site.until(site.behind, "the replicas", WHOLE_S)
        site.until(site.tidegates_not_whole, "Tidegate", WHOLE_S)
        written = self._statistics.writes.count
        site.until(lambda: self._statistics.writes.count == written and "nothing is written", "writes", WHOLE_S)
        self._rebuilt += len(rebuilt)
        return rebuilt

    def _check_rows(self) -> None:
        """What was acknowledged is on all servers; what that is is fixed before they are asked."""
        site, history = self._site, self._history
        of, began = history.keys_so_far(), history.promised()
        if lacks := site.behind():
            raise Broken(lacks)
        for server in site.servers:
            history.rows_found(server, site.rows(server), of)
            history.summed(server, site.sum(server))
            history.view(server).saw(site.counters(server), began, is_global=True)

    def _end(self, sessions: list) -> None:
        self._leave.set()
        for session in sessions:
            session.join(clients.HANGS_S + 10)
            if session.is_alive():
                self._history.report("hangs", f"{session.name} does not end")
        self._check_rows()
        if len(set(self._site.gtids().values())) > 1:
            self._history.report("acknowledged", f"the servers' transactions differ when nothing is written any more: {self._site.gtids()}")

    def _calm(self) -> None:
        self._history.broken.wait(self._dice.uniform(*CALM_S))

    def _note(self, text: str) -> None:
        self._timeline.append((time.monotonic(), text))
        print(text, flush=True)

    def _report(self) -> None:
        statistics, history = self._statistics, self._history
        print(f"\nseed {self._given.seed}: {sum(self._by_kind.values())} faults: {_counts(self._by_kind)}; rebuilt {self._rebuilt}")
        print(f"statements {sum(statistics.done.values())}: {_counts(statistics.done)}")
        print(f"acknowledged rows {history.acknowledged_rows()}, acknowledged writes {statistics.writes.count}, reads {statistics.reads.count}")
        print(f"errors {_counts(statistics.errors) or 'none'}; slowest statement {statistics.slowest[0]:.1f} s ({statistics.slowest[1]})")
        for index, what in enumerate(("writes", "reads")):
            if self._unavailable:
                worst = max(self._unavailable, key=lambda each: each[index])
                print(f"longest time without {what}: {worst[index]:.2f} s ({worst[2]})")
        print(f"seen before it was acknowledged, and then for a moment not: {history.seen_early}")
        for violation in history.violations[:20]:
            print(f"VIOLATION ({violation.promise}): {violation.text}", file=sys.stderr)
        print(f"{len(history.violations)} violations")


def _counts(counts: Counter) -> str:
    return ", ".join(f"{what} {count}" for what, count in counts.most_common())


if __name__ == "__main__":
    sys.exit(main())
