//! What session tracking shows to one client: its own choice, out of all that Tidegate has servers report.
//!
//! Owns: the choice (`session_track_…`), and the entries of an OK packet that it leaves. Does not know: replay.
//! Invariant: what is left is well-formed wherever the whole was, and the state of its transaction is told where it is another one.

use super::frame::{lenenc_string, put_lenenc_string};

/// Kinds of entries (MySQL manual, "Session State Information").
const VARIABLES: u8 = 0;
const SCHEMA: u8 = 1;
const STATE: u8 = 2;
const GTIDS: u8 = 3;
const TRANSACTION_STATE: u8 = 5;

/// Of a transaction's state: its own length, and eight characters.
const STATE_LENGTH: usize = 9;

/// The variables whose values are shown.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Names {
    All,
    These(Vec<Vec<u8>>),
}

/// What one client is told of its session's state. Transaction information is not part of it: servers are told the
/// client's own choice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    variables: Names,
    schema: bool,
    state: bool,
    gtids: bool,
}

/// The variables that [`Shown`] is made of, in the order that `Shown::read` takes their values in.
pub const CHOICES: [&str; 4] = [
    "session_track_system_variables",
    "session_track_schema",
    "session_track_state_change",
    "session_track_gtids",
];

/// What a client was told already.
#[derive(Debug)]
pub struct Told {
    /// The state of its transaction, such as `T_R_____`; `None` where that was lost. A server says nothing of one that it has said last,
    /// but one client's transactions are at several servers.
    transaction: Option<[u8; STATE_LENGTH]>,
    /// The statement in hand cannot change the default database. What is said of that is late: servers keep what a statement that has
    /// failed would have said, perhaps another session's, until they report something else.
    pub same_database: bool,
}

impl Default for Told {
    /// A session that begins has no transaction.
    fn default() -> Self {
        Self { transaction: Some(*b"\x08________"), same_database: false }
    }
}

impl Told {
    /// The transaction of which it was told is lost.
    pub fn lose(&mut self) {
        self.transaction = None;
    }

    /// An answer to a question of our own has reported these changes: of a transaction's end, the client is told nothing, so that the next
    /// one is news to it.
    pub fn miss(&mut self, mut changes: &[u8]) {
        while let Some((_, rest)) = changes.get(1..).and_then(lenenc_string) {
            if changes[0] == TRANSACTION_STATE {
                self.transaction = None;
            }
            changes = rest;
        }
    }

    /// What begins the read only transaction of which the client was told on another server: where it has read something, its server says
    /// so of the new one, too, and so says it when that is over and another begins.
    pub fn beginning(&self) -> &'static [u8] {
        match self.transaction {
            Some([_, _, _, b'R', ..]) => b"START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
            _ => b"START TRANSACTION READ ONLY",
        }
    }

    /// Whether this is another state than the last one, which it is from now on.
    fn is_news(&mut self, state: &[u8]) -> bool {
        let state = state.try_into().ok();
        let news = state.is_none() || state != self.transaction;
        self.transaction = state;
        news
    }
}

impl Default for Shown {
    fn default() -> Self {
        Self { variables: Names::These(Vec::new()), schema: true, state: false, gtids: false }
    }
}

impl Shown {
    /// Takes in values of [`CHOICES`] as `SELECT` gives them; `None` leaves what was chosen before.
    pub fn choose(&mut self, values: [Option<&[u8]>; 4]) {
        let on = |value: &[u8]| !matches!(value, b"0" | b"OFF" | b"");
        let [variables, schema, state, gtids] = values;
        if let Some(list) = variables {
            let names = list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            let names: Vec<_> =
                names.filter(|name| !name.is_empty()).map(<[u8]>::to_ascii_lowercase).collect();
            let all = names.iter().any(|name| name == b"*");
            self.variables = if all { Names::All } else { Names::These(names) };
        }
        self.schema = schema.map_or(self.schema, on);
        self.state = state.map_or(self.state, on);
        self.gtids = gtids.map_or(self.gtids, on);
    }

    fn shows(&self, name: &[u8]) -> bool {
        match &self.variables {
            Names::All => true,
            Names::These(names) => names.iter().any(|shown| shown == name),
        }
    }

    /// The entries out of `changes` that the client is told, or `None` when they are malformed.
    pub fn filter(&self, mut changes: &[u8], told: &mut Told) -> Option<Vec<u8>> {
        let mut left = Vec::with_capacity(changes.len());
        while let Some((&kind, rest)) = changes.split_first() {
            let (data, rest) = lenenc_string(rest)?; // int<1> kind, string<lenenc> data
            changes = rest;
            let kept = match kind {
                VARIABLES => {
                    let kept = self.variables_of(data)?;
                    if !kept.is_empty() {
                        left.push(kind);
                        put_lenenc_string(&mut left, &kept);
                    }
                    false
                }
                SCHEMA => self.schema && !told.same_database,
                STATE => self.state,
                GTIDS => self.gtids,
                TRANSACTION_STATE => told.is_news(data),
                _ => true,
            };
            if kept {
                left.push(kind);
                put_lenenc_string(&mut left, data);
            }
        }
        Some(left)
    }

