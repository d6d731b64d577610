"""The judge can find fault: each broken promise is fed to it once, and so is what only looks like one."""

import unittest
from collections import Counter

from storm.history import ACKNOWLEDGED, REFUSED, UNKNOWN, History, Pulse


class Rows(unittest.TestCase):
    def setUp(self):
        self.history = History(sum_of_balances=100)
        for key, outcome in ((1, ACKNOWLEDGED), (2, REFUSED), (3, UNKNOWN), (4, ACKNOWLEDGED)):
            self.history.inserting(key)
            self.history.inserted(key, outcome)
        self.settled = self.history.keys_so_far()

    def found(self, *keys):
        """What is said when a server has these rows."""
        self.history.rows_found("main-0", Counter(keys), self.settled)
        return [violation.text for violation in self.history.violations]

    def test_what_is_there_as_promised(self):
        self.assertEqual(self.found(1, 4), [])
        self.assertEqual(self.found(1, 3, 4), [], "whose outcome is unknown may have been written")
        self.assertFalse(self.history.broken.is_set())

    def test_an_acknowledged_row_that_is_lost(self):
        (text,) = self.found(1, 3)
        self.assertIn("main-0: 1 acknowledged rows are not there: [4]", text)
        self.assertTrue(self.history.broken.is_set())

    def test_a_refused_row_that_is_there(self):
        (text,) = self.found(1, 2, 4)
        self.assertIn("whose write was refused: [2]", text)

    def test_a_row_that_was_written_twice(self):
        (text,) = self.found(1, 3, 3, 4)
        self.assertIn("more than once: [3]", text)

    def test_a_row_that_nobody_wrote(self):
        (text,) = self.found(1, 4, 5)
        self.assertIn("nobody wrote: [5]", text)

    def test_what_was_not_settled_when_the_question_was_asked_may_be_missing(self):
        self.history.inserting(5)
        self.history.inserted(5, ACKNOWLEDGED)
        self.assertEqual(self.found(1, 4), [])
        self.settled = self.history.keys_so_far()
        self.assertIn("[5]", self.found(1, 4)[0])

    def test_the_rows_history_is_told(self):
        self.assertEqual([event[1:3] for event in self.history.events_of([4])], [("insert", 4), (ACKNOWLEDGED, 4)])


class Counters(unittest.TestCase):
    def setUp(self):
        self.history = History(sum_of_balances=100)
        self.view = self.history.view("reader")
        self.write(7, 5)

    def write(self, counter, value, acknowledged=True):
        self.history.raising(counter, value)
        if acknowledged:
            self.history.raised(counter, value)

    def promises(self):
        return [violation.promise for violation in self.history.violations]

    def saw(self, view, values, is_global=False):
        view.saw(values, self.history.promised(), is_global)

    def test_a_late_read_of_somebody_elses_write_is_no_fault_at_level_session(self):
        self.saw(self.view, {7: 3})
        self.saw(self.view, {7: 5})
        self.assertEqual(self.promises(), [])

    def test_a_session_that_does_not_see_its_own_write(self):
        self.view.wrote(7, 5)
        self.saw(self.view, {7: 4})
        self.assertEqual(self.promises(), ["session"])

    def test_a_session_that_goes_back_in_time(self):
        self.saw(self.view, {7: 5})
        self.saw(self.view, {7: 4})
        self.assertEqual(self.promises(), ["session"])
        self.saw(self.view, {7: 4})
        self.assertEqual(self.promises(), ["session"] * 2, "what it has seen is not forgotten")
        self.saw(self.history.view("another"), {7: 4})
        self.assertEqual(self.promises(), ["session"] * 2, "another session may be behind")

    def test_what_is_not_acknowledged_yet_may_be_seen_early_and_not_be_lost_later(self):
        self.write(7, 6, acknowledged=False)
        self.saw(self.view, {7: 6})
        self.saw(self.view, {7: 5})
        self.assertEqual((self.promises(), self.history.seen_early), ([], 1))
        self.history.raised(7, 6)
        self.saw(self.view, {7: 5})
        self.assertEqual(self.promises(), ["session"])

    def test_a_global_read_that_misses_what_was_acknowledged_before_it(self):
        began = self.history.promised()
        self.write(7, 6)
        self.view.saw({7: 5}, began, is_global=True)
        self.assertEqual(self.promises(), [], "that came after the read began")
        self.saw(self.view, {7: 5}, is_global=True)
        self.assertEqual(self.promises(), ["global"])

    def test_a_write_without_an_answer_may_be_seen_or_not(self):
        self.write(7, 6, acknowledged=False)
        self.saw(self.view, {7: 5}, is_global=True)
        self.saw(self.view, {7: 6}, is_global=True)
        self.assertEqual(self.promises(), [])

    def test_a_value_that_nobody_wrote_and_a_row_that_is_gone(self):
        self.saw(self.view, {7: 6})
        self.saw(self.view, {})
        self.assertEqual(self.promises(), ["session", "session"])


class SumAndPulse(unittest.TestCase):
    def test_a_torn_transfer(self):
        history = History(sum_of_balances=100)
        history.summed("reader", 100)
        self.assertEqual(history.violations, [])
        history.summed("reader", 93)
        self.assertEqual([violation.promise for violation in history.violations], ["sum"])

    def test_the_longest_time_without_a_beat_counts_one_that_goes_on(self):
        times = iter([0.0, 1.0, 5.0, 6.0, 9.0])
        pulse = Pulse(lambda: next(times))
        pulse.beat()
        pulse.beat()
        self.assertEqual(pulse.longest(), 4.0)
        self.assertEqual(pulse.longest(), 4.0, "nothing since 5.0")


if __name__ == "__main__":
    unittest.main()
