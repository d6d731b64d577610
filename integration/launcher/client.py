"""A minimal MySQL client: an account without a password (root) over a Unix socket, text rows.

It needs no client program and no library, and it is bounded by a socket timeout. An account without a password
answers every authentication method with an empty response, so no scramble is needed here.
"""

import contextlib
import socket
import struct

CONNECT_WITH_DB, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION, MULTI_STATEMENTS, PLUGIN_AUTH = (
    1 << 3, 1 << 9, 1 << 13, 1 << 15, 1 << 16, 1 << 19)
MORE_RESULTS = 0x0008


class SqlError(Exception):
    """The server's ERR packet."""

    def __init__(self, code: int, message: str):
        super().__init__(f"{code}: {message}")
        self.code = code


class Client:
    def __init__(self, unix_socket: str, timeout_s: float = 30, user: str = "root", database: str = ""):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(str(unix_socket))
            self._stream = self._socket.makefile("rb")
            self._sequence = 0
            self._log_in(user)
            if database:
                self.query(f"USE {database}")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._sequence = 0
        with contextlib.suppress(OSError):
            self._send(b"\x01")  # COM_QUIT: the server's log stays free of "aborted connection"
        self._stream.close()
        self._socket.close()

    def query(self, sql: str) -> list:
        """Rows of the last result set as dictionaries of text; [] where there is none."""
        self._sequence = 0
        self._send(b"\x03" + sql.encode())
        rows = []
        while True:
            result, more = self._result()
            rows = result if result is not None else rows
            if not more:
                return rows

    def value(self, sql: str):
        """The first column of the only row."""
        return next(iter(self.query(sql)[0].values()))

    def _log_in(self, user: str) -> None:
        greeting = self._packet()
        if greeting[0] == 0xFF:
            raise _error(greeting)
        flags = PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION | MULTI_STATEMENTS | PLUGIN_AUTH
        plugin = greeting.rstrip(b"\0").rsplit(b"\0", 1)[-1]
        self._send(struct.pack("<IIB23x", flags, 1 << 24, 45) + user.encode() + b"\0" + b"\0" + plugin + b"\0")
        while True:
            packet = self._packet()
            if packet[0] == 0x00:
                return
            if packet[0] == 0xFF:
                raise _error(packet)
            self._send(b"")  # auth switch: an empty password's response is empty

    def _result(self):
        packet = self._packet()
        if packet[0] == 0xFF:
            raise _error(packet)
        if packet[0] == 0x00:
            _, at = _length(packet, 1)
            _, at = _length(packet, at)
            return None, bool(struct.unpack_from("<H", packet, at)[0] & MORE_RESULTS)
        columns = []
        for _ in range(_length(packet, 0)[0]):
            definition, at = self._packet(), 0
            for _ in range(5):  # catalog, schema, table, original table, name
                text, at = _text(definition, at)
            columns.append(text)
        self._packet()  # EOF
        rows = []
        while True:
            packet = self._packet()
            if packet[0] == 0xFF:
                raise _error(packet)
            if packet[0] == 0xFE and len(packet) < 9:
                return rows, bool(struct.unpack_from("<H", packet, 3)[0] & MORE_RESULTS)
            values, at = [], 0
            for _ in columns:
                value, at = _text(packet, at)
                values.append(value)
            rows.append(dict(zip(columns, values)))

    def _send(self, payload: bytes) -> None:
        self._socket.sendall(struct.pack("<I", len(payload))[:3] + bytes([self._sequence]) + payload)
        self._sequence = (self._sequence + 1) & 255

    def _packet(self) -> bytes:
        header = self._stream.read(4)
        if len(header) < 4:
            raise ConnectionError("the server closed the connection")
        self._sequence = (header[3] + 1) & 255
        size = int.from_bytes(header[:3], "little")
        payload = self._stream.read(size)
        if len(payload) < size:
            raise ConnectionError("the server closed the connection inside a packet")
        return payload


def _length(packet: bytes, at: int):
    first = packet[at]
    if first < 0xFB:
        return first, at + 1
    size = {0xFC: 2, 0xFD: 3, 0xFE: 8}[first]
    return int.from_bytes(packet[at + 1:at + 1 + size], "little"), at + 1 + size


def _text(packet: bytes, at: int):
    if packet[at] == 0xFB:
        return None, at + 1
    size, at = _length(packet, at)
    return packet[at:at + size].decode(errors="replace"), at + size


def _error(packet: bytes) -> SqlError:
    text = packet[3:].decode(errors="replace")
    return SqlError(struct.unpack_from("<H", packet, 1)[0], text[6:] if text.startswith("#") else text)
