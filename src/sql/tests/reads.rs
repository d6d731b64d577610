//! What reads, what locks, what writes.

use super::*;

const NONE: Uses = Uses::empty();

#[test]
fn t1_a_locking_read_is_found_anywhere_in_the_text() {
    for sql in [
        "SELECT * FROM t FOR UPDATE",
        "select *\n\tfrom t\n\twhere id = 1\n\tfor\n\tupdate\n;",
        "SELECT * FROM t FOR UPDATE;",
        "SELECT * FROM t FOR UPDATE -- the end",
        "SELECT * FROM t FOR /* now */ UPDATE /* done */",
        "SELECT * FROM t FOR UPDATE SKIP LOCKED",
        "SELECT * FROM t FOR UPDATE NOWAIT",
        "SELECT * FROM t FOR UPDATE OF t SKIP LOCKED",
        "SELECT * FROM t FOR SHARE",
        "SELECT * FROM t LOCK IN SHARE MODE",
        "SELECT * FROM (SELECT * FROM t FOR UPDATE) d",
        "SELECT * FROM a WHERE x IN (SELECT y FROM b LOCK IN SHARE MODE) LIMIT 1",
        "(SELECT 1 FROM a) UNION (SELECT 1 FROM b FOR UPDATE)",
        "WITH c AS (SELECT * FROM t FOR UPDATE) SELECT * FROM c",
        "SELECT * FROM t /*!80000 FOR UPDATE */",
    ] {
        mysql(sql, Class::LockingRead, NONE);
    }
    mysql("SELECT 'FOR UPDATE', `for update` FROM t -- FOR UPDATE", Class::Read, NONE);
    mysql("SELECT * FROM t /* FOR UPDATE */", Class::Read, NONE);
    mariadb("SELECT * FROM t LIMIT 1 FOR UPDATE SKIP LOCKED", Class::LockingRead, NONE);
}

