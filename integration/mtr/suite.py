"""Debian's mariadb-test: where it is, which tests suite `main` has, and one call of mariadb-test-run.

Knows neither the servers nor Tidegate: a call is given the port that the tests shall use.
"""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from launcher.cache import LauncherError
from launcher.watchdog import die_with_parent

FOLDERS = (Path("/usr/share/mariadb/mariadb-test"), Path("/usr/share/mysql/mysql-test"))
#: Time that one test may take, in minutes (mariadb-test-run knows no smaller unit).
TEST_LIMIT_MIN = 2
#: mariadb-test-run's own directory in the run's folder; it must not be there when that starts.
VAR = "var"
RESULT = re.compile(r"^main\.(?P<name>[\w-]+)(?: '[^']*')*\s+(?:w\d+ )?\[ (?P<result>[\w-]+) \]\s*(?P<rest>.*)$", re.MULTILINE)
#: What only a mariadb-test-run that owns its server can do: stop it, start it, run it with other options.
OWNS_SERVER = re.compile(r"restart_mysqld|shutdown_server|shutdown_mysqld|kill_mysqld|start_mysqld|kill_and_restart|expect_crash|"
                         r"wait_until_disconnected|MYSQLD_BOOTSTRAP_CMD|MYSQLD_LAST_CMD")


@dataclass(frozen=True)
class Outcome:
    name: str
    result: str      # pass, fail, skipped, disabled
    why: str         # the reason of a skip, the report of a failure


def installed() -> Path:
    for each in FOLDERS:
        if (each / "mariadb-test-run.pl").exists():
            return each
    raise LauncherError("mariadb-test is not installed: run `integration/servers install mariadb-test`")


def check_version(server: str) -> None:
    """The expected results are those of one version."""
    said = subprocess.run(["mariadb-test", "--no-defaults", "--version"], capture_output=True, text=True).stdout
    if f"Distrib {server}-MariaDB" not in said:
        raise LauncherError(f"mariadb-test is not of the server's version {server}: {said.strip()}")


def tests() -> list:
    """The names of all tests of suite `main`, without the suite."""
    return sorted(path.stem for path in (installed() / "main").glob("*.test"))


def owns_server(name: str) -> bool:
    """Whether the test can only be run by a mariadb-test-run that has started the server itself."""
    return bool(OWNS_SERVER.search((installed() / "main" / f"{name}.test").read_text(errors="replace")))


def run(names: list, port: int, folder: Path) -> list:
    """Runs the tests in this order against the server at `port`, whose data is below `folder`; tests may write there. One
    outcome for each test that was reached."""
    var, output_path = folder / VAR, folder / "mariadb-test-run.out"
    # In --extern mode nothing names the server to the tests. Nobody listens on the socket: every connection goes to the port.
    socket = folder / "none.sock"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MTR_", "MYSQL", "TIDEGATE_"))}
    environment |= {"MASTER_MYPORT": str(port), "MASTER_MYSOCK": str(socket), "USER": "root"}
    command = ["perl", "mariadb-test-run.pl", f"--vardir={var}", f"--tmpdir={folder}", "--suite=main", "--noreorder", "--force",
               "--max-test-fail=0", f"--testcase-timeout={TEST_LIMIT_MIN}", "--suite-timeout=120", "--skip-rpl",
               *(f"--extern={setting}" for setting in ("host=127.0.0.1", f"port={port}", f"socket={socket}", "protocol=tcp", "ssl=0")),
               *(f"main.{name}" for name in names)]
    with open(output_path, "w+", errors="replace") as output:
        subprocess.run(command, cwd=installed(), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment,
                       preexec_fn=die_with_parent)
        output.seek(0)
        said = output.read()
    for name in names:  # beside the expected result, where whoever runs this may write there
        (installed() / "main" / f"{name}.reject").unlink(missing_ok=True)
    return read(said)


def read(said: str) -> list:
    """The outcomes in what mariadb-test-run printed. A failure's report is what stands between its line and the next."""
    found = list(RESULT.finditer(said))
    ends = [match.start() for match in found[1:]] + [len(said)]
    return [Outcome(match["name"], match["result"], match["rest"] + said[match.end():end] if match["result"] == "fail" else match["rest"].strip())
            for match, end in zip(found, ends)]
