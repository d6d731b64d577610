#!/usr/bin/env python3
"""The demo's tour: starts Tidegate in front of the servers of `TIDEGATE_SERVERS`, runs some statements in one session of
the ordinary client, and prints for each which server answered and why.

The fact is the servers' own word: each statement carries a marker, and the server whose general log has it answered.
The reason is Tidegate's: `tidegate route`. Ends with status 1 when a statement went where it should not.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from launcher import fleet, tidegate  # noqa: E402
from launcher.cache import LauncherError  # noqa: E402
from launcher.client import Client  # noqa: E402

USER, PASSWORD = "app", "app-pw"
TIMEOUT_S = 60
#: What each cluster has before the tour.
SHARDED = ("CREATE TABLE shop.customers (id INT PRIMARY KEY, name VARCHAR(40)); "
           "CREATE TABLE shop.orders (id BIGINT AUTO_INCREMENT PRIMARY KEY, customer_id INT NOT NULL, product VARCHAR(40), KEY (customer_id))")
TABLES = {
    "main": "CREATE TABLE shop.products (id INT PRIMARY KEY, name VARCHAR(40), price DECIMAL(8,2)); "
            "INSERT INTO shop.products VALUES (1, 'anchor', 89.00), (2, 'rope', 7.20), (3, 'lantern', 24.90); "
            # There Tidegate keeps which instance makes which ids, and the journal of definitions.
            "GRANT CREATE, SELECT, INSERT, UPDATE, DELETE ON tidegate.* TO tidegate@'%'",
    "east": SHARDED,
    "west": SHARDED,
}


@dataclass(frozen=True)
class Step:
    sql: str
    at: str                 # the servers that must answer, "CLUSTER ROLE" each; ANY for a statement that need not reach one
    because: str = ""       # the session's reason, where the statement alone does not tell
    refused: str = ""       # the name of the reason, where Tidegate must refuse it


ANY = "any"
TOUR = (
    Step("SELECT name, price FROM shop.products WHERE id = 1", "main replica"),
    Step("SELECT COUNT(*) FROM shop.products", "main replica"),
    Step("WITH cheap AS (SELECT * FROM shop.products WHERE price < 10) SELECT name FROM cheap", "main replica"),
    Step("INSERT INTO shop.products VALUES (4, 'kite', 12.50)", "main primary"),
    Step("UPDATE shop.products SET price = price * 2 WHERE id = 2", "main primary"),
    Step("SELECT price FROM shop.products WHERE id = 2 FOR UPDATE", "main primary"),
    Step("/* tidegate: primary */ SELECT price FROM shop.products WHERE id = 2", "main primary"),
    Step("SELECT @@read_only", "main primary"),
    Step("START TRANSACTION", ANY, "opens a transaction"),
    Step("SELECT price FROM shop.products WHERE id = 3", "main primary", "inside a read-write transaction"),
    Step("DELETE FROM shop.products WHERE id = 4", "main primary"),
    Step("COMMIT", ANY, "ends the transaction"),
    Step("START TRANSACTION READ ONLY", ANY, "opens a read-only transaction"),
    Step("SELECT name FROM shop.products WHERE id = 2", "main replica", "inside a read-only transaction"),
    Step("COMMIT", ANY, "ends the transaction"),
    Step("SELECT name FROM shop.products ORDER BY price LIMIT 1", "main replica"),
    # Two tables are split by the customer over two shards, which are clusters of their own.
    Step("INSERT INTO shop.customers (id, name) VALUES (1, 'Ada')", "east primary"),
    Step("INSERT INTO shop.customers (id, name) VALUES (2, 'Bo')", "west primary"),
    Step("INSERT INTO shop.orders (id, customer_id, product) VALUES (10, 1, 'lantern')", "east primary"),
    Step("INSERT INTO shop.orders (id, customer_id, product) VALUES (11, 2, 'rope')", "west primary"),
    Step("SELECT product FROM shop.orders WHERE customer_id = 2", "west replica"),
    Step("SELECT c.name, o.product FROM shop.customers c JOIN shop.orders o ON o.customer_id = c.id WHERE c.id = 1", "east replica"),
    Step("SELECT COUNT(*) FROM shop.orders", "east replica, west replica"),
    Step("SELECT id, product FROM shop.orders ORDER BY id DESC LIMIT 1", "east replica, west replica"),
    Step("EXPLAIN TIDEGATE SELECT COUNT(*) FROM shop.orders", "", "tells where the statement would go, and runs nothing"),
    # The rules have Tidegate make the orders' ids: no two are the same, in whatever shard, and the session knows them as from AUTO_INCREMENT.
    Step("INSERT INTO shop.orders (customer_id, product) VALUES (2, 'compass')", "west primary"),
    Step("SELECT product FROM shop.orders WHERE customer_id = 2 AND id = LAST_INSERT_ID()", "west primary"),
    Step("INSERT INTO shop.orders (customer_id, product) VALUES (1, 'chart'), (2, 'chart')", "east primary, west primary"),
    # Every shard has it, the home's journal and the replicas' logs speak of it, too.
    Step("ALTER TABLE shop.orders ADD COLUMN note VARCHAR(40)", ANY),
    Step("UPDATE shop.orders SET note = 'paid' WHERE customer_id = 1 AND id = 10", "east primary"),
    Step("DELETE FROM shop.orders WHERE id = 10", "", refused="write-without-key"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, type=Path)
    parser.add_argument("--once", action="store_true", help="end after the tour")
    given = parser.parse_args()
    servers = json.loads(Path(os.environ["TIDEGATE_SERVERS"]).read_text())
    clusters = servers["clusters"]
    cluster = clusters["main"]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        for name, tables in TABLES.items():
            _prepare(clusters[name], tables)
        _log_statements(servers)
        with tidegate.running(given.binary, cluster, Path(servers["dir"]), rules_of=lambda *ports: _rules(clusters, *ports)) as proxy:
            wrong = _tour(given.binary, proxy, servers)
            if not given.once:
                _stay(proxy, cluster)
    except LauncherError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 1 if wrong else 0


def _prepare(cluster: dict, tables: str) -> None:
    """The tour's tables, present on every server of the cluster before the tour starts."""
    primary, *replicas = cluster["servers"]
    with Client(primary["socket"]) as source:
        source.query(tables)
        for replica in replicas:
            with Client(replica["socket"]) as client:
                fleet.wait_caught_up(source, client, cluster["dialect"], replica["name"])


