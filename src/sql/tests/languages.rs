//! SHOW, definitions, administration, several statements in one packet.

use super::*;

const NONE: Uses = Uses::empty();

#[test]
fn show_is_told_by_what_it_shows() {
    for sql in [
        "SHOW TABLES",
        "SHOW FULL TABLES FROM db LIKE 'a%'",
        "SHOW COLUMNS FROM t",
        "SHOW INDEX FROM t",
        "SHOW DATABASES",
        "SHOW CREATE TABLE t",
        "SHOW TABLE STATUS",
        "SHOW TRIGGERS",
        "SHOW PROCEDURE STATUS",
        "SHOW CHARACTER SET",
        "SHOW COLLATION WHERE Charset = 'utf8mb4'",
        "SHOW GRANTS FOR u@h",
        "SHOW CREATE USER 'u'@'h'",
        "DESCRIBE t",
        "DESC t a",
        "EXPLAIN t",
        "HELP 'select'",
    ] {
        both(sql, Class::Show, NONE);
    }
    for sql in [
        "SHOW STATUS",
        "SHOW GLOBAL STATUS LIKE 'x'",
        "SHOW SESSION VARIABLES",
        "SHOW FULL PROCESSLIST",
        "SHOW PROCESSLIST",
        "SHOW ENGINE INNODB STATUS",
        "SHOW ENGINES",
        "SHOW BINARY LOGS",
        "SHOW REPLICA STATUS",
        "SHOW ALL SLAVES STATUS",
        "SHOW MASTER STATUS",
        "SHOW OPEN TABLES",
        "SHOW PLUGINS",
        "EXPLAIN FOR CONNECTION 5",
    ] {
        both(sql, Class::ShowServer, NONE);
    }
    for sql in ["SHOW WARNINGS", "SHOW ERRORS LIMIT 1", "SHOW COUNT(*) WARNINGS"] {
        both(sql, Class::Diagnostics, Uses::DIAGNOSTICS);
    }
    let diagnostics = Uses::DIAGNOSTICS | Uses::USER_VARIABLE_WRITE | Uses::USER_VARIABLE_READ;
    both("GET DIAGNOSTICS @n = NUMBER", Class::Diagnostics, diagnostics);
    both("SHOW TABLES WHERE f(1)", Class::Show, Uses::UNKNOWN_FUNCTION);
}

#[test]
fn definitions_commit_and_temporary_tables_are_noted() {
    for sql in [
        "CREATE TABLE t (id INT PRIMARY KEY, a DATETIME(6))",
        "CREATE TABLE IF NOT EXISTS t LIKE u",
        "ALTER TABLE t ADD COLUMN a ENUM('x')",
        "DROP TABLE t",
        "TRUNCATE t",
        "RENAME TABLE a TO b",
        "GRANT ALL ON *.* TO u",
        "REVOKE ALL ON *.* FROM u",
        "CREATE OR REPLACE VIEW v AS SELECT 1",
        "CREATE INDEX i ON t (a)",
        "OPTIMIZE TABLE t",
        "ANALYZE TABLE t",
        "CHECK TABLE t",
        "CACHE INDEX t IN c",
        "LOAD INDEX INTO CACHE t",
        "CREATE DATABASE d",
    ] {
        both(sql, Class::Ddl, NONE);
    }
    for sql in [
        "CREATE TEMPORARY TABLE t (a INT)",
        "create temporary table if not exists t like u",
        "DROP TEMPORARY TABLE t",
    ] {
        both(sql, Class::Ddl, Uses::TEMPORARY_TABLE);
    }
    mariadb("CREATE OR REPLACE TEMPORARY TABLE t (a INT)", Class::Ddl, Uses::TEMPORARY_TABLE);
    both("CREATE TABLE t AS SELECT f(1)", Class::Ddl, Uses::UNKNOWN_FUNCTION);
}

#[test]
fn a_stored_programs_body_does_not_change_the_class() {
    let body = "CREATE DEFINER=`a`@`b` PROCEDURE p(IN x INT) BEGIN DECLARE y INT; SET y = x; SELECT y; END";
    both(body, Class::Ddl, recognise(body.as_bytes(), &MYSQL).uses);
    both("CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1", Class::Ddl, NONE);
}

#[test]
fn administration_goes_to_the_primary_without_doubt() {
    for sql in [
        "RESET MASTER",
        "PURGE BINARY LOGS TO 'x'",
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST='x'",
        "STOP REPLICA",
        "INSTALL PLUGIN p SONAME 'x'",
        "BINLOG 'x'",
        "SHUTDOWN",
        "CHECKSUM TABLE t",
        "CLONE LOCAL DATA DIRECTORY 'x'",
    ] {
        both(sql, Class::Other, NONE);
    }
    both("CALL p", Class::Call, NONE);
    both("USE db", Class::Use, NONE);
    both("KILL QUERY 5", Class::Kill, NONE);
}

#[test]
fn t7_several_statements_have_the_strongest_class() {
    both("SELECT 1; SELECT 2", Class::Read, Uses::MULTIPLE);
    both("SELECT 1;", Class::Read, NONE);
    both("SELECT 1; ; -- nothing", Class::Read, NONE);
    both(";;SELECT 1", Class::Read, NONE);
    both("SELECT 1; UPDATE t SET a = 1; SELECT 2", Class::Write, Uses::MULTIPLE);
    both("SELECT 1; SELECT @a FOR UPDATE", Class::LockingRead, Uses::MULTIPLE | Uses::USER_VARIABLE_READ);
    both("START TRANSACTION READ ONLY; SELECT 1", Class::Begin(Access::ReadOnly), Uses::MULTIPLE);
    both("START TRANSACTION READ ONLY; START TRANSACTION", Class::Begin(Access::ReadWrite), Uses::MULTIPLE);
    both("SELECT ';' ; DROP TABLE t", Class::Ddl, Uses::MULTIPLE);
    both("SELECT 1; FROB", Class::Other, Uses::MULTIPLE | Uses::DOUBT);
}
