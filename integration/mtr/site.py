"""A server as mariadb-test-run itself would start it, fresh, and the way to it: a relay, or Tidegate.

The options and the data are those of `include/default_mysqld.cnf` and of its bootstrap; the launcher's own accounts are
dropped, because tests print mysql.global_priv.
"""

import contextlib
import os
import re
import subprocess
import tempfile
from pathlib import Path

from launcher import tidegate
from launcher.cache import LauncherError
from launcher.client import Client
from launcher.fleet import Fleet, Shape

from . import suite
from .relay import relaying

#: mariadb-test-run's time zone for its servers.
TIME_ZONE = "GMT-3"
OPTIONS = """
skip-log-bin log-slave-updates=OFF gtid-strict-mode=OFF server-id=1 skip-name-resolve=OFF bind-address=127.0.0.1
character-set-server=latin1 collation-server=latin1_swedish_ci default-storage-engine=myisam use-stat-tables=preferably histogram-type=json_hb
log-bin-trust-function-creators=1 key-buffer-size=1M sort-buffer-size=256K max-heap-table-size=1M aria-pagecache-buffer-size=8M
max-allowed-packet=16M max-connections=151 max-connect-errors=100 back-log=80 connect-timeout=60 open-files-limit=1024 slave-net-timeout=120
innodb-buffer-pool-size=8M innodb-lru-scan-depth=100 innodb-write-io-threads=2 innodb-read-io-threads=2 innodb-log-buffer-size=2M
innodb-log-file-size=10M innodb-flush-log-at-trx-commit=1 sync-binlog=0 binlog-format=MIXED binlog-direct-non-transactional-updates
plugin-maturity=unknown log-basename=mysqld
performance-schema-accounts-size=100 performance-schema-digests-size=200 performance-schema-hosts-size=100
performance-schema-users-size=100 performance-schema-max-mutex-instances=5000 performance-schema-max-rwlock-instances=5000
performance-schema-max-file-instances=10000 performance-schema-max-table-instances=500 performance-schema-max-table-handles=1000
performance-schema-max-thread-instances=400 performance-schema-session-connect-attrs-size=2048
""".split()

#: Probes as root: an account of their own would stand in what tests print. Idle connections go soon, because tests wait until
#: the server has no more connections than at their start.
RULES = """version: 1
listen: 127.0.0.1:{port}
admin: {{http: 127.0.0.1:{http_port}}}
auth: passthrough
tls: {{certificate: {data}/server-cert.pem, key: {data}/server-key.pem}}
monitor: {{user: root}}
clusters:
  main:
    servers: ["127.0.0.1:{server}"]
    pool: {{idle_timeout: 1s}}
"""


@contextlib.contextmanager
def fresh(binary: Path | None):
    """A new server behind a Tidegate of `binary`, or behind a relay. Yields (port, the run's folder, the launcher's folder)."""
    os.environ["TZ"] = TIME_ZONE
    data = suite.installed() / "std_data"
    certificates = [f"ssl-ca={data}/cacert.pem", f"ssl-cert={data}/server-cert.pem", f"ssl-key={data}/server-key.pem"]
    with tempfile.TemporaryDirectory(prefix="mtr-", dir="/tmp") as folder:
        folder = Path(folder)
        # Tests load `../../std_data/…` and write `../../tmp/…`, seen from the data directory: mariadb-test-run's, once it runs.
        for name in ("std_data", "tmp"):
            (folder / name).symlink_to(folder / suite.VAR / name)
        tempfile.tempdir = str(folder)
        options = [("mtr", f"--{option}") for option in [*OPTIONS, *certificates, f"secure-file-priv={folder}"]]
        fleet = Fleet([Shape.parse("mtr=mariadb")], options, performance_schema=True)
        try:
            fleet.start()
            server = fleet.server("mtr-0")
            _prepare(server)
            with relaying(server.port) if binary is None else _tidegate(binary, fleet) as port:
                yield port, folder, fleet.folder
        finally:
            fleet.stop()


@contextlib.contextmanager
def _tidegate(binary: Path, fleet: Fleet):
    cluster = fleet.json()["clusters"]["mtr"]
    server, data = cluster["servers"][0], suite.installed() / "std_data"

    def rules(port: int, http_port: int) -> str:
        return RULES.format(port=port, http_port=http_port, server=server["port"], data=data)

    with tidegate.running(binary, cluster, fleet.folder, rules_of=rules) as proxy:
        yield proxy.port


def _prepare(server) -> None:
    """Makes of the launcher's data what mariadb-test-run has after its bootstrap."""
    folder = suite.installed()
    with Client(server.socket) as client:
        for row in client.query("SELECT User, Host FROM mysql.global_priv"):
            if (row["User"], row["Host"]) not in {("root", "localhost"), ("root", "127.0.0.1"), ("mariadb.sys", "localhost")}:
                client.query(f"DROP USER '{row['User']}'@'{row['Host']}'")
        client.query("UNINSTALL SONAME 'auth_ed25519'")
        client.query("DROP DATABASE shop")
        client.query("ALTER DATABASE test CHARACTER SET latin1 COLLATE latin1_swedish_ci")
        client.query("ALTER TABLE mysql.gtid_slave_pos ENGINE=Aria transactional=0")
        client.query("CREATE DATABASE mtr CHARACTER SET latin1")
    for script in ("mtr_warnings.sql", "mtr_check.sql"):
        text = (folder / "include" / script).read_text().replace("delimiter ||;", "delimiter ||")
        text = re.sub(r"(?m)^\s*--.*$", "", text)  # as mariadb-test-run does: one such line is no comment for a client
        _client(server, text, "mtr")
    timezones = folder.parent / "mysql_test_data_timezone.sql"
    _client(server, timezones.read_text(), "mysql")


def _client(server, sql: str, database: str) -> None:
    command = [str(server.installation.client), "--no-defaults", "--protocol=socket", f"--socket={server.socket}", "--user=root",
               "--default-character-set=latin1", database]
    done = subprocess.run(command, input=sql, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise LauncherError(f"cannot prepare the server for mariadb-test: {done.stderr.strip()[-800:]}")
