//! Whether a packet may name a table that the rules list, before anything is parsed.
//!
//! Owns: the search for such names among the tokens. Does not know: grammar. Invariant: a listed table that the packet names is found,
//! in whatever place and quotes; more may be found than there are.

use super::parse::text::{At, Text};
use super::planner::{Meaning, Planner};
use super::scope::Scope;
use crate::sql::lexer::Kind;

/// Words in front of a table's name.
const INTRODUCE: &[&[u8]] =
    &[b"FROM", b"JOIN", b"STRAIGHT_JOIN", b"INTO", b"UPDATE", b"TABLE", b"TABLES", b"REFERENCES"];

/// The tokens that may name a listed table.
pub(super) fn mentions(text: &Text, planner: &Planner, schema: Option<&[u8]>) -> Vec<At> {
    let may_name = |at: &At| {
        if !matches!(text.kind(*at), Kind::Word | Kind::Name | Kind::QuotedName) {
            return false;
        }
        let name = text.name(*at);
        if !planner.lists(&name) {
            return false;
        }
        let qualified = *at >= 2 && text.is(at - 1, b'.');
        let own = if qualified { Some(text.name(at - 2)) } else { schema.map(Into::into) };
        !matches!(planner.table(own.as_deref(), &name), Meaning::Home)
    };
    (0..text.len()).filter(may_name).collect()
}

/// Whether a name is in a character set in which listed tables cannot be found.
pub(super) fn in_other_bytes(text: &Text, planner: &Planner) -> bool {
    (0..text.len()).any(|at| {
        let is_name = matches!(text.kind(at), Kind::Word | Kind::Name | Kind::QuotedName);
        is_name && planner.may_list_in_other_bytes(text.bytes(at))
    })
}

/// Whether each of them has been understood: a name where a table's stands is one of the tables that were found.
pub(super) fn all_understood(scope: &Scope<'_>, mentions: &[At]) -> bool {
    let text = scope.text;
    mentions.iter().all(|at| {
        let first = if *at >= 2 && text.is(at - 1, b'.') { at - 2 } else { *at };
        let stands_as_table = first.checked_sub(1).is_some_and(|before| text.is_one_of(before, INTRODUCE));
        // With a dot behind it, it qualifies a column.
        !stands_as_table || text.is(at + 1, b'.') || scope.seen.contains(at)
    })
}

/// Whether a string of the packet, such as the text of PREPARE, may name one.
pub(super) fn strings_mention(text: &Text, planner: &Planner) -> bool {
    let lists = |bytes: &[u8]| {
        let words = bytes
            .split(|byte| byte.is_ascii() && !byte.is_ascii_alphanumeric() && !matches!(byte, b'_' | b'$'));
        words.into_iter().any(|word| planner.lists(word))
    };
    (0..text.len()).any(|at| text.kind(at) == Kind::String && lists(text.bytes(at)))
}
