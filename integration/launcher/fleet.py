"""All servers of one run: clusters, replication, and the JSON that describes them.

Invariant: servers are spawned from the main thread (they die with the thread that made them); waiting is parallel.
"""

import re
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import accounts, binaries, disks, group, template
from .cache import LauncherError
from .certificates import certificates
from .client import Client
from .ports import take_port
from .server import Server
from .watchdog import Watchdog

CATCH_UP_TIMEOUT_S = 60


@dataclass(frozen=True)
class Shape:
    """`main=mysql+2`: a cluster's name, dialect and number of replicas; `main=mariadb*3`: a group of three equal members."""
    name: str
    dialect: str
    servers: int
    is_group: bool

    @staticmethod
    def parse(text: str) -> "Shape":
        match = re.fullmatch(r"([a-z][a-z0-9_]*)=(mysql|mariadb)(?:\+(\d{1,2})|\*([1-9]))?", text)
        if not match:
            raise LauncherError(f"--cluster {text}: write NAME=mysql+2, NAME=mariadb+1, NAME=mysql, or NAME=mariadb*3 (lower-case name)")
        return Shape(match[1], match[2], int(match[4] or int(match[3] or 0) + 1), bool(match[4]))


@dataclass
class Cluster:
    shape: Shape
    installation: binaries.Installation
    template: Path
    servers: list


class Fleet:
    def __init__(self, shapes: list, options: list, performance_schema: bool, apart: bool = False, disk_mib: int = 0):
        names = [shape.name for shape in shapes]
        if not names or len(set(names)) != len(names):
            raise LauncherError("give --cluster at least once, each with a name of its own")
        known = {"all", *names, *(f"{s.name}-{i}" for s in shapes for i in range(100))}
        for target, _ in options:
            if target not in known:
                raise LauncherError(f"--opt {target}: no cluster or server has this name")
        self._apart, self._disk_mib = apart, disk_mib
        self._options = ([("all", "--performance-schema=ON")] if performance_schema else []) + options
        self._certificates = certificates()
        self._server_ids = iter(range(1, 10_000))
        self.clusters = {}
        for shape in shapes:
            installation = binaries.require(shape.dialect)
            self.clusters[shape.name] = Cluster(shape, installation, template.template(installation, self._certificates), [])
        # A Unix socket's path has at most 107 bytes; a deep $TMPDIR leaves no room for the servers' names.
        self.folder = Path(tempfile.mkdtemp(prefix="tidegate-", dir="/tmp" if len(tempfile.gettempdir()) > 60 else None))
        self._watchdog = Watchdog(self.folder)

    def start(self) -> None:
        servers = []
        for cluster in self.clusters.values():
            servers += [self._new_server(cluster) for _ in range(cluster.shape.servers)]
        with ThreadPoolExecutor(len(servers)) as pool:
            list(pool.map(self._copy_template, servers))
            for cluster in self._clusters(groups=True):
                group.prepare(cluster.servers, cluster.shape.dialect)
                group.start(cluster.servers, cluster.shape.dialect)
            by_replication = [(cluster, server) for cluster in self._clusters(groups=False) for server in cluster.servers]
            for _, server in by_replication:
                server.spawn()
            list(pool.map(lambda pair: pair[1].wait_ready(), by_replication))
            replicas = [(cluster, server) for cluster, server in by_replication if server.role == "replica"]
            list(pool.map(lambda pair: _replicate(*pair), replicas))

    def start_again(self, server: Server, more: list = ()) -> None:
        """A server that was stopped or killed."""
        cluster = self._cluster_of(server)
        if cluster.shape.is_group:
            group.start_again(server, cluster.shape.dialect)
        else:
            server.spawn(more)
            server.wait_ready()

    def stop(self) -> None:
        """Everything goes: nothing here outlives the run, so there is no graceful shutdown to wait for."""
        for server in self.servers():
            server.kill()
        disks.unmount_below(self.folder)
        self._watchdog.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def servers(self) -> list:
        return [server for cluster in self.clusters.values() for server in cluster.servers]

    def server(self, name: str) -> Server:
        for server in self.servers():
            if server.name == name:
                return server
        raise LauncherError(f"no server {name!r}: there are {', '.join(s.name for s in self.servers())}")

    def add(self, cluster_name: str) -> Server:
        """One more replica; it replays the primary's whole binary log."""
        cluster = self.clusters.get(cluster_name)
        if not cluster or cluster.shape.is_group:
            raise LauncherError(f"no cluster with replicas {cluster_name!r}: there are {', '.join(self.clusters)}")
        server = self._new_server(cluster)
        try:
            self._copy_template(server)
            server.spawn()
            server.wait_ready()
            _replicate(cluster, server)
        except BaseException:
            server.kill()
            cluster.servers.remove(server)  # its name is free again, so its directory must be too
            self._remove_data(server)
            raise
        return server

    def empty(self, name: str) -> Server:
        """The server comes back with new data: no row, no transaction, nobody to follow. It has another server id: a replica skips in
        its source's binary log what carries its own."""
        server = self.server(name)
        server.kill()
        server.server_id = next(self._server_ids)
        self._remove_data(server)
        self._copy_template(server)
        server.spawn()
        server.wait_ready()
        return server

    def disk(self, server: Server) -> Path:
        """The server's own filesystem."""
        if not self._disk_mib:
            raise LauncherError(f"{server.name} has no filesystem of its own: start it with --disk")
        return server.datadir

    def json(self) -> dict:
        dialects = {cluster.shape.dialect for cluster in self.clusters.values()}
        return {
            "dir": str(self.folder),
            "control": str(self.folder / "control.sock"),
            "clusters": {name: {"dialect": cluster.shape.dialect, "version": cluster.installation.version,
                                "servers": [server.json() for server in cluster.servers]}
                         for name, cluster in self.clusters.items()},
            "accounts": [account.json() for dialect in binaries.DIALECTS if dialect in dialects for account in accounts.accounts(dialect)],
            "clients": {cluster.shape.dialect: str(cluster.installation.client) for cluster in self.clusters.values()
                        if cluster.installation.client},
            "ca": self._certificates["ca"],
            "tls": self._certificates,
        }

    def _new_server(self, cluster: Cluster) -> Server:
        name = f"{cluster.shape.name}-{len(cluster.servers)}"
        options = [option for target, option in self._options if target in ("all", cluster.shape.name, name)]
        role = "member" if cluster.shape.is_group else "replica" if cluster.servers else "primary"
        server = Server(name, role, cluster.installation, self.folder, take_port(),
                        next(self._server_ids), self._certificates, self._watchdog, options, self._apart)
        cluster.servers.append(server)
        return server

    def _copy_template(self, server: Server) -> None:
        if self._disk_mib:
            disks.mount(server.datadir, self._disk_mib)
        template.copy(self._cluster_of(server).template, server.datadir)

    @staticmethod
    def _remove_data(server: Server) -> None:
        disks.unmount(server.datadir)
        shutil.rmtree(server.datadir, ignore_errors=True)

    def _cluster_of(self, server: Server) -> Cluster:
        return next(cluster for cluster in self.clusters.values() if server in cluster.servers)

    def _clusters(self, groups: bool) -> list:
        return [cluster for cluster in self.clusters.values() if cluster.shape.is_group == groups]


