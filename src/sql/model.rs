//! The words in which the lexer answers.

use std::ops::Range;

use bitflags::bitflags;

use crate::balance::Balance;
use crate::consistency::Consistency;

/// Which product's language a statement is written in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Dialect {
    /// MySQL and its close forks.
    MySql,
    /// MariaDB.
    MariaDb,
}

/// A server's dialect and version, such as (MySql, 90704) or (MariaDb, 101114): decides `/*!NNNNN … */`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ServerVersion {
    /// The product.
    pub dialect: Dialect,
    /// major × 10000 + minor × 100 + patch.
    pub number: u32,
}

/// Character sets as the lexer tells them apart: by whether a byte below 0x80 can be part of a longer character.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum LexCharset {
    /// Single-byte sets, utf8mb3, utf8mb4, ujis, euckr, gb2312 …: ASCII bytes are always ASCII.
    #[default]
    AsciiSafe,
    /// big5: second bytes 0x40–0x7E and 0xA1–0xFE.
    Big5,
    /// gbk: second bytes 0x40–0x7E and 0x80–0xFE.
    Gbk,
    /// sjis and cp932: second bytes 0x40–0x7E and 0x80–0xFC.
    Sjis,
    /// gb18030: second bytes 0x30–0x39 (four-byte characters), 0x40–0x7E, 0x80–0xFE.
    Gb18030,
}

/// What the session's state says about how text is to be read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Lexing {
    /// sql_mode ANSI_QUOTES: `"` quotes identifiers.
    pub ansi_quotes: bool,
    /// sql_mode NO_BACKSLASH_ESCAPES: `\` is an ordinary character in strings.
    pub no_backslash_escapes: bool,
    /// `character_set_client`.
    pub charset: LexCharset,
    /// The servers behind the proxy.
    pub server: ServerVersion,
}

/// Access mode of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// Nothing said: the session's `transaction_read_only` decides.
    Default,
    /// READ ONLY.
    ReadOnly,
    /// READ WRITE.
    ReadWrite,
}

/// What kind of statement it is. Of several in one packet, the strongest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    /// Nothing to run: white space and comments only.
    Empty,
    /// A query that reads (SELECT, TABLE, VALUES, WITH … SELECT, parenthesised forms, DO of pure functions,
    /// EXPLAIN/DESCRIBE of a table or of a reading statement) and changes nothing; see `Uses` for what it touches.
    Read,
    /// SHOW of data dictionary content that replicates (tables, columns, create …, collations, …).
    Show,
    /// SHOW and others about this one server (STATUS, PROCESSLIST, VARIABLES, BINARY LOGS, REPLICA STATUS, ENGINE …).
    ShowServer,
    /// SHOW WARNINGS, SHOW ERRORS, SHOW COUNT(*) …, GET DIAGNOSTICS: about the statement before.
    Diagnostics,
    /// A query that locks rows: FOR UPDATE, FOR SHARE, LOCK IN SHARE MODE.
    LockingRead,
    /// INSERT, UPDATE, DELETE, REPLACE, LOAD, IMPORT, WITH … UPDATE/DELETE, SELECT … INTO.
    Write,
    /// CREATE, ALTER, DROP, RENAME, TRUNCATE, GRANT, REVOKE, ANALYZE, OPTIMIZE …: commits implicitly.
    Ddl,
    /// BEGIN, START TRANSACTION.
    Begin(Access),
    /// COMMIT, ROLLBACK, SAVEPOINT, RELEASE SAVEPOINT, ROLLBACK TO.
    EndOrSavepoint,
    /// SET of session variables, user variables, NAMES, CHARACTER SET, ROLE, session TRANSACTION; only session state.
    Set,
    /// SET GLOBAL / PERSIST / PASSWORD / RESOURCE GROUP and the like.
    SetGlobal,
    /// USE database.
    Use,
    /// CALL procedure.
    Call,
    /// PREPARE, EXECUTE, DEALLOCATE as text.
    TextPrepared,
    /// LOCK TABLES, UNLOCK TABLES, LOCK INSTANCE, HANDLER, XA, FLUSH TABLES WITH READ LOCK or FOR EXPORT, BACKUP …
    /// and whatever holds the connection.
    Session,
    /// KILL, see [`Kill`].
    Kill,
    /// Anything else, known to be administrative or not known at all: primary.
    Other,
}

