"""Replication and the line commands, for each dialect that is installed."""

import contextlib
import unittest

from launcher import binaries

from .launched import Launched


class Replication:
    """The cases; one subclass per dialect gives them a primary and a replica."""

    dialect: str
    launched: Launched

    def setUp(self):
        if not binaries.find(self.dialect):
            self.skipTest(f"no {self.dialect} here")
        with contextlib.ExitStack() as stack:
            self.launched = stack.enter_context(Launched("--cluster", f"main={self.dialect}+1"))
            self.addCleanup(stack.pop_all().close)
        self.launched.query("main-0", "CREATE TABLE shop.t (a INT PRIMARY KEY); INSERT INTO shop.t VALUES (1)")
        self.launched.until("main-1", "SELECT a FROM shop.t", [{"a": "1"}])

    def test_servers_come_back_with_their_rows_and_go_on_replicating(self):
        for commands in (["kill main-1", "start main-1"], ["stop main-0", "start main-0"], ["kill main-0", "start main-0"]):
            for command in commands:
                answer = self.launched.tell(command)
                self.assertTrue(answer["ok"], answer)
            rows = self.launched.query("main-0", "INSERT INTO shop.t SELECT MAX(a) + 1 FROM shop.t; SELECT a FROM shop.t ORDER BY a")
            self.launched.until("main-1", "SELECT a FROM shop.t ORDER BY a", rows)
        self.assertEqual(len(rows), 4)

    def test_a_killed_server_refuses_and_a_started_one_keeps_its_port(self):
        port = self.launched.tell("kill main-1")["server"]["port"]
        with self.assertRaises(OSError):
            self.launched.query("main-1", "SELECT 1")
        self.assertEqual(self.launched.tell("start main-1")["server"]["port"], port)
        self.assertFalse(self.launched.tell("start main-1")["ok"])

    def test_add_makes_a_replica_with_all_rows(self):
        added = self.launched.tell("add main")["server"]
        self.launched.json["clusters"]["main"]["servers"].append(added)
        self.launched.until(added["name"], "SELECT a FROM shop.t", [{"a": "1"}])
        self.assertEqual(added["role"], "replica")

    def test_an_emptied_server_has_nothing_and_another_id(self):
        before = self.launched.servers()["main-1"]
        server = self.launched.tell("empty main-1")["server"]
        self.assertNotEqual(server["server_id"], before["server_id"])
        self.assertEqual(server["port"], before["port"])
        self.assertEqual(self.launched.query("main-1", "SHOW TABLES FROM shop"), [])
        self.assertEqual(self.launched.query("main-1", {"mysql": "SHOW REPLICA STATUS", "mariadb": "SHOW SLAVE STATUS"}[self.dialect]), [])

    def test_pause_and_resume(self):
        self.assertEqual(self.launched.tell("pause main-1")["server"]["state"], "paused")
        with self.assertRaises(TimeoutError):
            self.launched.query("main-1", "SELECT 1", timeout_s=1)
        self.launched.query("main-0", "INSERT INTO shop.t VALUES (2)")
        self.assertEqual(self.launched.tell("resume main-1")["server"]["state"], "running")
        self.launched.until("main-1", "SELECT COUNT(*) AS n FROM shop.t", [{"n": "2"}])

    def test_replicas_are_read_only_and_the_template_left_no_transaction(self):
        self.assertEqual(self.launched.query("main-1", "SELECT @@read_only AS r"), [{"r": "1"}])
        self.assertEqual(self.launched.query("main-0", "SELECT @@read_only AS r"), [{"r": "0"}])
        gtid, two_transactions = {"mysql": ("gtid_executed", r":1-2$"), "mariadb": ("gtid_binlog_pos", r"^0-\d+-2$")}[self.dialect]
        (primary,) = self.launched.query("main-0", f"SELECT @@GLOBAL.{gtid} AS g")
        self.assertRegex(primary["g"], two_transactions)
        self.launched.until("main-1", f"SELECT @@GLOBAL.{gtid} AS g", [primary])

    def test_bad_commands_are_answered(self):
        for command in ("kill", "kill nobody", "add nobody", "explode main-0", "resume"):
            answer = self.launched.tell(command)
            self.assertFalse(answer["ok"], command)
            self.assertTrue(answer["error"], command)


class MySql(Replication, unittest.TestCase):
    dialect = "mysql"


class MariaDb(Replication, unittest.TestCase):
    dialect = "mariadb"


if __name__ == "__main__":
    unittest.main()
