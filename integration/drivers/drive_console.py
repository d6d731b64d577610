"""Tidegate's SQL console with every client: PyMySQL, mysql-connector-python, mysql2 (Node), and the C clients whose paths are the
arguments. TIDEGATE_CONSOLE_PORT, TIDEGATE_CONSOLE_USER and TIDEGATE_CONSOLE_PASSWORD tell where; the rest is endpoint.py's."""

import contextlib
import json
import os
import ssl
import subprocess
import sys
from pathlib import Path

import mysql.connector
import pymysql

import endpoint
from endpoint import Deviation, eventually, same, true

HERE = Path(__file__).resolve().parent
PORT = int(os.environ["TIDEGATE_CONSOLE_PORT"])
USER, PASSWORD = os.environ["TIDEGATE_CONSOLE_USER"], os.environ["TIDEGATE_CONSOLE_PASSWORD"]
ACCOUNT = dict(host=endpoint.host, port=PORT, user=USER, password=PASSWORD)
TABLES = ["digests", "pins", "pools", "servers", "sessions", "variables"]
#: What DBeaver and its like ask when they connect and open a database (with MySQL's JDBC driver).
BROWSING = [
    "/* mysql-connector-j-8.4.0 */SELECT  @@session.auto_increment_increment AS auto_increment_increment, @@character_set_client AS character_set_client, "
    "@@character_set_connection AS character_set_connection, @@character_set_results AS character_set_results, @@character_set_server AS "
    "character_set_server, @@collation_server AS collation_server, @@collation_connection AS collation_connection, @@init_connect AS init_connect, "
    "@@interactive_timeout AS interactive_timeout, @@license AS license, @@lower_case_table_names AS lower_case_table_names, @@max_allowed_packet AS "
    "max_allowed_packet, @@net_write_timeout AS net_write_timeout, @@performance_schema AS performance_schema, @@sql_mode AS sql_mode, "
    "@@system_time_zone AS system_time_zone, @@time_zone AS time_zone, @@transaction_isolation AS transaction_isolation, @@wait_timeout AS wait_timeout",
    "/* ApplicationName=DBeaver 24.2 - Metadata */ SHOW ENGINES",
    "/* ApplicationName=DBeaver 24.2 - Metadata */ SHOW CHARSET",
    "/* ApplicationName=DBeaver 24.2 - Metadata */ SHOW COLLATION",
    "/* ApplicationName=DBeaver 24.2 - Metadata */ SHOW PLUGINS",
    "/* ApplicationName=DBeaver 24.2 - Metadata */ SELECT DATABASE()",
    "/* ApplicationName=DBeaver 24.2 - Metadata */ SELECT @@GLOBAL.character_set_server,@@GLOBAL.collation_server",
    "/* ApplicationName=DBeaver 24.2 - Metadata */ SHOW VARIABLES LIKE 'lower_case_table_names'",
    "/* ApplicationName=DBeaver 24.2 - Metadata */ SHOW FULL TABLES FROM `tidegate`",
    "/* ApplicationName=DBeaver 24.2 - Metadata */ SHOW TABLE STATUS FROM `tidegate`",
    "/* ApplicationName=DBeaver 24.2 - Metadata */ SELECT * FROM information_schema.TABLES t WHERE t.TABLE_SCHEMA = 'tidegate' AND t.TABLE_NAME = 'pins'",
    "/* ApplicationName=DBeaver 24.2 - Metadata */ SELECT * FROM information_schema.COLUMNS c WHERE c.TABLE_SCHEMA='tidegate' AND c.TABLE_NAME='pins' "
    "ORDER BY c.ORDINAL_POSITION",
    "/* ApplicationName=DBeaver 24.2 - Metadata */ SHOW INDEX FROM `pins` FROM `tidegate`",
    "/* ApplicationName=DBeaver 24.2 - Metadata */ SHOW TRIGGERS FROM `tidegate`",
    "SELECT * FROM tidegate.pins LIMIT 0, 200",
    "SHOW SESSION STATUS LIKE 'Threads%'",
    "SHOW WARNINGS",
]


@contextlib.contextmanager
def pinned_session():
    """A session of the proxy that has something to show."""
    tls = ssl._create_unverified_context() if endpoint.tls else None
    client = pymysql.connect(host=endpoint.host, port=endpoint.port, user=endpoint.user, password=endpoint.password, ssl=tls, ssl_disabled=not tls)
    try:
        with client.cursor() as cursor:
            cursor.execute("SELECT GET_LOCK(%s, 10)", (f"console-{os.getpid()}",))
            # What is shown of a session is written when its client has the answer already.
            eventually("the session and its pin are shown", lambda: shown(client.thread_id(), tls), (("idle", "user lock"),))
            yield client.thread_id()
    finally:
        client.close()