    /// The pairs of a name and a value that are shown.
    fn variables_of(&self, mut data: &[u8]) -> Option<Vec<u8>> {
        let mut left = Vec::new();
        while !data.is_empty() {
            let (name, rest) = lenenc_string(data)?; // string<lenenc>
            let (value, rest) = lenenc_string(rest)?; // string<lenenc>
            data = rest;
            if self.shows(name) {
                put_lenenc_string(&mut left, name);
                put_lenenc_string(&mut left, value);
            }
        }
        Some(left)
    }
}

/// An entry that names the default database, as the OK of a login has it.
pub fn schema_entry(schema: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(schema.len() + 1);
    put_lenenc_string(&mut name, schema);
    let mut entry = vec![SCHEMA];
    put_lenenc_string(&mut entry, &name);
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `SET sql_mode='ANSI', time_zone='+02:00'`, a database, the word that state changed, a GTID, a transaction.
    fn reported() -> Vec<Vec<u8>> {
        vec![
            b"\x00\x0e\x08sql_mode\x04ANSI".to_vec(),
            b"\x00\x11\x09time_zone\x06+02:00".to_vec(),
            schema_entry(b"test"),
            b"\x02\x011".to_vec(),
            b"\x03\x03\x00\x01g".to_vec(),
            b"\x05\x09\x08T_______".to_vec(),
        ]
    }

    fn shown(values: [Option<&[u8]>; 4]) -> Shown {
        let mut shown = Shown::default();
        shown.choose(values);
        shown
    }

    #[test]
    fn a_client_is_told_what_it_has_chosen() {
        let all = reported();
        let mysql = shown([Some(b"time_zone,autocommit"), Some(b"1"), Some(b"0"), Some(b"OFF")]);
        let left = mysql.filter(&all.concat(), &mut Told::default()).unwrap();
        assert_eq!(left, [all[1].clone(), all[2].clone(), all[5].clone()].concat());
        let most = shown([Some(b"*"), Some(b"0"), Some(b"1"), Some(b"OWN_GTID")]);
        let left = most.filter(&all.concat(), &mut Told::default()).unwrap();
        assert_eq!(left, [&all[..2], &all[3..]].concat().concat());
        let odd = shown([Some(b" SQL_mode , nonsense"), None, None, None]);
        assert_eq!(
            odd.filter(&all.concat(), &mut Told::default()).unwrap(),
            [&all[0][..], &all[2], &all[5]].concat()
        );
        assert_eq!(
            shown([Some(b""), Some(b"0"), None, None])
                .filter(&all[..5].concat(), &mut Told::default())
                .unwrap(),
            b""
        );
    }

    #[test]
    fn several_variables_in_one_entry_are_told_apart() {
        let entry = b"\x00\x1a\x08sql_mode\x00\x09time_zone\x05+1:00";
        let left = shown([Some(b"time_zone"), None, None, None]).filter(entry, &mut Told::default()).unwrap();
        assert_eq!(left, b"\x00\x10\x09time_zone\x05+1:00");
    }

    #[test]
    fn an_end_that_the_client_has_missed_makes_the_next_transaction_news() {
        let open = b"\x05\x09\x08T_______";
        let (shown, mut told) = (Shown::default(), Told::default());
        assert_eq!(shown.filter(open, &mut told).unwrap(), open);
        told.miss(&reported()[1]);
        assert_eq!(shown.filter(open, &mut told).unwrap(), b"", "it has missed something else");
        told.miss(b"\x05\x09\x08________");
        assert_eq!(shown.filter(open, &mut told).unwrap(), open);
        told.miss(b"\x05\x09");
    }

    #[test]
    fn the_state_of_a_transaction_is_told_where_it_is_another() {
        let [open, over] = [b"\x05\x09\x08T_______", b"\x05\x09\x08________"];
        let (shown, mut told) = (Shown::default(), Told::default());
        for (state, is_told) in [(open, true), (open, false), (over, true), (over, false), (open, true)] {
            let left = shown.filter(state, &mut told).unwrap();
            assert_eq!(left, if is_told { &state[..] } else { b"" });
        }
    }

    #[test]
    fn a_late_report_of_the_database_is_not_shown() {
        let (shown, mut told) = (shown([Some(b"*"), None, None, None]), Told::default());
        let both = [schema_entry(b"test"), reported()[1].clone()].concat();
        assert_eq!(shown.filter(&both, &mut told).unwrap(), both);
        told.same_database = true;
        assert_eq!(shown.filter(&both, &mut told).unwrap(), reported()[1]);
    }

    #[test]
    fn no_cut_panics() {
        let all = reported().concat();
        for end in 0..all.len() {
            let left = shown([Some(b"*"), None, None, None]).filter(&all[..end], &mut Told::default());
            assert!(left.is_none_or(|left| left.len() <= end));
        }
    }
}
