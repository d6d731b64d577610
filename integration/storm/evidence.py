"""What is kept when a promise was broken: logs, what happened when, the history of the rows and counters in question.

Invariant: it is copied while the servers still run; their own data goes with the run.
"""

import json
import shutil
import time
from pathlib import Path

from .history import History
from .site import Site


def keep(folder: Path, site: Site, history: History, timeline: list) -> None:
    """`timeline`: (monotonic time, text). Times in the files are UTC, as in the logs."""
    folder.mkdir(parents=True, exist_ok=True)
    for log in [*site.folder.glob("*.log"), *site.folder.glob("tidegate*.yaml")]:
        shutil.copy(log, folder)
    events = [(violation.at, f"VIOLATION ({violation.promise}): {violation.text}") for violation in history.violations]
    (folder / "timeline.txt").write_text("".join(f"{_clock(at)} {text}\n" for at, text in sorted([*timeline, *events])))
    keys = {key for violation in history.violations for key in violation.keys[:50]}
    (folder / "history.txt").write_text("".join(f"{_clock(at)} {' '.join(map(str, what))}\n" for at, *what in history.events_of(keys)))
    state = {"gtids": site.gtids(), "replication": site.replication(), "rows": {
        server: {key: found[key] for key in sorted(keys)} for server, found in site.rows_of_all().items()}}
    (folder / "servers.json").write_text(json.dumps(state, indent=1))


def _clock(at: float) -> str:
    """A monotonic time as the logs write it."""
    seconds = time.time() - time.monotonic() + at
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03}Z"