def _replicate(cluster: Cluster, replica: Server) -> None:
    """Points the replica at the cluster's primary by GTID and waits until it runs and has caught up."""
    primary = cluster.servers[0]
    with replica.connect(CATCH_UP_TIMEOUT_S + 10) as client:
        if cluster.shape.dialect == "mysql":
            client.query(f"CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={primary.port}, SOURCE_USER='repl', "
                         "SOURCE_PASSWORD='repl-pw', SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1, SOURCE_CONNECT_RETRY=1, "
                         "SOURCE_RETRY_COUNT=1000000, SOURCE_HEARTBEAT_PERIOD=1")
            client.query("START REPLICA")
        else:
            client.query(f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={primary.port}, MASTER_USER='repl', "
                         "MASTER_PASSWORD='repl-pw', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1, MASTER_HEARTBEAT_PERIOD=1")
            client.query("START SLAVE")
        _wait_running(client, cluster.shape.dialect, replica)
        with primary.connect() as source:
            wait_caught_up(source, client, cluster.shape.dialect, replica.name)


def _wait_running(client: Client, dialect: str, replica: Server) -> None:
    show, names = ("SHOW REPLICA STATUS", ("Replica_IO_Running", "Replica_SQL_Running")) if dialect == "mysql" else \
        ("SHOW SLAVE STATUS", ("Slave_IO_Running", "Slave_SQL_Running"))
    deadline = time.monotonic() + CATCH_UP_TIMEOUT_S
    while True:
        status = client.query(show)[0]
        if all(status[name] == "Yes" for name in names):
            return
        errors = [status[name] for name in ("Last_IO_Error", "Last_SQL_Error") if status[name]]
        if time.monotonic() > deadline or (status["Last_SQL_Error"]):
            raise LauncherError(f"{replica.name} does not replicate: {'; '.join(errors) or status}\n{replica.log_tail()}")
        time.sleep(0.05)


def wait_caught_up(primary: Client, replica: Client, dialect: str, name: str) -> None:
    """Until the replica has executed what the primary has now."""
    position, wait = ("@@GLOBAL.gtid_executed", "WAIT_FOR_EXECUTED_GTID_SET") if dialect == "mysql" else \
        ("@@GLOBAL.gtid_binlog_pos", "MASTER_GTID_WAIT")
    gtid = primary.value(f"SELECT {position}").replace("\n", "")
    if gtid and replica.value(f"SELECT {wait}('{gtid}', {CATCH_UP_TIMEOUT_S})") != "0":
        raise LauncherError(f"{name} did not catch up within {CATCH_UP_TIMEOUT_S} s")


def deadlocks(primary: Client, dialect: str) -> int:
    """Deadlocks on this server so far; on MySQL also lock waits that ran out of time."""
    if dialect == "mariadb":
        return int(primary.query("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")[0]["Value"])
    return int(primary.value("SELECT SUM(COUNT) FROM information_schema.innodb_metrics WHERE NAME IN ('lock_deadlocks', 'lock_timeouts')"))
