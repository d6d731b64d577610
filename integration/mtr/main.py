"""The command line of `integration/mtr/run`: which tests, which lists, what a difference means.

Invariant: the run fails exactly where Tidegate and the lists disagree: a test of `direct.txt` that fails and is not in
`known.txt`, or one of `known.txt` that passes.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from launcher import binaries, install
from launcher.cache import LauncherError
from launcher.control import Terminated, raise_on_termination

from . import lists, suite, workers

EXAMPLES = """
  integration/mtr/run                        every test that passes directly, through Tidegate (20 minutes on 2 cores)
  integration/mtr/run --ci                   the sample of ci.txt (4 minutes)
  integration/mtr/run --part 2/8             the second eighth
  integration/mtr/run --logs /tmp/failed sp  one test; what it leaves when it fails
  integration/mtr/run --direct sp            through a plain relay instead
  integration/mtr/run --regenerate           the whole suite through the relay; writes direct.txt

TIDEGATE_BINARY names a built program to use instead of building one (debug).
"""


def main(arguments: list) -> int:
    given = _parser().parse_args(arguments)
    try:
        raise_on_termination()
        install.install("mariadb-test")
        suite.check_version(binaries.require("mariadb").version)
        if given.regenerate:
            return _regenerate(given)
        return _compare(given)
    except LauncherError as error:
        print(f"mtr: error: {error}", file=sys.stderr)
        return 1
    except Terminated as signal_name:
        print(f"mtr: ended by {signal_name}", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="integration/mtr/run", epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     description="Suite main of Debian's mariadb-test through Tidegate in front of MariaDB.")
    parser.add_argument("tests", nargs="*", metavar="TEST", help="names without the suite; default: all of direct.txt")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--ci", action="store_true", help="only the tests of ci.txt")
    choice.add_argument("--part", type=_part, metavar="N/M", help="every Mth test of the list, from the Nth on")
    choice.add_argument("--regenerate", action="store_true", help="run everything through a relay and write direct.txt")
    parser.add_argument("--direct", action="store_true", help="through a plain relay instead of Tidegate; no list is compared")
    parser.add_argument("--jobs", type=int, default=2, help="servers at once (default %(default)s)")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="reports and logs of failures go there")
    return parser


def _part(text: str) -> tuple:
    number, slash, of = text.partition("/")
    if not slash or not number.isdigit() or not of.isdigit() or not 1 <= int(number) <= int(of):
        raise argparse.ArgumentTypeError("write N/M, e.g. 2/8")
    return int(number), int(of)


def _compare(given) -> int:
    direct, known = lists.direct(), lists.known()
    names = given.tests or (lists.ci() if given.ci else direct)
    if given.part:
        names = names[given.part[0] - 1::given.part[1]]
    outcomes = _run(names, None if given.direct else _binary(), given)
    passed = {name for name, outcome in outcomes.items() if outcome.result == "pass"}
    if given.direct:
        return 0 if len(passed) == len(names) else 1
    faults = []
    for name in sorted(set(names) - passed - set(known)):
        faults.append(f"{name}: {_why(name, outcomes[name], given)}")
    faults += [f"{name}: passes now, and stands in known.txt" for name in sorted(passed & set(known)) if not known[name].startswith(lists.SOMETIMES)]
    for fault in faults:
        print(f"mtr: {fault}", file=sys.stderr)
    print(f"mtr: {len(names)} tests, {len(passed)} pass, {len(set(names) & set(known) - passed)} known, {len(faults)} faults")
    print(f"{len(names) - len(faults)} passed, {len(faults)} failed")
    return 1 if faults else 0


def _why(name: str, outcome: suite.Outcome, given) -> str:
    """A failure that nobody knows: does it still pass directly?"""
    if outcome.result != "fail":
        return f"{outcome.result} ({outcome.why}): does not run here, though it stands in direct.txt"
    again, = workers.run([name], None, 1, None)
    return "fails through Tidegate, passes directly" if again.result == "pass" else "fails directly, too, though it stands in direct.txt"


def _regenerate(given) -> int:
    names = [name for name in suite.tests() if not suite.owns_server(name)]
    outcomes = _run(given.tests or names, None, given)
    lists.write_direct({name for name, outcome in outcomes.items() if outcome.result == "pass"}, set(outcomes))
    return 0


def _run(names: list, binary: Path | None, given) -> dict:
    started, outcomes = time.monotonic(), {}
    for outcome in workers.run(names, binary, given.jobs, given.logs):
        outcomes[outcome.name] = outcome
        if outcome.result == "fail":
            print(f"{time.monotonic() - started:6.0f} s  {len(outcomes)}/{len(names)}  {outcome.name} fails", flush=True)
    counts = {result: sum(outcome.result == result for outcome in outcomes.values()) for result in ("pass", "fail", "skipped", "disabled")}
    print(f"{'directly' if binary is None else 'through Tidegate'}: " + ", ".join(f"{count} {result}" for result, count in counts.items() if count)
          + f" in {time.monotonic() - started:.0f} s", flush=True)
    return outcomes


def _binary() -> Path:
    """The program to test: given, or built now."""
    named = os.environ.get("TIDEGATE_BINARY")
    if named:
        return Path(named).resolve()
    root = Path(__file__).resolve().parents[2]
    subprocess.run(["cargo", "build", "--quiet", "--bin", "tidegate"], cwd=root, check=True)
    metadata = subprocess.run(["cargo", "metadata", "--no-deps", "--format-version", "1"], cwd=root, check=True, capture_output=True).stdout
    return Path(json.loads(metadata)["target_directory"]) / "debug" / "tidegate"
