//! One client's session: the state that it sees, and what each of its commands does.
//!
//! Owns: desired state, transaction, pins, prepared statements, what the last statement left. Does not know: how
//! clients prove who they are, how replies are framed. Invariant: the server's word decides (status flags, session
//! tracking); a session holds a server connection only while a transaction is open or a pin stands.

mod attempt;
mod change;
mod choice;
mod commands;
mod defining;
mod diagnostics;
mod expired;
mod farewell;
mod freshness;
pub mod incoming;
pub mod kill;
mod lease;
mod observed;
mod own;
mod perform;
mod pins;
mod problem;
mod processes;
mod query;
mod readback;
mod reply;
mod resume;
mod scatter;
mod settle;
mod sites;
mod spread;
mod statements;
mod work;
pub mod worker;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::diagnostics::{At, Last};
use self::freshness::Freshness;
use self::incoming::Incoming;
use self::observed::Tally;
use self::pins::Pins;
use self::pins::ledger::Ledger;
pub use self::problem::{CANNOT_CONNECT, Kind as ProblemKind, Problem};
use self::readback::variables::Variables;
use self::resume::course::{Course, Outcome};
use self::sites::Sites;
pub use self::sites::direct::Directory;
use self::spread::passing::Passing;
use self::statements::Statements;
use self::worker::{Caller, Worker};
use crate::backend::account::Account;
use crate::backend::class::Class;
use crate::backend::connection::{Connection, User};
use crate::backend::epoch::Before;
use crate::backend::insert_id::InsertId;
use crate::backend::state::State;
use crate::backend::texts::Texts;
use crate::balance::Balance;
use crate::execute::client::{Client, Signals};
use crate::plan::Situation;
use crate::plan::sharded::Modes;
use crate::registry::{Entry, Handle, Registry, Who};
use crate::shard::Charset;
use crate::sql::{
    self, Class as StatementClass, Dialect, LexCharset, Lexing, Recognised, ServerVersion, Uses,
};
use crate::topology::{Topology, mix};
use crate::wire::auth::Salt;
use crate::wire::buffer::Buffer;
use crate::wire::capabilities::Capabilities;
use crate::wire::compress::Side;
use crate::wire::handshake::Attributes;
use crate::wire::ok::Status;
use crate::wire::packer::Compression;
use crate::wire::socket::Peer;
use crate::wire::stream::Stream;
use crate::wire::track::Told;

/// Names of the pins, for metrics.
pub const PIN_NAMES: &[&str] = &Pins::NAMES;

/// How lost transactions went on, for metrics.
pub const REPLAY_OUTCOMES: &[&str] = Outcome::NAMES;

/// Whether a pin of this name ends by itself with the next statement, wherever that runs.
pub fn is_passing_pin(name: &str) -> bool {
    Pins::is_passing(name)
}

/// How long a connection is kept for SHOW WARNINGS and its like, while the client is silent.
const QUESTION_TIME: Duration = Duration::from_secs(1);

/// One client's session.
pub struct Session {
    worker: Rc<Worker>,
    /// Of the cluster that it is at.
    topology: Arc<Topology>,
    sites: Sites,
    /// Before the client's connection, as fields are dropped in this order: who has seen a session end does not find it.
    entry: Entry,
    client: Client,
    salt: Salt,
    account: Arc<Account>,
    attributes: Option<Box<Attributes>>,
    class: Class,
    desired: Arc<State>,
    /// Its database, where that was not there, and since when it does without.
    missed_database: Option<(Vec<u8>, Instant)>,
    lexing: Lexing,
    /// What of sql_mode plans depend on besides.
    modes: Modes,
    /// What the bytes of the client's strings mean, as far as keys are compared.
    charset: Charset,
    /// Servers store what they are given, or nothing.
    strict: bool,
    /// 0 is a value of an AUTO_INCREMENT column, and asks for none.
    zero_is_value: bool,
    status: Status,
    /// An error has left open whether a transaction goes on.
    status_unsure: bool,
    held: Option<Box<Connection>>,
    course: Course,
    pins: Pins,
    ledger: Ledger,
    statements: Statements,
    /// Prepared by text PREPARE.
    texts: Texts,
    insert_id: Arc<InsertId>,
    variables: Variables,
    freshness: Freshness,
    /// How the statement in hand asks its reads to be spread.
    asked_balance: Option<Balance>,
    /// Where routines of its own have run, the last one first.
    routines_at: Vec<At>,
    /// Where it has drawn from a sequence last.
    sequence_at: Option<At>,
    /// Of the client's address; for balancing.
    source: u64,
    last: Last,
    /// How often the session has begun anew.
    incarnation: u32,
    /// The accounts' state at its login.
    epoch: u64,
    /// The last change of global variables that it knows of.
    globals: u64,
    /// What global variables were when it began, as far as they have changed since.
    outlasted: Vec<Before>,
    /// What the variables were that the SET GLOBAL in hand may change.
    globals_before: Vec<Before>,
    /// COM_CHANGE_USER that were refused.
    changes_refused: u8,
    /// `sql_auto_is_null` is on: `WHERE id IS NULL` may ask for LAST_INSERT_ID().
    null_is_insert_id: bool,
    /// The default database is one of the servers' own.
    in_system_schema: bool,
    /// Sequence number of the reply to the command in hand.
    sequence: u8,
    /// When the command in hand came, or the last one was answered.
    since: Instant,
    tally: Tally,
    /// What its statement passes when it has ended.
    passing: Option<Box<Passing>>,
}

