//! Digest texts, as MySQL 9.7's STATEMENT_DIGEST_TEXT() writes them.

use super::*;

#[track_caller]
fn text(sql: &str, expected: &str) {
    assert_eq!(String::from_utf8_lossy(&digest_text(sql.as_bytes(), &MYSQL)), expected, "{sql}");
}

#[test]
fn texts_are_those_of_the_server() {
    text("select c from sbtest1 where id=5023", "SELECT `c` FROM `sbtest1` WHERE `id` = ?");
    text(
        "select 1, 'a', NULL, -1, - -1, a-1, 1.5 from t where a in (1,2) and b in (1) and c=(1) and d in ((1),(2))",
        "SELECT ?, ... , `a` - ?, ... FROM `t` WHERE `a` IN (...) AND `b` IN (...) AND `c` = (?) AND `d` IN ( (?) /* , ... */ )",
    );
    text("insert into t values (1,2),(3,4)", "INSERT INTO `t` VALUES (...) /* , ... */");
    text("insert into t values (1),(2)", "INSERT INTO `t` VALUES (?) /* , ... */");
    text(
        "insert into t(a,b) values (1,now()),(2,now())",
        "INSERT INTO `t` ( `a` , `b` ) VALUES ( ? , NOW ( ) ) , ( ? , NOW ( ) )",
    );
    text(
        "SELECT /*+ MAX_EXECUTION_TIME(1000) NO_ICP(t) */ 1",
        "SELECT /*+ MAX_EXECUTION_TIME (?) NO_ICP ( `t` ) */ ?",
    );
    text(
        "select null, a is null, a is not null, (null, null), -a, +1",
        "SELECT ? , `a` IS NULL , `a` IS NOT NULL , (...) , - `a` , ?",
    );
    text(
        "select substr(a,1), `SUBSTR`(1), SUBSTR (1)",
        "SELECT SUBSTRING ( `a` , ? ) , `SUBSTR` (?) , `SUBSTR` (?)",
    );
    text("grant all on *.* to 'u'@'h', u2@h2, u3", "GRANT ALL ON * . * TO ? @? , `u2` @? , `u3`");
    text(
        "select @a, @`c`, @@sql_mode, @@session.sql_mode, @a.b := 1",
        "SELECT @? , @`c` , @@`sql_mode` , @@SESSION . `sql_mode` , @? := ?",
    );
    text("select 1 /*!50000 +1 */ /* x */ -- y", "SELECT ? + ?");
    text(
        "select ~ -1, ! -1, a * -1, a between -1 and -2;",
        "SELECT ~ - ? , ! - ? , `a` * ? , `a` BETWEEN ? AND ?",
    );
    text("show databases", "SHOW SCHEMAS");
}

#[test]
fn long_texts_are_cut() {
    let sql = format!("SELECT {}", "a+".repeat(DIGEST_TEXT_MAX));
    let text = digest_text(sql.as_bytes(), &MYSQL);
    assert!(text.len() <= DIGEST_TEXT_MAX + 3 && text.ends_with(b"..."));
}

#[test]
fn digests_part_what_texts_part() {
    let same = |one: &str, other: &str| digest(one.as_bytes(), &MYSQL) == digest(other.as_bytes(), &MYSQL);
    assert!(same("SELECT 1", "select  'x' /* y */;"));
    assert!(same("SELECT a FROM t WHERE b IN (1,2,3)", "SELECT `a` FROM t WHERE b IN (4)"));
    assert!(same("INSERT INTO t VALUES (1,2)", "INSERT INTO t VALUES (NULL,-2)"));
    assert!(!same("INSERT INTO t VALUES (1,2)", "INSERT INTO t VALUES (1,2),(3,4)"));
    assert!(!same("SELECT a FROM t", "SELECT A FROM t"));
    assert!(!same("SELECT a FROM bc", "SELECT ab FROM c"));
    assert!(!same("SELECT 1", "SELECT 1; SELECT 1"));
}

#[test]
fn what_is_not_closed_shows_no_data() {
    for (sql, expected) in [
        ("INSERT INTO t VALUES (1, 'secret", "INSERT INTO `t` VALUES ( ?, ..."),
        ("INSERT INTO t VALUES (\"secret", "INSERT INTO `t` VALUES ( ?"),
        ("INSERT INTO t VALUES (x'5ec4e7", "INSERT INTO `t` VALUES ( ?"),
        ("INSERT INTO t VALUES (N'secret", "INSERT INTO `t` VALUES ( ?"),
        ("INSERT INTO t VALUES ($$secret", "INSERT INTO `t` VALUES ( ?"),
        ("SELECT a /* secret", "SELECT `a` ?"),
    ] {
        text(sql, expected);
        let other = sql.replace("secret", "another").replace("5ec4e7", "0123");
        assert_eq!(digest(sql.as_bytes(), &MYSQL), digest(other.as_bytes(), &MYSQL), "{sql}");
    }
}
