//! Odd text: nothing at all, comments that are code, quotes by mode, charsets, hints.

use super::*;
use crate::balance::Balance;
use crate::consistency::Consistency;

const NONE: Uses = Uses::empty();

#[test]
fn t16_empty_statements_are_empty() {
    for sql in ["", " \n\t", ";", ";;;", "-- x", "--", "# x", "/* x */", "/* x */;", "/*!99999 SELECT 1 */"] {
        both(sql, Class::Empty, NONE);
    }
}

#[test]
fn t16_executable_comments_are_code() {
    both("/*!40000 DROP */ TABLE t", Class::Ddl, NONE);
    both("/*! UPDATE t SET a = 1 */", Class::Write, NONE);
    mysql("SELECT 1 /*!80000 FOR UPDATE */", Class::LockingRead, NONE);
    mariadb("SELECT 1 /*!80000 FOR UPDATE */", Class::Read, NONE);
    mariadb("SELECT 1 /*!100100 FOR UPDATE */", Class::LockingRead, NONE);
    mysql("SELECT 1 /*!100100 FOR UPDATE */", Class::Read, NONE);
    mariadb("SELECT 1 /*M!50700 FOR UPDATE */", Class::LockingRead, NONE);
    mysql("SELECT 1 /*M!50700 FOR UPDATE */", Class::Read, NONE);
    both("SELECT 1 /*!99999 /* x */ FOR UPDATE */", Class::Read, NONE);
    both("SELECT 1 /* /* x */ FOR UPDATE", Class::LockingRead, NONE);
    both("SELECT 1 /*! /* x */ FOR UPDATE */", Class::LockingRead, NONE);
}

#[test]
fn t16_ansi_quotes_and_backslashes_follow_the_mode() {
    let ansi = Lexing { ansi_quotes: true, ..MYSQL };
    check("SELECT \"my_function\"(1)", &ansi, Class::Read, Uses::UNKNOWN_FUNCTION);
    check("SELECT * FROM \"sys\".x", &ansi, Class::Read, Uses::SYSTEM_SCHEMA);
    check(r#"SELECT "a\" FOR UPDATE -- ""#, &ansi, Class::LockingRead, NONE);
    mysql(r#"SELECT "a\" FOR UPDATE -- ""#, Class::Read, NONE);
    let plain = Lexing { no_backslash_escapes: true, ..MYSQL };
    check(r"SELECT 'a\' FOR UPDATE -- '", &plain, Class::LockingRead, NONE);
    mysql(r"SELECT 'a\' FOR UPDATE -- '", Class::Read, NONE);
    both("SELECT 'it''s' FOR UPDATE", Class::LockingRead, NONE);
}

#[test]
fn t16_second_bytes_that_look_like_ascii_are_skipped() {
    // 0x95 0x5C is one character in sjis, gbk and gb18030; in big5 0xA5 0x5C is.
    for (charset, sql) in [
        (LexCharset::Sjis, &b"SELECT '\x95\x5c' FOR UPDATE"[..]),
        (LexCharset::Gbk, b"SELECT '\x95\x5c' FOR UPDATE"),
        (LexCharset::Gb18030, b"SELECT '\x95\x5c' FOR UPDATE"),
        (LexCharset::Big5, b"SELECT '\xa5\x5c' FOR UPDATE"),
        (LexCharset::Sjis, b"SELECT \x83\x60 FOR UPDATE"),
    ] {
        let found = recognise(sql, &Lexing { charset, ..MYSQL });
        assert_eq!((found.class, found.uses), (Class::LockingRead, NONE), "{charset:?}");
    }
    let latin = recognise(b"SELECT '\xe9\\'' FROM caf\xe9", &MYSQL);
    assert_eq!((latin.class, latin.uses), (Class::Read, NONE));
}

#[test]
fn what_is_not_understood_is_in_doubt() {
    for sql in [
        "FROB",
        "SELECT 'x",
        "SELECT `x",
        "SELECT /* x",
        "SELECT 1 /*! +1",
        "SELECT 1 */",
        "SELECT \0",
        "(DELETE FROM t)",
        "SELECT 1 # x\0",
        "123",
        "'x'",
        "label: LOOP",
        "SELECT /*+ QB_NAME(`*/ x`) */ 1",
    ] {
        assert!(recognise(sql.as_bytes(), &MYSQL).uses.contains(Uses::DOUBT), "{sql}");
        assert!(recognise(sql.as_bytes(), &MARIADB).uses.contains(Uses::DOUBT), "{sql}");
    }
}

#[test]
fn hints_ask_for_a_role_or_a_level() {
    for (sql, hint) in [
        ("/* tidegate: primary */ SELECT 1", Some(Hint::Primary)),
        ("/*tidegate:replica*/ SELECT 1", Some(Hint::Replica)),
        ("SELECT /* TideGate : Primary */ 1", Some(Hint::Primary)),
        ("SELECT 1 /* tidegate: primary */", None),
        ("SELECT '/* tidegate: primary */'", None),
        ("/* tidegate: nowhere */ SELECT 1", None),
        ("/* tidegate: global */ SELECT 1", Some(Hint::Fresh(Consistency::Global))),
        ("SELECT /* tidegate: Bounded(2s) */ 1", Some(Hint::Fresh(Consistency::Bounded(2000)))),
        ("/* tidegate: primary */ SELECT /* tidegate: eventual */ 1", Some(Hint::Primary)),
        ("/* tidegate: replica */ SELECT 1; SELECT /* tidegate: primary */ 2", Some(Hint::Primary)),
        ("/* tidegate: balance=random, replica */ SELECT 1", Some(Hint::Replica)),
        ("/* tidegate: primary, */ SELECT 1", Some(Hint::Primary)),
        ("/* tidegate: balance=primary */ SELECT 1", None),
    ] {
        assert_eq!(recognise(sql.as_bytes(), &MYSQL).hint, hint, "{sql}");
    }
}

#[test]
fn hints_ask_for_a_way_to_spread_reads() {
    for (sql, balance) in [
        ("/* tidegate: balance=round_robin */ SELECT 1", Some(Balance::RoundRobin)),
        ("SELECT /*tidegate:Balance = Random*/ 1", Some(Balance::Random)),
        ("/* tidegate: bounded(2s), balance=source_hash */ SELECT 1", Some(Balance::SourceHash)),
        ("/* tidegate: replica */ SELECT /* tidegate: balance=lag_weighted */ 1", Some(Balance::LagWeighted)),
        ("/* tidegate: balance=fastest */ SELECT 1", None),
        ("/* tidegate: balance */ SELECT 1", None),
        ("/* tidegate: unbalance=random */ SELECT 1", None),
        ("/* tidegate=balance=random */ SELECT 1", None),
        ("SELECT 1 /* tidegate: balance=random */", None),
        ("SELECT '/* tidegate: balance=random */'", None),
    ] {
        assert_eq!(recognise(sql.as_bytes(), &MYSQL).balance, balance, "{sql}");
    }
}
