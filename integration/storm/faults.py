"""What can happen, drawn from a seed.

Each fault has a beginning, a duration and an end that undoes it. Does not judge. Invariant: which faults are drawn, of what and for how
long depends on the seed and on who is the primary at that moment, on nothing else.
"""

import contextlib
from dataclasses import dataclass, field

from launcher.cache import LauncherError

from .network import CUT, HOLD
from .site import Site


class Fault:
    kind = ""
    #: The shortest and the longest time that it lasts, in seconds.
    lasts = (0.2, 6.0)

    def __init__(self, site: Site, dice, primary: str):
        self._site, self._primary = site, primary
        self._replicas = [server for server in site.servers if server != primary]
        self.lasts_s = round(dice.uniform(*self.lasts), 1)
        self.choose(dice)

    def choose(self, dice) -> None:
        self.server = self._primary

    def begin(self) -> None:
        raise NotImplementedError

    def end(self) -> None:
        pass

    def __str__(self) -> str:
        role = " (primary)" if self.server == self._primary else ""
        return f"{self.kind}: {self.server}{role}, {self.lasts_s} s"


class KillPrimary(Fault):
    kind = "kill-primary"

    def begin(self) -> None:
        self._site.tell(f"kill {self.server}")

    def end(self) -> None:
        self._site.tell(f"start {self.server}")


KINDS = {fault.kind: fault for fault in (KillPrimary,)}


def draw(dice, site: Site, given) -> list:
    """The faults of the next round."""
    kinds = sorted(given.only or KINDS)
    return [KINDS[dice.choice(kinds)](site, dice, site.primary())]