bitflags! {
    /// What a statement touches beyond tables.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct Uses: u64 {
        /// Reads a user variable (`@x`).
        const USER_VARIABLE_READ = 1;
        /// Assigns a user variable (`:=`, SET @x, INTO @x).
        const USER_VARIABLE_WRITE = 1 << 1;
        /// Reads a system variable (`@@x`).
        const SYSTEM_VARIABLE = 1 << 2;
        /// CREATE or DROP TEMPORARY TABLE, or another statement that makes one.
        const TEMPORARY_TABLE = 1 << 3;
        /// LOCK TABLES, FLUSH … WITH READ LOCK / FOR EXPORT, LOCK INSTANCE, BACKUP LOCK.
        const LOCK_TABLES = 1 << 4;
        /// UNLOCK TABLES / INSTANCE.
        const UNLOCK_TABLES = 1 << 5;
        /// GET_LOCK and its family (RELEASE_LOCK, IS_FREE_LOCK, IS_USED_LOCK, service_get_write_locks …).
        const USER_LOCK = 1 << 6;
        /// HANDLER statements.
        const HANDLER = 1 << 7;
        /// XA statements.
        const XA = 1 << 8;
        /// PREPARE / EXECUTE / DEALLOCATE in text.
        const TEXT_PREPARED = 1 << 9;
        /// LAST_INSERT_ID(), @@last_insert_id, @@identity; LOAD DATA.
        const LAST_INSERT_ID = 1 << 10;
        /// FOUND_ROWS().
        const FOUND_ROWS = 1 << 11;
        /// ROW_COUNT().
        const ROW_COUNT = 1 << 12;
        /// SQL_CALC_FOUND_ROWS.
        const CALC_FOUND_ROWS = 1 << 13;
        /// @@warning_count, @@error_count, GET DIAGNOSTICS, SHOW WARNINGS …
        const DIAGNOSTICS = 1 << 14;
        /// A function that is not known to be free of effects, or may be a stored one.
        const UNKNOWN_FUNCTION = 1 << 15;
        /// A known function with an effect or an answer bound to one server (NEXTVAL, SETVAL, LAST_INSERT_ID(expr),
        /// MASTER_POS_WAIT, WAIT_FOR_EXECUTED_GTID_SET, UUID_SHORT, CONNECTION_ID, LOAD_FILE, BENCHMARK …).
        const PRIMARY_FUNCTION = 1 << 16;
        /// INTO OUTFILE / DUMPFILE / variables.
        const INTO = 1 << 17;
        /// SET TRANSACTION without SESSION or GLOBAL: holds for the next transaction only.
        const NEXT_TRANSACTION = 1 << 18;
        /// Sets a session variable that binds the connection (sql_log_bin, gtid_next, pseudo_thread_id, timestamp,
        /// insert_id, rand_seed1 …): cannot be replayed on another connection.
        const BINDING_VARIABLE = 1 << 19;
        /// SET ROLE, SET RESOURCE GROUP.
        const ROLE = 1 << 20;
        /// LOAD DATA LOCAL or LOAD XML LOCAL.
        const LOCAL_INFILE = 1 << 21;
        /// CONNECTION_ID(), `@@pseudo_thread_id`.
        const CONNECTION_ID = 1 << 22;
        /// Names a table of information_schema, performance_schema, mysql or sys.
        const SYSTEM_SCHEMA = 1 << 23;
        /// More than one statement in the packet.
        const MULTIPLE = 1 << 24;
        /// WITH CONSISTENT SNAPSHOT, AND CHAIN, RELEASE or another form that keeps or ends the connection's state.
        const CHAIN_OR_RELEASE = 1 << 25;
        /// Something in the text is not understood (unbalanced quote, unknown leading word): primary.
        const DOUBT = 1 << 26;
        /// SET of a value that is not a literal, a name or DEFAULT: the same text may give another value elsewhere.
        const NOT_CONSTANT = 1 << 27;
        /// SET of a value that holds a SELECT: it reads tables.
        const SUBQUERY = 1 << 28;
        /// Reads the servers' lists of connections. Told by the session: the lexer alone does not know the default database.
        const PROCESSES = 1 << 29;
        /// FLUSH STATUS: the session's counters begin anew.
        const FLUSH_STATUS = 1 << 30;
        /// What servers count and collect of a session's statements: begins that (FLUSH STATUS, SET profiling, SET
        /// optimizer_trace) or asks for it (SHOW SESSION STATUS, SHOW PROFILE, `information_schema.OPTIMIZER_TRACE` …).
        const MEASURES = 1 << 31;
        /// LIMIT with an offset: FOUND_ROWS() is then another number than that of the rows that come.
        const OFFSET = 1 << 32;
        /// Reads a user variable that the session has not set: a trigger of its own may have. Told by the session.
        const UNSET_VARIABLE = 1 << 33;
        /// NEXTVAL and NEXT VALUE FOR (MariaDB): what LASTVAL answers stays on the connection.
        const SEQUENCE = 1 << 34;
        /// LASTVAL and PREVIOUS VALUE FOR (MariaDB).
        const SEQUENCE_LAST = 1 << 35;
        /// EXPLAIN TIDEGATE: nothing of what stands behind it is carried out.
        const EXPLAINED = 1 << 36;
    }
}