/// What a login has established, up to the final OK.
#[derive(Debug)]
pub struct Admitted {
    /// The connection.
    pub stream: Stream,
    /// The account that the client may use.
    pub account: Arc<Account>,
    /// The database that it named; not checked.
    pub database: Option<Vec<u8>>,
    /// What server connections that are opened for the client show of it; `None`: nothing.
    pub attributes: Option<Box<Attributes>>,
    /// The flags in force.
    pub capabilities: Capabilities,
    /// What it wants its connection compressed with, from the end of the login on.
    pub compression: Option<Compression>,
    /// The collation of its handshake.
    pub collation: u16,
    /// The challenge of its greeting.
    pub salt: Salt,
    /// Sequence number of the packet that ends the login.
    pub sequence: u8,
}

/// Whether a session goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flow {
    Continue,
    Close,
}

impl Session {
    /// Ends the login: checks the database, tells the client, and makes the session. `None` when the client was
    /// refused or has gone.
    pub async fn begin(
        worker: Rc<Worker>,
        registry: &Arc<Registry>,
        Caller { id, peer }: Caller,
        admitted: Admitted,
    ) -> Option<Self> {
        let Admitted { stream, account, database, attributes, capabilities, .. } = admitted;
        let Admitted { compression, collation, salt, sequence, .. } = admitted;
        let class = Class::of(capabilities, collation);
        let signals = Arc::<Signals>::default();
        let who = Who { account: Arc::clone(&account), class, peer };
        let handle = Handle::new(id, who, Arc::clone(&signals));
        let mut session = Self {
            client: Client {
                stream,
                capabilities,
                signals,
                shown: None,
                told: Told::default(),
                kept: None,
                sum: None,
                names: None,
                made: None,
                may_move: false,
            },
            salt,
            entry: registry.enter(Arc::new(handle)),
            class,
            account,
            attributes,
            desired: Arc::new(State::default()),
            lexing: Lexing {
                ansi_quotes: false,
                no_backslash_escapes: false,
                charset: LexCharset::AsciiSafe,
                server: ServerVersion { dialect: Dialect::MySql, number: 80_000 },
            },
            modes: Modes::default(),
            charset: Charset::Unknown,
            strict: false,
            zero_is_value: false,
            status: Status::AUTOCOMMIT,
            status_unsure: false,
            held: None,
            course: Course::default(),
            missed_database: None,
            pins: Pins::default(),
            ledger: Ledger::default(),
            statements: Statements::default(),
            texts: Texts::default(),
            insert_id: Arc::default(),
            variables: Variables::default(),
            freshness: Freshness::default(),
            asked_balance: None,
            routines_at: Vec::new(),
            sequence_at: None,
            source: source_of(peer),
            last: Last::default(),
            incarnation: 0,
            epoch: worker.pool.epoch(),
            globals: worker.pool.globals(),
            outlasted: Vec::new(),
            globals_before: Vec::new(),
            changes_refused: 0,
            null_is_insert_id: false,
            in_system_schema: false,
            sequence: 1,
            since: Instant::now(),
            tally: Tally::default(),
            passing: None,
            topology: Arc::clone(worker.clusters.home()),
            sites: Sites::new(worker.config.home),
            worker,
        };
        session.become_fresh();
        session.last = Last::fresh(session.lexing.server.dialect);
        if !session.finish_login(database, sequence).await {
            return None;
        }
        if let Some(compression) = compression {
            session.client.stream.compress(compression, Side::Server);
        }
        Some(session)
    }