#[test]
fn queries_of_all_shapes_read() {
    for sql in [
        "SELECT 1",
        "SELECT c FROM sbtest1 WHERE id=5023",
        "SELECT DISTINCT c FROM sbtest1 WHERE id BETWEEN 1 AND 100 ORDER BY c",
        "SELECT SUM(k) FROM sbtest1 WHERE id BETWEEN ? AND ?",
        "((SELECT 1))",
        "(SELECT 1) UNION ALL (SELECT 2) ORDER BY 1 LIMIT 3",
        "SELECT IF(a, LEFT(b, 1), REPEAT('x', 3)), INSERT(a, 1, 2, 'b'), REPLACE(a, 'x', 'y') FROM t",
        "SELECT a FROM t WHERE a IN (1, 2) AND EXISTS (SELECT 1) AND NOT (b OR (c)) AND d = ANY (SELECT 1)",
        "SELECT a FROM t USE INDEX (i, j) IGNORE INDEX FOR ORDER BY (k) WHERE a > ALL (SELECT 2)",
        "SELECT a FROM t PARTITION (p0, p1) JOIN (u, v) USING (x) LEFT JOIN w ON (w.a = t.a)",
        "SELECT ROW_NUMBER() OVER (PARTITION BY a ORDER BY b) FROM t WINDOW w AS (PARTITION BY c)",
        "SELECT * FROM (SELECT 1) AS d",
        "SELECT CAST(a AS CHAR(20)), CONVERT(b, DECIMAL(10, 2)), a COLLATE utf8mb4_bin FROM t",
        "SELECT EXTRACT(YEAR FROM a), DATE_ADD(a, INTERVAL (1 + 2) DAY), POSITION('a' IN b), TRIM(BOTH 'x' FROM c) FROM t",
        "SELECT MATCH (a, b) AGAINST ('x' IN BOOLEAN MODE) FROM t",
        "SELECT CASE WHEN (a) THEN (1) ELSE (2) END FROM t",
        "SELECT GROUP_CONCAT(DISTINCT a ORDER BY b SEPARATOR ',') FROM t GROUP BY (a) HAVING (COUNT(*) > 1)",
        "WITH RECURSIVE a (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM a), b (x, y) AS (SELECT 1, 2) SELECT * FROM a, b",
        "SELECT jt.* FROM t, JSON_TABLE(d, '$[*]' COLUMNS (a INT PATH '$.a', b VARCHAR(20) PATH '$.b')) AS jt",
        "SELECT CURRENT_TIMESTAMP(6), NOW(), UTC_DATE(), RAND(), UUID(), DATABASE(), USER(), VERSION()",
        "SELECT 1 FROM dual WHERE 1 <=> NULL AND 2 <> 3 && 1 || 0",
        "EXPLAIN SELECT 1",
        "EXPLAIN FORMAT=JSON SELECT 1",
        "EXPLAIN (SELECT 1)",
        "DESC SELECT 1",
        "EXPLAIN WITH a AS (SELECT 1) SELECT * FROM a",
        "DO 1 + 1",
    ] {
        both(sql, Class::Read, NONE);
    }
    for sql in [
        "TABLE t ORDER BY a LIMIT 1",
        "VALUES ROW(1, 2), ROW(3, 4)",
        "SELECT * FROM (SELECT 1, 2) AS d (a, b)",
        "SELECT * FROM (SELECT 1, 2) d (a, b)",
        "SELECT * FROM t, LATERAL (SELECT t.a) l",
        "EXPLAIN ANALYZE SELECT 1",
        "EXPLAIN FORMAT=TREE SELECT 1",
        "SELECT 17 MEMBER OF ('[1, 17]')",
        "SELECT data->'$.a', data->>'$.b' FROM t",
        "SELECT /*+ MAX_EXECUTION_TIME(1000) */ 1",
        "SELECT _utf8mb4'a' COLLATE utf8mb4_bin, N'b', x'41', 0x41, b'1', 0b1",
    ] {
        mysql(sql, Class::Read, NONE);
    }
    for sql in [
        "VALUES (1, 2), (3, 4)",
        "SELECT * FROM t FOR SYSTEM_TIME AS OF TIMESTAMP('2020-01-01')",
        "ANALYZE FORMAT=JSON SELECT 1",
        "ANALYZE SELECT 1",
        "SELECT * FROM t PROCEDURE ANALYSE(10)",
        "SET STATEMENT max_statement_time=1 FOR SELECT 1",
    ] {
        mariadb(sql, Class::Read, NONE);
    }
}

#[test]
fn t6_with_takes_the_class_of_its_verb() {
    both("WITH a AS (SELECT 1) SELECT * FROM a", Class::Read, NONE);
    both("WITH a AS (SELECT 1) (SELECT * FROM a)", Class::Read, NONE);
    mysql("WITH a AS (SELECT 1) UPDATE t, a SET t.b = 1", Class::Write, NONE);
    mysql("WITH a (x) AS (SELECT 1) DELETE t FROM t JOIN a", Class::Write, NONE);
    mysql("with recursive a as (select 1), b as (select 2) delete from t", Class::Write, NONE);
    mysql("EXPLAIN WITH a AS (SELECT 1) DELETE t FROM t JOIN a", Class::Other, NONE);
    both("WITH a AS (SELECT 1) SELECT * FROM a FOR UPDATE", Class::LockingRead, NONE);
}

