"""The ordinary operations of an application, for Python's database drivers (DB-API 2).

What the drivers do differently comes from an adapter; what it cannot do (`None`) is left out.
"""

import datetime
import decimal
import json
import os
import tempfile

import endpoint
from endpoint import eventually, same, true

COLUMNS = """id INT PRIMARY KEY AUTO_INCREMENT, ti TINYINT, bu BIGINT UNSIGNED, de DECIMAL(30,10), do DOUBLE, da DATE, ts DATETIME(6), tm TIME(6),
 yr YEAR, js JSON, tx TEXT, bl LONGBLOB, bi BIT(12), en ENUM('a','b'), se SET('x','y','z'), bn BINARY(4), nu INT NULL"""
ROW = {
    "ti": -128, "bu": 18446744073709551615, "de": decimal.Decimal("-12345678901234567890.0123456789"), "do": 1.5e300,
    "da": datetime.date(1000, 1, 1), "ts": datetime.datetime(2038, 1, 19, 3, 14, 7, 999999),
    "tm": datetime.timedelta(hours=838, minutes=59, seconds=58, microseconds=1), "yr": 2155,
    "tx": "naïve 数据 🌊 \\ ' \" % \0 end", "bl": bytes(range(256)), "en": "b", "bn": b"\0\1\0\2", "nu": None,
}
BLOB_SIZE = 20 << 20


