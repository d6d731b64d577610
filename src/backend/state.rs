//! The session state that a connection has and a client wants, and the statements that make one the other.
//!
//! Owns: default database and session variables, as the servers' session tracking reports them.
//! Does not know: connections, replies. Invariant: applying [`State::difference`] to a connection in the first
//! state leaves it in the second, or the difference is `None`.
//!
//! What the servers report, and what they do not, was tried on both dialects: see `docs/session-state.md`.

use super::epoch::Before;
use crate::wire::ok::Change;

/// In which statements and names come.
const CLIENT: &[u8] = b"character_set_client";

/// Its collation becomes the character set's own with it.
const CONNECTION: &[u8] = b"character_set_connection";

/// Set after that, by the order of names.
const COLLATION: &[u8] = b"collation_connection";

/// Character sets that have a collation of their own beside them: it is set to the character set's with that, unreported.
const PAIRS: [(&[u8], &[u8]); 3] = [
    (CONNECTION, COLLATION),
    (b"character_set_server", b"collation_server"),
    (b"character_set_database", b"collation_database"),
];

/// Two names of one variable (MariaDB), of which servers report the one that was used.
const ALIASES: [(&[u8], &[u8]); 5] = [
    (b"log_slow_min_examined_row_limit", b"min_examined_row_limit"),
    (b"log_slow_query", b"slow_query_log"),
    (b"log_slow_query_time", b"long_query_time"),
    (b"transaction_isolation", b"tx_isolation"),
    (b"transaction_read_only", b"tx_read_only"),
];

/// The charset variables that `SET NAMES` covers.
const NAMES: [&[u8]; 4] = [CLIENT, CONNECTION, b"character_set_results", COLLATION];

/// Reported by session tracking, but bound to one connection, or read only: never replayed.
const NEVER_REPLAYED: [&[u8]; 17] = [
    b"error_count",
    b"gtid_next",
    b"gtid_seq_no",
    b"identity",
    b"insert_id",
    b"last_gtid",
    b"last_insert_id",
    b"profiling_history_size",
    b"pseudo_replica_mode",
    b"pseudo_slave_mode",
    b"pseudo_thread_id",
    b"rand_seed1",
    b"rand_seed2",
    b"sql_log_bin",
    b"statement_id",
    b"timestamp",
    b"warning_count",
];

/// About transactions and how they are logged: nothing that is prepared depends on these. To set `autocommit` on, if only for a moment, commits the
/// open transaction; an isolation level that is set takes the next transaction's away; the others are refused while one is open (tried on both dialects).
const OF_TRANSACTIONS: [&[u8]; 16] = [
    b"autocommit",
    b"binlog_direct_non_transactional_updates",
    b"binlog_format",
    b"binlog_row_value_options",
    b"binlog_transaction_compression",
    b"binlog_transaction_compression_level_zstd",
    b"completion_type",
    b"group_replication_consistency",
    b"gtid_domain_id",
    b"skip_replication",
    b"transaction_isolation",
    b"transaction_read_only",
    b"tx_isolation",
    b"tx_read_only",
    b"wsrep_on",
    b"xa_detach_on_prepare",
];

/// What the character sets of a connection were set by before any SET.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Base {
    /// The collation in the handshake.
    #[default]
    Handshake,
    /// COM_RESET_CONNECTION, which leaves the server's own defaults.
    Reset,
}

/// What the handshake of a connection has set.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Handshake {
    /// The character set of its collation.
    pub charset: String,
    /// Its collation.
    pub collation: String,
    /// IGNORE_SPACE, which servers put into sql_mode.
    pub ignore_space: bool,
}

