//! User variables: what makes a value again, what is set on a connection, and how values are read back.
//!
//! Owns: the statements between, and whose values stand on a connection. Does not know: which statement names which variable; sessions.
//! Invariant: a [`Value`] makes the same type, bytes, character set and collation on either dialect under any sql_mode
//! and any character set; how the servers were asked stands in `docs/session-state.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::connection::{Connection, User};
use super::exchange::{Answer, Column, ExchangeError, receive};
use crate::wire::buffer::Buffer;
use crate::wire::command;
use crate::wire::reply::Expect;

/// A variable's name, as [`crate::sql::user_variables`] gives it.
pub type Name = Box<[u8]>;

/// Longest text and longest other value that is read back, in bytes.
const VALUE_MAX: usize = 16 << 10;
/// Variables on one connection beyond which it is reset before it serves another client.
const NAMES_MAX: usize = 64;
/// Columns of the statement that reads values back, for each of them.
const COLUMNS: usize = 4;

const TYPE_DOUBLE: u8 = 5;
const TYPE_BIGINT: u8 = 8;
const TYPE_DECIMAL: u8 = 246;
const TYPE_GEOMETRY: u8 = 255;
const FLAG_UNSIGNED: u16 = 32;

/// What a variable holds, as the items of a SET that make it so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Value(Arc<[u8]>);

/// The variables that are set on a connection.
#[derive(Default, Debug)]
pub struct Placed {
    /// By name; `None` for a value that nobody has read.
    values: BTreeMap<Name, Option<Value>>,
    /// The session whose statements run on it.
    tenant: Option<User>,
    /// Statements of other sessions have run on it before: a trigger, or a function in a view, of theirs may have set any
    /// variable without a report.
    shared: bool,
    /// A statement of the tenant's has run that may have fired triggers.
    fired: bool,
    /// Those that this tenant has set, or had set, since: nobody else's value is in them.
    sure: BTreeSet<Name>,
}

impl Placed {
    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether variables may hold what other sessions have left without anybody's knowing.
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// Whether this session's statement ran here last.
    pub fn is_of(&self, user: User) -> bool {
        self.tenant == Some(user)
    }

    /// A statement of this session runs now.
    pub fn enter(&mut self, user: User) {
        if self.tenant != Some(user) {
            self.shared |= self.tenant.is_some();
            self.tenant = Some(user);
            self.sure.clear();
            self.fired = false;
        }
    }

    /// A statement of the tenant's runs that may fire triggers, or run a routine.
    pub fn fire(&mut self) {
        self.fired = true;
    }

    /// Whether one has: what it has set is the tenant's own.
    pub fn has_fired(&self) -> bool {
        self.fired
    }

    /// Whether this variable cannot hold what another session has left.
    pub fn is_sure(&self, name: &[u8]) -> bool {
        !self.shared || self.sure.contains(name)
    }

    /// Whether there are too many to be kept for the next client.
    pub fn is_crowded(&self) -> bool {
        self.values.len() > NAMES_MAX || self.sure.len() > NAMES_MAX
    }

    /// The names of those that are set.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.values.keys()
    }

    /// A statement may have given this variable a value.
    pub fn touch(&mut self, name: &[u8]) {
        self.values.insert(name.into(), None);
        self.be_sure(name);
    }

    /// This variable has this value now.
    pub fn put(&mut self, name: &[u8], value: &Value) {
        self.values.insert(name.into(), Some(value.clone()));
        self.be_sure(name);
    }

    /// What this variable holds is taken for the tenant's own.
    pub fn be_sure(&mut self, name: &[u8]) {
        if self.shared {
            self.sure.insert(name.into());
        }
    }

    /// None is set, and nobody has used the connection.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Appends to a SET what gives a variable the wanted value, NULL for none, where it has another.
    pub fn bring(&mut self, name: &[u8], wanted: Option<&Value>, set: &mut Vec<u8>) {
        let sure = self.is_sure(name);
        match (self.values.get(name), wanted) {
            (None, None) if sure => {}
            (Some(Some(value)), Some(wanted)) if sure && value == wanted => {}
            (_, Some(wanted)) => {
                put_item(set, &wanted.0);
                self.put(name, wanted);
            }
            (_, None) => {
                put_item(set, &Value::null(name, "_binary''").0);
                self.values.remove(name);
                self.be_sure(name);
            }
        }
    }
}

impl Value {
    /// A whole number with a sign.
    pub fn integer(name: &[u8], number: i128) -> Self {
        Self(format!("@`{}`=CAST({number} AS SIGNED)", name.escape_ascii()).into_bytes().into())
    }

    /// NULL of the type that the literal has.
    fn null(name: &[u8], literal: &str) -> Self {
        let name = name.escape_ascii();
        Self(format!("@`{name}`={literal},@`{name}`=NULL").into_bytes().into())
    }