    /// Serves the client until it leaves.
    pub async fn run(mut self) {
        let mut pending: Option<Buffer> = None;
        loop {
            self.come_home().await;
            self.show_idle();
            let free = self.held.is_none() || !self.status.contains(Status::IN_TRANSACTION);
            let drained = free && !self.sites.is_open_elsewhere();
            let mask = Signals::KILL | Signals::IDLE | if drained { Signals::DRAIN } else { 0 };
            // What is kept only for questions about the last statement is not kept for long.
            let patience =
                (self.held.is_some() && free && self.is_pinned_in_passing()).then_some(QUESTION_TIME);
            self.entry.handle.idle.begin(self.worker.registry.now());
            let held = self.held.as_ref().and_then(|held| self.worker.pool.server(held.server));
            let resting = held.map(|server| server.rest());
            let command =
                match incoming::next(&mut self.client, &self.worker, pending.take(), mask, patience).await {
                    Incoming::Command(command) => command,
                    Incoming::Idle => {
                        self.stop_expecting_questions().await;
                        continue;
                    }
                    Incoming::Signalled if self.was_woken_too_early() => continue,
                    other => {
                        self.dismiss(other).await;
                        break;
                    }
                };
            self.entry.handle.idle.end();
            drop(resting);
            self.worker.counters.received(command.packets().len() as u64);
            self.sequence = command.reply_sequence();
            self.show_busy();
            self.outlast_globals();
            if self.carry_out(&command).await == Flow::Close {
                break;
            }
            pending = command.into_rest();
        }
        self.look_after_last_call().await;
        self.leave();
    }

    /// The client has not asked about its last statement for a while: the connection may serve others. As long as none
    /// has taken it, a later question still finds it.
    async fn stop_expecting_questions(&mut self) {
        self.keep_warnings().await;
        self.settle_pins().await;
        self.ask_found_rows().await;
        self.set_pins(self.pins.difference(Pins::PASSING));
        if self.pins.is_empty()
            && let Some(connection) = self.held.take()
        {
            self.release(connection, false);
        }
    }

    /// The session's state is that of a new connection.
    fn become_fresh(&mut self) {
        (self.client.shown, self.client.told) = (None, Told::default());
        self.globals = self.worker.pool.globals();
        self.outlasted.clear();
        let snapshot = self.topology.snapshot();
        let autocommit = snapshot.facts.as_ref().is_none_or(|facts| facts.autocommit);
        self.status = if autocommit { Status::AUTOCOMMIT } else { Status::empty() };
        drop(snapshot);
        self.relex();
        self.last = self.last.after_reset();
    }

    /// This session, as connections remember it.
    fn me(&self) -> User {
        User { client: self.entry.handle.id, incarnation: self.incarnation, epoch: self.epoch }
    }

    /// What a statement is, in this session.
    fn recognise(&self, text: &[u8]) -> Recognised {
        let mut statement = sql::recognise(text, &self.lexing);
        // Nobody asks about warnings and for new rows at once, and an id that is brought would clear them.
        let asks_before = statement.uses.contains(Uses::DIAGNOSTICS);
        if self.null_is_insert_id && statement.class == StatementClass::Read && !asks_before {
            statement.uses |= Uses::LAST_INSERT_ID;
        }
        if self.in_system_schema
            || statement.class == StatementClass::ShowServer
            || statement.uses.contains(Uses::SYSTEM_SCHEMA)
        {
            self.note_processes(text, &mut statement);
        }
        statement
    }

