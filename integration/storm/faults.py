"""What can happen, drawn from a seed.

Each fault has a beginning, a duration and an end that undoes it. Does not judge. Invariant: which faults are drawn, of what and for how
long depends on the seed and on who is the primary at that moment, on nothing else.
"""

import contextlib

from launcher.client import SqlError

from .network import CUT, HOLD, PASS
from .site import REPLICA, Site

#: How often a second fault comes while the first goes on.
TWO_AT_A_TIME = 0.3


class Fault:
    kind = ""
    #: The shortest and the longest time that it lasts, in seconds.
    lasts = (0.2, 6.0)
    #: A fault of whom: the primary, a replica, or either.
    whom = "either"

    def __init__(self, site: Site, dice, primary: str):
        self._site, self._dice, self._primary = site, dice, primary
        self._replicas = [server for server in site.servers if server != primary]
        self.lasts_s = round(dice.uniform(*self.lasts), 1)
        candidates = {"primary": [primary], "replica": self._replicas, "either": [primary, primary, *self._replicas]}
        self.server = dice.choice(candidates[self.whom])
        self.detail = ""
        self.choose()

    @property
    def touches(self) -> set:
        """The servers that it needs as they are."""
        return {self.server}

    def choose(self) -> None:
        """What else is drawn."""

    def begin(self) -> None:
        raise NotImplementedError

    def end(self) -> None:
        pass

    def __str__(self) -> str:
        role = "primary" if self.server == self._primary else "replica"
        return f"{self.kind} {self.server} ({role}){self.detail}, {self.lasts_s} s"


class Kill(Fault):
    kind = "kill"

    def begin(self) -> None:
        self._site.tell(f"kill {self.server}")

    def end(self) -> None:
        self._site.tell(f"start {self.server}")


class Restart(Fault):
    kind, lasts = "restart", (0.0, 1.0)

    def begin(self) -> None:
        self._site.tell(f"stop {self.server}")

    def end(self) -> None:
        self._site.tell(f"start {self.server}")


class Pause(Fault):
    kind, lasts = "pause", (0.5, 9.0)

    def begin(self) -> None:
        self._site.tell(f"pause {self.server}")

    def end(self) -> None:
        self._site.tell(f"resume {self.server}")


class _Links(Fault):
    """Some links are reset, held or slow."""

    lasts = (0.5, 9.0)
    ways = (CUT, HOLD)

    def choose(self) -> None:
        self.way = self._dice.choice(self.ways)
        self.links = self.drawn()
        self.detail = f": {self.way} {', '.join('→'.join(link) for link in self.links)}"

    def drawn(self) -> list:
        raise NotImplementedError

    def begin(self) -> None:
        for who, server in self.links:
            self._site.network.link(who, server, self.way)

    def end(self) -> None:
        for who, server in self.links:
            self._site.network.link(who, server, PASS)


class CutTidegate(_Links):
    """Tidegate, or one of them, does not reach a server."""

    kind = "cut-tidegate"

    def drawn(self) -> list:
        names = list(self._site.proxies)
        return [(name, self.server) for name in self._dice.choice([names, names[:1], names[-1:]])]


class CutReplication(_Links):
    """Replicas, or one of them, do not reach the primary."""

    kind, whom = "cut-replication", "primary"

    def drawn(self) -> list:
        return [(replica, self.server) for replica in self._dice.choice([self._replicas, self._replicas[:1], self._replicas[1:]])]


class Isolate(_Links):
    """Nobody reaches a server, and it reaches nobody."""

    kind = "isolate"

    def drawn(self) -> list:
        others = [server for server in self._site.servers if server != self.server]
        return [(who, self.server) for who in [*self._site.proxies, *others]] + [(self.server, other) for other in others]


class Slow(_Links):
    """Everything that goes to a server takes longer."""

    kind, ways = "slow", (PASS,)

    def choose(self) -> None:
        super().choose()
        self._delay_s = self._dice.choice([0.002, 0.01, 0.05])
        self.detail = f": {self._delay_s * 1000:.0f} ms"

    def drawn(self) -> list:
        return [(who, self.server) for who in [*self._site.proxies, *self._site.servers] if who != self.server]

    def begin(self) -> None:
        for who, server in self.links:
            self._site.network.link(who, server, PASS, self._delay_s)


