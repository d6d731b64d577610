"""The C client's command line, `mysql` (MySQL) or `mariadb`: its path is the only argument."""

import os
import subprocess
import sys
import tempfile

import endpoint
from endpoint import DEADLINE_S, Deviation, eventually, same

CLIENT = sys.argv[1]
MARIADB = "MariaDB" in subprocess.run([CLIENT, "--version"], capture_output=True, text=True, timeout=30).stdout
#: MySQL 9's client has its own commands (`status`, `resetconnection`) switched off.
COMMANDS = ["--commands"] if b"--commands" in subprocess.run([CLIENT, "--help"], capture_output=True, timeout=30).stdout else []
TABLE = f"d_c_{os.getpid()}"
BLOB_SIZE = 20 << 20


def arguments(user: str = endpoint.user, database: str = endpoint.database) -> list:
    given = [CLIENT, "--no-defaults", f"--host={endpoint.host}", f"--port={endpoint.port}", f"--user={user}", f"--database={database}",
             "--batch", "--skip-column-names", "--default-character-set=utf8mb4", "--max-allowed-packet=64M", "--local-infile=1",
             "--connect-timeout=20", *COMMANDS]
    if MARIADB:
        given += (["--ssl", f"--ssl-ca={endpoint.ca}", "--ssl-verify-server-cert"] if endpoint.ca else ["--ssl"]) if endpoint.tls else ["--skip-ssl"]
    elif endpoint.tls:
        given += ["--ssl-mode=VERIFY_IDENTITY", f"--ssl-ca={endpoint.ca}"] if endpoint.ca else ["--ssl-mode=REQUIRED"]
    else:
        given += ["--ssl-mode=DISABLED", "--get-server-public-key"]
    if not MARIADB and os.environ.get("TIDEGATE_CLIENT_PLUGINS"):
        given.append(f"--plugin-dir={os.environ['TIDEGATE_CLIENT_PLUGINS']}")  # mysql_native_password, for MariaDB's accounts
    if endpoint.compression != "none":
        given += ["--compress"] if MARIADB else [f"--compression-algorithms={endpoint.compression}", "--zstd-compression-level=7"]
    return given


def client(sql: str | bytes, *options: str, user: str = endpoint.user, password: str = endpoint.password, database: str = endpoint.database):
    text = sql.encode() if isinstance(sql, str) else sql
    return subprocess.run([*arguments(user, database), *options], input=text, capture_output=True, timeout=120,
                          env={**os.environ, "MYSQL_PWD": password})


