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
mod tests {
    use super::*;

    const HANDSHAKE: fn() -> Handshake = || Handshake {
        charset: "utf8mb4".into(),
        collation: "utf8mb4_general_ci".into(),
        ignore_space: false,
    };

    fn state(schema: &str, variables: &[(&str, &str)]) -> State {
        let mut state = State::with_schema(schema.into());
        for (name, value) in variables {
            state.set(name.as_bytes(), value.as_bytes());
        }
        state
    }

    fn set_text(from: &State, to: &State) -> Option<String> {
        from.difference(to, &HANDSHAKE()).unwrap().set.map(|set| String::from_utf8(set).unwrap())
    }

    #[test]
    fn the_lists_that_are_searched_are_sorted() {
        assert!(NEVER_REPLAYED.is_sorted());
        assert!(OF_TRANSACTIONS.is_sorted());
    }

    #[test]
    fn to_prepare_again_touches_no_transaction() {
        let then = state("a", &[("sql_mode", "ANSI"), ("tx_isolation", "SERIALIZABLE")]);
        let now = state("b", &[("autocommit", "OFF"), ("time_zone", "+02:00")]);
        let within = state("a", &[("autocommit", "OFF"), ("sql_mode", "ANSI")]);
        assert_eq!(then.within(&now), within);
        assert_eq!(set_text(&now, &within).unwrap(), "SET time_zone=DEFAULT,sql_mode=_utf8mb4'ANSI'");
        assert_eq!(set_text(&within, &now).unwrap(), "SET sql_mode=DEFAULT,time_zone=_utf8mb4'+02:00'");
        let (then, now) = (State::default(), State { role: Some(b"r".to_vec()), ..state("b", &[]) });
        assert_eq!(then.within(&now), now, "what cannot be taken back stays");
    }

    #[test]
    fn a_state_outlasts_a_change_of_global_variables() {
        let before =
            [("sql_mode", "ANSI"), ("time_zone", "SYSTEM"), ("sql_mode", "later"), ("timestamp", "5")];
        let before = before.map(|(name, value)| (name.into(), value.into()));
        let mut own = state("a", &[("time_zone", "+02:00")]);
        assert!(own.outlast(&before, false));
        assert_eq!(own, state("a", &[("sql_mode", "ANSI"), ("time_zone", "+02:00")]));
        assert!(!own.outlast(&before, false));
        let mut spaced = state("a", &[]);
        spaced.outlast(&before[..1], true);
        assert_eq!(spaced, state("a", &[("sql_mode", "ANSI,IGNORE_SPACE")]));
    }

    #[test]
    fn a_collation_goes_with_its_character_set() {
        let was = state("a", &[("character_set_server", "latin1"), ("collation_server", "latin1_bin")]);
        let mut now = was.clone();
        assert!(now.set(b"character_set_server", b"latin1"), "its collation is the default one now");
        assert_eq!(
            set_text(&was, &now).unwrap(),
            "SET collation_server=DEFAULT,character_set_server=_utf8mb4'latin1'"
        );
        assert_eq!(
            set_text(&now, &was).unwrap(),
            "SET character_set_server=_utf8mb4'latin1',collation_server=_utf8mb4'latin1_bin'"
        );
        let mut own = state("a", &[("character_set_database", "latin1")]);
        assert!(own.observe(Change::Schema(b"a")), "USE makes it the database's");
        assert_eq!(own, state("a", &[]));
    }

    #[test]
    fn of_two_names_the_later_one_counts() {
        let mut own = state("", &[("long_query_time", "3"), ("log_slow_query_time", "5")]);
        assert_eq!(own, state("", &[("log_slow_query_time", "5")]));
        own.set(b"long_query_time", b"7");
        assert_eq!(own, state("", &[("long_query_time", "7")]));
    }

    #[test]
    fn equal_states_need_nothing() {
        let one = state("a", &[("autocommit", "OFF")]);
        assert_eq!(one.difference(&one.clone(), &HANDSHAKE()), Some(Difference::default()));
    }

    #[test]
    fn values_are_written_so_that_every_server_takes_them() {
        let wanted = state(
            "",
            &[
                ("autocommit", "OFF"),
                ("sort_buffer_size", "300000"),
                ("long_query_time", "2.5"),
                ("time_zone", "+02:00"),
                ("character_set_results", ""),
                ("init", "a'b\\c"),
            ],
        );
        assert_eq!(
            set_text(&State::default(), &wanted).unwrap(),
            "SET autocommit=_utf8mb4'OFF',character_set_results=NULL,init=_utf8mb4 x'6127625c63',long_query_time=2.5,\
             sort_buffer_size=300000,time_zone=_utf8mb4'+02:00'"
        );
    }

    #[test]
    fn what_another_client_set_is_taken_back() {
        let theirs =
            state("", &[("autocommit", "OFF"), ("character_set_client", "gbk"), ("sql_mode", "ANSI")]);
        let mine = state("", &[("sql_mode", "")]);
        assert_eq!(
            set_text(&theirs, &mine).unwrap(),
            "SET NAMES 'utf8mb4' COLLATE 'utf8mb4_general_ci',autocommit=DEFAULT,sql_mode=_utf8mb4''"
        );
    }

    #[test]
    fn a_character_set_takes_the_collation_with_it() {
        let of = |charset| {
            state("", &[("character_set_connection", charset), ("collation_connection", "latin1_german2_ci")])
        };
        assert_eq!(
            set_text(&of("gbk"), &of("ascii")).unwrap(),
            "SET character_set_connection=_utf8mb4'ascii',collation_connection=_utf8mb4'latin1_german2_ci'"
        );
    }