def shown(session: int, tls):
    with pymysql.connect(**ACCOUNT, ssl=tls, ssl_disabled=not tls) as console, console.cursor() as cursor:
        cursor.execute("SELECT state, pins FROM sessions WHERE id = %s", (session,))
        return cursor.fetchall()


def with_pymysql():
    tls = ssl._create_unverified_context() if endpoint.tls else None
    with pinned_session() as session, pymysql.connect(**ACCOUNT, database="tidegate", ssl=tls, ssl_disabled=not tls) as console:
        same("encrypted", isinstance(console._sock, ssl.SSLSocket), endpoint.tls)
        cursor = console.cursor(pymysql.cursors.DictCursor)
        cursor.execute("SHOW PINS WHERE Id = %s", (session,))
        (pin,) = cursor.fetchall()
        same("the pin", (pin["Id"], pin["Reason"], pin["Digest_text"]), (session, "user lock", "SELECT `GET_LOCK` (...)"))
        cursor.execute("SHOW TABLES")
        same("SHOW TABLES", [name for row in cursor.fetchall() for name in row.values()], TABLES)
        for table in TABLES:
            cursor.execute(f"SELECT COUNT(*) AS n FROM {table}")
            true(f"{table} can be counted", cursor.fetchone()["n"] >= 0)
        for sql in BROWSING:
            cursor.execute(sql)
            cursor.fetchall()
        console.begin()
        console.commit()
        console.ping()
        try:
            cursor.execute("DROP TABLE pins")
            raise Deviation("DROP TABLE was answered")
        except pymysql.MySQLError as error:
            same("an unknown statement", (error.args[0], "SHOW SERVERS" in error.args[1]), (1235, True))


def with_connector():
    with pinned_session() as session, mysql.connector.connect(**ACCOUNT, ssl_disabled=not endpoint.tls, use_pure=True) as console:
        cursor = console.cursor(dictionary=True)
        cursor.execute("SHOW SESSIONS WHERE Id = %s", (session,))
        (shown,) = cursor.fetchall()
        same("the session", (shown["Id"], shown["State"], shown["Pins"]), (session, "idle", "user lock"))
        console.commit()
        console.reset_session()
        true("it is there", console.is_connected())


def with_mysql2():
    with pinned_session() as session:
        done = subprocess.run(["node", "--no-deprecation", HERE / "drive_console.js", json.dumps({**ACCOUNT, "session": session, "tls": endpoint.tls})],
                              capture_output=True, text=True, timeout=60)
        same("mysql2", (done.returncode, done.stderr), (0, ""))


def with_c_clients():
    for client in sys.argv[1:]:
        mariadb = "MariaDB" in subprocess.run([client, "--version"], capture_output=True, text=True, timeout=30).stdout
        #: MySQL 9's client has its own commands (`status`) switched off.
        commands = ["--commands"] if b"--commands" in subprocess.run([client, "--help"], capture_output=True, timeout=30).stdout else []
        tls = {(True, True): "--ssl", (True, False): "--skip-ssl", (False, True): "--ssl-mode=REQUIRED", (False, False): "--ssl-mode=DISABLED"}
        given = [client, "--no-defaults", f"--host={endpoint.host}", f"--port={PORT}", f"--user={USER}", tls[mariadb, endpoint.tls],
                 "--skip-ssl-verify-server-cert" if mariadb else "--connect-timeout=20", *commands]

        def run(sql: str, *options: str, password: str = PASSWORD):
            return subprocess.run([*given, *options], input=sql, capture_output=True, text=True, timeout=60, env={**os.environ, "MYSQL_PWD": password})

        with pinned_session() as session:
            # Not in batch mode: the client then reads the names of tables and columns, as it does for a person.
            done = run(f"SHOW PINS WHERE Id = {session};\nstatus\nUSE tidegate\nSELECT reason FROM pins LIMIT 1;\n", "--table", "--auto-rehash")
            same(f"{client}", (done.returncode, done.stderr), (0, ""))
            true(f"{client} shows the pin: {done.stdout}", done.stdout.count("user lock") == 2)
            done = run("SHOW VARIABLES LIKE 'threads'", "--batch", "--skip-column-names")
            true(f"{client} shows a variable: {done.stdout}", done.stdout.startswith("threads\t"))
        same(f"{client} with a wrong password", "1045" in run("SELECT 1", password="wrong").stderr, True)


if __name__ == "__main__":
    endpoint.main([with_pymysql, with_connector, with_mysql2, with_c_clients])
