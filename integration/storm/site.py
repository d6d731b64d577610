"""The cluster and its Tidegates: who is the primary, is all whole again, what only a person may mend.

Talks to the servers over their sockets, past the relays, and to the launcher by its control socket. Does not know faults. Invariant:
replicas and Tidegate reach a server at its relay's address only.
"""

import contextlib
import json
import re
import socket
import subprocess
import time
import urllib.request
from collections import Counter
from pathlib import Path

from launcher import tidegate
from launcher.cache import LauncherError
from launcher.client import Client, SqlError
from launcher.ports import take_port

from .clients import SCHEMA, counters
from .network import Network

#: A server that was asked something that waits for nothing.
PROMPT_S = 10
PACE_S = 0.05
PATIENCE_S = 90
#: A server may be kept out by its own transactions; Tidegate looks at it again that often.
CATCH_UP_S = 90

#: Words of the dialects: show the replication status, and its columns source port, receiving and applying thread.
STATUS = {"mysql": ("SHOW REPLICA STATUS", "Source_Port", "Replica_IO_Running", "Replica_SQL_Running"),
          "mariadb": ("SHOW SLAVE STATUS", "Master_Port", "Slave_IO_Running", "Slave_SQL_Running")}
EXECUTED = {"mysql": "@@global.gtid_executed", "mariadb": "@@global.gtid_binlog_pos"}
WAIT = {"mysql": "WAIT_FOR_EXECUTED_GTID_SET", "mariadb": "MASTER_GTID_WAIT"}
HISTORY = {"mysql": "@@global.gtid_executed", "mariadb": "@@global.gtid_binlog_state"}
REPLICA = {"mysql": "REPLICA", "mariadb": "SLAVE"}
#: Semi-synchronous replication's side of the source: whether it waits for acknowledgements, also without a replica.
WAITS = {"mysql": ("rpl_semi_sync_source_enabled", "rpl_semi_sync_source_wait_no_replica"),
         "mariadb": ("rpl_semi_sync_master_enabled", "rpl_semi_sync_master_wait_no_slave")}
SEMI_SYNC_CLIENTS = {"mysql": "Rpl_semi_sync_source_clients", "mariadb": "Rpl_semi_sync_master_clients"}


class Broken(Exception):
    """The cluster does not become whole."""


