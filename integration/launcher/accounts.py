"""The accounts and databases that every server has, as data (for the tests) and as SQL (for the template).

They are written into the data directory's template with the binary log off, so they exist on each server and are
never replicated. A change here gives a new template (its key is a hash of this SQL).
"""

from dataclasses import dataclass

DATABASES = ("test", "shop")

#: 64 bytes of UTF-8, with a quote, a backslash and four-byte characters.
ODD_PASSWORD = "pässwörd-密码-🔑🌊-'quoted'\\back\"-ñandú-Ελλάδα-0"

#: What an application needs, and nothing that writes past `read_only`.
APPLICATION = (
    "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, RELOAD, PROCESS, REFERENCES, INDEX, ALTER, SHOW DATABASES, "
    "CREATE TEMPORARY TABLES, LOCK TABLES, EXECUTE, CREATE VIEW, SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE, EVENT, TRIGGER"
)
MONITOR = {
    "mysql": "REPLICATION CLIENT, PROCESS",
    # 10.5 split REPLICATION CLIENT: SHOW BINLOG STATUS and SHOW REPLICA STATUS have privileges of their own.
    "mariadb": "BINLOG MONITOR, SLAVE MONITOR, PROCESS",
}


#: Who moves data between members of a Galera cluster.
ADMIN_LOGIN = "admin:admin-pw"

#: What Tidegate's own promotion needs (docs/operations.md).
FAILOVER = {
    "mysql": "REPLICATION CLIENT, RELOAD, PROCESS, REPLICATION_SLAVE_ADMIN, SYSTEM_VARIABLES_ADMIN, CONNECTION_ADMIN",
    "mariadb": "BINLOG MONITOR, SLAVE MONITOR, RELOAD, PROCESS, REPLICATION SLAVE ADMIN, READ_ONLY ADMIN, REPLICATION MASTER ADMIN, CONNECTION ADMIN",
}


@dataclass(frozen=True)
class Account:
    dialect: str
    user: str
    password: str
    plugin: str
    privileges: str = APPLICATION
    grant_option: bool = False
    require_tls: bool = False

    def json(self) -> dict:
        return {"dialect": self.dialect, "user": self.user, "password": self.password, "plugin": self.plugin,
                "require_tls": self.require_tls}

    def sql(self) -> list:
        password = _quoted(self.password)
        if self.dialect == "mysql":
            identified = f"IDENTIFIED WITH {self.plugin} BY {password}"
        else:
            identified = f"IDENTIFIED VIA {self.plugin} USING PASSWORD({password})"
        require = " REQUIRE SSL" if self.require_tls else ""
        option = " WITH GRANT OPTION" if self.grant_option else ""
        return [f"CREATE USER '{self.user}'@'%' {identified}{require}",
                f"GRANT {self.privileges} ON *.* TO '{self.user}'@'%'{option}"]


def accounts(dialect: str) -> list:
    usual = {"mysql": "caching_sha2_password", "mariadb": "mysql_native_password"}[dialect]
    common = [
        Account(dialect, "app", "app-pw", usual),
        Account(dialect, "tidegate", "monitor-pw", usual, MONITOR[dialect]),
        Account(dialect, "repl", "repl-pw", usual, "REPLICATION SLAVE"),
        Account(dialect, "failover", "failover-pw", usual, FAILOVER[dialect]),
        Account(dialect, *ADMIN_LOGIN.split(":"), usual, "ALL PRIVILEGES", grant_option=True),
        Account(dialect, "u_empty", "", usual),
        Account(dialect, "u_tls", "tls-pw", usual, require_tls=True),
        Account(dialect, "u_odd", ODD_PASSWORD, usual),
    ]
    if dialect == "mysql":
        return common + [Account(dialect, "u_sha256", "sha256-pw", "sha256_password")]
    return common + [Account(dialect, "u_ed25519", "ed25519-pw", "ed25519")]


def statements(dialect: str) -> list:
    """What the template's server runs once; root stays without a password, on the socket and on 127.0.0.1."""
    sql = ["SET NAMES utf8mb4"]
    if dialect == "mysql":
        sql.append("CREATE USER 'root'@'127.0.0.1' IDENTIFIED WITH caching_sha2_password BY ''")
    else:
        sql.append("INSTALL SONAME 'auth_ed25519'")
        sql.append("CREATE OR REPLACE USER 'root'@'127.0.0.1' IDENTIFIED VIA mysql_native_password USING PASSWORD('')")
        # Anonymous accounts would hide '%' accounts on local connections; accounts by host name are ignored anyway.
        sql.append("DELETE FROM mysql.global_priv WHERE User = '' OR (User = 'root' AND Host NOT IN ('localhost', '127.0.0.1'))")
        sql.append("FLUSH PRIVILEGES")
    sql.append("GRANT ALL PRIVILEGES ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION")
    sql += [f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4" for name in DATABASES]
    for account in accounts(dialect):
        sql += account.sql()
    sql.append("GRANT CREATE, SELECT, INSERT, DELETE ON tidegate.* TO 'failover'@'%'")
    if dialect == "mysql":
        sql.append("GRANT SELECT ON performance_schema.replication_group_members TO 'tidegate'@'%'")
    return sql


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
