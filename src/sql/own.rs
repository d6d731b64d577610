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

/// Recognises the forms of [`Own`].
pub fn own_statement(sql: &[u8], lexing: &Lexing) -> Option<Own> {
    let mut tokens = code(sql, lexing);
    let first = tokens.next()?;
    let is = |token: Token, word: &str| token.text(sql).eq_ignore_ascii_case(word.as_bytes());
    if ["EXPLAIN", "DESCRIBE", "DESC"].iter().any(|word| is(first, word)) {
        let own = tokens.next().filter(|own| is(*own, "TIDEGATE"));
        let statement = own.and_then(|_| tokens.next()).filter(|token| token.kind != Kind::Punct(b';'));
        return statement.map(|statement| Own::Explain(statement.start));
    }
    let of = if is(first, "SELECT") {
        tokens.next().filter(|name| is(*name, "tidegate_gtid"))?;
        called(&mut tokens)?;
        Own::Gtid
    } else if is(first, "CALL") {
        tokens.next().filter(|schema| is(*schema, "tidegate"))?;
        tokens.next().filter(|dot| dot.kind == Kind::Punct(b'.'))?;
        tokens.next().filter(|name| is(*name, "resume_definition"))?;
        tokens.next().filter(|open| open.kind == Kind::Punct(b'('))?;
        let id = std::str::from_utf8(tokens.next()?.text(sql)).ok()?.parse().ok()?;
        tokens.next().filter(|close| close.kind == Kind::Punct(b')'))?;
        Own::ResumeDefinition(id)
    } else if is(first, "SET") {
        let second = tokens.next()?;
        let has_scope = is(second, "SESSION") || is(second, "LOCAL");
        let name = if has_scope { tokens.next()? } else { second };
        set(sql, name, &mut tokens)?
    } else {
        return None;
    };
    let ends = match tokens.next() {
        Some(token) => token.kind == Kind::Punct(b';') && tokens.next().is_none(),
        None => true,
    };
    ends.then_some(of)
}

/// Parentheses with nothing between them.
fn called(tokens: &mut impl Iterator<Item = Token>) -> Option<()> {
    tokens.next().filter(|open| open.kind == Kind::Punct(b'('))?;
    tokens.next().filter(|close| close.kind == Kind::Punct(b')')).map(drop)
}

/// A variable of ours that is set.
fn set(sql: &[u8], name: Token, tokens: &mut impl Iterator<Item = Token>) -> Option<Own> {
    let named = |variable: &str| {
        let scopes: [&[u8]; 4] = [b"", b"@@", b"@@session.", b"@@local."];
        scopes.iter().any(|scope| {
            let split = name.text(sql).split_at_checked(scope.len());
            split.is_some_and(|(own, rest)| {
                own.eq_ignore_ascii_case(scope) && rest.eq_ignore_ascii_case(variable.as_bytes())
            })
        })
    };
    let (gtid, consistency) = (named("tidegate_gtid"), named("tidegate_consistency"));
    if !gtid && !consistency {
        return None;
    }
    tokens.next().filter(|assign| matches!(assign.kind, Kind::Assign | Kind::Punct(b'=')))?;
    let value = tokens.next()?;
    match (value.kind, value.text(sql)) {
        (Kind::String, [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"']) => {
            Some(if gtid { Own::SetGtid(inner.to_vec()) } else { Own::SetConsistency(inner.to_vec()) })
        }
        (Kind::Word, word) if consistency => Some(Own::SetConsistency(word.to_vec())),
        _ => None,
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
