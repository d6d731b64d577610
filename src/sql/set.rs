//! SET: which state a statement assigns, and how far that reaches.
//!
//! Owns: the forms of SET in both dialects, the variables that bind a connection. Does not know: the values.
//! Invariant: what reaches further than the session, or is not understood, is not called `Class::Set`.

use super::keywords::Keyword;
use super::lexer::Kind;
use super::model::{Class, Dialect, Uses};
use super::scan::{Item, Scan, Target, split_variable, unquoted};

/// What a SET is.
pub(super) enum Outcome {
    /// An assignment.
    Class(Class),
    /// MariaDB's SET STATEMENT … FOR, with the first token of the statement that it wraps.
    Wraps(Option<Item>),
}

/// How far an assignment reaches, and what it needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Session,
    Global,
    Unclear,
}

/// The class of `SET …`, from its second token on.
pub(super) fn class(scan: &mut Scan<'_>) -> Outcome {
    let mut reach = Reach::Session;
    loop {
        scan.target = Target::Yes;
        let item = scan.next();
        scan.target = Target::No;
        let Some(item) = item else {
            reach = Reach::Unclear;
            break;
        };
        if item.keyword == Keyword::Statement && scan.count == 2 && is_mariadb(scan) {
            return wrapped(scan);
        }
        reach = reach.join(assignment(scan, item));
        if !skip_value(scan) {
            break;
        }
    }
    Outcome::Class(match reach {
        Reach::Session => Class::Set,
        Reach::Global => Class::SetGlobal,
        Reach::Unclear => {
            scan.uses |= Uses::DOUBT;
            Class::Other
        }
    })
}

impl Reach {
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unclear, _) | (_, Self::Unclear) => Self::Unclear,
            (Self::Global, _) | (_, Self::Global) => Self::Global,
            _ => Self::Session,
        }
    }
}

fn is_mariadb(scan: &Scan<'_>) -> bool {
    scan.lexing.server.dialect == Dialect::MariaDb
}

/// One item of the list, up to its name.
fn assignment(scan: &mut Scan<'_>, item: Item) -> Reach {
    let text = item.token.text(scan.sql);
    match (item.token.kind, item.keyword) {
        (Kind::UserVariable, _) => Reach::Session,
        (Kind::SystemVariable, _) => {
            let (scope, name) = split_variable(text);
            let next_only = scope.is_empty();
            system_variable(scan, scope, name, next_only)
        }
        (_, Keyword::Global | Keyword::Persist | Keyword::PersistOnly) => Reach::Global,
        (_, Keyword::Session | Keyword::Local) => match scan.next() {
            // SET SESSION TRANSACTION …, or a variable.
            Some(next) if next.keyword == Keyword::Transaction => Reach::Session,
            Some(next) if next.is_name() => named(scan, next),
            _ => Reach::Unclear,
        },
        (_, Keyword::Transaction) => {
            scan.uses |= Uses::NEXT_TRANSACTION;
            Reach::Session
        }
        (_, Keyword::Names | Keyword::Character | Keyword::Char | Keyword::Charset) => Reach::Session,
        (_, Keyword::Password) => Reach::Global,
        (_, Keyword::Role) => {
            scan.uses |= Uses::ROLE;
            Reach::Session
        }
        (_, Keyword::Default) => Reach::Global,
        (_, Keyword::Resource) => {
            scan.uses |= Uses::ROLE;
            Reach::Global
        }
        _ if item.is_name() => named(scan, item),
        _ => Reach::Unclear,
    }
}

fn named(scan: &mut Scan<'_>, item: Item) -> Reach {
    let name = unquoted(item.token.text(scan.sql));
    system_variable(scan, b"", name, false)
}

/// A system variable; `next_only` when transaction characteristics are set for the next transaction alone.
fn system_variable(scan: &mut Scan<'_>, scope: &[u8], name: &[u8], next_only: bool) -> Reach {
    const GLOBAL: [&[u8]; 3] = [b"global", b"persist", b"persist_only"];
    if GLOBAL.iter().any(|word| word.eq_ignore_ascii_case(scope)) {
        return Reach::Global;
    }
    if next_only && contains(&TRANSACTION_VARIABLES, name) {
        scan.uses |= Uses::NEXT_TRANSACTION;
    }
    if binds(name) {
        scan.uses |= Uses::BINDING_VARIABLE;
    }
    if contains(&INSERT_ID_VARIABLES, name) {
        scan.uses |= Uses::LAST_INSERT_ID;
    }
    if contains(&MEASURING_VARIABLES, name) {
        scan.uses |= Uses::MEASURES;
    }
    Reach::Session
}

