//! The hot path's question: what class a packet is, what it uses, which role it asks for.
//!
//! Owns: the classes of the statements of both dialects, by their first keywords. Does not know: sessions, rules.
//! Invariant: no allocation, linear time, no recursion; what is not surely a read is not called one.

use super::keywords::Keyword;
use super::lexer::Kind;
use super::model::{Access, Class, Dialect, Lexing, Recognised, Uses};
use super::scan::{Item, Scan};
use super::{set, show, transaction};

/// Recognises a packet's statements.
pub fn recognise(sql: &[u8], lexing: &Lexing) -> Recognised {
    let mut scan = Scan::new(sql, lexing);
    let mut class = Class::Empty;
    let mut statements = 0u32;
    let mut in_program = false;
    while scan.more {
        scan.begin_statement();
        let Some(first) = scan.next() else { continue };
        statements = statements.saturating_add(1);
        let own = statement(&mut scan, first);
        scan.drain();
        let own = settle(&mut scan, own);
        // The body of a stored program holds semicolons: what follows may belong to it.
        if !in_program {
            class = stronger(class, own.class);
            in_program = own.program;
        }
    }
    if statements > 1 {
        scan.uses |= Uses::MULTIPLE;
    }
    Recognised { class, uses: scan.uses, hint: scan.hint, balance: scan.balance }
}

/// A statement's class, and whether it defines a stored program whose body may hold semicolons.
#[derive(Clone, Copy)]
struct Own {
    class: Class,
    program: bool,
}

impl From<Class> for Own {
    fn from(class: Class) -> Self {
        Self { class, program: false }
    }
}

/// What only the whole statement tells: locking clauses, INTO.
fn settle(scan: &mut Scan<'_>, own: Own) -> Own {
    let class = match own.class {
        Class::Read | Class::Show if scan.into => {
            scan.uses |= Uses::INTO;
            Class::Write
        }
        Class::Read | Class::Show | Class::Set if scan.locking => Class::LockingRead,
        Class::Set | Class::SetGlobal if scan.select => {
            scan.uses |= Uses::SUBQUERY;
            own.class
        }
        // Names with column lists look like calls; without a SELECT nothing is called.
        Class::Ddl if !scan.select => {
            scan.uses.remove(Uses::UNKNOWN_FUNCTION);
            own.class
        }
        class => class,
    };
    Own { class, ..own }
}

/// The class of a statement by its first keyword.
fn statement(scan: &mut Scan<'_>, first: Item) -> Own {
    let first = skip_parentheses(scan, first);
    let class = match first.keyword {
        Keyword::Select | Keyword::Values | Keyword::Table | Keyword::Do => Class::Read,
        Keyword::With => with(scan),
        Keyword::Insert | Keyword::Replace => {
            scan.column_list = true;
            Class::Write
        }
        Keyword::Update | Keyword::Delete => Class::Write,
        Keyword::Import => Class::Write,
        Keyword::Load => load(scan),
        Keyword::Set => return set_statement(scan),
        Keyword::Show => show::class(scan),
        Keyword::Explain | Keyword::Describe | Keyword::Desc => explain(scan),
        Keyword::Analyze => analyze(scan),
        Keyword::Begin => transaction::begin(scan),
        Keyword::Start => transaction::start(scan),
        Keyword::Commit | Keyword::Rollback => transaction::end(scan),
        Keyword::Savepoint => Class::EndOrSavepoint,
        Keyword::Release if scan.next_keyword() == Keyword::Savepoint => Class::EndOrSavepoint,
        Keyword::Use => Class::Use,
        Keyword::Kill => Class::Kill,
        Keyword::Call => Class::Call,
        Keyword::Help => Class::Show,
        Keyword::Get => diagnostics(scan),
        Keyword::Resignal => {
            scan.uses |= Uses::DIAGNOSTICS; // to which it adds
            Class::Other
        }
        Keyword::Prepare | Keyword::Deallocate => text_prepared(scan),
        Keyword::Execute => execute(scan),
        Keyword::Lock | Keyword::Unlock | Keyword::Backup | Keyword::Flush => locks(scan, first.keyword),
        Keyword::Handler => holds(scan, Uses::HANDLER),
        Keyword::Xa => holds(scan, Uses::XA),
        Keyword::Create | Keyword::Alter | Keyword::Drop => return definition(scan, first.keyword),
        Keyword::Rename | Keyword::Truncate | Keyword::Grant | Keyword::Revoke => Class::Ddl,
        Keyword::Optimize | Keyword::Repair | Keyword::Check | Keyword::Cache => Class::Ddl,
        Keyword::Checksum | Keyword::Reset | Keyword::Purge | Keyword::Change | Keyword::Stop => Class::Other,
        Keyword::Install | Keyword::Uninstall | Keyword::Clone | Keyword::Binlog => Class::Other,
        Keyword::Shutdown => Class::Other,
        _ => {
            scan.uses |= Uses::DOUBT;
            Class::Other
        }
    };
    class.into()
}