#[test]
fn writes_are_writes() {
    for sql in [
        "INSERT INTO t VALUES (1)",
        "INSERT INTO db.t (a, b) VALUES (1, 2) ON DUPLICATE KEY UPDATE a = VALUES(a)",
        "INSERT IGNORE t (a) SELECT 1",
        "REPLACE LOW_PRIORITY INTO t SET a = 1",
        "UPDATE t SET a = 1 WHERE b = 2 ORDER BY c LIMIT 1",
        "UPDATE a, b SET a.x = b.x",
        "DELETE FROM t",
        "DELETE a FROM a JOIN b USING (x)",
    ] {
        both(sql, Class::Write, NONE);
    }
    both("INSERT INTO t (a) VALUES (1)", Class::Write, NONE);
    both("INSERT INTO t (a) VALUE (f(1))", Class::Write, Uses::UNKNOWN_FUNCTION);
    mariadb("INSERT INTO t (a) VALUES (1) RETURNING a", Class::Write, NONE);
    mariadb("DELETE FROM t RETURNING a", Class::Write, NONE);
    mariadb("ANALYZE UPDATE t SET a = 1", Class::Write, NONE);
    let load = Uses::LAST_INSERT_ID; // set without a word in the OK packet
    both("LOAD DATA INFILE 'f' INTO TABLE t (a, b) SET c = a", Class::Write, load);
    both("LOAD DATA LOCAL INFILE 'f' INTO TABLE t", Class::Write, load | Uses::LOCAL_INFILE);
    both("LOAD XML LOW_PRIORITY LOCAL INFILE 'f' INTO TABLE t", Class::Write, load | Uses::LOCAL_INFILE);
    both("EXPLAIN UPDATE t SET a = 1", Class::Other, NONE);
}

#[test]
fn t8_a_function_that_may_be_stored_is_told() {
    for sql in [
        "SELECT my_function(1)",
        "SELECT my_function (1)",
        "SELECT db.my_function(1)",
        "SELECT db . my_function (1)",
        "SELECT `my_function`(1)",
        "SELECT `db`.`abs`(1)",
        "SELECT db.abs(1)",
        "SELECT count (1)",
        "WITH a AS (SELECT 1) SELECT b, f(x) FROM a",
        "WITH a AS (SELECT g(), f(x) FROM t) SELECT 1",
        "SELECT 1 FROM t ORDER BY f(1)",
        "DO f()",
        "SELECT path(x), columns(y)",
    ] {
        both(sql, Class::Read, Uses::UNKNOWN_FUNCTION);
    }
    both("SELECT SLEEP(1)", Class::Read, NONE);
    both("SELECT GET_LOCK('a', 1)", Class::Read, Uses::USER_LOCK);
    both("DO RELEASE_LOCK('a')", Class::Read, Uses::USER_LOCK);
    both("SELECT IS_FREE_LOCK('a'), RELEASE_ALL_LOCKS()", Class::Read, Uses::USER_LOCK);
    both("SELECT UUID_SHORT()", Class::Read, Uses::PRIMARY_FUNCTION);
    both("SELECT LOAD_FILE('a')", Class::Read, Uses::PRIMARY_FUNCTION);
    mysql("SELECT WAIT_FOR_EXECUTED_GTID_SET('a')", Class::Read, Uses::PRIMARY_FUNCTION);
    let (drawn, last) =
        (Uses::PRIMARY_FUNCTION | Uses::SEQUENCE, Uses::PRIMARY_FUNCTION | Uses::SEQUENCE_LAST);
    mariadb("SELECT NEXTVAL(s)", Class::Read, drawn);
    mariadb("SELECT NEXT VALUE FOR s", Class::Read, drawn);
    mariadb("SELECT PREVIOUS VALUE FOR s", Class::Read, last);
    mariadb("SELECT LASTVAL(s), s.currval", Class::Read, last);
    mariadb("SELECT s.nextval", Class::Read, drawn);
    mysql("SELECT s.nextval, s.currval", Class::Read, Uses::PRIMARY_FUNCTION);
    both("SELECT LAST_INSERT_ID()", Class::Read, Uses::LAST_INSERT_ID);
    both("SELECT LAST_INSERT_ID( )", Class::Read, Uses::LAST_INSERT_ID);
    both("SELECT LAST_INSERT_ID(7)", Class::Read, Uses::LAST_INSERT_ID | Uses::PRIMARY_FUNCTION);
    both("SELECT FOUND_ROWS(), ROW_COUNT()", Class::Read, Uses::FOUND_ROWS | Uses::ROW_COUNT);
    both("SELECT CONNECTION_ID()", Class::Read, Uses::CONNECTION_ID | Uses::PRIMARY_FUNCTION);
}

