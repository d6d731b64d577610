"""Where a driver's script connects (from the environment), and how it says what deviates.

    TIDEGATE_HOST, TIDEGATE_PORT, TIDEGATE_USER, TIDEGATE_PASSWORD, TIDEGATE_DIALECT (mysql | mariadb)
    TIDEGATE_TLS=0|1, TIDEGATE_CA (a CA file: then the certificate is verified)
    TIDEGATE_COMPRESSION=none|zlib|zstd, as far as the driver has it
"""

import os
import sys
import time

DEADLINE_S = 20

host = os.environ.get("TIDEGATE_HOST", "127.0.0.1")
port = int(os.environ["TIDEGATE_PORT"])
user = os.environ.get("TIDEGATE_USER", "app")
password = os.environ.get("TIDEGATE_PASSWORD", "app-pw")
dialect = os.environ.get("TIDEGATE_DIALECT", "mysql")
tls = os.environ.get("TIDEGATE_TLS", "0") == "1"
ca = os.environ.get("TIDEGATE_CA") or None
compression = os.environ.get("TIDEGATE_COMPRESSION", "none")
database = "test"


class Deviation(Exception):
    """The endpoint did not do what a MySQL server does."""


def same(what: str, found, expected) -> None:
    if found != expected:
        raise Deviation(f"{what}: found {_short(found)}, expected {_short(expected)}")


def true(what: str, condition) -> None:
    if not condition:
        raise Deviation(what)


def eventually(what: str, read, expected) -> None:
    """For reads outside transactions: they may be answered by a replica, which gets the row a little later."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            found = read()
        except Exception as error:  # the table may not be there yet
            found = error
        if found == expected:
            return
        if time.monotonic() > deadline:
            raise Deviation(f"{what}: still {_short(found)} after {DEADLINE_S} s, expected {_short(expected)}")


def main(cases: list) -> None:
    """Runs the cases in order and ends with status 1 at the first deviation, 0 when there is none."""
    for case in cases:
        try:
            case()
        except Exception as error:
            print(f"FAILED {case.__name__}: {type(error).__name__}: {error}", file=sys.stderr)
            sys.exit(1)
    print(f"{len(cases)} cases passed")


def _short(value) -> str:
    text = repr(value)
    return text if len(text) < 300 else f"{text[:300]}… ({len(text)} characters)"
