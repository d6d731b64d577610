"""`--strict`: a primary acknowledges nothing that no replica has, also when it has lost all of them; replicas do not wait themselves.

Both servers' semi-synchronous replication asks for one setting on a primary and for the opposite on a replica, whose applier would wait
for replicas of its own. Nobody but whoever promotes can set it; Tidegate does not, so this stands in for an operator's own watch.
Invariant: a server's own word decides: it is writable and follows nobody, or not.
"""

import contextlib
import threading

from launcher.client import SqlError

from .site import STATUS, Site

#: Between two looks at a server: for so long a new primary may acknowledge what no replica has, until the first follows it.
PACE_S = 0.05
WAIT = {"mysql": "rpl_semi_sync_source_wait_no_replica", "mariadb": "rpl_semi_sync_master_wait_no_slave"}


@contextlib.contextmanager
def kept(site: Site):
    leave = threading.Event()
    threads = [threading.Thread(target=_keep, args=(site, server, leave), daemon=True) for server in site.servers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        leave.set()


def _keep(site: Site, server: str, leave: threading.Event) -> None:
    """A thread for each server: one that hangs keeps no other waiting."""
    wait = WAIT[site.dialect]
    while not leave.is_set():
        with contextlib.suppress(OSError, SqlError), site.root(server) as root:
            while not leave.wait(PACE_S):
                leads = root.value("SELECT @@global.read_only") == "0" and not root.query(STATUS[site.dialect][0])
                if root.value(f"SELECT @@global.{wait}") != str(int(leads)):
                    root.query(f"SET GLOBAL {wait} = {int(leads)}")
        leave.wait(PACE_S)