/// `((SELECT …) UNION …)`: the first token that is no opening parenthesis.
fn skip_parentheses(scan: &mut Scan<'_>, first: Item) -> Item {
    let mut item = first;
    while item.is(b'(') {
        match scan.next() {
            Some(next) => item = next,
            None => break,
        }
    }
    let reads = matches!(item.keyword, Keyword::Select | Keyword::With | Keyword::Values | Keyword::Table);
    if first.is(b'(') && !reads {
        scan.uses |= Uses::DOUBT;
        return first;
    }
    item
}

/// The verb after the common table expressions, at the depth of WITH.
fn with(scan: &mut Scan<'_>) -> Class {
    let depth = scan.depth;
    scan.with = true;
    while let Some(item) = scan.next() {
        if scan.depth != depth {
            continue;
        }
        match item.keyword {
            Keyword::Select | Keyword::Values | Keyword::Table => return Class::Read,
            Keyword::Update | Keyword::Delete | Keyword::Insert | Keyword::Replace => return Class::Write,
            _ => {}
        }
    }
    // `WITH a AS (…) (SELECT …)`: only a SELECT may stand in parentheses.
    if !scan.select {
        scan.uses |= Uses::DOUBT;
        return Class::Other;
    }
    Class::Read
}

/// LOAD DATA, LOAD XML, LOAD INDEX INTO CACHE.
fn load(scan: &mut Scan<'_>) -> Class {
    if scan.next_keyword() == Keyword::Index {
        return Class::Ddl;
    }
    scan.uses |= Uses::LAST_INSERT_ID; // it sets that, and its OK packet does not say so (tried on both dialects)
    while let Some(item) = scan.next() {
        match item.keyword {
            Keyword::Local => scan.uses |= Uses::LOCAL_INFILE,
            // INTO TABLE t (columns), or INTO TABLE t … LINES (columns).
            Keyword::Table => {
                scan.column_list = true;
                break;
            }
            _ => {}
        }
    }
    Class::Write
}

/// SET, and MariaDB's SET STATEMENT … FOR, which has the class of the statement that it wraps.
fn set_statement(scan: &mut Scan<'_>) -> Own {
    match set::class(scan) {
        set::Outcome::Class(class) => class.into(),
        set::Outcome::Wraps(Some(inner)) if inner.keyword != Keyword::Set => statement_after_set(scan, inner),
        set::Outcome::Wraps(_) => doubt(scan).into(),
    }
}

/// The statement inside SET STATEMENT; its own first keyword decides, one level deep.
fn statement_after_set(scan: &mut Scan<'_>, inner: Item) -> Own {
    scan.locking = false;
    scan.into = inner.keyword == Keyword::Into;
    scan.select = inner.keyword == Keyword::Select;
    statement(scan, inner)
}

fn doubt(scan: &mut Scan<'_>) -> Class {
    scan.uses |= Uses::DOUBT;
    Class::Other
}

/// EXPLAIN and its synonyms, of a table or of a statement; EXPLAIN ANALYZE of a SELECT runs it.
fn explain(scan: &mut Scan<'_>) -> Class {
    while let Some(item) = scan.next() {
        match item.keyword {
            Keyword::Analyze | Keyword::Extended | Keyword::Partitions => {}
            Keyword::Format => skip_format(scan),
            Keyword::Into => drop(scan.next()),
            Keyword::For if scan.next_keyword() == Keyword::Connection => return Class::ShowServer,
            Keyword::For => drop(scan.next()),
            Keyword::Select | Keyword::Table | Keyword::Values => return Class::Read,
            Keyword::With => return explained(with(scan)),
            Keyword::Insert | Keyword::Update | Keyword::Delete | Keyword::Replace => return Class::Other,
            _ if item.is(b'(') => return parenthesised(scan, item, explained),
            _ if scan.count == 2 && is_own(&item, scan.sql) => return explained_by_us(scan),
            _ if item.is_name() => return Class::Show,
            _ => return doubt(scan),
        }
    }
    Class::Show
}

/// TIDEGATE, without quotes: where more stands behind it, it is no table's name.
fn is_own(item: &Item, sql: &[u8]) -> bool {
    item.token.kind == Kind::Word && item.token.text(sql).eq_ignore_ascii_case(b"TIDEGATE")
}

/// EXPLAIN TIDEGATE: nothing of the statement behind it is carried out.
fn explained_by_us(scan: &mut Scan<'_>) -> Class {
    let before = scan.uses;
    if scan.next().is_some() {
        scan.drain();
        scan.uses = before | Uses::EXPLAINED;
        (scan.into, scan.locking) = (false, false);
    }
    Class::Show
}

/// EXPLAIN of a writing statement writes nothing, but asks the server that would write.
fn explained(class: Class) -> Class {
    if class == Class::Write { Class::Other } else { class }
}

fn parenthesised(scan: &mut Scan<'_>, open: Item, of_with: fn(Class) -> Class) -> Class {
    match skip_parentheses(scan, open).keyword {
        Keyword::Select | Keyword::Table | Keyword::Values => Class::Read,
        Keyword::With => of_with(with(scan)),
        _ => doubt(scan),
    }
}

