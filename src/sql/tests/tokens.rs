//! The lexer's tokens, and that no bytes break it.

use super::super::lexer::{Kind, Lexer, Token};
use super::*;
use proptest::prelude::*;

fn kinds(sql: &str) -> Vec<(Kind, &str)> {
    Lexer::new(sql.as_bytes(), &MYSQL).map(|token| (token.kind, &sql[token.start..token.end])).collect()
}

#[test]
fn numbers_and_identifiers_that_begin_with_digits() {
    for (sql, kind) in [
        ("1", Kind::Integer),
        ("1.", Kind::Decimal),
        ("1.5", Kind::Decimal),
        (".5", Kind::Decimal),
        ("1e3", Kind::Float),
        ("1E-3", Kind::Float),
        ("1.5e+3", Kind::Float),
        ("0x1F", Kind::Hex),
        ("x'1F'", Kind::Hex),
        ("0b01", Kind::Bit),
        ("B'01'", Kind::Bit),
        ("1a", Kind::Word),
        ("1e", Kind::Word),
        ("0xZ", Kind::Word),
        ("0X1F", Kind::Word),
        ("0b2", Kind::Word),
        ("0x", Kind::Word),
        ("$a", Kind::Word),
        ("é", Kind::Word),
        ("?", Kind::Placeholder),
        ("@a.b$c", Kind::UserVariable),
        ("@'a b'", Kind::UserVariable),
        ("@", Kind::UserVariable),
        ("@@a", Kind::SystemVariable),
        ("@@global.`a`", Kind::SystemVariable),
        ("N'a'", Kind::String),
        ("_utf8mb4", Kind::Introducer),
        ("_none", Kind::Word),
        (":=", Kind::Assign),
        ("->>", Kind::Operator),
        ("<=>", Kind::Operator),
        ("`a``b`", Kind::QuotedName),
        ("'a''b'", Kind::String),
        (r"'a\'b'", Kind::String),
        ("/*+ x */", Kind::OptimizerHint),
        ("-- x", Kind::Comment),
        ("#x", Kind::Comment),
    ] {
        assert_eq!(kinds(sql), [(kind, sql)]);
    }
}

#[test]
fn what_follows_a_dot_is_a_name() {
    assert_eq!(
        kinds("t.1e1.select"),
        [
            (Kind::Name, "t"),
            (Kind::Punct(b'.'), "."),
            (Kind::Name, "1e1"),
            (Kind::Punct(b'.'), "."),
            (Kind::Name, "select")
        ]
    );
    assert_eq!(kinds("`t`.5"), [(Kind::QuotedName, "`t`"), (Kind::Decimal, ".5")]);
    assert_eq!(
        kinds("1--1"),
        [(Kind::Integer, "1"), (Kind::Punct(b'-'), "-"), (Kind::Punct(b'-'), "-"), (Kind::Integer, "1")]
    );
}

#[test]
fn t16_dollar_quotes_are_text_in_mysql_9() {
    assert_eq!(kinds("$$ ' ; $$"), [(Kind::String, "$$ ' ; $$")]);
    assert_eq!(kinds("$js$ $$ ' $js$"), [(Kind::String, "$js$ $$ ' $js$")]);
    assert_eq!(kinds("$a"), [(Kind::Word, "$a")]);
    assert_eq!(kinds("a$b$"), [(Kind::Word, "a$b$")]);
    assert_eq!(kinds("$a$ x"), [(Kind::Unknown, "$a$ x")]);
    both("SELECT $a FROM t", Class::Read, Uses::empty());
    mariadb("SELECT $a$ FROM t", Class::Read, Uses::empty());
    mysql(
        "CREATE FUNCTION f() RETURNS INT LANGUAGE JAVASCRIPT AS $$ return '; $$",
        Class::Ddl,
        Uses::empty(),
    );
}

#[test]
fn versioned_comments_show_their_marks_and_their_code() {
    assert_eq!(
        kinds("a/*!50700 b*/c"),
        [
            (Kind::Word, "a"),
            (Kind::Comment, "/*!50700"),
            (Kind::Word, "b"),
            (Kind::Comment, "*/"),
            (Kind::Word, "c")
        ]
    );
}

fn covers_in_order(sql: &[u8], tokens: &[Token]) -> bool {
    let mut at = 0;
    for token in tokens {
        let gap_is_space = sql[at..token.start].iter().all(|byte| matches!(byte, b' ' | 9..=13));
        if token.start < at || token.end < token.start || !gap_is_space {
            return false;
        }
        at = token.end;
    }
    sql[at..].iter().all(|byte| matches!(byte, b' ' | 9..=13))
}

fn any_lexing() -> impl Strategy<Value = Lexing> {
    let charset = prop::sample::select(vec![
        LexCharset::AsciiSafe,
        LexCharset::Big5,
        LexCharset::Gbk,
        LexCharset::Sjis,
        LexCharset::Gb18030,
    ]);
    (any::<bool>(), any::<bool>(), charset, any::<bool>()).prop_map(
        |(ansi_quotes, no_backslash_escapes, charset, maria)| Lexing {
            ansi_quotes,
            no_backslash_escapes,
            charset,
            server: if maria { MARIADB } else { MYSQL }.server,
        },
    )
}

/// Bytes that are likely to meet the lexer's special cases.
fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "SELECT ",
            "SET ",
            "WITH ",
            "EXPLAIN ",
            "SHOW ",
            "FOR UPDATE",
            "LAST_INSERT_ID(",
            "f(",
            ")",
            ",",
            ";",
            "'",
            "\"",
            "`",
            "\\",
            "/*",
            "*/",
            "/*!",
            "/*!50700",
            "/*+",
            "/*M!",
            "--",
            "-- ",
            "#",
            "\n",
            "@",
            "@@",
            ".",
            "0x",
            "1e",
            "?",
            ":=",
            " AS ",
            "N'",
            "x'",
            "_utf8",
            " a",
            "STATEMENT ",
            "IN ",
            "VALUES ",
            "-",
            "NULL",
            "1",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 1..3),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn t16_any_bytes_are_covered_in_order(sql in any_text(), lexing in any_lexing()) {
        let tokens: Vec<_> = Lexer::new(&sql, &lexing).collect();
        prop_assert!(covers_in_order(&sql, &tokens), "{tokens:?}");
    }

    #[test]
    fn t16_any_bytes_are_recognised(sql in any_text(), lexing in any_lexing()) {
        recognise(&sql, &lexing);
    }
}
