//! Statements of Tidegate's own: what no server knows.
//!
//! Owns: their exact forms. Does not know: sessions. Invariant: any other form is `None` and goes to a server, which refuses it.

use super::lexer::{Kind, Token};
use super::model::Lexing;
use super::phrase::code;

/// A statement that Tidegate carries out itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Own {
    /// `SELECT tidegate_gtid()`: what the session has written.
    Gtid,
    /// `SET [SESSION] tidegate_gtid = '…'`: read no less than that.
    SetGtid(Vec<u8>),
    /// `SET [SESSION] tidegate_consistency = …`; `DEFAULT` is the rules file's.
    SetConsistency(Vec<u8>),
    /// `CALL tidegate.resume_definition(17)`: what of this definition is not done yet.
    ResumeDefinition(u64),
    /// `EXPLAIN TIDEGATE …`: where the rest of the packet would go, from this byte on.
    Explain(usize),
}

/// Tokens of the longest form, and one more.
const LONGEST: usize = 9;

/// Recognises the forms of [`Own`].
pub fn own_statement(sql: &[u8], lexing: &Lexing) -> Option<Own> {
    let mut tokens: Vec<Token> = code(sql, lexing).take(LONGEST).collect();
    tokens.pop_if(|token| token.kind == Kind::Punct(b';'));
    let is = |token: &Token, word: &str| token.text(sql).eq_ignore_ascii_case(word.as_bytes());
    let [first, rest @ ..] = &tokens[..] else { return None };
    if let [own, statement, ..] = rest
        && is(own, "TIDEGATE")
        && ["EXPLAIN", "DESCRIBE", "DESC"].iter().any(|word| is(first, word))
    {
        return Some(Own::Explain(statement.start));
    }
    if is(first, "SELECT") {
        let [name, open, close] = rest else { return None };
        let called = open.kind == Kind::Punct(b'(') && close.kind == Kind::Punct(b')');
        return (called && is(name, "tidegate_gtid")).then_some(Own::Gtid);
    }
    if is(first, "CALL") {
        let [schema, dot, name, open, number, close] = rest else { return None };
        let bare = dot.kind == Kind::Punct(b'.')
            && open.kind == Kind::Punct(b'(')
            && close.kind == Kind::Punct(b')');
        let named = is(schema, "tidegate") && is(name, "resume_definition");
        let id = std::str::from_utf8(number.text(sql)).ok()?.parse().ok()?;
        return (bare && named).then_some(Own::ResumeDefinition(id));
    }
    if !is(first, "SET") {
        return None;
    }
    let rest = match rest {
        [scope, rest @ ..] if is(scope, "SESSION") || is(scope, "LOCAL") => rest,
        _ => rest,
    };
    let [name, assign, value] = rest else { return None };
    if !matches!(assign.kind, Kind::Assign | Kind::Punct(b'=')) {
        return None;
    }
    let named = |variable: &str| {
        ["", "@@", "@@session.", "@@local."].iter().any(|scope| is(name, &format!("{scope}{variable}")))
    };
    let text = match (value.kind, value.text(sql)) {
        (Kind::String, [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"']) => inner,
        (Kind::Word, word) => word,
        _ => return None,
    };
    if named("tidegate_gtid") {
        (value.kind == Kind::String).then(|| Own::SetGtid(text.to_vec()))
    } else {
        named("tidegate_consistency").then(|| Own::SetConsistency(text.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MARIADB, MYSQL};
    use super::*;

    #[test]
    fn their_forms_and_no_other() {
        for lexing in [&MYSQL, &MARIADB] {
            let of = |sql: &str| own_statement(sql.as_bytes(), lexing);
            assert_eq!(of("select /* x */ TIDEGATE_GTID ( ) ;"), Some(Own::Gtid));
            for sql in [
                "SET tidegate_gtid='0-1-5'",
                "set session tidegate_gtid := \"0-1-5\";",
                "SET @@session.tidegate_gtid = '0-1-5'",
            ] {
                assert_eq!(of(sql), Some(Own::SetGtid(b"0-1-5".to_vec())), "{sql}");
            }
            for sql in ["SET tidegate_consistency = eventual", "SET LOCAL tidegate_consistency='eventual'"] {
                assert_eq!(of(sql), Some(Own::SetConsistency(b"eventual".to_vec())), "{sql}");
            }
            for sql in
                ["CALL tidegate.resume_definition(17)", "call /* x */ TIDEGATE . Resume_Definition ( 17 );"]
            {
                assert_eq!(of(sql), Some(Own::ResumeDefinition(17)), "{sql}");
            }
            assert_eq!(of("EXPLAIN /* why? */ Tidegate  DELETE FROM t"), Some(Own::Explain(29)));
            for sql in [
                "CALL resume_definition(17)",
                "CALL tidegate.resume_definition(-17)",
                "CALL tidegate.resume_definition(17, 18)",
                "CALL tidegate.resume_definition('17')",
                "",
                ";",
                "EXPLAIN TIDEGATE",
                "EXPLAIN `TIDEGATE` id",
                "EXPLAIN SELECT 1",
                "SELECT tidegate_gtid() FROM t",
                "SELECT tidegate_gtid(1)",
                "SET GLOBAL tidegate_consistency = session",
                "SET tidegate_gtid = 5",
                "SET tidegate_gtid = a",
                "SET tidegate_gtid = '5', autocommit = 0",
                "SET tidegate_gtid = '5'; DELETE FROM t",
                "SET autocommit = 0",
                "SELECT 1; SELECT tidegate_gtid()",
            ] {
                assert_eq!(of(sql), None, "{sql}");
            }
        }
    }
}