    #[test]
    fn ignored_spaces_of_the_handshake_stay() {
        let handshake = Handshake { ignore_space: true, ..HANDSHAKE() };
        let theirs = state("", &[("sql_mode", "ANSI")]);
        let set = theirs.difference(&State::default(), &handshake).unwrap().set.unwrap();
        assert_eq!(set, b"SET sql_mode=CONCAT(@@global.sql_mode,',IGNORE_SPACE')");
    }

    #[test]
    fn a_collation_of_results_is_set_by_names_alone() {
        let mut named = state(
            "",
            &[
                ("character_set_client", "latin1"),
                ("character_set_connection", "latin1"),
                ("character_set_results", "latin1"),
            ],
        );
        let plain = named.clone();
        named.set(b"collation_connection", b"latin1_german2_ci");
        named.results = Some(b"latin1_german2_ci".to_vec());
        assert_eq!(
            set_text(&plain, &named).unwrap(),
            "SET NAMES latin1 COLLATE latin1_german2_ci,character_set_client=_utf8mb4'latin1',\
             character_set_connection=_utf8mb4'latin1',collation_connection=_utf8mb4'latin1_german2_ci'"
        );
        let back = set_text(&named, &plain).unwrap();
        assert!(
            back.starts_with("SET NAMES 'utf8mb4'")
                && back.contains("character_set_results=_utf8mb4'latin1'")
        );
        assert!(named.set(b"character_set_results", b"latin1") && named.results.is_none());
    }

    #[test]
    fn checks_are_taken_back_to_what_they_are_globally() {
        let theirs = state("", &[("foreign_key_checks", "OFF"), ("sql_notes", "OFF")]);
        let set = set_text(&theirs, &State::default()).unwrap();
        assert_eq!(set, "SET foreign_key_checks=@@global.foreign_key_checks,sql_notes=DEFAULT");
    }

    #[test]
    fn a_database_can_be_changed_but_not_unset() {
        assert_eq!(state("a", &[]).difference(&state("", &[]), &HANDSHAKE()), None);
        let difference = state("a", &[]).difference(&state("b", &[]), &HANDSHAKE()).unwrap();
        assert_eq!(difference.schema, Some(b"b".to_vec()));
    }

    #[test]
    fn the_name_of_a_database_is_sent_in_the_charset_that_it_is_known_in() {
        let cafe = state("caf\u{e9}", &[]);
        let spoken = |charset: &str| Handshake { charset: charset.into(), ..HANDSHAKE() };
        let (utf8, latin) = (&spoken("utf8mb4"), &spoken("latin1"));
        assert!(!State::default().difference(&cafe, utf8).unwrap().schema_in_utf8);
        let difference = State::default().difference(&cafe, latin).unwrap();
        assert!(difference.schema_in_utf8);
        assert_eq!(difference.set.unwrap(), b"SET character_set_client='latin1'");
        let koi8r = [("character_set_client", "koi8r"), ("character_set_connection", "koi8r")];
        let difference = state("a", &koi8r).difference(&state("caf\u{e9}", &koi8r), utf8).unwrap();
        assert!(difference.schema_in_utf8);
        assert_eq!(difference.set.unwrap(), b"SET character_set_client=_utf8mb4'koi8r'");
        let mut reset = state("a", &[]);
        reset.reset();
        let difference = reset.difference(&State { schema: cafe.schema, ..reset.clone() }, utf8).unwrap();
        assert_eq!(difference.set.unwrap(), b"SET character_set_client=DEFAULT");
    }

    #[test]
    fn a_role_can_be_taken_but_not_given_back() {
        let admin = State { role: Some(b"admin".to_vec()), ..state("a", &[]) };
        let difference = state("a", &[]).difference(&admin, &HANDSHAKE()).unwrap();
        assert_eq!(difference.role.unwrap(), b"SET ROLE admin");
        assert_eq!(admin.difference(&state("a", &[]), &HANDSHAKE()), None);
        let none = State { role: Some(b"NONE".to_vec()), ..state("a", &[]) };
        assert_eq!(admin.difference(&none, &HANDSHAKE()).unwrap().role.unwrap(), b"SET ROLE NONE");
    }

    #[test]
    fn a_reset_client_gets_a_reset_connection_and_the_other_way_round() {
        let mut reset = state("a", &[("autocommit", "OFF")]);
        reset.reset();
        let difference = state("a", &[("sql_mode", "")]).difference(&reset, &HANDSHAKE()).unwrap();
        assert_eq!(difference, Difference { reset: true, ..Difference::default() });
        let back = reset.difference(&state("a", &[]), &HANDSHAKE()).unwrap();
        assert!(back.reset && back.set.unwrap().starts_with(b"SET NAMES 'utf8mb4'"));
    }

    #[test]
    fn a_new_character_set_forgets_the_collation() {
        let mut one = state("", &[("collation_connection", "utf8mb4_bin")]);
        one.observe(Change::Variable { name: b"character_set_connection", value: b"latin1" });
        assert_eq!(one.get(b"collation_connection"), None);
    }

    #[test]
    fn the_same_character_set_again_forgets_the_collation() {
        let mut one =
            state("", &[("character_set_connection", "latin1"), ("collation_connection", "utf16_bin")]);
        assert!(one.observe(Change::Variable { name: b"character_set_connection", value: b"latin1" }));
        assert_eq!(one.get(b"collation_connection"), None);
    }

    #[test]
    fn bound_variables_are_not_replayed() {
        let mut one = State::default();
        assert!(!one.observe(Change::Variable { name: b"timestamp", value: b"1000.0" }));
        assert!(!one.observe(Change::Variable { name: b"last_gtid", value: b"0-1-2" }));
        assert!(one.observe(Change::Variable { name: b"time_zone", value: b"+00:00" }));
    }
}