    /// The bytes of a text, which stand here in hexadecimal digits; `None` for numbers and NULL.
    pub fn text(&self) -> Option<Vec<u8>> {
        let start = self.0.windows(3).position(|window| window == b" x'")? + 3;
        let digits = self.0[start..].split(|byte| *byte == b'\'').next()?;
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        digits.chunks(2).map(byte).collect()
    }

    /// Out of a column's definition and the four columns of [`read_back`]; `None` for what is too long, and for geometry.
    fn of(name: &[u8], column: Column, row: &[Option<Vec<u8>>]) -> Option<Self> {
        let [length, number, hex, collation] = row else { return None };
        let collation = ascii(collation.as_deref()?)?;
        let charset = collation.split('_').next()?.to_owned();
        let unsigned = column.flags & FLAG_UNSIGNED != 0;
        let literal = |number: &str| match column.kind {
            TYPE_BIGINT if unsigned => format!("CAST({number} AS UNSIGNED)"),
            TYPE_BIGINT => format!("CAST({number} AS SIGNED)"),
            TYPE_DOUBLE if number.contains('e') => number.to_owned(),
            TYPE_DOUBLE => format!("{number}e0"),
            _ => {
                let scale = number.split_once('.').map_or(0, |(_, fraction)| fraction.len());
                format!("CAST({number} AS DECIMAL(65,{scale}))")
            }
        };
        if column.kind == TYPE_GEOMETRY {
            return None; // MariaDB keeps the type, which no literal has
        }
        let is_number = matches!(column.kind, TYPE_BIGINT | TYPE_DOUBLE | TYPE_DECIMAL);
        let text = |hex: &str| match charset.as_str() {
            "binary" => format!("_binary x'{hex}'"),
            _ => format!("_{charset} x'{hex}' COLLATE {collation}"),
        };
        if length.is_none() {
            return Some(Self::null(name, &if is_number { literal("0") } else { text("") }));
        }
        let literal =
            if is_number { literal(&ascii(number.as_deref()?)?) } else { text(&ascii(hex.as_deref()?)?) };
        Some(Self(format!("@`{}`={literal}", name.escape_ascii()).into_bytes().into()))
    }
}

/// Reads the values of these variables: two statements, one write, one wait. `None` for a value that is too long or of a
/// type that no literal has.
///
/// # Errors
/// The server's or the network's; the connection must be closed then.
pub async fn read_back(
    connection: &mut Connection,
    names: &[Name],
    buffer: &mut Buffer,
) -> Result<Vec<Option<Value>>, ExchangeError> {
    let mut types = b"SELECT ".to_vec();
    let mut values = b"SELECT ".to_vec();
    for (at, name) in names.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let name = name.escape_ascii();
        types.extend_from_slice(format!("{comma}@`{name}`").as_bytes());
        // A number as text is short; the text of a string in hexadecimal digits survives every character set.
        values.extend_from_slice(
            format!(
                "{comma}LENGTH(@`{name}`),IF(LENGTH(@`{name}`)<=100,CONVERT(@`{name}` USING latin1),NULL),\
                 IF(LENGTH(@`{name}`)<={VALUE_MAX},HEX(@`{name}`),NULL),COLLATION(@`{name}`)"
            )
            .as_bytes(),
        );
    }
    types.extend_from_slice(b" LIMIT 0");
    let mut packets = Vec::with_capacity(types.len() + values.len() + 16);
    command::put_query(&mut packets, &types, connection.capabilities);
    command::put_query(&mut packets, &values, connection.capabilities);
    connection.stream.write_all(&packets).await?;
    let types = receive(connection, buffer, Expect::Results).await?;
    let values = receive(connection, buffer, Expect::Results).await?.into_ok()?;
    decode(names, &types.into_ok()?, &values).ok_or(ExchangeError::Protocol)
}

fn decode(names: &[Name], types: &Answer, values: &Answer) -> Option<Vec<Option<Value>>> {
    let row = values.rows.first()?;
    let each = names.iter().enumerate().map(|(at, name)| {
        let row = row.get(at * COLUMNS..(at + 1) * COLUMNS)?;
        match types.columns.get(at) {
            Some(column) => Some(Value::of(name, *column, row)),
            // resultset_metadata=NONE: the type is not told.
            None => types.columns.is_empty().then_some(None),
        }
    });
    each.collect()
}

/// ASCII text in whatever `character_set_results`: the wide ones put zeros between.
fn ascii(bytes: &[u8]) -> Option<String> {
    let bytes: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != 0).collect();
    String::from_utf8(bytes).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()))
}

