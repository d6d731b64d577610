"""The test CA, the servers' certificate for 127.0.0.1 and localhost, a client's, and a CA that signed none of them.

Made once with openssl, kept in the cache. These keys protect nothing but loopback test servers.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from .cache import LauncherError, cache_dir, locked

FILES = {"ca": "ca.pem", "cert": "server-cert.pem", "key": "server-key.pem", "client_cert": "client-cert.pem",
         "client_key": "client-key.pem", "other_ca": "other-ca.pem"}
DAYS = "3650"


def certificates() -> dict:
    """Paths by purpose (the keys of `FILES`); makes them where they are missing."""
    folder = cache_dir() / "tls"
    with locked("tls"):
        if not folder.is_dir():
            building = Path(tempfile.mkdtemp(prefix="tls-", dir=cache_dir()))
            try:
                _make(building)
                os.rename(building, folder)
            finally:
                shutil.rmtree(building, ignore_errors=True)
    return {purpose: str(folder / name) for purpose, name in FILES.items()}


def _make(folder: Path) -> None:
    _authority(folder, "ca", "Tidegate test CA")
    _authority(folder, "other-ca", "Tidegate other test CA")
    _signed(folder, "server", "localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
    _signed(folder, "client", "client", "extendedKeyUsage=clientAuth\n")


def _authority(folder: Path, name: str, common_name: str) -> None:
    _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", DAYS, "-subj", f"/CN={common_name}",
             "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", folder / f"{name}-key.pem", "-out", folder / f"{name}.pem")


def _signed(folder: Path, name: str, common_name: str, extensions: str) -> None:
    request, options = folder / f"{name}.csr", folder / f"{name}.ext"
    options.write_text("basicConstraints=critical,CA:FALSE\nkeyUsage=digitalSignature,keyEncipherment\n" + extensions)
    _openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={common_name}", "-keyout", folder / f"{name}-key.pem", "-out", request)
    _openssl("x509", "-req", "-in", request, "-days", DAYS, "-CA", folder / "ca.pem", "-CAkey", folder / "ca-key.pem",
             "-CAcreateserial", "-extfile", options, "-out", folder / f"{name}-cert.pem")


def _openssl(*arguments) -> None:
    try:
        done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        raise LauncherError("openssl is not installed: run `integration/servers install tools`") from None
    if done.returncode:
        raise LauncherError(f"openssl {arguments[0]} failed: {done.stderr.strip()[-500:]}")
