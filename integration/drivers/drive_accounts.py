"""Each test account (one per authentication plugin) logs in with the C client, with the right password only."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import endpoint  # noqa: E402
from drive_c_client import MARIADB, client  # noqa: E402
from endpoint import Deviation, same  # noqa: E402
from launcher.accounts import accounts  # noqa: E402

#: (is it the MariaDB client, plugin): what this client has no plugin for.
UNKNOWN_TO_CLIENT = {(False, "ed25519"), (True, "sha256_password")}


def every_account():
    for account in accounts(endpoint.dialect):
        if (MARIADB, account.plugin) in UNKNOWN_TO_CLIENT or account.user == "repl":
            continue
        done = client("SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1)", user=account.user, password=account.password, database="")
        said = (done.stdout + done.stderr).decode().strip()
        if account.require_tls and not endpoint.tls:
            same(f"{account.user} without TLS", said[:10], "ERROR 1045")
        elif said != account.user:
            raise Deviation(f"{account.user} ({account.plugin}) cannot log in: {said}")
        done = client("SELECT 1", user=account.user, password=account.password + "x", database="")
        same(f"{account.user} with a wrong password", done.stderr.decode()[:10], "ERROR 1045")


endpoint.main([every_account])
