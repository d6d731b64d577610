//! The databases that a statement names, wherever they stand.
//!
//! Owns: the places of such names. Does not know: where databases are. Invariant: a name in front of a dot that is a database's of the rules is
//! found; one that the rules do not know is taken for a database where one could stand.

use std::collections::BTreeSet;

use super::Homes;
use crate::plan::sharded::parse::parse;
use crate::plan::sharded::parse::statement::Statement;
use crate::plan::sharded::parse::text::{At, Text};
use crate::plan::sharded::refusal::{Reason, Refusal, shown};
use crate::plan::sharded::route::{Request, first_of_statement};
use crate::plan::sharded::scope::{Instance, Scope, What};
use crate::sql::lexer::Kind;
use crate::sql::{Class, Outline, Uses, is_system_schema};

/// Databases, by their names.
type Names = BTreeSet<Vec<u8>>;

/// What statements begin with that are about the servers or their accounts: no database has them.
const OF_SERVERS: &[&[u8]] = &[
    b"GRANT",
    b"REVOKE",
    b"FLUSH",
    b"RESET",
    b"PURGE",
    b"INSTALL",
    b"UNINSTALL",
    b"SHUTDOWN",
    b"RESTART",
    b"CLONE",
    b"CHANGE",
    b"START",
    b"STOP",
    b"BINLOG",
];
/// What is made and changed that no database has, behind CREATE, ALTER, DROP, RENAME and SET.
const SERVER_OBJECTS: &[&[u8]] = &[
    b"USER",
    b"ROLE",
    b"DEFAULT",
    b"PASSWORD",
    b"SERVER",
    b"TABLESPACE",
    b"UNDO",
    b"LOGFILE",
    b"RESOURCE",
    b"INSTANCE",
];
/// Statements in which whatever has a dot behind it is a database.
const OF_OBJECTS: &[&[u8]] = &[
    b"DROP",
    b"RENAME",
    b"TRUNCATE",
    b"CALL",
    b"LOCK",
    b"FLUSH",
    b"HANDLER",
    b"SHOW",
    b"DESC",
    b"DESCRIBE",
    b"EXPLAIN",
    b"ANALYZE",
    b"CHECK",
    b"OPTIMIZE",
    b"REPAIR",
    b"CHECKSUM",
    b"CACHE",
    b"LOAD",
    b"GRANT",
    b"REVOKE",
];
/// Words in front of a name that a database may qualify.
const INTRODUCE: &[&[u8]] = &[
    b"FROM",
    b"JOIN",
    b"STRAIGHT_JOIN",
    b"INTO",
    b"UPDATE",
    b"TABLE",
    b"TABLES",
    b"REFERENCES",
    b"LIKE",
    b"PROCEDURE",
    b"FUNCTION",
    b"EVENT",
    b"VIEW",
    b"TRIGGER",
    b"PACKAGE",
    b"BODY",
    b"SEQUENCE",
    b"EXISTS",
    b"CALL",
];
/// What a definition makes or changes that a database has.
const OBJECTS: &[&[u8]] =
    &[b"TABLE", b"VIEW", b"PROCEDURE", b"FUNCTION", b"EVENT", b"TRIGGER", b"PACKAGE", b"SEQUENCE"];