/// Session state as far as it can be replayed.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    /// Default database; empty for none.
    pub schema: Vec<u8>,
    /// Where unset variables have their values from.
    pub base: Base,
    /// What SET ROLE was given, if it was used: names, or a word such as NONE.
    pub role: Option<Vec<u8>>,
    /// The collation that SET NAMES gave to `character_set_results`, which no variable shows: result columns have it.
    pub results: Option<Vec<u8>>,
    /// Variables that were set, sorted by name, each with its value as text.
    variables: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What must be sent to a connection, in this order, so that it has the wanted state.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Difference {
    /// COM_RESET_CONNECTION, then session tracking again.
    pub reset: bool,
    /// COM_INIT_DB with this database.
    pub schema: Option<Vec<u8>>,
    /// Before that, `character_set_client` must be set to utf8mb4, in which the name is known; `set` takes it back.
    pub schema_in_utf8: bool,
    /// A SET ROLE statement.
    pub role: Option<Vec<u8>>,
    /// A SET statement.
    pub set: Option<Vec<u8>>,
}

impl State {
    /// The state of a fresh connection with this default database.
    pub fn with_schema(schema: Vec<u8>) -> Self {
        Self { schema, ..Self::default() }
    }

    /// The same with another default database.
    pub fn in_schema(&self, schema: &[u8]) -> Self {
        Self { schema: schema.to_vec(), ..self.clone() }
    }

    /// Takes in one reported change; true when the state is another now.
    pub fn observe(&mut self, change: Change<'_>) -> bool {
        match change {
            Change::Schema(schema) => {
                let changed = self.schema != schema;
                if changed {
                    self.schema = schema.to_vec();
                }
                // They are the database's from now on, also where it is the same.
                let forgot = self.forget(b"character_set_database") | self.forget(b"collation_database");
                changed || forgot
            }
            Change::Variable { name, value } => is_replayed(name) && self.set(name, value),
            Change::State | Change::Gtids(_) | Change::Transaction | Change::Unknown(_) => false,
        }
    }