def run(sql, *options: str, **connection) -> str:
    done = client(sql, *options, **connection)
    if done.returncode:
        raise Deviation(f"{str(sql)[:200]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode()


def connect():
    same("SELECT 1", run("SELECT 1"), "1\n")
    cipher = next(line for line in run("status").splitlines() if line.startswith("SSL:"))
    same(f"the connection is encrypted ({cipher})", "Cipher in use" in cipher, endpoint.tls)
    run(f"CREATE TABLE {TABLE} (id INT PRIMARY KEY AUTO_INCREMENT, n INT NULL, de DECIMAL(30,10), ts DATETIME(6), tx TEXT, bl LONGBLOB) CHARACTER SET utf8mb4")


def column_types():
    found = run(f"START TRANSACTION; INSERT INTO {TABLE} VALUES (1, NULL, -12345678901234567890.0123456789, '2038-01-19 03:14:07.999999', "
                f"'naïve 数据 🌊', x'00ff00'); SELECT n, de, ts, tx, HEX(bl) FROM {TABLE}; ROLLBACK")
    same("a row", found, "NULL\t-12345678901234567890.0123456789\t2038-01-19 03:14:07.999999\tnaïve 数据 🌊\t00FF00\n")


def transactions():
    same("ROLLBACK, then COMMIT", run(f"BEGIN; INSERT INTO {TABLE} (n) VALUES (1); SELECT COUNT(*) FROM {TABLE}; ROLLBACK; BEGIN; "
         f"SELECT COUNT(*) FROM {TABLE}; INSERT INTO {TABLE} (n) VALUES (2); COMMIT"), "1\n0\n")
    eventually("a read outside transactions", lambda: run(f"SELECT n FROM {TABLE}"), "2\n")


def last_insert_id():
    same("LAST_INSERT_ID()", run(f"BEGIN; INSERT INTO {TABLE} (id) VALUES (5000); INSERT INTO {TABLE} (n) VALUES (1), (2); "
         "SELECT LAST_INSERT_ID(), ROW_COUNT(); ROLLBACK"), "5001\t2\n")


def prepared_statements():
    same("PREPARE and EXECUTE", run("PREPARE s FROM 'SELECT ? + 1'; SET @a = 41; EXECUTE s USING @a; DEALLOCATE PREPARE s"), "42\n")


def multi_statements():
    same("three statements in one packet", run("DELIMITER //\nSELECT 1; DO 0; SELECT 'two', 2//"), "1\ntwo\t2\n")


def call():
    run(f"DELIMITER //\nCREATE PROCEDURE {TABLE}_p(IN a INT) BEGIN SELECT a; SELECT a + 1, 'x'; END//")
    same("CALL", run(f"CALL {TABLE}_p(41)"), "41\n42\tx\n")
    run(f"DROP PROCEDURE {TABLE}_p")


def local_infile():
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        file.writelines(f"8\tline {n}\n" for n in range(5000))
        file.flush()
        same("LOAD DATA LOCAL", run(f"BEGIN; LOAD DATA LOCAL INFILE '{file.name}' INTO TABLE {TABLE} (n, tx); "
             f"SELECT COUNT(*), MAX(tx) FROM {TABLE} WHERE n = 8; ROLLBACK"), "5000\tline 999\n")


def large_blob():
    text = os.urandom(1 << 19).hex() * (BLOB_SIZE >> 20)
    sql = f"BEGIN; INSERT INTO {TABLE} (n, bl) VALUES (9, '{text}'); SELECT bl FROM {TABLE} WHERE n = 9; ROLLBACK"
    same("a 20 MB BLOB comes back as it went", run(sql) == text + "\n", True)


def many_rows():
    values = ", ".join(f"(7, 'row {n}')" for n in range(1000))
    found = run(f"BEGIN; INSERT INTO {TABLE} (n, tx) VALUES {values}; SELECT tx FROM {TABLE} WHERE n = 7 ORDER BY id; ROLLBACK", "--quick")
    same("1,000 rows, unbuffered", found, "".join(f"row {n}\n" for n in range(1000)))


def errors():
    for sql, expected in ((f"INSERT INTO {TABLE} (id) VALUES (1), (1)", "ERROR 1062 (23000)"), ("SELEC 1", "ERROR 1064 (42000)"),
                          ("SELECT * FROM no_such_table", "ERROR 1146 (42S02)")):
        done = client(f"BEGIN; {sql}")
        same(f"{sql} fails with {expected}: {done.stderr.decode()}", (done.returncode, expected in done.stderr.decode()), (1, True))


def warnings():
    same("SHOW WARNINGS", run("BEGIN; SELECT CAST('12x' AS SIGNED); SHOW WARNINGS").splitlines()[1][:12], "Warning\t1292")


def reset_connection():
    if not MARIADB or "resetconnection" in run("help"):
        same("a variable after COM_RESET_CONNECTION", run("SET @a = 1;\nresetconnection\nSELECT @a"), "NULL\n")


def change_database():
    same("USE", run("USE shop; SELECT DATABASE()"), "shop\n")


def wrong_password():
    done = client("SELECT 1", password="wrong")
    same("a wrong password", (done.returncode, done.stderr.decode().split("(")[0]), (1, "ERROR 1045 "))


def clean_up():
    run(f"DROP TABLE {TABLE}")


if __name__ == "__main__":
    endpoint.main([connect, column_types, transactions, last_insert_id, prepared_statements, multi_statements, call, local_infile, large_blob,
                   many_rows, errors, warnings, reset_connection, change_database, wrong_password, clean_up])