impl Homes<'_> {
    /// The one that a statement about a whole database, or about what is in it, names.
    pub(super) fn database_named(&self) -> Option<Vec<u8>> {
        let text = &self.text;
        let is_database = |at| text.is_one_of(at, &[b"DATABASE", b"SCHEMA"]);
        if text.is_word(0, b"SHOW") {
            let name = |at: At| text.is_name(at).then(|| text.name(at).into_owned());
            if text.is_word(1, b"CREATE") && is_database(2) {
                return name(text.len().checked_sub(1)?);
            }
            let is_condition = |at: &At| text.is_one_of(*at, &[b"WHERE", b"LIKE"]);
            let end = (1..text.len()).find(is_condition).unwrap_or(text.len());
            // Of the last FROM: before it may stand a table.
            let mut froms = (1..end).filter(|at| text.is_one_of(*at, &[b"FROM", b"IN"]));
            let (first, last) = (froms.next()?, froms.next_back());
            let mut what = 1;
            while text.is_one_of(what, &[b"FULL", b"EXTENDED"]) {
                what += 1;
            }
            let of_table = text.is_one_of(what, &[b"COLUMNS", b"FIELDS", b"INDEX", b"INDEXES", b"KEYS"]);
            let from = if of_table { last? } else { last.unwrap_or(first) };
            return name(from + 1).filter(|_| !text.is(from + 2, b'.'));
        }
        let mut at = match () {
            () if text.is_one_of(0, &[b"CREATE", b"DROP", b"ALTER"]) && is_database(1) => 2,
            () if text.is_word(0, b"CREATE") && text.is_word(1, b"OR") && is_database(3) => 4,
            () => return None,
        };
        while text.is_one_of(at, &[b"IF", b"NOT", b"EXISTS"]) {
            at += 1;
        }
        names_database(text, at).then(|| text.name(at).into_owned())
    }

    /// The databases that the statement names, its default one where something stands without a database.
    pub(super) fn names(&self) -> Result<Names, Refusal> {
        let mut named = match self.definition() {
            Some(named) => named,
            None => self.tables(),
        };
        self.qualifiers(&mut named)?;
        Ok(named)
    }

    /// Of a definition without a query: its head, and what it refers to, for a comma in it leads to no table.
    fn definition(&self) -> Option<Names> {
        let text = &self.text;
        if !text.is_one_of(0, &[b"CREATE", b"ALTER"]) {
            return None;
        }
        let is_head = |at: &At| text.is_one_of(*at, OBJECTS) || text.is_word(*at, b"INDEX");
        let mut at = (1..text.len().min(32)).find(is_head)?;
        if text.is_word(at, b"INDEX") {
            at = (at..text.len()).find(|at| text.is_word(*at, b"ON"))?;
        }
        at += 1;
        while text.is_one_of(at, &[b"IF", b"NOT", b"EXISTS", b"BODY"]) {
            at += 1;
        }
        let mut named = Names::new();
        let unqualified = |at: At| !text.is(at + 1, b'.');
        let own = || self.request.database.unwrap_or_default().to_vec();
        if unqualified(at) {
            named.insert(own());
        }
        let plain = !(0..text.len()).any(|at| text.is_one_of(at, &[b"SELECT", b"BEGIN", b"WITH"]));
        if !plain || self.defines_a_routine() {
            named.extend(self.tables());
        } else {
            let names_other = |at: &At| {
                text.is_word(*at, b"LIKE") && text.is_word(0, b"CREATE")
                    || text.is_word(*at, b"TO") && text.is_word(at - 1, b"RENAME")
            };
            if (at..text.len()).filter(names_other).any(|at| text.is_name(at + 1) && unqualified(at + 1)) {
                named.insert(own());
            }
        }
        Some(named.into_iter().filter(|name| has_a_home(name)).collect())
    }

    /// Whether it is CREATE or ALTER of something with a body.
    pub(super) fn defines_a_routine(&self) -> bool {
        let text = &self.text;
        let is_head = |at: &At| text.is_one_of(*at, OBJECTS) || text.is_one_of(*at, &[b"INDEX", b"DATABASE"]);
        let head = (1..text.len().min(32)).find(is_head);
        let kinds: &[&[u8]] = &[b"PROCEDURE", b"FUNCTION", b"EVENT", b"TRIGGER", b"PACKAGE"];
        text.is_one_of(0, &[b"CREATE", b"ALTER"]) && head.is_some_and(|at| text.is_one_of(at, kinds))
    }

    fn tables(&self) -> Names {
        if !self.request.recognised.uses.intersects(Uses::MULTIPLE | Uses::DOUBT)
            && let Some(first) = first_of_statement(&self.text)
            && let Some(named) = self.tables_of_tree(first)
        {
            return named;
        }
        let own = self.request.database.unwrap_or_default();
        let is_none =
            |schema: &Option<Vec<u8>>, name: &[u8]| schema.is_none() && name.eq_ignore_ascii_case(b"dual");
        let tables = Outline::of(self.request.sql, self.request.lexing).tables.into_iter();
        let named = tables.filter(|table| !is_none(&table.schema, &table.name));
        let named = named.map(|table| table.schema.unwrap_or_else(|| own.to_vec()));
        let of_default = self.grants_on_default().then(|| own.to_vec());
        named.chain(of_default).filter(|name| has_a_home(name)).collect()
    }

    /// Whether a privilege is of something that is named without its database.
    fn grants_on_default(&self) -> bool {
        let text = &self.text;
        if !text.is_one_of(0, &[b"GRANT", b"REVOKE"]) || text.is_word(1, b"PROXY") {
            return false;
        }
        let Some(at) = (2..text.len()).find(|at| text.is_word(*at, b"ON")) else { return false };
        let of_kind = text.is_one_of(at + 1, &[b"TABLE", b"PROCEDURE", b"FUNCTION", b"PACKAGE"]);
        let name = at + 1 + At::from(of_kind);
        (text.is_name(name) || text.is(name, b'*')) && !text.is(name + 1, b'.')
    }

    /// The tables' databases, by grammar; `None` where the statement is not understood.
    fn tables_of_tree(&self, first: At) -> Option<Names> {
        let Request { modes, database, recognised, .. } = *self.request;
        let (text, parsed) = parse(Text::new(self.request.sql, self.request.lexing), first, modes);
        let statement = parsed.ok()?;
        let mut scope = Scope::new(&text, self.planner, database);
        let uses = recognised.uses.difference(Uses::USER_LOCK);
        match &statement {
            Statement::Query(query) => scope.query(query, None, false).map(drop),
            Statement::Update(update) => scope.update(update, &[], uses).map(drop),
            Statement::Delete(delete) => scope.delete(delete, &[], uses).map(drop),
            Statement::Insert(insert) => scope.insert(insert, &[], uses).map(drop),
        }
        .ok()?;
        let is_none = |instance: &Instance<'_>| {
            instance.name.is_some_and(|path| {
                path.qualifiers().is_empty() && text.name(path.last()).eq_ignore_ascii_case(b"dual")
            })
        };
        let tables = scope.instances.iter().filter(|found| found.what != What::Query && !is_none(found));
        let named = tables.filter_map(|instance| instance.schema.clone());
        Some(named.filter(|name| has_a_home(name)).collect())
    }

    /// Databases that stand in front of a dot: of tables, routines, sequences and privileges.
    fn qualifiers(&self, named: &mut Names) -> Result<(), Refusal> {
        let text = &self.text;
        let all = text.is_one_of(0, OF_OBJECTS) && first_of_statement(text).is_none();
        for at in (0..text.len()).filter(|at| text.is(at + 1, b'.') && !text.is(at.wrapping_sub(1), b'.')) {
            if !matches!(text.kind(at), Kind::Word | Kind::Name | Kind::QuotedName) {
                continue;
            }
            let name = text.name(at);
            if std::str::from_utf8(&name).is_ok_and(|name| self.rules().database(name).is_some()) {
                named.insert(name.into_owned());
            } else if self.planner.is_moved(&name) {
                let what = format!("{} differs in its case from a database of the rules", shown(&name));
                return Err(Refusal::new(Reason::NameCase, what));
            } else if has_a_home(&name) && (all || self.qualifies_an_object(at)) {
                named.insert(name.into_owned());
            }
        }
        Ok(())
    }

    /// Whether what has a dot behind it here is a database for certain, as no alias of a table could stand there.
    fn qualifies_an_object(&self, at: At) -> bool {
        let text = &self.text;
        let before = |back: At, words: &[&[u8]]| at >= back && text.is_one_of(at - back, words);
        let calls = text.is(at + 3, b'(');
        let of_sequence = before(1, &[b"FOR"]) && before(2, &[b"VALUE"])
            || at >= 1 && text.is(at - 1, b'(') && before(2, &[b"NEXTVAL", b"LASTVAL", b"SETVAL"]);
        let of_column = text.is(at + 3, b'.');
        let on = before(1, &[b"ON"]) && text.is_one_of(0, &[b"CREATE", b"ALTER"]) && {
            let first = (1..text.len()).find(|on| text.is_word(*on, b"ON"));
            first.is_some_and(|on| on + 1 == at)
        };
        calls || of_sequence || of_column || on || before(1, INTRODUCE)
    }

    pub(super) fn asks_for_database(&self) -> bool {
        let text = &self.text;
        (0..text.len()).any(|at| {
            text.is_one_of(at, &[b"DATABASE", b"SCHEMA"]) && text.is(at + 1, b'(') && text.is(at + 2, b')')
        })
    }

    /// Whether it is about servers and accounts, or takes a lock that all sessions must meet at one of them.
    pub(super) fn is_of_servers(&self) -> bool {
        let text = &self.text;
        let mut object = 1;
        while text.is_one_of(object, &[b"OR", b"REPLACE"]) {
            object += 1;
        }
        self.request.recognised.uses.contains(Uses::USER_LOCK)
            || text.is_word(0, b"SHOW") && text.is_one_of(1, &[b"GRANTS", b"PRIVILEGES"])
            || text.is_word(0, b"SHOW") && text.is_word(1, b"CREATE") && text.is_word(2, b"USER")
            || text.is_one_of(0, OF_SERVERS) && !text.is_word(1, b"TRANSACTION")
            || text.is_one_of(0, &[b"CREATE", b"ALTER", b"DROP", b"RENAME", b"SET"])
                && text.is_one_of(object, SERVER_OBJECTS)
    }

    /// Whether it is nothing to any database: a read without tables, a variable, a bound of a transaction.
    pub(super) fn is_of_none(&self) -> bool {
        use Class::{Begin, Diagnostics, Empty, EndOrSavepoint, Read, Set};
        let recognised = self.request.recognised;
        matches!(recognised.class, Begin(_) | Diagnostics | Empty | EndOrSavepoint | Read | Set)
            && !recognised.uses.contains(Uses::UNKNOWN_FUNCTION)
    }
}

/// Whether a database's name stands there, and no option: ALTER DATABASE without a name is about the default one.
pub(in crate::plan::sharded) fn names_database(text: &Text, at: At) -> bool {
    let options: &[&[u8]] =
        &[b"DEFAULT", b"CHARACTER", b"CHARSET", b"COLLATE", b"READ", b"ENCRYPTION", b"COMMENT"];
    text.is_name(at) && !text.is_one_of(at, options)
}

/// Servers' own schemas are everywhere; no name is no place.
fn has_a_home(name: &[u8]) -> bool {
    !name.is_empty() && !is_system_schema(name)
}