fn put_item(set: &mut Vec<u8>, item: &[u8]) {
    set.extend_from_slice(if set.is_empty() { b"SET " } else { b"," });
    set.extend_from_slice(item);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(kind: u8, flags: u16, row: [Option<&str>; 4]) -> Option<String> {
        let row = row.map(|value| value.map(|text| text.as_bytes().to_vec()));
        let value = Value::of(b"a", Column { kind, flags }, &row)?;
        Some(String::from_utf8(value.0.to_vec()).unwrap())
    }

    #[test]
    fn values_are_made_with_their_types() {
        let number =
            |kind, flags, text| made(kind, flags, [Some("1"), Some(text), Some("0"), Some("binary")]);
        assert_eq!(number(TYPE_BIGINT, 0, "-5").unwrap(), "@`a`=CAST(-5 AS SIGNED)");
        assert_eq!(number(TYPE_BIGINT, FLAG_UNSIGNED, "5").unwrap(), "@`a`=CAST(5 AS UNSIGNED)");
        assert_eq!(number(TYPE_DOUBLE, 0, "0.1").unwrap(), "@`a`=0.1e0");
        assert_eq!(number(TYPE_DOUBLE, 0, "1e100").unwrap(), "@`a`=1e100");
        assert_eq!(number(TYPE_DECIMAL, 0, "1.50").unwrap(), "@`a`=CAST(1.50 AS DECIMAL(65,2))");
        let text = |hex, collation| made(251, 0, [Some("2"), None, Some(hex), Some(collation)]);
        assert_eq!(
            text("4142", "utf8mb4_0900_ai_ci").unwrap(),
            "@`a`=_utf8mb4 x'4142' COLLATE utf8mb4_0900_ai_ci"
        );
        assert_eq!(text("00", "binary").unwrap(), "@`a`=_binary x'00'");
        let text = Value(b"@`a`=_utf8mb4 x'4142' COLLATE utf8mb4_bin".as_slice().into());
        assert_eq!(text.text().unwrap(), b"AB");
    }

    #[test]
    fn null_has_a_type_too() {
        let null = |kind, collation| made(kind, 0, [None, None, None, Some(collation)]).unwrap();
        assert_eq!(null(TYPE_BIGINT, "binary"), "@`a`=CAST(0 AS SIGNED),@`a`=NULL");
        assert_eq!(null(251, "latin1_bin"), "@`a`=_latin1 x'' COLLATE latin1_bin,@`a`=NULL");
    }

    #[test]
    fn what_is_too_long_is_not_read() {
        assert_eq!(made(251, 0, [Some("99999"), None, None, Some("utf8mb4_bin")]), None);
    }

    #[test]
    fn only_what_differs_is_brought() {
        let (mut placed, mut set) = (Placed::default(), Vec::new());
        let value = Value(b"@`a`=1".as_slice().into());
        placed.bring(b"a", None, &mut set);
        assert!(set.is_empty(), "never set");
        placed.bring(b"a", Some(&value), &mut set);
        placed.bring(b"a", Some(&value), &mut set);
        assert_eq!(set, b"SET @`a`=1");
        placed.touch(b"a");
        placed.bring(b"a", Some(&value), &mut set);
        placed.bring(b"a", None, &mut set);
        assert_eq!(set, b"SET @`a`=1,@`a`=1,@`a`=_binary'',@`a`=NULL");
        assert!(placed.is_empty());
    }

    #[test]
    fn what_others_may_have_left_is_overwritten_once_for_each_tenant() {
        let user = |client| User { client: crate::ids::ClientId(client), incarnation: 0, epoch: 0 };
        let (mut placed, mut set) = (Placed::default(), Vec::new());
        let value = Value(b"@`a`=1".as_slice().into());
        let mut bring = |placed: &mut Placed, wanted: Option<&Value>| {
            set.clear();
            placed.bring(b"a", wanted, &mut set);
            String::from_utf8(set.clone()).unwrap()
        };
        placed.enter(user(1));
        assert_eq!(bring(&mut placed, None), "", "nobody else was here");
        placed.enter(user(2));
        assert!(placed.is_of(user(2)) && placed.is_shared());
        assert_eq!(bring(&mut placed, None), "SET @`a`=_binary'',@`a`=NULL");
        assert_eq!(bring(&mut placed, None), "", "from now on it is the tenant's own");
        placed.enter(user(1));
        placed.put(b"a", &value);
        assert_eq!(bring(&mut placed, Some(&value)), "");
        placed.enter(user(2));
        placed.enter(user(1));
        assert_eq!(bring(&mut placed, Some(&value)), "SET @`a`=1", "a trigger may have changed it");
        placed.clear();
        placed.enter(user(2));
        assert_eq!(bring(&mut placed, None), "", "the connection was reset");
    }
}
