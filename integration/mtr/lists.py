"""The lists beside this file: which tests pass directly, which of them are known to fail through Tidegate and why, and CI's sample."""

from pathlib import Path

from launcher.cache import LauncherError

HERE = Path(__file__).resolve().parent
#: A reason that begins so: the test passes or fails by which server connection it gets; neither is a fault.
SOMETIMES = "sometimes: "
#: Reasons that explain nothing.
EMPTY_REASONS = ("pending", "todo", "fails", "unknown", "later")


def direct() -> list:
    return _lines("direct.txt")


def ci() -> list:
    names = _lines("ci.txt")
    strange = sorted(set(names) - set(direct()))
    if strange:
        raise LauncherError(f"ci.txt names tests that are not in direct.txt: {', '.join(strange)}")
    return names


def known() -> dict:
    """Name → reason."""
    found = {}
    for line in _lines("known.txt"):
        name, tab, reason = line.partition("\t")
        if not tab or len(reason) < 20 or reason.removeprefix(SOMETIMES).lower().startswith(EMPTY_REASONS):
            raise LauncherError(f"known.txt: {name!r}: write the test's name, a tab, and why it cannot pass")
        if name in found:
            raise LauncherError(f"known.txt: {name} stands there twice")
        found[name] = reason
    strange = sorted(set(found) - set(direct()))
    if strange:
        raise LauncherError(f"known.txt names tests that are not in direct.txt: {', '.join(strange)}")
    return found


def write_direct(passed: set, ran: set) -> None:
    """Takes in a run through the relay; tests that were not run stay as they were."""
    path = HERE / "direct.txt"
    head = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    path.write_text(head + "".join(f"{name}\n" for name in sorted(set(direct()) - ran | passed)))


def _lines(name: str) -> list:
    """Without comments and empty lines."""
    return [line for line in (HERE / name).read_text().splitlines() if line.strip() and not line.startswith("#")]
