//! The kinds of statement that sequences are made of, as forms with placeholders.
//!
//! Owns: what is tried. Does not know: how it is sent. Invariant: what a form yields has one answer: no clock, no
//! random number, no server's name, nothing that another session of the sequence changes or blocks.

/// A kind of statement.
pub struct Kind {
    pub name: &'static str,
    pub weight: usize,
    /// Each a line, or several, one after another.
    pub forms: &'static [&'static str],
}

const fn kind(name: &'static str, weight: usize, forms: &'static [&'static str]) -> Kind {
    Kind { name, weight, forms }
}

/// What placeholders stand for.
pub const PLACEHOLDERS: &[(&str, &[&str])] = &[
    ("id", &["1", "2", "3", "4", "5", "6", "7", "99"]),
    ("int", &["0", "1", "-1", "7", "127", "128", "255", "256", "65536", "2147483648", "-2147483649", "9223372036854775807", "18446744073709551615", "18446744073709551616"]),
    ("num", &["{int}", "0.1", "1.50", "-3.14159", "1e10", "1e-5", "123456789.123456789", "0x41", "b'101'", "TRUE", "NULL"]),
    ("str", &["'a'", "''", "'It''s'", "'ünï'", "\"q\"", "'a\\nb'", "_latin1'caf«e9»'", "x'00ff'", "N'n'", "_utf8mb4'😀'", "'12abc'", "'0'", "NULL", "'2020-02-30'", "'2020-02-03 04:05:06.789'", "_binary'«fffe»'"]),
    ("t", &["t{s}"]),
    ("all", &["all{s}"]),
    ("db", &["diff_a", "diff_b"]),
    ("slot", &["0", "1", "2", "3"]),
    ("var", &["@a", "@b", "@c", "@`d e`"]),
    ("col", &["ti", "ui", "si", "mi", "i", "bi", "bu", "de", "f", "d", "bt", "da", "dt", "ts", "tm", "y", "c", "vc", "vb", "bn", "tx", "bl", "e", "se", "js"]),
    ("cs", &["utf8mb4", "latin1", "gbk", "binary", "ascii", "utf8mb3", "sjis", "cp1251"]),
    ("coll", &["utf8mb4_bin", "utf8mb4_general_ci", "utf8mb4_unicode_ci", "latin1_swedish_ci", "latin1_german2_ci"]),
    ("mode", &["", "ANSI", "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES", "STRICT_ALL_TABLES", "TRADITIONAL", "ONLY_FULL_GROUP_BY", "PIPES_AS_CONCAT", "IGNORE_SPACE", "NO_ZERO_DATE,NO_ZERO_IN_DATE", "PAD_CHAR_TO_FULL_LENGTH", "HIGH_NOT_PRECEDENCE"]),
    ("level", &["READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]),
    ("bool", &["0", "1", "ON", "OFF", "DEFAULT"]),
    ("op", &["+", "-", "*", "/", "DIV", "%", "=", "<", "<=>", "AND", "OR", "|", "<<", "LIKE", "!="]),
    ("expr", &["{num}", "{str}", "{var}", "({expr} {op} {expr})", "CONCAT({expr}, {expr})", "IFNULL({expr}, {expr})", "CAST({expr} AS CHAR)", "CAST({expr} AS SIGNED)", "CAST({expr} AS DECIMAL(10,3))", "CAST({expr} AS DATETIME)", "LENGTH({expr})", "HEX({expr})", "CHARSET({expr})", "COLLATION({expr})", "COERCIBILITY({expr})", "IF({expr}, {expr}, {expr})", "ABS({num})", "ROUND({num}, 2)", "UPPER({str})", "-{num}", "NOT {num}", "DATABASE()", "LAST_INSERT_ID()", "DATE_ADD('2020-01-31', INTERVAL {id} MONTH)", "COALESCE(NULL, {expr})", "CASE {num} WHEN 1 THEN {expr} ELSE {expr} END", "f{s}({id})", "JSON_OBJECT('k', {num})", "({str} COLLATE utf8mb4_bin)", "CONVERT({str} USING latin1)", "INET_ATON('1.2.3.4')", "MD5({str})", "{num} BETWEEN 0 AND 5", "{num} IN (1, 2, NULL)"]),
    ("sysvar", &["autocommit", "sql_mode", "time_zone", "character_set_client", "character_set_connection", "character_set_results", "collation_connection", "collation_database", "character_set_database", "sql_select_limit", "div_precision_increment", "group_concat_max_len", "lc_time_names", "max_sort_length", "sql_safe_updates", "unique_checks", "foreign_key_checks", "sql_warnings", "sql_notes", "sql_auto_is_null", "sql_big_selects", "wait_timeout", "net_write_timeout", "lock_wait_timeout", "innodb_lock_wait_timeout", "default_week_format", "auto_increment_increment", "max_error_count", "long_query_time", "sort_buffer_size", "tmp_table_size", "optimizer_switch", "error_count", "warning_count", "identity", "last_insert_id", "insert_id", "big_tables", "completion_type", "storage_engine", "default_storage_engine", "sql_quote_show_create", "profiling", "old_passwords", "max_allowed_packet", "net_buffer_length", "interactive_timeout", "lower_case_table_names", "version", "max_join_size", "transaction_isolation", "tx_isolation", "transaction_read_only", "tx_read_only", "in_transaction", "rand_seed1", "explicit_defaults_for_timestamp", "nosuchvariable"]),
    ("value", &["null", "tiny:-5", "utiny:200", "short:-300", "ushort:60000", "long:-70000", "ulong:4000000000", "int24:5", "big:-5000000000", "ubig:18446744073709551615", "float:1.5", "double:-2.25", "decimal:12.340", "text:abc", "text:7", "char:ünï", "varchar:xyz", "blob:00ff41", "date:2020-2-3", "datetime:2020-2-3-4-5-6", "timestamp:2020-2-3-4-5-6-789", "time:n1-2-3-4-5", "year:2024", "big:1", "big:2", "text:"]),
    ("values", &["{value} {value} {value} {value} {value}", "big:1 text:a {value} {value} {value}", "big:{id} big:{id} text:x {value} {value}"]),
    ("preparable", &["SELECT 1", "SELECT ?", "SELECT ?, ?, ?", "SELECT * FROM {all}", "SELECT * FROM {t} WHERE id = ?", "SELECT id, s FROM {t} WHERE n > ? ORDER BY id", "SELECT {col} FROM {all} WHERE {col} = ?", "INSERT INTO {t} (n, s) VALUES (?, ?)", "UPDATE {t} SET s = ? WHERE id = ?", "DELETE FROM {t} WHERE id = ?", "SELECT ? + 1, CONCAT(?, 'x')", "SET {var} = ?", "SELECT {var}, ?", "CALL p{s}_rows(?)", "CALL p{s}_out(?, {var})", "CALL p{s}_out(?, ?)", "SHOW TABLES", "SELECT LAST_INSERT_ID(), ROW_COUNT()", "DO ?", "SELECT {expr}", "SELECT * FROM nosuch", "SELEC", "", "BEGIN", "COMMIT", "REPLACE INTO {t} (id, n, s) VALUES (?, ?, ?)", "INSERT INTO {all} ({col}) VALUES (?)", "SELECT * FROM {t} LIMIT ?", "SET time_zone = '+02:00'", "SHOW WARNINGS", "CREATE TABLE x{s} (a INT)", "DROP TABLE IF EXISTS x{s}", "SELECT * FROM x{s}", "SELECT * FROM tmp{s}", "USE diff_b"]),
];

/// All kinds.
pub const KINDS: &[Kind] = &[
    // Reading
    kind("select expression", 8, &["SELECT {expr}", "SELECT {expr} AS x, {expr}", "SELECT {expr}, {expr}, {expr}"]),
    kind("select all types", 3, &["SELECT * FROM {all} ORDER BY id", "SELECT {col}, {col} FROM {all} ORDER BY id", "SELECT {col} FROM {all} WHERE id = {id}"]),
    kind("select table", 4, &["SELECT * FROM {t} ORDER BY id", "SELECT COUNT(*), SUM(n), MAX(s) FROM {t}", "SELECT s, COUNT(*) FROM {t} GROUP BY s ORDER BY s", "SELECT * FROM v{s} ORDER BY id", "SELECT a.id, b.id FROM {t} a LEFT JOIN {t} b ON a.id = b.n ORDER BY 1, 2"]),
    kind("select for update", 2, &["SELECT * FROM {t} ORDER BY id FOR UPDATE", "SELECT id FROM {t} WHERE id = {id} LOCK IN SHARE MODE"]),
    kind("select into variable", 2, &["SELECT n, s INTO @a, @b FROM {t} ORDER BY id LIMIT 1", "SELECT {expr} INTO {var}", "SELECT id INTO @a FROM {t} WHERE id > 1000", "SELECT id INTO @a FROM {t}"]),
    kind("union", 1, &["SELECT 1 UNION SELECT 'a'", "SELECT {num} UNION ALL SELECT {str} ORDER BY 1", "(SELECT id FROM {t}) UNION (SELECT {id}) ORDER BY 1 LIMIT 2"]),
    kind("calc found rows", 2, &["SELECT SQL_CALC_FOUND_ROWS * FROM {t} ORDER BY id LIMIT 1", "SELECT SQL_CALC_FOUND_ROWS id FROM {all} LIMIT 2"]),
    kind("do", 1, &["DO {expr}", "DO 1, {expr}"]),
    kind("table, values", 1, &["TABLE {t}", "VALUES ROW(1, 'a'), ROW(2, 'b')", "WITH q AS (SELECT 1 AS a) SELECT * FROM q", "WITH RECURSIVE q AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM q WHERE a < 3) SELECT * FROM q"]),
    kind("system variable", 4, &["SELECT @@{sysvar}", "SELECT @@session.{sysvar}", "SELECT @@{sysvar}, @@{sysvar}"]),
    kind("information schema", 1, &["SELECT table_name FROM information_schema.tables WHERE table_schema = 'diff_a' ORDER BY 1", "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'diff_a' AND table_name = '{all}' ORDER BY ordinal_position"]),
    kind("session functions", 3, &["SELECT DATABASE(), SCHEMA()", "SELECT USER(), CURRENT_USER(), SESSION_USER()", "SELECT VERSION()", "SELECT CURRENT_ROLE()", "~SELECT CONNECTION_ID()", "SELECT CONNECTION_ID() = CONNECTION_ID()", "SELECT @@version_comment LIMIT 1"]),
    // What the statement before left
    kind("row count", 5, &["SELECT ROW_COUNT()", "SELECT FOUND_ROWS()", "SELECT ROW_COUNT() AS r, FOUND_ROWS() AS f"]),
    kind("last insert id", 4, &["SELECT LAST_INSERT_ID()", "SELECT @@identity", "SELECT @@last_insert_id", "SELECT LAST_INSERT_ID({id})", "SELECT @@insert_id", "SET @@last_insert_id = {id}"]),
    kind("show warnings", 8, &["SHOW WARNINGS", "SHOW ERRORS", "SHOW COUNT(*) WARNINGS", "SHOW COUNT(*) ERRORS", "SHOW WARNINGS LIMIT 1", "SELECT @@warning_count, @@error_count", "SELECT @@warning_count"]),
    kind("get diagnostics", 2, &["GET DIAGNOSTICS @a = NUMBER, @b = ROW_COUNT", "GET DIAGNOSTICS CONDITION 1 @a = MESSAGE_TEXT, @b = RETURNED_SQLSTATE, @c = MYSQL_ERRNO", "GET DIAGNOSTICS CONDITION 9 @a = MESSAGE_TEXT"]),
    kind("signal", 2, &["SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'mine', MYSQL_ERRNO = 4711", "SIGNAL SQLSTATE '01000' SET MESSAGE_TEXT = 'a warning'", "SIGNAL SQLSTATE '02000'", "RESIGNAL", "CALL p{s}_signal({id})"]),
    // Writing
    kind("insert", 8, &["INSERT INTO {t} (n, s) VALUES ({id}, {str})", "INSERT INTO {t} (n, s) VALUES ({id}, 'x'), ({int}, 'y')", "INSERT IGNORE INTO {t} (n, s) VALUES ({id}, 'dup'), ({id}, 'much too long for this column')", "INSERT INTO {t} SELECT NULL, n + 100, s FROM {t} WHERE n < 100", "INSERT INTO {t} (n) VALUES ({id}) ON DUPLICATE KEY UPDATE s = 'again'", "INSERT INTO {t} (id, n) VALUES ({id}, {id})", "INSERT INTO {t} (n) VALUES ({id}) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), s = {str}", "INSERT INTO {t} () VALUES ()", "INSERT INTO {t} (id, n) VALUES (0, {int})"]),
    kind("insert types", 4, &["INSERT INTO {all} ({col}) VALUES ({num})", "INSERT INTO {all} ({col}) VALUES ({str})", "INSERT IGNORE INTO {all} ({col}) VALUES ({expr})"]),
    kind("update", 5, &["UPDATE {t} SET s = {str} WHERE id = {id}", "UPDATE {t} SET n = n + 1", "UPDATE {t} SET s = s", "UPDATE IGNORE {t} SET n = {id}", "UPDATE {all} SET {col} = {expr} WHERE id = {id}", "UPDATE {t} SET id = LAST_INSERT_ID(id + 50) WHERE id = {id}"]),
    kind("delete", 3, &["DELETE FROM {t} WHERE id = {id}", "DELETE FROM {t} WHERE id > 4 ORDER BY id LIMIT 1", "DELETE a FROM {t} a JOIN {t} b ON a.id = b.n WHERE a.id > 5", "DELETE FROM parent{s} WHERE id = {id}"]),
    kind("replace", 2, &["REPLACE INTO {t} (id, n, s) VALUES ({id}, {id}, 'r')", "REPLACE INTO {t} (n, s) VALUES ({id}, 'r'), ({id}, 'q')"]),
    kind("load data local", 2, &["!file «310931310962310a320932320a780979097a0a» LOAD DATA LOCAL INFILE 'x' INTO TABLE {t} FIELDS TERMINATED BY '\\t' (n, s)", "!file «61» LOAD DATA LOCAL INFILE 'nothing' INTO TABLE nosuch", "!file «3530092761270a3531095c4e0a» LOAD DATA LOCAL INFILE 'y' IGNORE INTO TABLE {t} (n, s)"]),
    kind("truncate", 1, &["TRUNCATE TABLE {t}", "TRUNCATE nosuch"]),
    // Several results
    kind("multi statement", 4, &["SELECT 1; SELECT 2", "INSERT INTO {t} (n) VALUES ({id}); SELECT LAST_INSERT_ID(), ROW_COUNT()", "SET {var} = {num}; SELECT {var}", "SELECT 1; SELECT * FROM nosuch; SELECT 3", "BEGIN; UPDATE {t} SET s = 'm'; COMMIT", "SELECT 1;", "SELECT 1;;", "SELECT {expr}; SHOW WARNINGS", "SET time_zone = '+01:00'; SELECT @@time_zone", "USE diff_b; SELECT DATABASE()", "DO 1; DO 2; SELECT {expr}"]),
    kind("call", 4, &["CALL p{s}_rows({id})", "CALL p{s}_out({id}, @a)", "CALL p{s}_out({id}, 5)", "CALL p{s}_set({id})", "CALL p{s}_warn()", "CALL p{s}_write({id})", "CALL p{s}_temp()", "CALL nosuch()", "CALL p{s}_rows()"]),
    kind("function", 2, &["SELECT f{s}({id})", "SELECT f{s}_set({str})", "SELECT f{s}(n) FROM {t} ORDER BY id"]),
    // Prepared
    kind("prepare", 8, &["!prepare {slot} {preparable}"]),
    kind("execute", 12, &["!execute {slot} {values}"]),
    kind("execute again", 5, &["!again {slot} {values}"]),
    kind("prepare and execute", 8, &["!prepare {slot} {preparable}\n!execute {slot} {values}"]),
    kind("prepare, execute, again", 4, &["!prepare 0 {preparable}\n!execute 0 {values}\n!again 0 {values}\n!execute 0 {values}"]),
    kind("cursor", 4, &["!cursor {slot} {values}", "!prepare 1 SELECT id, vc FROM {all} ORDER BY id\n!cursor 1\n!fetch 1 2\n!fetch 1 100", "!prepare 1 SELECT * FROM {t} ORDER BY id\n!cursor 1\n!fetch 1 1", "!prepare 2 SELECT * FROM {t} WHERE n > ? ORDER BY id\n!cursor 2 big:0\n!fetch 2 1"]),
    kind("fetch", 3, &["!fetch {slot} 1", "!fetch {slot} 100", "!fetch {slot} 0"]),
    kind("long data", 3, &["!long {slot} 0 abc", "!prepare 3 SELECT ?, LENGTH(?), ?\n!long 3 0 abc\n!long 3 0 def\n!execute 3 {values}", "!prepare 3 INSERT INTO {all} (bl) VALUES (?)\n!long 3 0 «00ff»\n!execute 3 {values}"]),
    kind("reset statement", 2, &["!reset-statement {slot}"]),
    kind("close statement", 2, &["!close {slot}"]),
    kind("text prepare", 4, &["PREPARE s1 FROM 'SELECT ? + 1'", "PREPARE s2 FROM 'INSERT INTO t{s} (n, s) VALUES (?, ?)'", "SET @sql = 'SELECT id FROM t{s} ORDER BY id'", "PREPARE s1 FROM @sql", "PREPARE s1 FROM 'SELEC'", "PREPARE s2 FROM 'SELECT * FROM {t} WHERE id = ?'"]),
    kind("text execute", 4, &["EXECUTE s1", "EXECUTE s1 USING @a", "EXECUTE s2 USING @a, @b", "EXECUTE s2 USING @a", "EXECUTE nosuch"]),
    kind("deallocate", 1, &["DEALLOCATE PREPARE s1", "DROP PREPARE s2", "DEALLOCATE PREPARE nosuch"]),
    // State
    kind("set names", 3, &["SET NAMES {cs}", "SET NAMES utf8mb4 COLLATE {coll}", "SET NAMES DEFAULT", "SET CHARACTER SET {cs}", "SET character_set_results = NULL", "SET character_set_results = {cs}", "SET collation_connection = {coll}", "SET character_set_client = {cs}", "SET NAMES nosuch", "SET NAMES utf8mb4", "SET NAMES utf8mb4"]),
    kind("set sql_mode", 3, &["SET sql_mode = '{mode}'", "SET SESSION sql_mode = CONCAT(@@sql_mode, ',{mode}')", "SET sql_mode = DEFAULT", "SET sql_mode = DEFAULT"]),
    kind("set time zone", 2, &["SET time_zone = '+03:00'", "SET time_zone = 'SYSTEM'", "SET time_zone = '-11:30'", "SET time_zone = 'Nowhere/Land'", "SELECT FROM_UNIXTIME(0)", "SELECT ts FROM {all} ORDER BY id"]),
    kind("set variable", 6, &["SET sql_select_limit = 2", "SET sql_select_limit = DEFAULT", "SET div_precision_increment = {id}", "SET group_concat_max_len = 10", "SET lc_time_names = 'de_DE'", "SELECT DATE_FORMAT('2020-03-01', '%M %W')", "SET SESSION max_sort_length = 16", "SET @@session.foreign_key_checks = {bool}", "SET unique_checks = {bool}, sql_notes = {bool}", "SET sql_safe_updates = {bool}", "SET sql_auto_is_null = {bool}", "SET max_error_count = 1", "SET max_error_count = DEFAULT", "SET auto_increment_increment = 5", "SET auto_increment_increment = DEFAULT", "SET default_week_format = 3", "SET sql_warnings = {bool}", "SET long_query_time = 2.5", "SET wait_timeout = 1000", "SET nosuchvariable = 1", "SET sql_select_limit = 'x'", "SET LOCAL sort_buffer_size = 1", "SET SESSION transaction_isolation = 'READ-COMMITTED'", "SET GLOBAL max_connections = 5", "SET @@global.sql_mode = ''"]),
    kind("set unusual", 2, &["SET timestamp = 1000000000", "SELECT NOW(), UNIX_TIMESTAMP()\nSET timestamp = DEFAULT", "SET insert_id = 77\nINSERT INTO {t} (n) VALUES ({int})", "SET rand_seed1 = 1, rand_seed2 = 2\nSELECT RAND(5)", "SET PASSWORD = 'x' FOR nobody", "SET ROLE NONE", "SET DEFAULT ROLE NONE TO nobody", "SET sql_log_bin = 1", "SET pseudo_thread_id = 5"]),
    kind("set user variable", 8, &["SET {var} = {expr}", "SET {var} := {str}, {var} = {num}", "SELECT {var} := {expr}", "SELECT @a := @a + 1 FROM {t}", "SET @a = CAST({str} AS BINARY), @b = CAST({num} AS UNSIGNED)", "SET @a = _latin1'«e4»', @b = {str} COLLATE utf8mb4_bin", "SET {var} = CAST('2020-02-03' AS DATE)", "SET {var} = (SELECT COUNT(*) FROM {t})", "SET @a = 1, nosuchvariable = 2", "SET {var} = NULL"]),
    kind("read user variable", 6, &["SELECT {var}", "SELECT {var}, {var}, CHARSET({var}), COLLATION({var})", "SELECT * FROM {t} WHERE id = {var}", "SELECT COERCIBILITY({var}), {var} + 1", "INSERT INTO {t} (n, s) VALUES (@a, @b)", "CREATE TEMPORARY TABLE IF NOT EXISTS tv{s} AS SELECT @a AS a\nSHOW CREATE TABLE tv{s}\nDROP TEMPORARY TABLE tv{s}"]),
    kind("use", 3, &["USE {db}", "USE nosuchdb", "USE {db}", "!init-db {db}", "!init-db nosuchdb"]),
    // Transactions
    kind("begin", 5, &["BEGIN", "START TRANSACTION", "START TRANSACTION READ ONLY", "START TRANSACTION READ WRITE", "START TRANSACTION WITH CONSISTENT SNAPSHOT", "BEGIN WORK"]),
    kind("end", 7, &["COMMIT", "ROLLBACK", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN", "COMMIT WORK AND NO CHAIN NO RELEASE", "COMMIT", "ROLLBACK"]),
    kind("savepoint", 3, &["SAVEPOINT a", "ROLLBACK TO a", "RELEASE SAVEPOINT a", "SAVEPOINT b", "ROLLBACK TO SAVEPOINT b", "RELEASE SAVEPOINT nosuch"]),
    kind("autocommit", 3, &["SET autocommit = 0", "SET autocommit = 1", "SET autocommit = 1", "SET @@autocommit = ON", "SET SESSION autocommit = OFF\nINSERT INTO {t} (n) VALUES ({int})\nROLLBACK\nSET autocommit = 1"]),
    kind("set transaction", 3, &["SET TRANSACTION ISOLATION LEVEL {level}", "SET SESSION TRANSACTION ISOLATION LEVEL {level}", "SET TRANSACTION READ ONLY", "SET SESSION TRANSACTION READ ONLY", "SET SESSION TRANSACTION READ WRITE", "SET TRANSACTION READ ONLY\nBEGIN\nINSERT INTO {t} (n) VALUES (5)\nCOMMIT"]),
    kind("whole transaction", 4, &["BEGIN\nINSERT INTO {t} (n, s) VALUES ({int}, 'tx')\nSELECT * FROM {t} ORDER BY id\nROLLBACK", "BEGIN\nUPDATE {t} SET s = 'u' WHERE id = {id}\nSAVEPOINT a\nDELETE FROM {t}\nROLLBACK TO a\nCOMMIT"]),
    kind("xa", 1, &["XA START 'x{s}'\nINSERT INTO {t} (n) VALUES ({int})\nXA END 'x{s}'\nXA ROLLBACK 'x{s}'", "XA START 'x{s}'\nXA END 'x{s}'\nXA COMMIT 'x{s}' ONE PHASE", "XA END 'x{s}'"]),
    // What stays on a connection
    kind("temporary table", 4, &["CREATE TEMPORARY TABLE tmp{s} (a INT AUTO_INCREMENT PRIMARY KEY, b VARCHAR(10))", "INSERT INTO tmp{s} (b) VALUES ({str})", "SELECT * FROM tmp{s}", "DROP TEMPORARY TABLE tmp{s}", "DROP TABLE IF EXISTS tmp{s}", "CREATE TEMPORARY TABLE {t} (z INT)\nSELECT * FROM {t}\nDROP TEMPORARY TABLE {t}", "CREATE TEMPORARY TABLE tmp{s} AS SELECT * FROM {t}", "ALTER TABLE tmp{s} ADD c INT"]),
    kind("lock tables", 3, &["LOCK TABLES {t} WRITE", "LOCK TABLES {t} READ, {all} WRITE", "UNLOCK TABLES", "UNLOCK TABLES", "LOCK TABLES nosuch WRITE"]),
    kind("user lock", 3, &["SELECT GET_LOCK('l{s}', 0)", "SELECT RELEASE_LOCK('l{s}')", "SELECT IS_FREE_LOCK('l{s}')", "SELECT RELEASE_ALL_LOCKS()", "DO GET_LOCK('m{s}', 0)", "DO RELEASE_LOCK('m{s}')", "SELECT IS_USED_LOCK('l{s}') = CONNECTION_ID()"]),
    kind("handler", 2, &["HANDLER {t} OPEN", "HANDLER {t} READ FIRST", "HANDLER {t} READ NEXT", "HANDLER {t} CLOSE", "HANDLER {t} OPEN AS h\nHANDLER h READ FIRST LIMIT 2\nHANDLER h CLOSE"]),
    // Definitions
    kind("create and drop", 3, &["CREATE TABLE IF NOT EXISTS x{s} (a INT)", "CREATE TABLE x{s} (a INT, b TEXT)", "DROP TABLE IF EXISTS x{s}", "DROP TABLE x{s}", "CREATE OR REPLACE VIEW w{s} AS SELECT * FROM {t}", "DROP VIEW IF EXISTS w{s}", "CREATE TABLE {t} (a INT)", "CREATE DATABASE IF NOT EXISTS diff_x{s}", "DROP DATABASE IF EXISTS diff_x{s}", "CREATE TABLE y{s} AS SELECT * FROM {t}\nDROP TABLE y{s}"]),
    kind("alter", 2, &["ALTER TABLE {t} ADD extra INT", "ALTER TABLE {t} DROP extra", "ALTER TABLE {t} MODIFY s VARCHAR(30)", "ALTER TABLE {t} COMMENT 'c'", "ALTER TABLE nosuch ADD a INT", "CREATE INDEX ix ON {t} (s)", "DROP INDEX ix ON {t}"]),
    kind("routine", 1, &["CREATE PROCEDURE q{s}() SELECT 1", "DROP PROCEDURE IF EXISTS q{s}", "CALL q{s}()", "SHOW CREATE PROCEDURE p{s}_rows"]),
    // Looking around
    kind("show", 5, &["SHOW TABLES", "SHOW TABLES LIKE 't%'", "SHOW FULL TABLES", "SHOW DATABASES LIKE 'diff%'", "SHOW COLUMNS FROM {t}", "SHOW FULL COLUMNS FROM {all}", "SHOW CREATE TABLE {t}", "SHOW CREATE TABLE nosuch", "~SHOW INDEX FROM {t}", "~SHOW TABLE STATUS LIKE 't{s}'", "SHOW CREATE VIEW v{s}", "SHOW CREATE DATABASE diff_a", "SHOW GRANTS", "SHOW ENGINES", "SHOW PLUGINS", "~SHOW PROCESSLIST", "SHOW PRIVILEGES", "SHOW COLLATION LIKE 'latin1%'", "SHOW CHARACTER SET LIKE 'utf8%'", "SHOW TRIGGERS", "~SHOW EVENTS", "SHOW NOSUCH"]),
    kind("show variables", 4, &["SHOW VARIABLES LIKE 'sql_mode'", "SHOW SESSION VARIABLES LIKE 'char%set\\_c%'", "SHOW VARIABLES LIKE 'time_zone'", "SHOW VARIABLES WHERE Variable_name = 'autocommit'", "SHOW VARIABLES LIKE 'coll%'", "~SHOW STATUS LIKE 'Threads%'", "SHOW VARIABLES LIKE '%isolation'", "SHOW GLOBAL VARIABLES LIKE 'sql_mode'"]),
    kind("describe", 2, &["DESCRIBE {t}", "DESC {all} ti", "EXPLAIN SELECT 1", "HELP 'nothing'", "DESCRIBE nosuch", "~EXPLAIN SELECT * FROM {t}"]),
    kind("admin", 1, &["ANALYZE TABLE {t}", "CHECK TABLE {t}", "OPTIMIZE TABLE {t}", "CHECKSUM TABLE {t}", "REPAIR TABLE nosuch", "FLUSH TABLES {t}", "FLUSH STATUS", "KILL 99999999", "KILL QUERY 99999999"]),
    // Errors
    kind("syntax error", 4, &["SELEC 1", "SELECT", "SELECT 'unfinished", "SELECT * FORM t", "", " ", ";", "/* only a comment */", "-- comment\n", "SELECT /*!99999 nothing */ 1", "SELECT 1 FROM", "BEGIN nonsense", "SET", "«00»", "SELECT 'a\\", "INSERT INTO"]),
    kind("unknown", 3, &["SELECT * FROM nosuch", "SELECT nosuch FROM {t}", "SELECT nosuch()", "SELECT * FROM nosuchdb.t", "INSERT INTO {t} (nosuch) VALUES (1)", "DROP TABLE nosuch", "SELECT nosuchdb.f()", "SELECT {t}.nosuch FROM {t}", "UPDATE nosuch SET a = 1"]),
    kind("duplicate", 2, &["INSERT INTO {t} (id, n) VALUES (1, 1)", "INSERT INTO {t} (n) VALUES (1), (1)", "INSERT INTO child{s} VALUES (99, 99)"]),
    kind("type error", 4, &["INSERT INTO {t} (n) VALUES ('abc')", "INSERT INTO {t} (s) VALUES (REPEAT('x', 100))", "INSERT INTO {all} (ti) VALUES (1000)", "UPDATE {all} SET da = 'nonsense'", "SELECT 'abc' + 1", "SELECT 1 / 0", "SELECT CAST('x' AS SIGNED), CAST('2020-99-99' AS DATE)", "INSERT INTO {all} (ti, e) VALUES (5, 'nosuch')", "SELECT (SELECT 1 UNION SELECT 2)", "SELECT 18446744073709551615 + 1", "SELECT EXP(1000)", "SELECT JSON_EXTRACT('nonsense', '$.a')"]),
    kind("privilege", 1, &["GRANT ALL ON *.* TO nobody", "CREATE USER x IDENTIFIED BY 'y'", "SHUTDOWN", "SELECT user FROM mysql.user WHERE user LIKE 'u%' ORDER BY 1", "SET GLOBAL read_only = 1"]),
    // Commands
    kind("ping", 2, &["!ping"]),
    kind("reset connection", 2, &["!reset"]),
    kind("change user", 1, &["!change-user app app-pw diff_a", "!change-user app app-pw diff_b", "!change-user app app-pw ", "!change-user app app-pw diff_a"]),
    kind("field list", 2, &["!field-list {t}", "!field-list {all}", "!field-list nosuch"]),
    kind("set option", 1, &["!set-option 1", "!set-option 0", "!set-option 0", "!set-option 7"]),
    kind("statistics", 1, &["~!statistics"]),
    kind("unknown command", 1, &["!raw «4f»", "!raw «05»"]),
    kind("query attributes", 2, &["!attributes {value},{value} SELECT {expr}", "!attributes text:abc SELECT 1; SELECT 2", "!attributes big:5 INSERT INTO {t} (n) VALUES ({id})"]),
];
