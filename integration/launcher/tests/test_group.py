"""Groups of equal members, for each dialect that is installed."""

import unittest

from launcher import binaries

from .launched import Launched


class Group:
    """The cases; one subclass per dialect."""

    dialect: str

    def test_members_share_their_rows_and_come_back(self):
        if not binaries.find(self.dialect):
            self.skipTest(f"no {self.dialect} here")
        with Launched("--cluster", f"main={self.dialect}*3") as launched:
            launched.query("main-0", "CREATE TABLE shop.t (a INT PRIMARY KEY); INSERT INTO shop.t VALUES (1)")
            self.assertTrue(launched.tell("kill main-1")["ok"])
            launched.query("main-0", "INSERT INTO shop.t VALUES (2)")
            launched.until("main-2", "SELECT a FROM shop.t ORDER BY a", [{"a": "1"}, {"a": "2"}])
            answer = launched.tell("start main-1")
            self.assertTrue(answer["ok"], answer)
            self.assertEqual(answer["server"]["role"], "member")
            launched.until("main-1", "SELECT a FROM shop.t ORDER BY a", [{"a": "1"}, {"a": "2"}])
            self.assertFalse(launched.tell("add main")["ok"])


class MySql(Group, unittest.TestCase):
    dialect = "mysql"


class MariaDb(Group, unittest.TestCase):
    dialect = "mariadb"
