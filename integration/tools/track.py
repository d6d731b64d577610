#!/usr/bin/env python3
"""Shows what a server reports of its session's state: each statement, and what its OK packet says.

    integration/servers run --cluster mysql=mysql --cluster mariadb=mariadb -- integration/tools/track.py
    integration/tools/track.py --port 3306 "SET NAMES utf8mb4 COLLATE utf8mb4_bin" "SELECT 1"

The first form runs the statements that docs/session-state.md is made from on the primary of every cluster; statements
that follow `--` (or stand alone, with `--port`) replace them. `RESET` as a statement is COM_RESET_CONNECTION.
The account must have no password (the launcher's `root` has none), so it needs no scramble.

How to read a line: `status` are the flags at the end of the reply (autocommit, in_trans, …), `name=value` a variable
that was reported, `schema`, `gtids`, `transaction` the other kinds, and `state changed` the bare word that something
changed without saying what. `-` stands for no report at all. Several results are separated by `|`.
Sources: MySQL manual, "OK_Packet", "Protocol::HandshakeResponse41"; MariaDB, "OK_Packet".
"""

import argparse
import json
import os
import socket
import struct
import sys

TIMEOUT_S = 20
LONG_PASSWORD, LONG_FLAG, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION = 1, 1 << 2, 1 << 9, 1 << 13, 1 << 15
MULTI_STATEMENTS, MULTI_RESULTS, PLUGIN_AUTH, SESSION_TRACK, DEPRECATE_EOF = (1 << n for n in (16, 17, 19, 23, 24))
FLAGS = (LONG_PASSWORD | LONG_FLAG | PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION | MULTI_STATEMENTS
         | MULTI_RESULTS | PLUGIN_AUTH | SESSION_TRACK | DEPRECATE_EOF)
UTF8MB4_GENERAL_CI = 45
QUERY, RESET_CONNECTION = 0x03, 0x1F
STATUS = {1: "in_trans", 2: "autocommit", 8: "more_results", 0x200: "no_backslash_escapes",
          0x2000: "in_trans_readonly", 0x8000: "ansi_quotes"}
MORE_RESULTS, STATE_CHANGED = 8, 0x4000
#: SESSION_TRACK_…: what a report is about.
VARIABLE, SCHEMA, STATE, GTIDS, TRANSACTION, TRANSACTION_STATE = range(6)
KINDS = {SCHEMA: "schema", GTIDS: "gtids", TRANSACTION: "characteristics", TRANSACTION_STATE: "transaction"}

TRACK = "SET SESSION session_track_system_variables='*', session_track_schema=ON, session_track_state_change=ON"
TRACK_MYSQL = TRACK + ", session_track_gtids=OWN_GTID"

#: What docs/session-state.md speaks of. `{track}` is the statement above of the server's dialect.
STATEMENTS = """
{track}
SELECT 1
SET NAMES gbk
SET NAMES utf8mb4 COLLATE utf8mb4_bin
SELECT @@collation_connection
SET character_set_results=NULL
SET NAMES utf8mb4
SET collation_connection=utf8mb4_bin
SET sql_mode='ANSI_QUOTES'
SET sql_mode=DEFAULT
SET autocommit=0
SELECT COUNT(*) FROM mysql.user
COMMIT
SET autocommit=1
SET time_zone='+02:00', sort_buffer_size=300000, long_query_time=2.5
SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED
SET TRANSACTION ISOLATION LEVEL READ COMMITTED
SET SESSION TRANSACTION READ ONLY
SET SESSION TRANSACTION READ WRITE
START TRANSACTION
ROLLBACK
SET @a=1
SELECT @a:=@a+1
SET timestamp=1000
SET timestamp=DEFAULT
SET insert_id=5
SET insert_id=0
SET SESSION last_insert_id=77
SET sql_log_bin=0
SET sql_log_bin=1
CREATE DATABASE IF NOT EXISTS track_demo
USE track_demo
CREATE TEMPORARY TABLE t (a INT)
DROP TEMPORARY TABLE t
CREATE TEMPORARY TABLE t AS SELECT 1 AS a
DROP TEMPORARY TABLE t
PREPARE p FROM 'SELECT 1'
EXECUTE p
DEALLOCATE PREPARE p
SELECT GET_LOCK('x', 0)
SELECT RELEASE_LOCK('x')
SET ROLE NONE
CREATE TABLE items (id INT AUTO_INCREMENT PRIMARY KEY, v INT)
INSERT INTO items (v) VALUES (1), (2)
HANDLER items OPEN
HANDLER items CLOSE
LOCK TABLES items READ
UNLOCK TABLES
XA START 'a'
XA END 'a'
XA ROLLBACK 'a'
CREATE PROCEDURE p() BEGIN SET @z=5; SET sql_mode='ANSI'; SELECT 1; END
CALL p()
SET sql_mode=DEFAULT
CREATE PROCEDURE q() CREATE TEMPORARY TABLE u AS SELECT 1 AS a
CALL q()
CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1
CREATE VIEW v AS SELECT 1 AS a
USE test
SELECT track_demo.f()
SELECT * FROM track_demo.v
USE track_demo
SET GLOBAL max_connections=2001
SET session_track_system_variables='autocommit'
SET sql_mode=''
{track}
RESET
SELECT @@session_track_system_variables, @@session_track_state_change, @@session_track_schema
SELECT @@character_set_client, @@collation_connection, DATABASE()
SET sql_mode=''
DROP DATABASE track_demo
"""