/// Consumes an item's value; false at the list's end. Notes whether the value is a constant.
fn skip_value(scan: &mut Scan<'_>) -> bool {
    while let Some(item) = scan.next() {
        match item.token.kind {
            Kind::Punct(b',') if scan.depth == 0 => return true,
            Kind::Punct(b'(') | Kind::UserVariable | Kind::SystemVariable => scan.uses |= Uses::NOT_CONSTANT,
            Kind::Word if is_clock(item.token.text(scan.sql)) => scan.uses |= Uses::NOT_CONSTANT,
            _ => {}
        }
    }
    false
}

/// SET STATEMENT a = 1, b = 2 FOR …: doubtful when it sets more than plain session variables.
fn wrapped(scan: &mut Scan<'_>) -> Outcome {
    let mut at_name = true;
    while let Some(item) = scan.next() {
        if item.keyword == Keyword::For && scan.depth == 0 {
            let inner = scan.next();
            return Outcome::Wraps(inner);
        }
        if at_name {
            let plain =
                item.token.kind == Kind::Word && !contains(&BINDING_VARIABLES, item.token.text(scan.sql));
            let scoped = matches!(item.keyword, Keyword::Global | Keyword::Session | Keyword::Local);
            if !plain || scoped {
                scan.uses |= Uses::DOUBT;
            }
        }
        at_name = item.is(b',') && scan.depth == 0;
    }
    Outcome::Wraps(None)
}

/// Whether `SET @@name` of it, without a scope, does something else than to set the session's.
pub(super) fn is_not_the_sessions(name: &[u8]) -> bool {
    contains(&TRANSACTION_VARIABLES, name) || binds(name)
}

/// Whether setting this variable binds the session to its connection.
pub(super) fn binds(name: &[u8]) -> bool {
    contains(&BINDING_VARIABLES, name)
}

fn contains(names: &[&[u8]], name: &[u8]) -> bool {
    names.iter().any(|other| other.eq_ignore_ascii_case(name))
}

/// Functions of the clock that need no parentheses.
fn is_clock(word: &[u8]) -> bool {
    const CLOCKS: [&[u8]; 8] = [
        b"CURRENT_TIMESTAMP",
        b"CURRENT_DATE",
        b"CURRENT_TIME",
        b"LOCALTIME",
        b"LOCALTIMESTAMP",
        b"UTC_TIMESTAMP",
        b"UTC_DATE",
        b"UTC_TIME",
    ];
    contains(&CLOCKS, word)
}

/// `SET @@name` without a scope holds for the next transaction only.
const TRANSACTION_VARIABLES: [&[u8]; 4] =
    [b"transaction_isolation", b"transaction_read_only", b"tx_isolation", b"tx_read_only"];

const INSERT_ID_VARIABLES: [&[u8]; 2] = [b"last_insert_id", b"identity"];

/// What they have servers collect about later statements stays on the connection.
const MEASURING_VARIABLES: [&[u8]; 2] = [b"profiling", b"optimizer_trace"];

/// Session variables that name this connection, its next row, its place in the binary log, or its clock: setting
/// them on another connection later would not mean the same.
const BINDING_VARIABLES: [&[u8]; 32] = [
    b"sql_log_bin",
    b"gtid_next",
    b"gtid_next_list",
    b"pseudo_thread_id",
    b"pseudo_slave_mode",
    b"pseudo_replica_mode",
    b"timestamp",
    b"insert_id",
    b"last_insert_id",
    b"identity",
    b"rand_seed1",
    b"rand_seed2",
    b"binlog_format",
    b"original_commit_timestamp",
    b"original_server_version",
    b"immediate_server_version",
    b"gtid_domain_id",
    b"gtid_seq_no",
    b"server_id",
    b"skip_replication",
    b"skip_parallel_replication",
    b"wsrep_on",
    b"debug",
    b"debug_dbug",
    b"debug_sync",
    b"sql_log_off",
    b"transaction_write_set_extraction",
    b"binlog_direct_non_transactional_updates",
    b"proxy_user",
    b"external_user",
    b"rbr_exec_mode",
    b"profiling_history_size",
];
