//! BEGIN, START and what ends a transaction.
//!
//! Owns: access modes and the forms that keep or end the connection's state. Does not know: whether a
//! transaction is open; the server's status flags say that.

use super::keywords::Keyword;
use super::lexer::{Kind, Token};
use super::model::{Access, Class, Lexing, Uses};
use super::phrase::{Phrase, lower, tokens};
use super::scan::{Scan, split_variable, unquoted};

/// BEGIN [WORK]; MariaDB's BEGIN NOT ATOMIC starts a compound statement.
pub(super) fn begin(scan: &mut Scan<'_>) -> Class {
    match scan.next() {
        None => Class::Begin(Access::Default),
        Some(item) if item.keyword == Keyword::Work && scan.next().is_none() => Class::Begin(Access::Default),
        Some(_) => {
            scan.uses |= Uses::DOUBT;
            Class::Other
        }
    }
}

/// START TRANSACTION with its modes in any order; START REPLICA and others are administrative.
pub(super) fn start(scan: &mut Scan<'_>) -> Class {
    if scan.next_keyword() != Keyword::Transaction {
        return Class::Other;
    }
    let mut access = Access::Default;
    while let Some(item) = scan.next() {
        match item.keyword {
            Keyword::Only if scan.after(Keyword::Read) => access = Access::ReadOnly,
            Keyword::Write if scan.after(Keyword::Read) => access = Access::ReadWrite,
            Keyword::Snapshot => scan.uses |= Uses::CHAIN_OR_RELEASE,
            Keyword::Read | Keyword::With | Keyword::Consistent => {}
            _ if item.is(b',') => {}
            _ => {
                scan.uses |= Uses::DOUBT;
                return Class::Other;
            }
        }
    }
    Class::Begin(access)
}

/// COMMIT and ROLLBACK: AND CHAIN and RELEASE do more than end the transaction.
pub(super) fn end(scan: &mut Scan<'_>) -> Class {
    while let Some(item) = scan.next() {
        match item.keyword {
            // ROLLBACK TO SAVEPOINT name: the name may look like any word.
            Keyword::To => break,
            Keyword::Chain if scan.after(Keyword::And) => scan.uses |= Uses::CHAIN_OR_RELEASE,
            Keyword::Release if !scan.after(Keyword::No) => scan.uses |= Uses::CHAIN_OR_RELEASE,
            _ => {}
        }
    }
    Class::EndOrSavepoint
}

/// Whether the text is COMMIT or ROLLBACK and nothing else, as pools of connections send it.
pub fn is_bare_end(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let text = text.strip_suffix(b";").unwrap_or(text).trim_ascii_end();
    text.eq_ignore_ascii_case(b"COMMIT") || text.eq_ignore_ascii_case(b"ROLLBACK")
}

/// Whether the end of a transaction ends the session, too: by RELEASE, or where none of the two is said, as `completion_type` has it
/// (`by_itself`). Of several statements, whether one of them does.
pub fn releases(text: &[u8], lexing: &Lexing, by_itself: bool) -> bool {
    let tokens = tokens(text, lexing);
    tokens.split(|token| token.kind == Kind::Punct(b';')).any(|tokens| {
        let mut words = Phrase { sql: text, tokens };
        if !words.take(b"commit") && !words.take(b"rollback") {
            return false;
        }
        let mut released = by_itself;
        let mut denied = false;
        while !words.tokens.is_empty() {
            let word = lower(words.word());
            match &*word {
                b"to" => return false,
                b"release" => released = !denied,
                _ => {}
            }
            denied = word == b"no";
        }
        released
    })
}

