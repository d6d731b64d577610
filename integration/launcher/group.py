"""Clusters without one primary for good: MariaDB's Galera, MySQL's Group Replication.

Owns: the options of their members, how they come together, how one comes back. Invariant: members' data directories are copies of one
template, so the first of them founds a group that the others join without copying anything.
"""

import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from .accounts import ADMIN_LOGIN
from .cache import LauncherError
from .ports import take_port
from .server import Server

JOIN_TIMEOUT_S = 60
GROUP = "6f1b2f0a-0000-11ee-8000-000000000001"
GALERA_LIBRARY = "/usr/lib/galera/libgalera_smm.so"
ONLINE = ("SELECT COUNT(*) FROM performance_schema.replication_group_members "
          "WHERE member_id = @@server_uuid AND member_state = 'ONLINE'")
SYNCED = "SHOW GLOBAL STATUS LIKE 'wsrep_local_state_comment'"


def prepare(servers: list, dialect: str) -> None:
    """Gives the members of one group their options; before any of them is spawned."""
    ports = [take_port() for _ in servers]
    seeds = ",".join(f"127.0.0.1:{port}" for port in ports)
    for place, (server, port) in enumerate(zip(servers, ports)):
        server.options[:0] = _group_replication(seeds, port) if dialect == "mysql" else _galera(server, seeds, port)
        if dialect == "mariadb":
            _write_position(server, 0, founds=place == 0)


def start(servers: list, dialect: str) -> None:
    """From the main thread: the servers die with the thread that made them."""
    if dialect == "mariadb":
        for place, server in enumerate(servers):
            server.spawn(["--wsrep-new-cluster"] if place == 0 else [])
            server.wait_ready()
            wait_joined(server, dialect)
        return
    for server in servers:
        server.spawn()
    with ThreadPoolExecutor(len(servers)) as pool:
        list(pool.map(Server.wait_ready, servers))
    for place, server in enumerate(servers):
        with server.connect(JOIN_TIMEOUT_S) as client:
            client.query("CHANGE REPLICATION SOURCE TO SOURCE_USER='repl', SOURCE_PASSWORD='repl-pw' FOR CHANNEL 'group_replication_recovery'")
            client.query(f"SET GLOBAL group_replication_bootstrap_group = {int(place == 0)}")
            client.query("START GROUP_REPLICATION")
            client.query("SET GLOBAL group_replication_bootstrap_group = OFF")
        wait_joined(server, dialect)


def start_again(server: Server, dialect: str) -> None:
    """A member that was stopped or killed, while others of its group are there."""
    if dialect == "mariadb":
        _write_position(server, _recovered(server), founds=False)
    server.spawn()
    server.wait_ready()
    if dialect == "mysql":
        with server.connect(JOIN_TIMEOUT_S) as client:
            client.query("START GROUP_REPLICATION")
    wait_joined(server, dialect)


def wait_joined(server: Server, dialect: str) -> None:
    deadline = time.monotonic() + JOIN_TIMEOUT_S
    while True:
        with server.connect() as client:
            joined = client.value(ONLINE) == "1" if dialect == "mysql" else client.query(SYNCED)[0]["Value"] == "Synced"
        if joined:
            return
        if time.monotonic() > deadline:
            raise LauncherError(f"{server.name} did not join its group within {JOIN_TIMEOUT_S} s\n{server.log_tail()}")
        time.sleep(0.05)


def _group_replication(seeds: str, port: int) -> list:
    return ["--performance-schema=ON", "--plugin-load-add=group_replication.so", f"--loose-group-replication-group-name={GROUP}",
            f"--loose-group-replication-local-address=127.0.0.1:{port}", f"--loose-group-replication-group-seeds={seeds}",
            "--loose-group-replication-start-on-boot=OFF", "--loose-group-replication-communication-stack=XCOM",
            "--loose-group-replication-recovery-get-public-key=ON", "--loose-group-replication-member-expel-timeout=0"]


def _galera(server: Server, seeds: str, port: int) -> list:
    # A state transfer by rsync wants a daemon that does not run as root; by mysqldump it wants a login alone.
    return ["--wsrep-on=ON", f"--wsrep-provider={GALERA_LIBRARY}", f"--wsrep-cluster-address=gcomm://{seeds}", "--wsrep-cluster-name=tidegate",
            f"--wsrep-node-name={server.name}", f"--wsrep-node-address=127.0.0.1:{port}", "--wsrep-sst-method=mysqldump",
            f"--wsrep-sst-receive-address=127.0.0.1:{server.port}", f"--wsrep-sst-auth={ADMIN_LOGIN}", "--innodb-autoinc-lock-mode=2",
            f"--wsrep-provider-options=base_port={port};gmcast.listen_addr=tcp://127.0.0.1:{port};ist.recv_addr=127.0.0.1:{take_port()};"
            "gcache.size=16M;gcache.recover=yes;evs.keepalive_period=PT0.3S;evs.suspect_timeout=PT3S;evs.inactive_timeout=PT15S;evs.inactive_check_period=PT0.2S"]


def _write_position(server: Server, number: int, founds: bool) -> None:
    (server.datadir / "grastate.dat").write_text(
        f"# GALERA saved state\nversion: 2.1\nuuid:    {GROUP}\nseqno:   {number}\nsafe_to_bootstrap: {int(founds)}\n")


def _recovered(server: Server) -> int:
    """The last transaction that a member has on disk."""
    done = subprocess.run([*server.command(), "--wsrep-recover", "--disable-log-error"], capture_output=True, text=True, timeout=JOIN_TIMEOUT_S)
    found = re.findall(rf"Recovered position: {GROUP}:(-?\d+)", done.stderr + done.stdout)
    if not found:
        raise LauncherError(f"{server.name} has no position to come back with\n{done.stderr[-2000:]}")
    return int(found[-1])