/// `= JSON` after FORMAT.
fn skip_format(scan: &mut Scan<'_>) {
    if scan.next().is_some_and(|item| item.is(b'=')) {
        scan.next();
    }
}

/// ANALYZE TABLE, and MariaDB's ANALYZE of a statement, which runs it.
fn analyze(scan: &mut Scan<'_>) -> Class {
    if scan.lexing.server.dialect == Dialect::MySql {
        return Class::Ddl;
    }
    while let Some(item) = scan.next() {
        match item.keyword {
            Keyword::Format => skip_format(scan),
            Keyword::Select | Keyword::Values => return Class::Read,
            Keyword::With => return with(scan),
            Keyword::Insert | Keyword::Update | Keyword::Delete | Keyword::Replace => return Class::Write,
            _ if item.is(b'(') => return parenthesised(scan, item, |class| class),
            _ => return Class::Ddl,
        }
    }
    doubt(scan)
}

/// GET [CURRENT | STACKED] DIAGNOSTICS: assigns variables.
fn diagnostics(scan: &mut Scan<'_>) -> Class {
    scan.uses |= Uses::DIAGNOSTICS | Uses::USER_VARIABLE_WRITE;
    Class::Diagnostics
}

fn text_prepared(scan: &mut Scan<'_>) -> Class {
    scan.uses |= Uses::TEXT_PREPARED;
    Class::TextPrepared
}

/// EXECUTE name, and MariaDB's EXECUTE IMMEDIATE 'any text'.
fn execute(scan: &mut Scan<'_>) -> Class {
    if scan.next_keyword() == Keyword::Immediate {
        scan.uses |= Uses::DOUBT;
    }
    text_prepared(scan)
}

fn holds(scan: &mut Scan<'_>, uses: Uses) -> Class {
    scan.uses |= uses;
    Class::Session
}

/// LOCK, UNLOCK, MariaDB's BACKUP, FLUSH.
fn locks(scan: &mut Scan<'_>, verb: Keyword) -> Class {
    match verb {
        Keyword::Lock => holds(scan, Uses::LOCK_TABLES),
        Keyword::Unlock => holds(scan, Uses::UNLOCK_TABLES),
        Keyword::Backup if scan.next_keyword() == Keyword::Unlock => holds(scan, Uses::UNLOCK_TABLES),
        Keyword::Backup => holds(scan, Uses::LOCK_TABLES),
        _ => flush(scan),
    }
}

/// FLUSH: which forms lock, and whether the session's counters begin anew.
fn flush(scan: &mut Scan<'_>) -> Class {
    let mut names_tables = false;
    while let Some(item) = scan.next() {
        let locks = match item.keyword {
            Keyword::Lock => scan.after(Keyword::Read),
            Keyword::Export => scan.after(Keyword::For),
            Keyword::Tables | Keyword::Table => {
                names_tables = true;
                false
            }
            Keyword::Status if !names_tables && !scan.after(Keyword::Global) => {
                scan.uses |= Uses::FLUSH_STATUS | Uses::MEASURES;
                false
            }
            _ => false,
        };
        if locks {
            return holds(scan, Uses::LOCK_TABLES);
        }
    }
    Class::Other
}

/// CREATE, ALTER, DROP: temporary tables, prepared statements and stored programs are told from the rest.
fn definition(scan: &mut Scan<'_>, verb: Keyword) -> Own {
    let mut own = Own::from(Class::Ddl);
    while let Some(item) = scan.next() {
        match item.keyword {
            Keyword::Prepare if verb == Keyword::Drop && scan.count == 2 => {
                return text_prepared(scan).into();
            }
            Keyword::Temporary => scan.uses |= Uses::TEMPORARY_TABLE,
            Keyword::Procedure | Keyword::Function | Keyword::Trigger | Keyword::Event | Keyword::Package
                if verb != Keyword::Drop =>
            {
                own.program = true;
                break;
            }
            Keyword::Table | Keyword::Index | Keyword::Select | Keyword::As => break,
            _ if item.is(b'(') => break,
            // The head is short: OR REPLACE, DEFINER = user@host, IF NOT EXISTS, AGGREGATE, …
            _ if scan.count > 16 => break,
            _ => {}
        }
    }
    own
}

/// The stronger of two classes: the one whose needs are harder to meet.
fn stronger(one: Class, other: Class) -> Class {
    match (one, other) {
        (Class::Begin(a), Class::Begin(b)) if a != b => Class::Begin(Access::ReadWrite),
        _ if strength(other) > strength(one) => other,
        _ => one,
    }
}

fn strength(class: Class) -> u8 {
    match class {
        Class::Empty => 0,
        Class::Read => 1,
        Class::Show => 2,
        Class::ShowServer => 3,
        Class::Diagnostics => 4,
        Class::Set => 5,
        Class::Use => 6,
        Class::LockingRead => 7,
        Class::Begin(_) => 8,
        Class::EndOrSavepoint => 9,
        Class::SetGlobal => 10,
        Class::Write => 11,
        Class::Kill => 12,
        Class::Ddl => 13,
        Class::Call => 14,
        Class::TextPrepared => 15,
        Class::Session => 16,
        Class::Other => 17,
    }
}