def _log_statements(servers: dict) -> None:
    for _, server in _servers(servers):
        with Client(server["socket"]) as client:
            client.query("SET GLOBAL log_output = 'FILE'; SET GLOBAL general_log_file = 'general.log'; SET GLOBAL general_log = ON")


def _rules(clusters: dict, port: int, http_port: int) -> str:
    """On a busy machine, too, a replica has the time to get what was just written: the tour says that it answers. And ids are made only ten
    seconds after the first start of all, for which an INSERT waits as for a primary."""
    listed = "\n".join(f"  {name}: {{reads: {{wait: 5s}}, pool: {{primary_wait: 20s}}, servers: [" + ", ".join(f"'{server['host']}:{server['port']}'" for server in cluster["servers"]) + "]}"
                       for name, cluster in clusters.items())
    return f"""version: 1
listen: 127.0.0.1:{port}
admin: {{http: 127.0.0.1:{http_port}}}
monitor: {{user: tidegate, password: monitor-pw}}
default_cluster: main
clusters:
{listed}
databases:
  shop:
    home: {{cluster: main, schema: shop}}
    keyspaces:
      customer:
        method: hash
        key_type: integer
        slots: 1024
        shards:
          east: {{cluster: east, schema: shop, slots: 0-511}}
          west: {{cluster: west, schema: shop, slots: 512-1023}}
        tables:
          customers: id
          orders: {{key: customer_id, generate: {{id: snowflake}}}}
"""


def _servers(servers: dict) -> list:
    """Each server with its cluster's name."""
    return [(name, server) for name, cluster in servers["clusters"].items() for server in cluster["servers"]]