    /// How text is to be read, and how long the session may be idle, follows from its variables; its database is shown
    /// to others.
    fn relex(&mut self) {
        self.find_home();
        self.limit_idleness();
        self.entry.handle.activity.set_database(self.logical_schema());
        self.in_system_schema = sql::is_system_schema(self.logical_schema());
        let snapshot = self.topology.snapshot();
        if let Some(version) = snapshot.version {
            self.lexing.server = version;
        }
        let default = snapshot.facts.as_ref().map_or("", |facts| facts.sql_mode.as_str());
        let mode = self.desired.get(b"sql_mode").unwrap_or(default.as_bytes());
        let has = |name: &[u8]| mode.split(|byte| *byte == b',').any(|part| part.eq_ignore_ascii_case(name));
        self.lexing.ansi_quotes = has(b"ANSI_QUOTES");
        self.lexing.no_backslash_escapes = has(b"NO_BACKSLASH_ESCAPES");
        self.modes = Modes {
            pipes_as_concat: has(b"PIPES_AS_CONCAT"),
            high_not_precedence: has(b"HIGH_NOT_PRECEDENCE"),
        };
        self.null_is_insert_id = self.is_on(b"sql_auto_is_null");
        let of_login =
            |collation| crate::backend::names::of_collation(collation, self.lexing.server.dialect).0;
        let charset = match self.desired.get(b"character_set_client") {
            Some(charset) => charset.to_vec(),
            None => of_login(self.class.collation.into()).into(),
        };
        self.lexing.charset = lex_charset(&charset);
        let of_connection = self.desired.get(b"character_set_connection");
        self.charset = match of_connection.is_none_or(|connection| connection == charset) {
            true => sites::direct::charset(&charset),
            false => Charset::Unknown, // texts are converted before they are compared
        };
        self.strict = has(b"STRICT_TRANS_TABLES") || has(b"STRICT_ALL_TABLES");
        self.zero_is_value = has(b"NO_AUTO_VALUE_ON_ZERO");
    }

    /// The flags for an answer of Tidegate's own: those that last, and are not one statement's.
    fn standing(&self) -> Status {
        let lasting = Status::IN_TRANSACTION
            | Status::AUTOCOMMIT
            | Status::NO_BACKSLASH_ESCAPES
            | Status::IN_TRANSACTION_READONLY
            | Status::ANSI_QUOTES;
        self.status & lasting
    }

    /// Whether the client has switched this variable on.
    fn is_on(&self, name: &[u8]) -> bool {
        self.desired.get(name).is_some_and(|value| matches!(value, b"ON" | b"1"))
    }

    /// What decides about routes.
    fn situation(&self) -> Situation {
        let in_transaction = self.held.is_some() && self.status.contains(Status::IN_TRANSACTION);
        Situation {
            in_transaction,
            autocommit_off: !self.status.contains(Status::AUTOCOMMIT),
            default_read_only: self.is_on(b"transaction_read_only") || self.is_on(b"tx_read_only"),
            pinned: self.pins.hold_all(),
            pinned_softly: self.pins.intersects(Pins::SOFT),
            next_transaction_set: self.pins.contains(Pins::NEXT_TRANSACTION),
        }
    }

    /// Sends bytes of our own making.
    async fn tell(&mut self, bytes: &[u8]) -> Flow {
        self.worker.counters.sent(bytes.len() as u64);
        match self.client.send(bytes).await {
            Ok(()) => Flow::Continue,
            Err(_) => Flow::Close,
        }
    }

    /// The client has gone: gives back what it held.
    fn leave(&mut self) {
        if let Some(connection) = self.held.take() {
            self.release(connection, true);
        }
        self.set_pins(Pins::default());
        self.leave_sites();
        self.clear_after_routines();
    }

    /// Changes the pins, and what the metrics show.
    fn set_pins(&mut self, pins: Pins) {
        if pins == self.pins {
            return;
        }
        let metrics = &self.worker.metrics;
        for (bit, pin) in Pins::all().iter().enumerate() {
            match (self.pins.contains(pin), pins.contains(pin)) {
                (false, true) => {
                    metrics.pins.enter(bit);
                    metrics.pins_made.count(bit);
                }
                (true, false) => metrics.pins.leave(bit),
                _ => continue,
            }
            self.show_pin(bit, pins.contains(pin));
        }
        self.pins = pins;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.leave();
    }
}

/// How the lexer sees a character set.
fn lex_charset(name: &[u8]) -> LexCharset {
    match name {
        b"big5" => LexCharset::Big5,
        b"gbk" => LexCharset::Gbk,
        b"sjis" | b"cp932" => LexCharset::Sjis,
        b"gb18030" => LexCharset::Gb18030,
        _ => LexCharset::AsciiSafe,
    }
}

/// A number for the client's address, the same in all instances.
fn source_of(peer: Peer) -> u64 {
    let bytes = match peer.ip() {
        Some(IpAddr::V4(address)) => address.to_ipv6_mapped().octets(),
        Some(IpAddr::V6(address)) => address.octets(),
        None => [0; 16],
    };
    let halves = u128::from_be_bytes(bytes);
    mix(halves as u64 ^ mix((halves >> 64) as u64))
}
