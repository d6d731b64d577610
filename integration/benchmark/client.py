"""A minimal asynchronous MySQL client: log-in (mysql_native_password; caching_sha2_password with RSA where the server
asks for full authentication) and text queries whose rows are only counted. No dependencies."""

import asyncio
import base64
import hashlib
import os
import struct

#: long password, long flag, connect with a database, 4.1 protocol, transactions, secure connection, authentication plugins
CAPABILITIES = 0x1 | 0x4 | 0x8 | 0x200 | 0x2000 | 0x8000 | 0x80000
UTF8MB4 = 45


class Connection:
    @classmethod
    async def open(cls, host: str, port: int, user: str, password: str, database: str) -> "Connection":
        self = cls()
        self._sequence = 0
        self._reader, self._writer = await asyncio.open_connection(host, port)
        await self._log_in(user.encode(), password.encode(), database.encode())
        return self

    async def query(self, sql: str) -> int:
        """The number of rows."""
        self._sequence = 0
        self._send(b"\x03" + sql.encode())
        packet = await self._packet()
        if packet[0] == 0xFF:
            raise RuntimeError(packet[3:].decode(errors="replace"))
        if packet[0] == 0x00:
            return 0
        while not _is_end(await self._packet()):  # columns
            pass
        rows = 0
        while not _is_end(await self._packet()):
            rows += 1
        return rows

    async def _log_in(self, user: bytes, password: bytes, database: bytes) -> None:
        greeting = await self._packet()
        if greeting[0] == 0xFF:
            raise RuntimeError(greeting[3:].decode(errors="replace"))
        at = greeting.index(b"\0", 1) + 5            # the version, the connection's id
        salt = greeting[at:at + 8] + greeting[at + 27:at + 39]
        plugin = greeting[at + 40:].split(b"\0")[0]
        answer = _scramble(plugin, password, salt)
        if answer is None:
            plugin, answer = b"mysql_native_password", _native(password, salt)
        self._send(struct.pack("<IIB23x", CAPABILITIES, 1 << 24, UTF8MB4) + user + b"\0" + bytes([len(answer)]) + answer + database + b"\0"
                   + plugin + b"\0")
        while True:
            packet = await self._packet()
            if packet[0] == 0x00:
                return
            if packet[0] == 0xFF:
                raise RuntimeError(packet[3:].decode(errors="replace"))
            if packet[0] == 0xFE:                    # another plugin
                plugin, rest = packet[1:].split(b"\0", 1)
                salt = rest[:20]
                answer = _scramble(plugin, password, salt)
                if answer is None:
                    raise RuntimeError(f"the server wants {plugin.decode()}")
                self._send(answer)
            elif packet == b"\x01\x04":              # full authentication: by the server's RSA key
                self._send(b"\x02")
                key = (await self._packet())[1:]
                secret = bytes(byte ^ salt[i % 20] for i, byte in enumerate(password + b"\0"))
                self._send(_rsa_oaep(key, secret))

    def _send(self, payload: bytes) -> None:
        self._writer.write(struct.pack("<I", len(payload))[:3] + bytes([self._sequence]) + payload)
        self._sequence = (self._sequence + 1) & 255

    async def _packet(self) -> bytes:
        header = await self._reader.readexactly(4)
        self._sequence = (header[3] + 1) & 255
        return await self._reader.readexactly(int.from_bytes(header[:3], "little"))


def _is_end(packet: bytes) -> bool:
    if packet[0] == 0xFF:
        raise RuntimeError(packet[3:].decode(errors="replace"))
    return packet[0] == 0xFE and len(packet) < 9


def _scramble(plugin: bytes, password: bytes, salt: bytes):
    """None for a plugin that is unknown here."""
    known = {b"caching_sha2_password": _sha2, b"mysql_native_password": _native}
    return known[plugin](password, salt) if plugin in known else None


def _native(password: bytes, salt: bytes) -> bytes:
    once = hashlib.sha1(password).digest()
    mask = hashlib.sha1(salt + hashlib.sha1(once).digest()).digest()
    return bytes(a ^ b for a, b in zip(once, mask)) if password else b""


def _sha2(password: bytes, salt: bytes) -> bytes:
    once = hashlib.sha256(password).digest()
    mask = hashlib.sha256(hashlib.sha256(once).digest() + salt).digest()
    return bytes(a ^ b for a, b in zip(once, mask)) if password else b""


def _rsa_oaep(pem: bytes, message: bytes) -> bytes:
    """RSA-OAEP with SHA-1 (RFC 8017), as the servers expect the password."""
    der = base64.b64decode("".join(line for line in pem.decode().splitlines() if "---" not in line))
    at, _ = _der(der, 0)                             # SEQUENCE
    inner, length = _der(der, at)                    # AlgorithmIdentifier
    inner, length = _der(der, inner + length)        # BIT STRING
    inner, _ = _der(der, inner + 1)                  # SEQUENCE, after the count of unused bits
    start, length = _der(der, inner)
    modulus = int.from_bytes(der[start:start + length], "big")
    start, length = _der(der, start + length)
    exponent = int.from_bytes(der[start:start + length], "big")
    size = (modulus.bit_length() + 7) // 8
    block = hashlib.sha1(b"").digest() + b"\0" * (size - len(message) - 42) + b"\1" + message
    seed = os.urandom(20)
    masked_block = bytes(a ^ b for a, b in zip(block, _mask(seed, len(block))))
    masked_seed = bytes(a ^ b for a, b in zip(seed, _mask(masked_block, 20)))
    return pow(int.from_bytes(b"\0" + masked_seed + masked_block, "big"), exponent, modulus).to_bytes(size, "big")


def _mask(seed: bytes, size: int) -> bytes:
    found = b"".join(hashlib.sha1(seed + struct.pack(">I", counter)).digest() for counter in range(size // 20 + 1))
    return found[:size]


def _der(data: bytes, at: int):
    """(where the element's content starts, its length)"""
    length, start = data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        length, start = int.from_bytes(data[start:start + count], "big"), start + count
    return start, length
