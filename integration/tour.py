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


@dataclass(frozen=True)
class Step:
    sql: str
    role: str               # that must answer; "any" for statements that need not reach a server
    because: str = ""       # the session's reason, where the statement alone does not tell


TOUR = (
    Step("SELECT name, price FROM shop.products WHERE id = 1", "replica"),
    Step("SELECT COUNT(*) FROM shop.products", "replica"),
    Step("WITH cheap AS (SELECT * FROM shop.products WHERE price < 10) SELECT name FROM cheap", "replica"),
    Step("INSERT INTO shop.products VALUES (4, 'kite', 12.50)", "primary"),
    Step("UPDATE shop.products SET price = price * 2 WHERE id = 2", "primary"),
    Step("SELECT price FROM shop.products WHERE id = 2 FOR UPDATE", "primary"),
    Step("/* tidegate: primary */ SELECT price FROM shop.products WHERE id = 2", "primary"),
    Step("SELECT @@read_only", "primary"),
    Step("START TRANSACTION", "any", "opens a transaction"),
    Step("SELECT price FROM shop.products WHERE id = 3", "primary", "inside a read-write transaction"),
    Step("DELETE FROM shop.products WHERE id = 4", "primary"),
    Step("COMMIT", "any", "ends the transaction"),
    Step("START TRANSACTION READ ONLY", "any", "opens a read-only transaction"),
    Step("SELECT name FROM shop.products WHERE id = 2", "replica", "inside a read-only transaction"),
    Step("COMMIT", "any", "ends the transaction"),
    Step("SELECT name FROM shop.products ORDER BY price LIMIT 1", "replica"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, type=Path)
    parser.add_argument("--once", action="store_true", help="end after the tour")
    given = parser.parse_args()
    servers = json.loads(Path(os.environ["TIDEGATE_SERVERS"]).read_text())
    cluster = servers["clusters"]["main"]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        _prepare(cluster)
        with tidegate.running(given.binary, cluster, Path(servers["dir"])) as proxy:
            wrong = _tour(given.binary, proxy, servers, cluster)
            if not given.once:
                _stay(proxy, cluster)
    except LauncherError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 1 if wrong else 0


def _prepare(cluster: dict) -> None:
    """The tour's table, present on every server before the tour starts, and the servers' logs of all statements."""
    primary, *replicas = cluster["servers"]
    with Client(primary["socket"]) as client:
        client.query("CREATE TABLE shop.products (id INT PRIMARY KEY, name VARCHAR(40), price DECIMAL(8,2)); "
                     "INSERT INTO shop.products VALUES (1, 'anchor', 89.00), (2, 'rope', 7.20), (3, 'lantern', 24.90)")
    for replica in replicas:
        with Client(replica["socket"]) as client, Client(primary["socket"]) as source:
            fleet.wait_caught_up(source, client, cluster["dialect"], replica["name"])
    for server in cluster["servers"]:
        with Client(server["socket"]) as client:
            client.query("SET GLOBAL log_output = 'FILE'; SET GLOBAL general_log_file = 'general.log'; SET GLOBAL general_log = ON")


def _tour(binary: Path, proxy, servers: dict, cluster: dict) -> int:
    print(f"\nTidegate in front of {cluster['dialect']} {cluster['version']}: " +
          ", ".join(f"{s['name']} ({s['role']}, port {s['port']})" for s in cluster["servers"]) + "\n")
    marker = f"tour {os.getpid()}"
    _run_session(servers, cluster, proxy, "".join(f"{step.sql} /* {marker}.{n} */;\n" for n, step in enumerate(TOUR)))
    wrong = 0
    for number, step in enumerate(TOUR):
        answered = [s for s in cluster["servers"] if f"/* {marker}.{number} */" in _general_log(s)]
        where = ", ".join(f"{s['name']} ({s['role']})" for s in answered) or "Tidegate itself"
        as_expected = step.role == "any" or [s["role"] for s in answered] == [step.role]
        wrong += not as_expected
        print(f"  {step.sql}\n    → {where}{'' if as_expected else f'   WRONG: a {step.role} should have'}\n"
              f"      {step.because or _reason(binary, proxy, step.sql)}")
    print(f"\n{len(TOUR)} statements, {wrong} at the wrong server")
    return wrong


def _run_session(servers: dict, cluster: dict, proxy, sql: str) -> None:
    """One session of the ordinary client; `--comments` keeps the markers in the statements."""
    done = subprocess.run([*_client(servers, cluster), "--no-defaults", "--host=127.0.0.1", f"--port={proxy.port}", f"--user={USER}",
                           "--batch", "--comments"], input=sql, capture_output=True, text=True, timeout=TIMEOUT_S,
                          env={**os.environ, "MYSQL_PWD": PASSWORD})
    if done.returncode:
        raise LauncherError(f"the client failed: {done.stderr.strip()}")


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
    return ", ".join(f"{key} {found[key]}" for key in ("class", "role", "reason") if key in found)


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