def _tour(binary: Path, proxy, servers: dict) -> int:
    cluster = servers["clusters"]["main"]
    print(f"\nTidegate in front of {cluster['dialect']} {cluster['version']}: " +
          ", ".join(f"{server['name']} ({server['role']}, port {server['port']})" for _, server in _servers(servers)) + "\n")
    marker = f"tour {os.getpid()}"
    statements = "".join(f"{step.sql} /* {marker}.{n} */;\n" for n, step in enumerate(TOUR))
    errors = _run_session(servers, cluster, proxy, statements)
    wrong = 0
    for number, step in enumerate(TOUR):
        answered = [(name, server) for name, server in _servers(servers) if f"/* {marker}.{number} */" in _general_log(server)]
        at = ", ".join(f"{name} {server['role']}" for name, server in answered)
        error = errors.pop(0) if step.refused and errors else ""
        as_expected = step.refused in error and step.at in (ANY, at)
        wrong += not as_expected
        where = ", ".join(f"{server['name']} ({server['role']})" for _, server in answered) or "Tidegate itself"
        print(f"  {step.sql}\n    → {where}{'' if as_expected else f'   WRONG: expected {step.at or step.refused}'}\n"
              f"      {error or step.because or _reason(binary, proxy, step.sql)}")
    wrong += len(errors)
    print("".join(f"\n  WRONG: {error}" for error in errors) + f"\n{len(TOUR)} statements, {wrong} at the wrong server")
    return wrong


def _run_session(servers: dict, cluster: dict, proxy, sql: str) -> list:
    """One session of the ordinary client; `--comments` keeps the markers in the statements. What was refused, in order."""
    done = subprocess.run([*_client(servers, cluster), "--no-defaults", "--host=127.0.0.1", f"--port={proxy.port}", f"--user={USER}",
                           "--batch", "--comments", "--force"], input=sql, capture_output=True, text=True, timeout=TIMEOUT_S,
                          env={**os.environ, "MYSQL_PWD": PASSWORD})
    errors = re.findall(r"^ERROR (.*)", done.stderr, re.MULTILINE)
    if done.returncode and not errors:
        raise LauncherError(f"the client failed: {done.stderr.strip()}")
    return [re.sub(r" at line \d+", "", error) for error in errors]


def _client(servers: dict, cluster: dict) -> list:
    client = servers["clients"].get(cluster["dialect"])
    if not client:
        raise LauncherError("no mysql or mariadb client is installed: run `integration/servers install tools`")
    return [client]


def _general_log(server: dict) -> str:
    return (Path(server["datadir"]) / "general.log").read_text(errors="replace")


def _reason(binary: Path, proxy, sql: str) -> str:
    done = subprocess.run([str(binary), "route", "--config", str(proxy.config), sql], capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode:
        raise LauncherError(f"tidegate route failed: {done.stderr.strip()}")
    found = dict(re.findall(r'(class|role|reason)=("[^"]*"|\S+)', done.stdout))
    found |= dict(re.findall(r"^ *(makes|on|sites|merge) +(.*)", done.stdout, re.MULTILINE))
    return ", ".join(f"{key} {found[key]}" for key in ("class", "role", "reason", "makes", "on", "sites", "merge") if key in found)


def _stay(proxy, cluster: dict) -> None:
    print(f"""
It stays until Ctrl-C. Connect to it:

  mysql://{USER}:{PASSWORD}@127.0.0.1:{proxy.port}/shop
  {'mysql' if cluster['dialect'] == 'mysql' else 'mariadb'} -h 127.0.0.1 -P {proxy.port} -u {USER} -p{PASSWORD} shop
  http://127.0.0.1:{proxy.http_port}/metrics
  {proxy.config}
""", flush=True)
    status = proxy.process.wait()
    raise LauncherError(f"tidegate ended with status {status}; its log: {proxy.log.read_text(errors='replace')[-2000:]}")


if __name__ == "__main__":
    sys.exit(main())