/// Whether a SET may switch autocommit on, which commits where it was off.
pub fn may_switch_autocommit_on(text: &[u8], lexing: &Lexing) -> bool {
    let tokens = tokens(text, lexing);
    let name = |token: &Token| match token.kind {
        Kind::SystemVariable => split_variable(token.text(text)).1,
        Kind::Word | Kind::Name | Kind::QuotedName => unquoted(token.text(text)),
        _ => b"",
    };
    let is = |at: usize, wanted: fn(&Kind) -> bool| tokens.get(at).is_some_and(|token| wanted(&token.kind));
    let named =
        tokens.iter().enumerate().filter(|(_, token)| name(token).eq_ignore_ascii_case(b"autocommit"));
    named.map(|(at, _)| at).any(|at| {
        let off = tokens.get(at + 2).is_some_and(|value| {
            [&b"0"[..], b"OFF", b"FALSE"].iter().any(|off| value.text(text).eq_ignore_ascii_case(off))
        });
        let ends = tokens.len() == at + 3 || is(at + 3, |kind| matches!(kind, Kind::Punct(b',' | b';')));
        is(at + 1, |kind| matches!(kind, Kind::Assign | Kind::Punct(b'='))) && !(off && ends)
    })
}

/// What a statement of [`Class::EndOrSavepoint`] does to its transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// COMMIT; also what is none of the others.
    Commit,
    /// ROLLBACK of all of it.
    Rollback,
    /// SAVEPOINT, RELEASE SAVEPOINT, ROLLBACK TO: it goes on.
    Savepoint,
}

/// Which of them it is.
pub fn ending(text: &[u8], lexing: &Lexing) -> Ending {
    let mut scan = Scan::new(text, lexing);
    match scan.next_keyword() {
        Keyword::Savepoint | Keyword::Release => Ending::Savepoint,
        Keyword::Rollback => match (scan.next_keyword(), scan.next_keyword()) {
            (Keyword::To, _) | (Keyword::Work, Keyword::To) => Ending::Savepoint,
            _ => Ending::Rollback,
        },
        _ => Ending::Commit,
    }
}

/// What a statement does with a savepoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SavepointVerb {
    /// SAVEPOINT.
    Set,
    /// RELEASE SAVEPOINT.
    Release,
    /// ROLLBACK TO.
    RollBackTo,
}

/// What a statement does with which savepoint, by its name without quotes; `None` where that cannot be told.
pub fn savepoint(text: &[u8], lexing: &Lexing) -> Option<(SavepointVerb, Vec<u8>)> {
    let tokens = tokens(text, lexing);
    let mut words = Phrase { sql: text, tokens: &tokens };
    let verb = if words.take(b"savepoint") {
        SavepointVerb::Set
    } else if words.take(b"release") && words.take(b"savepoint") {
        SavepointVerb::Release
    } else if words.take(b"rollback") {
        words.take(b"work");
        if !words.take(b"to") {
            return None;
        }
        words.take(b"savepoint"); // where this is the name, only MariaDB understands it
        SavepointVerb::RollBackTo
    } else {
        return None;
    };
    let name = words.name()?.to_vec();
    words.take(b";");
    words.tokens.is_empty().then_some((verb, name))
}

/// LOAD and IMPORT: what they write is in files of one server, or of the client.
pub fn loads(text: &[u8], lexing: &Lexing) -> bool {
    matches!(Scan::new(text, lexing).next_keyword(), Keyword::Load | Keyword::Import)
}

#[cfg(test)]
mod tests {
    use super::super::model::{Dialect, LexCharset, Lexing, ServerVersion};
    use super::{Ending, SavepointVerb, ending, is_bare_end, may_switch_autocommit_on, releases, savepoint};

    #[test]
    fn endings_are_told_from_savepoints() {
        let lexing = Lexing {
            ansi_quotes: false,
            no_backslash_escapes: false,
            charset: LexCharset::AsciiSafe,
            server: ServerVersion { dialect: Dialect::MySql, number: 90_704 },
        };
        for (sql, wanted) in [
            ("COMMIT", Ending::Commit),
            ("commit and chain", Ending::Commit),
            ("/* a */ ROLLBACK", Ending::Rollback),
            ("ROLLBACK WORK", Ending::Rollback),
            ("ROLLBACK AND CHAIN", Ending::Rollback),
            ("ROLLBACK TO a", Ending::Savepoint),
            ("ROLLBACK WORK TO SAVEPOINT a", Ending::Savepoint),
            ("SAVEPOINT commit", Ending::Savepoint),
            ("RELEASE SAVEPOINT a", Ending::Savepoint),
        ] {
            assert_eq!(ending(sql.as_bytes(), &lexing), wanted, "{sql}");
        }
    }

