"""What is read: the lists, and what mariadb-test-run prints."""

import tempfile
import unittest
from pathlib import Path
from unittest import mock

from launcher.cache import LauncherError
from mtr import lists, suite

SAID = """\
TEST                                      RESULT   TIME (ms) or COMMENT
--------------------------------------------------------------------------
main.alias                               [ pass ]    398
main.grant 'innodb'                      [ fail ]
        Test ended at 2026-11-22 10:01:03

mysqltest: At line 689: it broke

main.ps                                  [ skipped ]  Test requires: 'have_log_bin'
main.sp-big                              [ disabled ]  MDEV-1
"""


class Reading(unittest.TestCase):
    def test_outcomes_have_their_reports_and_reasons(self):
        found = {outcome.name: outcome for outcome in suite.read(SAID)}
        self.assertEqual({name: outcome.result for name, outcome in found.items()},
                         {"alias": "pass", "grant": "fail", "ps": "skipped", "sp-big": "disabled"})
        self.assertIn("At line 689", found["grant"].why)
        self.assertEqual(found["ps"].why, "Test requires: 'have_log_bin'")

    def test_a_known_failure_needs_a_reason(self):
        reasons = {"a\tcompares the server's own connection id": True, "a\tpending, because it is not done yet": False, "a": False,
                   "a\tshort": False, "b\tis not in the list of what passes directly": False}
        for line, right in reasons.items():
            with self.subTest(line), self._lists(direct="a\n", known=f"# head\n{line}\n"):
                if right:
                    self.assertEqual(list(lists.known()), ["a"])
                else:
                    self.assertRaises(LauncherError, lists.known)

    def test_regenerating_leaves_what_was_not_run(self):
        with self._lists(direct="# head\na\nb\nc\n"):
            lists.write_direct(passed={"b", "d"}, ran={"b", "c", "d"})
            self.assertEqual(lists.direct(), ["a", "b", "d"])
            self.assertTrue((lists.HERE / "direct.txt").read_text().startswith("# head\n"))

    def _lists(self, **texts):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        folder = Path(temporary.name)
        for name, text in texts.items():
            (folder / f"{name}.txt").write_text(text)
        return mock.patch.object(lists, "HERE", folder)