class Site:
    def __init__(self, description: dict, network: Network, promotes: bool):
        """`promotes`: Tidegate does; else it follows."""
        self._description, self.network, self.promotes = description, network, promotes
        self.cluster = description["clusters"]["main"]
        self.dialect, self.folder = self.cluster["dialect"], Path(description["dir"])
        self.servers = {server["name"]: server for server in self.cluster["servers"]}
        self.proxies = {}
        for name, server in self.servers.items():
            network.know(name, server["pid"])

    # Starting.

    @contextlib.contextmanager
    def tidegate(self, binary: Path, name: str):
        """One instance in front of the relays; clients reach it at `way_in(name)`."""
        console = take_port()
        with tidegate.running(binary, self.cluster, self.folder, name=name,
                              rules_of=lambda port, http: tidegate.plain_rules(
                                  map(self.address, self.servers), port, http, self.way_in(name), console, self.promotes)) as proxy:
            proxy.console_port = console
            self.network.know(name, proxy.process.pid)
            self.proxies[name] = proxy
            yield proxy

    def way_in(self, name: str) -> Path:
        return self.folder / f"{name}.sock"

    def address(self, server: str) -> str:
        return f"127.0.0.1:{self.network.port(server)}"

    def prepare(self) -> None:
        """Replication over the relays, the workload's tables."""
        first, *others = self.servers
        with self.root(first) as root:
            self.lead(root)
        for replica in others:
            self.follow(replica, first)
        with self.root(first) as root:
            root.query(SCHEMA)
            root.query("INSERT INTO test.counter VALUES " + ", ".join(f"({counter}, 0)" for counter in counters()))
        self.until(lambda: self.servers_not_whole() or self.behind(), "replication by way of the relays")

    # One server.

    def root(self, server: str, timeout_s: float = PROMPT_S) -> Client:
        return Client(self.servers[server]["socket"], timeout_s)

    def tell(self, line: str) -> dict:
        """A command of the launcher; a server that it starts is known to the relays before it answers anybody else's question."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE_S)
            connection.connect(self._description["control"])
            connection.sendall(line.encode() + b"\n")
            answer = json.loads(connection.makefile().readline())
        if not answer["ok"]:
            raise LauncherError(f"{line}: {answer['error']}")
        server = answer["server"]
        if server["pid"]:
            self.network.know(server["name"], server["pid"])
        return server

    def lead(self, root: Client) -> None:
        """Lets a server take writes, as somebody would by hand: it acknowledges none alone."""
        enabled, alone = WAITS[self.dialect]
        root.query(f"SET GLOBAL {alone} = ON, GLOBAL {enabled} = ON")
        root.query("SET GLOBAL read_only = OFF")

    def follow(self, replica: str, primary: str) -> None:
        """As somebody would by hand; its applier waits for nobody."""
        port = self.network.port(primary)
        with self.root(replica) as root:
            root.query(f"SET GLOBAL {WAITS[self.dialect][0]} = OFF")
            if self.dialect == "mysql":
                root.query("STOP REPLICA; SET GLOBAL super_read_only = ON; "
                           f"CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={port}, SOURCE_USER='repl', "
                           "SOURCE_PASSWORD='repl-pw', SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1, SOURCE_CONNECT_RETRY=1, "
                           "SOURCE_RETRY_COUNT=1000000, SOURCE_HEARTBEAT_PERIOD=1; START REPLICA")
            else:
                root.query("STOP SLAVE; SET GLOBAL read_only = ON; SET GLOBAL gtid_slave_pos = @@global.gtid_binlog_pos; "
                           f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={port}, MASTER_USER='repl', MASTER_PASSWORD='repl-pw', "
                           "MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1, MASTER_HEARTBEAT_PERIOD=1; START SLAVE")

    def read_only(self, server: str) -> None:
        """Sets it read only. On MariaDB that waits for a statement that waits for a row lock, whose owner waits for the end of this one:
        who asks must give up and ask again."""
        def refusal() -> str | None:
            try:
                with self.root(server) as root:
                    root.query("SET SESSION lock_wait_timeout = 1")
                    root.query(f"SET GLOBAL {'super_' if self.dialect == 'mysql' else ''}read_only = ON")
            except SqlError as error:
                return str(error)
            return None

        self.until(refusal, f"{server}, to be set read only")

    def hand_over(self, old: str, new: str) -> None:
        """A planned change of the primary without Tidegate."""
        self.read_only(old)
        with self.root(old) as root:
            wanted = self._executed(root)
        if lacks := self._lacks(new, wanted):
            raise Broken(lacks)
        with self.root(new) as root:
            replica = REPLICA[self.dialect]
            root.query(f"STOP {replica}; RESET {replica} ALL")
            self.lead(root)
        for server in self.servers:
            if server != new:
                self.follow(server, new)

    def wake(self, server: str) -> None:
        """The primary was restarted, and is read only as its configuration says: somebody lets it write again."""
        if not self.promotes and not self.writable():
            with self.root(server) as root:
                if not root.query(STATUS[self.dialect][0]):
                    self.lead(root)

    def go_on(self, server: str) -> None:
        """It had no space: where its applier or receiver has stopped at that, it does not begin again by itself."""
        with contextlib.suppress(OSError, SqlError), self.root(server, 2) as root:
            if root.query(STATUS[self.dialect][0]):
                root.query(f"START {REPLICA[self.dialect]}")

    def writable(self) -> list:
        """The servers that take writes, of those that answer."""
        found = []
        for server in self.servers:
            with contextlib.suppress(OSError, SqlError), self.root(server, 2) as root:
                if root.value("SELECT @@global.read_only") == "0":
                    found.append(server)
        return found

    def primary(self) -> str:
        found = self.writable()
        if len(found) != 1:
            raise Broken(f"writable are {found}")
        return found[0]

    # All of them.

    def until(self, missing, what: str, patience_s: float = PATIENCE_S) -> None:
        """Asks at a pace until nothing is missing."""
        deadline = time.monotonic() + patience_s
        while lacks := missing():
            if time.monotonic() > deadline:
                raise Broken(f"{what}: after {patience_s:.0f} s still: {lacks}")
            time.sleep(PACE_S)

    def servers_not_whole(self) -> str | None:
        """What is missing: one server is writable, the others follow it, and it waits for their acknowledgements."""
        show, port, receives, applies = STATUS[self.dialect]
        writable, followed = [], []
        for server in self.servers:
            try:
                with self.root(server, 2) as root:
                    if root.value("SELECT @@global.read_only") == "0":
                        writable.append(server)
                        semi_sync = root.query(f"SHOW GLOBAL STATUS LIKE '{SEMI_SYNC_CLIENTS[self.dialect]}'")
                        if not semi_sync or int(semi_sync[0]["Value"]) < len(self.servers) - 1:
                            return f"{server} has not all replicas to acknowledge: {semi_sync}"
                        continue
                    rows = root.query(show)
            except (OSError, SqlError) as error:
                return f"{server}: {error}"
            if len(rows) != 1 or not rows[0][receives] == rows[0][applies] == "Yes":
                said = {key: value for row in rows for key, value in row.items() if key in (receives, applies) or "_Error" in key and value}
                return f"{server} is read only and does not replicate: {said}"
            followed.append(int(rows[0][port]))
        if len(writable) != 1:
            return f"writable are {writable}"
        if followed != [self.network.port(writable[0])] * (len(self.servers) - 1):
            return f"{writable[0]} is writable; the others follow ports {followed}"
        return None

    def tidegates_not_whole(self) -> str | None:
        """What is missing: each instance sees the primary, and that the others are up and read from."""
        primary = self.primary()
        for name, proxy in self.proxies.items():
            if proxy.process.poll() is not None:
                raise Broken(f"{name} has ended with {proxy.process.returncode}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{proxy.http_port}/metrics", timeout=PROMPT_S) as answer:
                    text = answer.read().decode()
            except OSError as error:
                return f"{name}: {error}"
            roles = dict(re.findall(r'tidegate_server_role\{server="([^"]+)",role="([^"]+)"\} 1', text))
            shares = {server: float(share) for server, share in re.findall(r'tidegate_server_read_share\{server="([^"]+)"\} (\S+)', text)}
            for server in self.servers:
                wanted = "primary" if server == primary else "replica"
                if roles.get(self.address(server)) != wanted:
                    return f"{name} takes {server} for {roles.get(self.address(server))}, not {wanted}"
                if wanted == "replica" and not shares.get(self.address(server)):
                    return f"{name} reads nothing from {server}"
        return None

    def behind(self) -> str | None:
        """Who lacks what the primary has now; asked by waiting for it."""
        primary = self.primary()
        with self.root(primary) as root:
            wanted = self._executed(root)
        return next((lacks for server in self.servers if server != primary and (lacks := self._lacks(server, wanted))), None)

    def _executed(self, root: Client) -> str:
        return root.value(f"SELECT {EXECUTED[self.dialect]}").replace("\n", "")

    def _lacks(self, server: str, gtids: str) -> str | None:
        with self.root(server, CATCH_UP_S + PROMPT_S) as root:
            if root.value(f"SELECT {WAIT[self.dialect]}('{gtids}', {CATCH_UP_S})") != "0":
                return f"{server} has not applied {gtids} in {CATCH_UP_S} s"
        return None

    def gtids(self) -> dict:
        """What each server has executed, by who wrote it; of those that answer."""
        found = {}
        for server in self.servers:
            with contextlib.suppress(OSError, SqlError), self.root(server, 2) as root:
                history = root.value(f"SELECT {HISTORY[self.dialect]}").replace("\n", "")
                found[server] = ",".join(sorted(history.split(",")))
        return found

    def diverged(self) -> list:
        """Servers that do not replicate and have transactions that the primary lacks: only a person may throw those away."""
        writable = self.writable()
        if len(writable) != 1:
            return []
        show, _, receives, _ = STATUS[self.dialect]
        apart, histories = [], self.gtids()
        for server in histories:
            with contextlib.suppress(OSError, SqlError), self.root(server, 2) as root:
                if server not in writable and not any(row[receives] != "No" for row in root.query(show)):
                    apart.append(server)
        if not apart:
            return []
        with self.root(writable[0]) as root:
            main = root.value(f"SELECT {HISTORY[self.dialect]}").replace("\n", "")
            if self.dialect == "mysql":
                return [server for server in apart if root.value(f"SELECT GTID_SUBTRACT('{histories[server]}', '{main}')")]
        known = _last(main)
        return [server for server in apart if any(last > known.get(writer, 0) for writer, last in _last(histories[server]).items())]

    def rebuild(self, server: str) -> None:
        """As a person would: with new data, from the primary's binary log."""
        primary = self.primary()
        self.tell(f"empty {server}")
        self.follow(server, primary)

    def rows(self, server: str) -> Counter:
        """The keys in the ledger, and how often each is there."""
        with self.root(server, CATCH_UP_S) as root:
            return Counter(int(row["written"]) for row in root.query("SELECT written FROM test.ledger"))

    def rows_of_all(self) -> dict:
        """The same of all servers that answer."""
        found = {}
        for server in self.servers:
            with contextlib.suppress(OSError, SqlError):
                found[server] = self.rows(server)
        return found

    def replication(self) -> dict:
        """What each server says of whom it follows and what it does; of those that answer."""
        found = {}
        for server in self.servers:
            with contextlib.suppress(OSError, SqlError), self.root(server, 2) as root:
                found[server] = {"read_only": root.value("SELECT @@global.read_only"), "status": root.query(STATUS[self.dialect][0]),
                                 "processes": root.query("SHOW FULL PROCESSLIST")}
        return found

    def sum(self, server: str) -> int:
        with self.root(server, CATCH_UP_S) as root:
            return int(root.value("SELECT SUM(balance) FROM test.account"))

    def counters(self, server: str) -> dict:
        with self.root(server, CATCH_UP_S) as root:
            return {int(row["id"]): int(row["value"]) for row in root.query("SELECT id, value FROM test.counter")}

    def console(self, name: str, order: str, timeout_s: float = PATIENCE_S) -> str | None:
        """Gives an order at the SQL console; what was wrong, if so."""
        done = subprocess.run(self._at_console(name, order), capture_output=True, text=True, timeout=timeout_s)
        return (done.stderr.strip() or f"status {done.returncode}") if done.returncode else None

    def crash(self, name: str, order: str, after_s: float) -> None:
        """Kills an instance some time after it was given an order, which it may be about to carry out."""
        ordered = subprocess.Popen(self._at_console(name, order), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            ordered.wait(after_s)
        self.proxies[name].crash()
        ordered.wait(PATIENCE_S)

    def start_again(self, name: str) -> None:
        proxy = self.proxies[name]
        proxy.start_again()
        self.network.know(name, proxy.process.pid)

    def _at_console(self, name: str, order: str) -> list:
        user, password = tidegate.CONSOLE_USER
        clients = self._description["clients"]
        client = clients.get(self.dialect) or next(iter(clients.values()))
        return [client, "-h127.0.0.1", f"-P{self.proxies[name].console_port}", f"-u{user}", f"-p{password}", "-e", order]


def _last(state: str) -> dict:
    """Of MariaDB's gtid_binlog_state: domain and server, and the last number that it wrote."""
    positions = (each.split("-") for each in state.split(",") if each)
    return {(domain, server): int(last) for domain, server, last in positions}