    #[test]
    fn savepoints_are_known_by_their_names() {
        use SavepointVerb::{Release, RollBackTo, Set};
        let lexing = &crate::sql::tests::MYSQL;
        for (sql, verb, name) in [
            ("SAVEPOINT a", Set, "a"),
            ("savepoint `s 1` ; ", Set, "s 1"),
            ("SAVEPOINT savepoint", Set, "savepoint"),
            ("/* a */ RELEASE SAVEPOINT `a`", Release, "a"),
            ("ROLLBACK TO a", RollBackTo, "a"),
            ("ROLLBACK WORK TO SAVEPOINT A", RollBackTo, "A"),
            ("ROLLBACK TO savepoint savepoint", RollBackTo, "savepoint"),
        ] {
            assert_eq!(savepoint(sql.as_bytes(), lexing), Some((verb, name.into())), "{sql}");
        }
        for sql in [
            "ROLLBACK",
            "COMMIT",
            "SAVEPOINT",
            "SAVEPOINT `a``b`",
            "SAVEPOINT 'a'",
            "ROLLBACK TO savepoint",
            "SAVEPOINT a; SELECT 1",
            "RELEASE a",
        ] {
            assert_eq!(savepoint(sql.as_bytes(), lexing), None, "{sql}");
        }
    }

    #[test]
    fn an_end_may_be_that_of_the_session() {
        let lexing = &crate::sql::tests::MYSQL;
        let of = |sql: &str, by_itself| releases(sql.as_bytes(), lexing, by_itself);
        for sql in
            ["COMMIT RELEASE", "rollback work and no chain release", "SELECT 1; COMMIT /* a */ RELEASE;"]
        {
            assert!(of(sql, false) && of(sql, true), "{sql}");
        }
        for sql in ["COMMIT", "ROLLBACK AND CHAIN", "BEGIN; COMMIT; SELECT 1"] {
            assert!(!of(sql, false) && of(sql, true), "{sql}");
        }
        for sql in [
            "COMMIT NO RELEASE",
            "COMMIT AND NO CHAIN NO RELEASE",
            "ROLLBACK TO release",
            "RELEASE SAVEPOINT a",
            "",
        ] {
            assert!(!of(sql, false) && !of(sql, true), "{sql}");
        }
    }

    #[test]
    fn autocommit_is_switched_on_by_what_is_not_surely_off() {
        let lexing = &crate::sql::tests::MYSQL;
        let of = |sql: &str| may_switch_autocommit_on(sql.as_bytes(), lexing);
        for sql in [
            "SET autocommit = 1",
            "set session AutoCommit := ON",
            "SET @a = 1, @@session.autocommit = @b",
            "SET autocommit = 0 + 1",
            "SET autocommit=DEFAULT; SELECT 1",
            "SET `autocommit` = 'ON', time_zone = '+00:00'",
        ] {
            assert!(of(sql), "{sql}");
        }
        for sql in [
            "SET autocommit = 0",
            "SET @@autocommit=off;",
            "SET LOCAL autocommit = FALSE, @a = 1",
            "SET @a = @@autocommit",
            "SET @autocommit = 1",
            "SET sql_mode = 'autocommit'",
            "SET autocommit",
        ] {
            assert!(!of(sql), "{sql}");
        }
    }

    #[test]
    fn only_the_words_alone_are_bare() {
        for bare in ["COMMIT", "rollback", " Commit ; ", "ROLLBACK\n;"] {
            assert!(is_bare_end(bare.as_bytes()), "{bare:?}");
        }
        for more in
            ["", "COMMIT AND CHAIN", "ROLLBACK TO a", "COMMIT; SELECT 1", "COMMIT /* x */", "COMMITS", ";"]
        {
            assert!(!is_bare_end(more.as_bytes()), "{more:?}");
        }
    }
}
