"""Runs many tests: in chunks, each on a fresh server, by several processes; what fails in company is tried again alone.

A test that fails leaves tables and settings behind, so only a failure alone on a fresh server counts. Processes, not threads:
servers die with the thread that started them.
"""

import multiprocessing
import queue
import shutil
import signal
from pathlib import Path

from launcher.cache import LauncherError
from launcher.watchdog import die_with_parent

from . import site, suite
from .suite import Outcome

CHUNK = 15


def run(names: list, binary: Path | None, jobs: int, logs: Path | None):
    """Yields the outcome of each test as it is known, in no order. `logs` gets files for each failure."""
    context = multiprocessing.get_context("fork")
    todo, done = context.Queue(), context.Queue()
    size = min(CHUNK, -(-len(names) // jobs))
    for start in range(0, len(names), size):
        todo.put(names[start:start + size])
    for _ in range(jobs):
        todo.put(None)
    workers = [context.Process(target=_work, args=(todo, done, binary, logs)) for _ in range(jobs)]
    for worker in workers:
        worker.start()
    try:
        for _ in names:
            yield _next(done, workers)
    except BaseException:
        for worker in workers:
            worker.terminate()
        raise
    finally:
        for worker in workers:
            worker.join()


def _next(done, workers: list) -> Outcome:
    while True:
        try:
            outcome = done.get(timeout=5)
        except queue.Empty:
            if not any(worker.is_alive() for worker in workers):
                raise LauncherError("the workers are gone before the tests are done") from None
            continue
        if isinstance(outcome, str):
            raise LauncherError(outcome)
        return outcome


def _work(todo, done, binary: Path | None, logs: Path | None) -> None:
    die_with_parent(signal.SIGTERM)
    try:
        while chunk := todo.get():
            for outcome in _chunk(chunk, binary, logs):
                done.put(outcome)
    except Exception as error:  # whatever it is, the runner must hear of it, or it would wait
        done.put(f"a worker ended: {error!r}")
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # nothing is left to unwind


def _chunk(names: list, binary: Path | None, logs: Path | None):
    with site.fresh(binary) as (port, folder, servers):
        outcomes = {outcome.name: outcome for outcome in suite.run(names, port, folder)}
        if len(names) == 1 and logs:
            _keep(outcomes.get(names[0]), folder, servers, logs)
    for name in names:
        outcome = outcomes.get(name)
        if len(names) > 1 and (outcome is None or outcome.result == "fail"):
            yield from _chunk([name], binary, logs)
        else:
            yield outcome or Outcome(name, "fail", "mariadb-test-run ended before this test")


def _keep(outcome: Outcome | None, folder: Path, servers: Path, logs: Path) -> None:
    """What a failure leaves: its report, Tidegate's log, and how far it came."""
    if outcome is None or outcome.result != "fail":
        return
    logs.mkdir(parents=True, exist_ok=True)
    (logs / f"{outcome.name}.report").write_text(outcome.why)
    kept = {"tidegate": servers / "tidegate.log", "server": servers / "mtr-0.log", "log": folder / suite.VAR / "log" / f"{outcome.name}.log"}
    for kind, path in kept.items():
        if path.exists():
            shutil.copy(path, logs / f"{outcome.name}.{kind}")
