//! Parameters with names: what holds one may be moved, copied or left out where a text is edited for a shard, and it stays known which one it is.
//!
//! Owns: the names, and the way there and back. Does not know: edits, values. Invariant: a text with named parameters has the tokens of the
//! client's, one for one; what is not a parameter stays byte for byte.

use crate::generate::uuid;
use crate::sql::lexer::{Kind, Lexer};
use crate::sql::{self, Lexing, splice};
use crate::wire::parameters::Argument;

/// A user variable, so that a name is one token wherever a `?` may stand.
const NAME: &[u8] = b"@tidegate$";

/// The text with names in the place of `?`; `None` where it has such names itself, or would be cut otherwise.
pub fn name_parameters(sql: &[u8], lexing: &Lexing) -> Option<Vec<u8>> {
    if memchr::memmem::find(sql, NAME).is_some() {
        return None;
    }
    let places = Lexer::new(sql, lexing).filter(|token| token.kind == Kind::Placeholder);
    let edits = places.enumerate().map(|(number, place)| {
        let text = [NAME, format!("p{number}").as_bytes()].concat();
        sql::Edit { span: place.start..place.end, text }
    });
    let named = splice(sql, &edits.collect::<Vec<_>>());
    let kinds = Lexer::new(sql, lexing).map(|token| match token.kind {
        Kind::Placeholder => Kind::UserVariable,
        kind => kind,
    });
    kinds.eq(Lexer::new(&named, lexing).map(|token| token.kind)).then_some(named)
}

/// A number as the value of a parameter that the client does not have.
pub fn named_number(number: u64) -> Vec<u8> {
    [NAME, format!("n{number}").as_bytes()].concat()
}

/// A UUID as the value of such a parameter; `binary`: as bytes.
pub fn named_uuid(uuid: u128, binary: bool) -> Vec<u8> {
    let kind = if binary { 'b' } else { 't' };
    [NAME, format!("{kind}{uuid:032x}").as_bytes()].concat()
}

/// The text with `?` again, and what stands for each.
pub fn positional(sql: &[u8], lexing: &Lexing) -> (Vec<u8>, Vec<Argument>) {
    let mut arguments = Vec::new();
    let mut edits = Vec::new();
    for token in Lexer::new(sql, lexing).filter(|token| token.kind == Kind::UserVariable) {
        let Some(argument) = token.text(sql).strip_prefix(NAME).and_then(argument) else { continue };
        arguments.push(argument);
        edits.push(sql::Edit { span: token.start..token.end, text: b"?".to_vec() });
    }
    (splice(sql, &edits), arguments)
}

fn argument(name: &[u8]) -> Option<Argument> {
    let (kind, digits) = name.split_first()?;
    let number = std::str::from_utf8(digits).ok()?;
    match kind {
        b'p' => number.parse().ok().map(Argument::Parameter),
        b'n' => number.parse().ok().map(Argument::Number),
        b't' => u128::from_str_radix(number, 16).ok().map(|uuid| Argument::Text(uuid::text(uuid))),
        b'b' => u128::from_str_radix(number, 16).ok().map(|uuid| Argument::Bytes(uuid::bytes(uuid))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Dialect, LexCharset, ServerVersion};

    const LEXING: Lexing = Lexing {
        ansi_quotes: false,
        no_backslash_escapes: false,
        charset: LexCharset::AsciiSafe,
        server: ServerVersion { dialect: Dialect::MySql, number: 90_700 },
    };

    #[test]
    fn parameters_are_named_and_found_again() {
        for (sql, named) in [
            (
                "SELECT a+?,'?',`?` FROM t WHERE b=? /* ? */ LIMIT ?,?",
                "SELECT a+@tidegate$p0,'?',`?` FROM t WHERE b=@tidegate$p1 /* ? */ LIMIT @tidegate$p2,@tidegate$p3",
            ),
            ("SELECT 1", "SELECT 1"),
        ] {
            assert_eq!(name_parameters(sql.as_bytes(), &LEXING).unwrap(), named.as_bytes());
            let (again, order) = positional(named.as_bytes(), &LEXING);
            assert_eq!(String::from_utf8(again).unwrap(), sql);
            assert!(order.iter().enumerate().all(|(at, argument)| *argument == Argument::Parameter(at)));
        }
    }

    #[test]
    fn they_stay_known_wherever_they_are_put() {
        let [number, text, bytes] = [named_number(15), named_uuid(15, false), named_uuid(15, true)]
            .map(|name| String::from_utf8(name).unwrap());
        let edited =
            format!("SELECT {text}, @tidegate$p1, @x, {bytes}, @tidegate$p0, @tidegate$p1 LIMIT {number}");
        let (sql, order) = positional(edited.as_bytes(), &LEXING);
        assert_eq!(sql, b"SELECT ?, ?, @x, ?, ?, ? LIMIT ?");
        let place = Argument::Parameter;
        let text = Argument::Text(*b"00000000-0000-0000-0000-00000000000f");
        let bytes = Argument::Bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 15]);
        assert_eq!(order, [text, place(1), bytes, place(0), place(1), Argument::Number(15)]);
    }

    #[test]
    fn what_could_be_taken_for_another_is_not_named() {
        for sql in ["SELECT @tidegate$p0, ?", "SELECT ?.5", "SELECT @?"] {
            assert_eq!(name_parameters(sql.as_bytes(), &LEXING), None, "{sql}");
        }
    }
}