class Connection:
    """One connection of the command phase; OK packets in place of EOF packets."""

    def __init__(self, host: str, port: int, user: str):
        self._socket = socket.create_connection((host, port), TIMEOUT_S)
        self._stream = self._socket.makefile("rb")
        self._sequence = 0
        greeting = self._packet()
        self.version = greeting[1:greeting.index(0, 1)].decode(errors="replace")
        plugin = greeting.rstrip(b"\0").rsplit(b"\0", 1)[-1]
        self._send(struct.pack("<IIB23x", FLAGS, 1 << 24, UTF8MB4_GENERAL_CI) + user.encode() + b"\0\0" + plugin + b"\0")
        while (packet := self._packet())[0] != 0x00:
            if packet[0] == 0xFF:
                sys.exit(f"login refused: {error(packet)}")
            self._send(b"")  # any method's answer for an empty password

    def run(self, statement: str) -> str:
        """Sends one statement; what the ends of its results report."""
        self._sequence = 0
        reset = statement == "RESET"
        self._send(bytes([RESET_CONNECTION]) if reset else bytes([QUERY]) + statement.encode())
        results = []
        while True:
            packet = self._packet()
            rows = []
            if packet[0] not in (0x00, 0xFF):  # a result set: definitions, then rows
                for _ in range(length(packet, 0)[0]):
                    self._packet()
                while (packet := self._packet())[0] not in (0xFE, 0xFF):
                    rows.append(values(packet))
            if packet[0] == 0xFF:
                return " | ".join(results + [error(packet)])
            status, report = ok(packet)
            shown = f"{rows} " if rows else ""
            results.append(f"{shown}{report or '-'}  [{flags(status)}]")
            if not status & MORE_RESULTS:
                return " | ".join(results)

    def _send(self, payload: bytes) -> None:
        self._socket.sendall(struct.pack("<I", len(payload))[:3] + bytes([self._sequence]) + payload)
        self._sequence = (self._sequence + 1) & 255

    def _packet(self) -> bytes:
        header = self._stream.read(4)
        size = int.from_bytes(header[:3], "little")
        payload = self._stream.read(size)
        if len(header) < 4 or len(payload) < size:
            sys.exit("the server closed the connection")
        self._sequence = (header[3] + 1) & 255
        return payload


def ok(packet: bytes) -> tuple:
    """Status flags and reports of an OK packet."""
    _, at = length(packet, 1)  # affected rows
    _, at = length(packet, at)  # insert id
    status, _warnings = struct.unpack_from("<HH", packet, at)
    at += 4
    if at == len(packet):
        return status, ""
    _info, at = text(packet, at)
    if not status & STATE_CHANGED:
        return status, ""
    end, at = length(packet, at)
    end += at
    found = []
    while at < end:
        kind = packet[at]
        data, at = text(packet, at + 1)
        if kind == VARIABLE:
            inside = 0
            while inside < len(data):  # MariaDB puts several into one
                name, inside = text(data, inside)
                value, inside = text(data, inside)
                found.append(f"{name.decode()}='{value.decode(errors='replace')}'")
        elif kind == STATE:
            found.append("state changed")
        elif kind == GTIDS:
            found.append(f"gtids {text(data, 1)[0].decode(errors='replace')}")
        else:
            found.append(f"{KINDS.get(kind, kind)} {text(data, 0)[0].decode(errors='replace')}")
    return status, ", ".join(found)


def flags(status: int) -> str:
    return " ".join(name for bit, name in STATUS.items() if status & bit) or "none"


def values(row: bytes) -> list:
    out, at = [], 0
    while at < len(row):
        if row[at] == 0xFB:
            out, at = out + [None], at + 1
        else:
            value, at = text(row, at)
            out.append(value.decode(errors="replace"))
    return out


def length(packet: bytes, at: int) -> tuple:
    """int<lenenc> and where it ends."""
    first = packet[at]
    if first < 0xFB:
        return first, at + 1
    size = {0xFC: 2, 0xFD: 3, 0xFE: 8}[first]
    return int.from_bytes(packet[at + 1:at + 1 + size], "little"), at + 1 + size


def text(packet: bytes, at: int) -> tuple:
    """string<lenenc> and where it ends."""
    size, at = length(packet, at)
    return packet[at:at + size], at + size


def error(packet: bytes) -> str:
    return f"error {struct.unpack_from('<H', packet, 1)[0]}: {packet[9:].decode(errors='replace')}"


def show(host: str, port: int, user: str, statements: list) -> None:
    connection = Connection(host, port, user)
    track = TRACK if "MariaDB" in connection.version else TRACK_MYSQL
    print(f"== {connection.version}")
    for statement in statements or STATEMENTS.strip().splitlines():
        statement = statement.replace("{track}", track)
        print(f"{statement}\n    {connection.run(statement)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, help="one server, instead of the launcher's")
    parser.add_argument("--user", default="root")
    parser.add_argument("statements", nargs="*")
    arguments = parser.parse_args()
    if arguments.port:
        show(arguments.host, arguments.port, arguments.user, arguments.statements)
        return
    if "TIDEGATE_SERVERS" not in os.environ:
        parser.error("give --port, or run it by integration/servers run")
    with open(os.environ["TIDEGATE_SERVERS"], encoding="utf-8") as file:
        clusters = json.load(file)["clusters"]
    for cluster in clusters.values():
        server = cluster["servers"][0]
        show(server["host"], server["port"], arguments.user, arguments.statements)


if __name__ == "__main__":
    main()