    /// Gives a variable a value; true when it had another.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> bool {
        // Setting the character set of the connection sets its collation too, which is not reported: also where the
        // character set stays as it was.
        let before = self.variables.len();
        if let Some((_, collation)) = PAIRS.iter().find(|(charset, _)| name == *charset) {
            self.variables.retain(|(known, _)| known != collation);
        }
        if let Some((one, other)) = ALIASES.iter().find(|(one, other)| name == *one || name == *other) {
            let alias = if name == *one { other } else { one };
            self.variables.retain(|(known, _)| known != alias);
        }
        let plain = name == b"character_set_results" && self.results.take().is_some();
        let forgot = self.variables.len() < before || plain;
        match self.variables.binary_search_by(|(known, _)| known.as_slice().cmp(name)) {
            Ok(at) if self.variables[at].1 == value => return forgot,
            Ok(at) => self.variables[at].1 = value.to_vec(),
            Err(at) => self.variables.insert(at, (name.to_vec(), value.to_vec())),
        }
        true
    }

    /// Gives a variable back what it was before, with its other name, and with the collation that goes along with a character set.
    pub fn put_back(&mut self, name: &[u8], before: &Self) {
        let collation = PAIRS.iter().find(|(charset, _)| name == *charset).map(|(_, collation)| *collation);
        let alias = ALIASES.iter().find_map(|(one, other)| match name {
            name if name == *one => Some(*other),
            name if name == *other => Some(*one),
            _ => None,
        });
        for name in [Some(name), collation, alias].into_iter().flatten() {
            self.forget(name);
            if let Some(value) = before.get(name) {
                self.variables.push((name.to_vec(), value.to_vec()));
            }
        }
        self.variables.sort();
    }

    /// The variables that were set, by their names.
    pub fn variables(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.variables.iter().map(|(name, value)| (&name[..], &value[..]))
    }

    /// Global variables have changed since this state began: what it has not set keeps the value from before. `ignore_space`: the handshake
    /// has put that into sql_mode. True when the state is another now.
    pub fn outlast(&mut self, before: &[Before], ignore_space: bool) -> bool {
        let mut changed = false;
        for (name, value) in before.iter().filter(|(name, _)| is_replayed(name)) {
            if self.get(name).is_some() {
                continue;
            }
            let with_space = name == b"sql_mode" && ignore_space && self.base == Base::Handshake;
            let added: &[u8] = if with_space { b",IGNORE_SPACE" } else { b"" };
            changed |= self.set(name, &[value, added].concat());
        }
        changed
    }

    /// Takes a variable out; false when it was not set.
    pub fn forget(&mut self, name: &[u8]) -> bool {
        let before = self.variables.len();
        self.variables.retain(|(known, _)| known != name);
        self.variables.len() < before
    }

    /// The value that a variable was set to, if it was.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let at = self.variables.binary_search_by(|(known, _)| known.as_slice().cmp(name)).ok()?;
        Some(&self.variables[at].1)
    }

    /// This state with the settings of transactions that `now` has, its role, and its default database where this has none: for what is
    /// prepared where a transaction may be open, and neither a role nor a database can be taken back.
    pub fn within(&self, now: &Self) -> Self {
        let is_bound =
            |(name, _): &&(Vec<u8>, Vec<u8>)| OF_TRANSACTIONS.binary_search(&name.as_slice()).is_ok();
        let mut within = self.clone();
        within.role.clone_from(&now.role);
        if within.schema.is_empty() {
            within.schema.clone_from(&now.schema);
        }
        within.variables.retain(|variable| !is_bound(&variable));
        within.variables.extend(now.variables.iter().filter(is_bound).cloned());
        within.variables.sort();
        within
    }

    /// What COM_RESET_CONNECTION makes of it: the role stays (tried on both dialects).
    pub fn reset(&mut self) {
        self.base = Base::Reset;
        self.results = None;
        self.variables.clear();
    }

    /// Whether statements lead here from there: a default database cannot be unset, nor which roles a login gave be had
    /// back.
    pub fn is_reachable_from(&self, there: &Self) -> bool {
        (!self.schema.is_empty() || there.schema.is_empty()) && (self.role.is_some() || there.role.is_none())
    }

    /// What must be sent to a connection in this state to bring it to `wanted`, after this handshake. `None` when no statement does it, see [`State::is_reachable_from`].
    pub fn difference(&self, wanted: &Self, handshake: &Handshake) -> Option<Difference> {
        if !wanted.is_reachable_from(self) {
            return None;
        }
        let reset = self.base != wanted.base;
        let fresh = Self::default();
        let has = if reset { &fresh } else { self };
        let lost = |name: &[u8]| has.get(name).is_some() && wanted.get(name).is_none();
        // Only SET NAMES gives results a collation, and it sets the other character sets too.
        let collated = wanted.results.as_ref().filter(|_| has.results != wanted.results);
        let collated = collated.zip(wanted.get(b"character_set_results"));
        let lost_some = NAMES.iter().any(|name| lost(name));
        let renamed = lost_some || collated.is_some() || has.results != wanted.results;
        let schema = (self.schema != wanted.schema).then(|| wanted.schema.clone());
        let schema_in_utf8 =
            schema.as_ref().is_some_and(|name| !name.is_ascii()) && !self.speaks_utf8(&handshake.charset);
        let mut set = Vec::new();
        if (reset || lost_some) && wanted.base == Base::Handshake {
            let (charset, collation) = (handshake.charset.as_bytes(), handshake.collation.as_bytes());
            put_item(&mut set, &[b"NAMES '", charset, b"' COLLATE '", collation, b"'"]);
        } else if lost_some {
            for name in NAMES {
                put_item(&mut set, &[name, b"=DEFAULT"]);
            }
        } else if schema_in_utf8 && wanted.get(CLIENT).is_none() {
            let named = [b"'", handshake.charset.as_bytes(), b"'"].concat();
            let value = if wanted.base == Base::Handshake { &named[..] } else { b"DEFAULT" };
            put_item(&mut set, &[CLIENT, b"=", value]);
        }
        if let Some((collation, charset)) = collated {
            put_item(&mut set, &[b"NAMES ", charset, b" COLLATE ", collation]);
        }
        for (name, _) in
            has.variables.iter().filter(|(name, _)| lost(name) && !NAMES.contains(&name.as_slice()))
        {
            if DEFAULT_IS_WRONG.contains(&name.as_slice()) {
                put_item(&mut set, &[name, b"=@@global.", name]);
            } else if name == b"sql_mode" && handshake.ignore_space && wanted.base == Base::Handshake {
                put_item(&mut set, &[b"sql_mode=CONCAT(@@global.sql_mode,',IGNORE_SPACE')"]);
            } else {
                put_item(&mut set, &[name, b"=DEFAULT"]);
            }
        }
        let apart = |name: &&[u8]| has.get(name) != wanted.get(name);
        let of_pair = |name: &[u8]| {
            let is_it = |(charset, collation): &&(&[u8], &[u8])| name == *charset || name == *collation;
            PAIRS.iter().find(is_it).is_some_and(|(charset, collation)| apart(charset) || apart(collation))
        };
        for (name, value) in &wanted.variables {
            if collated.is_some() && name == b"character_set_results" {
                continue;
            }
            let forgotten = renamed && NAMES.contains(&name.as_slice()) || of_pair(name);
            let replaced = schema_in_utf8 && name == CLIENT;
            if forgotten || replaced || has.get(name) != Some(value) {
                put_item(&mut set, &[name, b"=", &literal(name, value)]);
            }
        }
        let role = wanted.role.as_ref().filter(|_| self.role != wanted.role);
        let role = role.map(|role| [b"SET ROLE ", &role[..]].concat());
        Some(Difference { reset, schema, schema_in_utf8, role, set: (!set.is_empty()).then_some(set) })
    }

    /// Whether names that are not ASCII are read as UTF-8. `handshake` is the character set of that.
    fn speaks_utf8(&self, handshake: &str) -> bool {
        let implied = if self.base == Base::Handshake { handshake.as_bytes() } else { b"" };
        self.get(CLIENT).unwrap_or(implied).starts_with(b"utf8")
    }
}

