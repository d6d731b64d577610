"""Servers start, replicate, obey commands, and leave nothing behind however the launcher ends."""

import os
import signal
import subprocess
import unittest
from pathlib import Path

from launcher import binaries

from .launched import SERVERS, Launched, wait_gone

DIALECTS = [dialect for dialect in binaries.DIALECTS if binaries.find(dialect)]
SHAPE = [argument for dialect in DIALECTS for argument in ("--cluster", f"{dialect}={dialect}+1")]


class Ends(unittest.TestCase):
    """No process and no directory is left."""

    def assert_leaves_nothing(self, end):
        with Launched(*SHAPE) as launched:
            pidfds = [os.pidfd_open(pid) for pid in launched.pids()]
            end(launched)
            wait_gone([*pidfds, launched.watchdog])
            for pidfd in pidfds:
                os.close(pidfd)
            self.assertFalse(Path(launched.json["dir"]).exists())

    def test_sigkill(self):
        self.assert_leaves_nothing(lambda launched: launched.process.kill())

    def test_sigterm(self):
        self.assert_leaves_nothing(lambda launched: launched.process.terminate())

    def test_end_of_stdin(self):
        self.assert_leaves_nothing(lambda launched: launched.process.stdin.close())

    def test_sigkill_with_a_paused_server(self):
        def end(launched):
            self.assertTrue(launched.tell(f"pause {DIALECTS[0]}-0")["ok"])
            launched.process.kill()
        self.assert_leaves_nothing(end)

    def test_sigkill_of_the_watchdog_then_of_the_launcher_ends_the_servers(self):
        with Launched(*SHAPE) as launched:
            pidfds = [os.pidfd_open(pid) for pid in launched.pids()]
            signal.pidfd_send_signal(launched.watchdog, signal.SIGKILL)
            launched.process.kill()
            wait_gone(pidfds)
            subprocess.run(["rm", "-r", launched.json["dir"]], check=True)  # nobody is left who could


class Run(unittest.TestCase):
    def run_command(self, *command: str):
        return subprocess.run([SERVERS, "run", "--cluster", f"one={DIALECTS[0]}", "--", *command], capture_output=True, text=True, timeout=120)

    def test_gives_the_exit_code_and_the_servers(self):
        done = self.run_command("sh", "-c", 'cat "$TIDEGATE_SERVERS"; exit 7')
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assertIn('"one-0"', done.stdout)

    def test_a_signal_is_reported_as_a_shell_does(self):
        self.assertEqual(self.run_command("sh", "-c", "kill -9 $$").returncode, 137)

    def test_the_command_can_tell_the_launcher(self):
        done = self.run_command("sh", "-c", f"{SERVERS} tell 'kill one-0' && {SERVERS} tell 'start one-0'")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('"state": "running"', done.stdout)

    def test_an_unknown_command_is_an_error(self):
        done = self.run_command("/nonexistent")
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot run /nonexistent", done.stderr)


class Errors(unittest.TestCase):
    def error(self, *arguments: str) -> str:
        done = subprocess.run([SERVERS, "up", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        return done.stderr

    def test_shapes(self):
        self.assertIn("--cluster x=oracle", self.error("--cluster", "x=oracle"))
        self.assertIn("at least once", self.error())

    def test_options_name_something_that_exists(self):
        self.assertIn("no cluster or server", self.error("--cluster", f"x={DIALECTS[0]}", "--opt", "y:max-connections=5"))

    def test_a_server_that_does_not_start_shows_its_log(self):
        said = self.error("--cluster", f"x={DIALECTS[0]}", "--opt", "x:no-such-option=1")
        self.assertIn("while starting", said)
        self.assertIn("no-such-option", said)


if __name__ == "__main__":
    unittest.main()