#[test]
fn t8_select_into_writes() {
    both("SELECT * INTO OUTFILE '/tmp/x' FROM t", Class::Write, Uses::INTO);
    both("SELECT a FROM t INTO DUMPFILE 'x'", Class::Write, Uses::INTO);
    let variables = Uses::INTO | Uses::USER_VARIABLE_READ | Uses::USER_VARIABLE_WRITE;
    both("SELECT a, b INTO @x, @y FROM t", Class::Write, variables);
    mysql("TABLE t INTO OUTFILE 'x'", Class::Write, Uses::INTO);
}

#[test]
fn system_schemas_and_found_rows_are_noted() {
    both("SELECT * FROM information_schema.tables", Class::Read, Uses::SYSTEM_SCHEMA);
    both("SELECT * FROM `Performance_Schema` . `threads`", Class::Read, Uses::SYSTEM_SCHEMA);
    both("SELECT a.mysql.b FROM a", Class::Read, NONE);
    both("SELECT SQL_CALC_FOUND_ROWS * FROM t LIMIT 1", Class::Read, Uses::CALC_FOUND_ROWS);
    both("SELECT * FROM t LIMIT 2, 1", Class::Read, Uses::OFFSET);
    both("SELECT * FROM t LIMIT ? OFFSET ?", Class::Read, Uses::OFFSET);
    both("SELECT f, g FROM t ORDER BY a, b LIMIT 1", Class::Read, NONE);
}

#[test]
fn measurements_are_told_from_what_servers_show_of_themselves() {
    both("SHOW STATUS LIKE 'a'", Class::ShowServer, NONE);
    for sql in
        ["SHOW SESSION STATUS", "show local status like 'a'", "SHOW PROFILES", "SHOW PROFILE FOR QUERY 1"]
    {
        both(sql, Class::ShowServer, Uses::MEASURES);
    }
    both("SHOW SESSION VARIABLES", Class::ShowServer, NONE);
    for table in ["information_schema.optimizer_trace", "performance_schema.Session_Status"] {
        both(&format!("SELECT * FROM {table}"), Class::Read, Uses::SYSTEM_SCHEMA | Uses::MEASURES);
    }
    both("SELECT * FROM shop.profiling", Class::Read, NONE);
    let begins = Uses::FLUSH_STATUS | Uses::MEASURES;
    both("FLUSH STATUS", Class::Other, begins);
    both("FLUSH LOCAL PRIVILEGES, STATUS", Class::Other, begins);
    both("FLUSH GLOBAL STATUS", Class::Other, NONE);
    both("FLUSH TABLES a, status", Class::Other, NONE);
    both("FLUSH TABLES status WITH READ LOCK", Class::Session, Uses::LOCK_TABLES);
    both("SET profiling = 1", Class::Set, Uses::MEASURES);
    both("SET @@session.optimizer_trace = 'enabled=on'", Class::Set, Uses::MEASURES);
}

#[test]
fn what_is_explained_by_tidegate_is_not_carried_out() {
    for sql in [
        "EXPLAIN TIDEGATE SELECT * FROM t FOR UPDATE",
        "explain tidegate INSERT INTO t VALUES (f(1), @a, LAST_INSERT_ID())",
        "DESC TIDEGATE DELETE FROM t",
        "EXPLAIN /* where? */ TIDEGATE SELECT 1 INTO OUTFILE 'x'",
    ] {
        both(sql, Class::Show, Uses::EXPLAINED);
    }
    for sql in ["EXPLAIN TIDEGATE", "DESCRIBE tidegate", "EXPLAIN `tidegate` id"] {
        both(sql, Class::Show, NONE);
    }
}