/// MySQL 9.7 switches these off when they are set to DEFAULT, though they are on globally.
const DEFAULT_IS_WRONG: [&[u8]; 2] = [b"foreign_key_checks", b"unique_checks"];

/// Whether a variable of this name belongs to the replayable state.
pub fn is_replayed(name: &[u8]) -> bool {
    let ours = name.starts_with(b"session_track") && name != b"session_track_transaction_info";
    !ours && NEVER_REPLAYED.binary_search(&name).is_err()
}

fn put_item(set: &mut Vec<u8>, parts: &[&[u8]]) {
    set.extend_from_slice(if set.is_empty() { b"SET " } else { b"," });
    parts.iter().for_each(|part| set.extend_from_slice(part));
}

/// A value as SET takes it back: numbers bare (numeric variables refuse strings), text in a form that no sql_mode
/// and no character set can misread.
fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    if value.is_empty() && name == b"character_set_results" {
        return b"NULL".to_vec();
    }
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    let number = !digits.is_empty() && digits.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    if number && digits.iter().filter(|b| **b == b'.').count() <= 1 && digits[0] != b'.' {
        return value.to_vec();
    }
    let plain = |b: &u8| (b' '..=b'~').contains(b) && !matches!(b, b'\'' | b'\\' | b'"');
    if value.iter().all(plain) {
        // Without the introducer it would be UTF-16 where the connection's collation is: "Unknown time zone: 'SYSTEM'".
        return [b"_utf8mb4'", value, b"'"].concat();
    }
    let mut hex = b"_utf8mb4 x'".to_vec();
    for byte in value {
        hex.extend_from_slice(&[
            b"0123456789abcdef"[usize::from(byte >> 4)],
            b"0123456789abcdef"[usize::from(byte & 15)],
        ]);
    }
    hex.push(b'\'');
    hex
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