class Lag(Fault):
    """A replica, or both, apply nothing for a while: their thread is stopped, or it waits for a lock."""

    kind, whom, lasts = "lag", "replica", (0.5, 6.0)

    def choose(self) -> None:
        self._late = self._dice.choice([[self.server], self._replicas])
        self._locks = self._dice.random() < 0.5
        self.detail = f": {'lock' if self._locks else 'stopped applier'} on {', '.join(self._late)}"
        self._open = contextlib.ExitStack()

    @property
    def touches(self) -> set:
        return {*self._late}

    def begin(self) -> None:
        for server in self._late:
            if self._locks:
                self._open.enter_context(self._site.root(server)).query("LOCK TABLES test.ledger READ, test.counter READ, test.account READ")
            else:
                self._sql_thread(server, "STOP")

    def end(self) -> None:
        if self._locks:
            with contextlib.suppress(SqlError, OSError):  # the server may have been killed meanwhile
                self._open.close()
        else:
            for server in self._late:
                with contextlib.suppress(SqlError, OSError):  # or made the primary: it follows nobody then
                    self._sql_thread(server, "START")

    def _sql_thread(self, server: str, verb: str) -> None:
        with self._site.root(server) as root:
            root.query(f"{verb} {REPLICA[self._site.dialect]} SQL_THREAD")


class ReadOnly(Fault):
    """Somebody sets the primary read only, and takes that back."""

    kind, whom, lasts = "read-only", "primary", (0.2, 4.0)

    def begin(self) -> None:
        self._site.read_only(self.server)

    def end(self) -> None:
        if not self._site.writable():
            with self._site.root(self.server) as root:
                root.query("SET GLOBAL read_only = OFF")


class Writable(Fault):
    """Somebody makes a replica writable by mistake, and takes that back. Nobody writes there."""

    kind, whom, lasts = "writable", "replica", (0.2, 3.0)

    def begin(self) -> None:
        with self._site.root(self.server) as root:
            root.query("SET GLOBAL read_only = OFF")

    def end(self) -> None:
        with self._site.root(self.server) as root:
            follows = root.query(f"SHOW {REPLICA[self._site.dialect]} STATUS")
        if follows:  # it is the primary otherwise
            self._site.read_only(self.server)


class Switchover(Fault):
    """An operator orders it at a console; in follow mode it is done by hand at the servers."""

    kind, whom, lasts = "switchover", "replica", (0.0, 0.2)

    def choose(self) -> None:
        self.refused = None

    def begin(self) -> None:
        if self._site.promotes:
            name = self._dice.choice(list(self._site.proxies))
            self.refused = self._site.console(name, f"SWITCHOVER TO '{self._site.address(self.server)}'")
        else:
            self._site.hand_over(self._primary, self.server)


class Crash(Fault):
    """A Tidegate is killed, most often in the middle of a switchover, and started again."""

    kind, whom, lasts = "crash", "replica", (0.0, 4.0)

    def choose(self) -> None:
        self._name, self._after_s = self._dice.choice(list(self._site.proxies)), round(self._dice.uniform(0.1, 1.2), 2)
        self.detail = f": {self._name}, {self._after_s} s after the order to hand over to it"

    def begin(self) -> None:
        self._site.crash(self._name, f"SWITCHOVER TO '{self._site.address(self.server)}'", self._after_s)

    def end(self) -> None:
        self._site.start_again(self._name)


class Disk(Fault):
    """A server's filesystem is full. Then there is space again; or somebody ends the server first, as where no space can be made."""

    kind = "disk"

    def choose(self) -> None:
        self._killed = self._dice.random() < 0.5
        self.detail = ": killed, then space" if self._killed else ": space"

    def begin(self) -> None:
        self._site.tell(f"fill {self.server}")

    def end(self) -> None:
        if self._killed:
            self._site.tell(f"kill {self.server}")
        if self._site.tell(f"free {self.server}")["state"] == "stopped":  # MariaDB may have ended itself
            self._site.tell(f"start {self.server}")
        self._site.go_on(self.server)


KINDS = {fault.kind: fault for fault in (Kill, Restart, Pause, CutTidegate, CutReplication, Isolate, Slow, Lag, ReadOnly, Writable, Switchover, Crash, Disk)}


def draw(dice, site: Site, only: list) -> list:
    """The faults of the next round: one, or two of different servers."""
    kinds, primary = sorted(only), site.primary()
    first = KINDS[dice.choice(kinds)](site, dice, primary)
    if dice.random() >= TWO_AT_A_TIME or isinstance(first, (Switchover, Crash)):
        return [first]
    second = KINDS[dice.choice(kinds)](site, dice, primary)
    return [first] if isinstance(second, (Switchover, Crash)) or second.touches & first.touches else [first, second]