class Operations:
    """`adapter`: connect(**options) → connection, secure(connection), prepared(connection) → cursor or None, multi, call,
    unbuffered, change_user, reset, warnings: see `drive_pymysql.py` and `drive_connector.py`."""

    def __init__(self, adapter):
        self.adapter = adapter
        self.table = f"d_{adapter.name}_{os.getpid()}"
        self.connection = None

    def cases(self) -> list:
        return [self.connect, self.column_types, self.prepared_statements, self.transactions, self.last_insert_id, self.many_rows,
                self.unbuffered_rows, self.reads_outside_transactions, self.multi_statements, self.call, self.local_infile, self.errors,
                self.warnings, self.large_blob, self.ping, self.change_user, self.reset, self.wrong_password, self.clean_up]

    def run(self, sql: str, arguments=None) -> list:
        cursor = self.connection.cursor()
        try:
            cursor.execute(sql, arguments) if arguments is not None else cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []
        finally:
            cursor.close()

    def connect(self):
        self.connection = self.adapter.connect()
        same("SELECT 1", self.run("SELECT 1"), [(1,)])
        same("the connection is encrypted", self.adapter.secure(self.connection), endpoint.tls)
        self.run(f"DROP TABLE IF EXISTS {self.table}")
        self.run(f"CREATE TABLE {self.table} ({COLUMNS}) CHARACTER SET utf8mb4")

    def _row_survives(self, row, insert, select):
        names = ", ".join(row)
        insert(f"INSERT INTO {self.table} ({names}, js, bi, se) VALUES ({', '.join(['%s'] * len(row))}, %s, b'101010101010', 'x,z')",
               (*row.values(), json.dumps({"a": [1, None, "é"]})))
        found = dict(zip(row, select(f"SELECT {names} FROM {self.table} WHERE ti = %s", (-128,))[0]))
        for name, value in row.items():
            got = found[name]
            same(f"column {name}", bytes(got) if isinstance(got, bytearray) else got, value)
        others = select(f"SELECT js, bi + 0, CAST(se AS CHAR), LENGTH(bl) FROM {self.table} WHERE ti = %s", (-128,))[0]
        document = others[0].decode() if isinstance(others[0], (bytes, bytearray)) else others[0]
        same("JSON, BIT, SET and the BLOB's length", (json.loads(document), *others[1:]), ({"a": [1, None, "é"]}, 0b101010101010, "x,z", 256))
        self.connection.rollback()

    def column_types(self):
        self._row_survives(ROW, self.run, self.run)

    def prepared_statements(self):
        cursor = self.adapter.prepared(self.connection)
        if cursor is None:
            return
        row = {name: value for name, value in ROW.items() if name not in self.adapter.unreadable_prepared}
        row["tm"] = datetime.timedelta(hours=100, microseconds=1)  # MySQL refuses 838 hours as a binary parameter
        self._row_survives(row, cursor.execute, lambda sql, arguments: (cursor.execute(sql, arguments), cursor.fetchall())[1])
        for number in (1, 2, 3, None):
            cursor.execute("SELECT %s + 1, %s", (number, "é"))
            same("a statement executed again", cursor.fetchall(), [(None if number is None else number + 1, "é")])
        cursor.close()

    def transactions(self):
        self.run(f"INSERT INTO {self.table} (nu) VALUES (1)")
        same("a transaction sees its own row", self.run(f"SELECT nu FROM {self.table}"), [(1,)])
        self.connection.rollback()
        same("after ROLLBACK", self.run(f"SELECT nu FROM {self.table}"), [])
        self.run(f"INSERT INTO {self.table} (nu) VALUES (2)")
        self.connection.commit()
        same("after COMMIT", self.run(f"SELECT nu FROM {self.table} FOR UPDATE"), [(2,)])
        self.run("SAVEPOINT s")
        self.run(f"DELETE FROM {self.table}")
        self.run("ROLLBACK TO SAVEPOINT s")
        same("after ROLLBACK TO", self.run(f"SELECT nu FROM {self.table}"), [(2,)])
        self.connection.commit()

    def last_insert_id(self):
        cursor = self.connection.cursor()
        cursor.execute(f"INSERT INTO {self.table} (id, nu) VALUES (5000, 1)")
        cursor.execute(f"INSERT INTO {self.table} (nu) VALUES (1), (2)")
        same("the driver's last insert id and row count", (cursor.lastrowid, cursor.rowcount), (5001, 2))
        cursor.execute("SELECT LAST_INSERT_ID()")
        same("LAST_INSERT_ID()", list(cursor.fetchall()), [(5001,)])
        cursor.close()
        self.connection.rollback()

    def many_rows(self):
        cursor = self.connection.cursor()
        cursor.executemany(f"INSERT INTO {self.table} (ti, tx) VALUES (%s, %s)", [(7, f"row {n}") for n in range(1000)])
        same("rows of executemany", cursor.rowcount, 1000)
        cursor.close()
        same("their count", self.run(f"SELECT COUNT(*), COUNT(DISTINCT tx) FROM {self.table} WHERE ti = 7"), [(1000, 1000)])
        self.connection.commit()

    def unbuffered_rows(self):
        cursor = self.adapter.unbuffered(self.connection)
        cursor.execute(f"SELECT tx FROM {self.table} WHERE ti = 7 ORDER BY id")
        same("first rows", [row[0] for row in cursor.fetchmany(2)], ["row 0", "row 1"])
        same("rows left", len(cursor.fetchall()), 998)
        cursor.close()
        self.connection.commit()

    def reads_outside_transactions(self):
        other = self.adapter.connect(autocommit=True)
        cursor = other.cursor()

        def count():
            cursor.execute(f"SELECT COUNT(*) FROM {self.table} WHERE ti = 7")
            return cursor.fetchall()[0][0]
        eventually("rows committed by another session", count, 1000)
        other.close()

    def multi_statements(self):
        results = self.adapter.multi(self.connection, f"SELECT 1; UPDATE {self.table} SET nu = 9 WHERE ti = 7 LIMIT 3; SELECT 'two', 2")
        same("results of three statements", results, [[(1,)], None, [("two", 2)]])
        self.connection.rollback()

    def call(self):
        self.run(f"DROP PROCEDURE IF EXISTS {self.table}_p")
        self.run(f"CREATE PROCEDURE {self.table}_p(IN a INT) BEGIN SELECT a; SELECT a + 1, 'x'; END")
        same("CALL's result sets", self.adapter.call(self.connection, f"{self.table}_p", (41,)), [[(41,)], [(42, "x")]])
        self.run(f"DROP PROCEDURE {self.table}_p")

    def local_infile(self):
        with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
            file.writelines(f"8,line {n}\n" for n in range(5000))
            file.flush()
            self.run(f"LOAD DATA LOCAL INFILE '{file.name}' INTO TABLE {self.table} FIELDS TERMINATED BY ',' (ti, tx)")
        same("rows of LOAD DATA LOCAL", self.run(f"SELECT COUNT(*), MAX(tx) FROM {self.table} WHERE ti = 8"), [(5000, "line 999")])
        self.connection.rollback()

    def errors(self):
        for what, sql, code, state in (("duplicate key", f"INSERT INTO {self.table} (id) VALUES (1), (1)", 1062, "23000"),
                                       ("syntax", "SELEC 1", 1064, "42000"), ("unknown table", "SELECT * FROM no_such_table", 1146, "42S02"),
                                       ("unknown column", f"SELECT no_such_column FROM {self.table}", 1054, "42S22")):
            same(what, self._error(lambda: self.run(sql)), code)
            same("the next statement", self.run("SELECT 1"), [(1,)])
        self.connection.rollback()

    def _error(self, action):
        try:
            action()
        except self.adapter.Error as error:
            return error.args[0] if isinstance(error.args[0], int) else error.errno
        return None

    def warnings(self):
        self.run("SELECT CAST('12x' AS SIGNED)")
        (warning,) = self.run("SHOW WARNINGS")
        same("SHOW WARNINGS", (warning[0], warning[1]), ("Warning", 1292))
        self.connection.rollback()

    def large_blob(self):
        blob = os.urandom(1 << 20) * (BLOB_SIZE >> 20)
        self.run(f"INSERT INTO {self.table} (ti, bl) VALUES (9, %s)", (blob,))
        ((found, crc),) = self.run(f"SELECT bl, LENGTH(bl) FROM {self.table} WHERE ti = 9")
        true("a 20 MB BLOB comes back as it went", crc == BLOB_SIZE and bytes(found) == blob)
        self.connection.rollback()

    def ping(self):
        self.connection.ping()

    def change_user(self):
        if self.adapter.change_user(self.connection):
            same("the user after COM_CHANGE_USER", self.run("SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1), DATABASE()"), [("admin", "shop")])
            self.adapter.change_user(self.connection, back=True)

    def reset(self):
        self.run("SET @tidegate = 1")
        if self.adapter.reset(self.connection):
            same("a variable after COM_RESET_CONNECTION", self.run("SELECT @tidegate"), [(None,)])

    def wrong_password(self):
        same("a wrong password", self._error(lambda: self.adapter.connect(password="wrong")), 1045)

    def clean_up(self):
        self.run(f"DROP TABLE {self.table}")
        self.connection.close()