/// What is asked for by `/* tidegate: primary */`, `replica`, or a level of consistency, at the start or after the first keyword.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Hint {
    /// Run it on the primary.
    Primary,
    /// Run it on a replica.
    Replica,
    /// If it reads on a replica, let it miss no more than this.
    Fresh(Consistency),
}

/// The hot path's answer: small, copied, made without allocation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Recognised {
    /// Strongest class of the packet's statements.
    pub class: Class,
    /// Union of what they use.
    pub uses: Uses,
    /// What the client asked for, if anything.
    pub hint: Option<Hint>,
    /// How it asked its reads to be spread, by `/* tidegate: balance=random */`.
    pub balance: Option<Balance>,
}

impl Recognised {
    /// A statement without hints.
    pub fn plain(class: Class, uses: Uses) -> Self {
        Self { class, uses, hint: None, balance: None }
    }

    /// The level of consistency that the client asked for.
    pub fn consistency(self) -> Option<Consistency> {
        self.hint.and_then(|hint| if let Hint::Fresh(level) = hint { Some(level) } else { None })
    }
}

/// `KILL [CONNECTION | QUERY] …`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kill {
    /// Who is to be ended.
    pub victim: Victim,
    /// KILL QUERY: the statement ends, the connection stays.
    pub query_only: bool,
}

/// What a KILL names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Victim {
    /// A connection's id.
    Id(u64),
    /// Something that only a server can compute: its bytes in the text.
    Expression(Range<usize>),
    /// MariaDB: `QUERY ID n`, a statement that runs on a server.
    Statement,
    /// MariaDB: `USER name[@host]`, the connections of an account.
    User {
        /// Its name; `None` for CURRENT_USER.
        name: Option<Vec<u8>>,
        /// Its host, where one is written.
        host: Option<Vec<u8>>,
    },
}

impl Recognised {
    /// It may read or set LAST_INSERT_ID(), perhaps where nobody sees it: in a routine, in a prepared text.
    pub fn may_use_insert_id(&self) -> bool {
        self.uses.intersects(Uses::LAST_INSERT_ID | Uses::UNKNOWN_FUNCTION)
            || matches!(self.class, Class::Call | Class::TextPrepared)
            || self.begins_measuring()
    }

    /// From it on the server counts or collects what the session does: what Tidegate has to bring is brought before.
    pub fn begins_measuring(&self) -> bool {
        self.uses.contains(Uses::MEASURES) && matches!(self.class, Class::Set | Class::Other)
    }

    /// The packet is a SET, of whatever reach.
    pub fn class_is_set(&self) -> bool {
        matches!(self.class, Class::Set | Class::SetGlobal)
    }
}
