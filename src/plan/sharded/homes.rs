//! Which home a statement without sharded tables runs at, where databases have theirs on other clusters than the default one.
//!
//! Owns: the databases that a statement names, and that all of them are at one place. Does not know: servers. Invariant: a statement whose
//! databases are at two places is refused; at a home that is not the default database's it runs without a default database, so that a name
//! that was overlooked here is an error there, never another table.

use std::collections::BTreeSet;

use super::parse::parse;
use super::parse::statement::Statement;
use super::parse::text::{At, Text};
use super::planned::{Planned, Where};
use super::planner::Planner;
use super::refusal::{Reason, Refusal, shown};
use super::route::{Request, first_of_statement, prepares_text};
use super::scope::{Scope, What};
use crate::ids::ClusterId;
use crate::shard::Rules;
use crate::sql::lexer::Kind;
use crate::sql::{Outline, Uses, is_system_schema};

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

/// The plan with the place where it runs. `planned` is right but for that.
pub(super) fn place(
    planner: &Planner,
    request: &Request<'_>,
    planned: Result<Planned, Refusal>,
) -> Result<Planned, Refusal> {
    match planned? {
        Planned::Home => {
            let own = planner.rules().home_of(request.database.unwrap_or_default());
            let text = Text::new(request.sql, request.lexing);
            let home = Homes { planner, text: &text, request, own }.one()?;
            Ok(if home == own { Planned::Home } else { Planned::HomeOf(home) })
        }
        Planned::Upkeep(upkeep) => {
            let rules = planner.rules();
            let home = rules.home_of(upkeep.database.as_bytes());
            let at_home = upkeep.tables.iter().filter(|table| table.place == Where::Home);
            match at_home.map(|table| &*table.schema).find(|schema| rules.home_of(schema) != home) {
                Some(schema) => Err(apart(schema, upkeep.database.as_bytes())),
                None => Ok(Planned::Upkeep(upkeep)),
            }
        }
        // It runs at the default cluster, which is told of the others.
        Planned::Dictionary(dictionary) => {
            let text = Text::new(request.sql, request.lexing);
            let rules = planner.rules();
            let homes = Homes { planner, text: &text, request, own: rules.home };
            match homes.tables()?.iter().find(|name| rules.home_of(name) != rules.home) {
                Some(name) if !dictionary.is_show() => {
                    let what = format!(
                        "information_schema is read beside tables of {}, whose home is on another cluster",
                        shown(name)
                    );
                    Err(Refusal::new(Reason::HomesApart, what))
                }
                _ => Ok(Planned::Dictionary(dictionary)),
            }
        }
        planned => Ok(planned),
    }
}

struct Homes<'a> {
    planner: &'a Planner,
    text: &'a Text,
    request: &'a Request<'a>,
    /// The default database's.
    own: ClusterId,
}

impl Homes<'_> {
    fn rules(&self) -> &Rules {
        self.planner.rules()
    }

    /// The only one that the statement can run at.
    fn one(&self) -> Result<ClusterId, Refusal> {
        let default = self.rules().home;
        let names_none = !(0..self.text.len()).any(|at| self.may_name_moved(at));
        if self.own == default && names_none {
            return Ok(default);
        }
        if prepares_text(self.text) {
            return self.of_prepared_text();
        }
        if let Some(name) = self.database_named() {
            return Ok(self.rules().home_of(&name));
        }
        let uses = self.request.recognised.uses;
        let mut named = self.tables()?;
        self.qualifiers(&mut named)?;
        let mut homes: Vec<ClusterId> = Vec::new();
        for name in &named {
            let home = self.rules().home_of(name);
            if !homes.contains(&home) {
                homes.push(home);
            }
        }
        let [home] = homes[..] else {
            return match homes[..] {
                [] => Ok(if self.is_of_servers() { default } else { self.own }),
                _ => {
                    let mut names = named.iter();
                    let first = names.next().cloned().unwrap_or_default();
                    let home = self.rules().home_of(&first);
                    let other = names.find(|name| self.rules().home_of(name) != home);
                    Err(apart(&first, other.map_or(b"", |other| other)))
                }
            };
        };
        if uses.contains(Uses::USER_LOCK) && home != default {
            let what =
                "A user lock is taken in a statement on tables of another cluster than the default one";
            return Err(Refusal::new(Reason::ServerFunction, what));
        }
        if home != self.own && self.asks_for_database() {
            let what = "DATABASE() is asked for where the default database is not";
            return Err(Refusal::new(Reason::HomesApart, what));
        }
        Ok(home)
    }

    /// A name, or a string of a text to be prepared, that may be that of a database elsewhere.
    fn may_name_moved(&self, at: At) -> bool {
        match self.text.kind(at) {
            Kind::Word | Kind::Name | Kind::QuotedName => self.planner.is_moved(&self.text.name(at)),
            Kind::String if prepares_text(self.text) => {
                let bytes = self.text.bytes(at);
                let words = bytes.split(|byte| byte.is_ascii() && !is_part_of_name(*byte));
                words.into_iter().any(|word| self.planner.is_moved(word))
            }
            _ => false,
        }
    }

    /// PREPARE … FROM: at the default database's home, if the text names no database elsewhere.
    fn of_prepared_text(&self) -> Result<ClusterId, Refusal> {
        let names_moved = (0..self.text.len()).any(|at| self.may_name_moved(at));
        let known = (0..self.text.len()).all(|at| self.text.kind(at) != Kind::UserVariable);
        if self.own == self.rules().home && (names_moved || !known) {
            let what = "A text that may name a database of another cluster is prepared by a statement";
            return Err(Refusal::new(Reason::TextPrepared, what));
        }
        Ok(self.own)
    }

    /// The one that a statement about a whole database, or about what is in it, names.
    fn database_named(&self) -> Option<Vec<u8>> {
        let text = self.text;
        let is_database = |at| text.is_one_of(at, &[b"DATABASE", b"SCHEMA"]);
        if text.is_word(0, b"SHOW") {
            let name = |at: At| text.is_name(at).then(|| text.name(at).into_owned());
            let last = text.len().checked_sub(1)?;
            if text.is_word(1, b"CREATE") && is_database(2) {
                return name(last);
            }
            // Of the last FROM: before it may stand a table.
            let from = (1..text.len()).rfind(|at| text.is_one_of(*at, &[b"FROM", b"IN"]))?;
            let of_table = text
                .is_one_of(1, &[b"COLUMNS", b"FIELDS", b"INDEX", b"INDEXES", b"KEYS", b"FULL", b"EXTENDED"])
                && !(1..from).any(|at| text.is_word(at, b"TABLES"));
            let before = (1..from).any(|at| text.is_one_of(at, &[b"FROM", b"IN"]));
            let is_condition = (1..from).any(|at| text.is_one_of(at, &[b"WHERE", b"LIKE"]));
            if is_condition || of_table && !before || text.is(from + 2, b'.') {
                return None;
            }
            return name(from + 1);
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

    /// The databases of the tables that the statement names.
    fn tables(&self) -> Result<BTreeSet<Vec<u8>>, Refusal> {
        let uses = self.request.recognised.uses;
        if !uses.intersects(Uses::MULTIPLE | Uses::DOUBT)
            && let Some(first) = first_of_statement(self.text)
            && let Some(named) = self.tables_of_tree(first)
        {
            return Ok(named);
        }
        let used =
            (0..self.text.len()).find(|at| uses.contains(Uses::MULTIPLE) && self.text.is_word(*at, b"USE"));
        if let Some(at) = used.filter(|at| self.rules().home_of(&self.text.name(at + 1)) != self.own) {
            let what = format!(
                "Several statements in one packet, of which one goes to {}",
                shown(&self.text.name(at + 1))
            );
            return Err(Refusal::new(Reason::SeveralStatements, what));
        }
        let own = self.request.database.unwrap_or_default();
        let tables = Outline::of(self.request.sql, self.request.lexing).tables.into_iter();
        let named = tables.map(|table| table.schema.unwrap_or_else(|| own.to_vec()));
        let of_default = self.names_without_database().then(|| own.to_vec());
        Ok(named.chain(of_default).filter(|name| has_a_home(name)).collect())
    }

    /// Whether a definition is made like a table, or a privilege is of one, that is named without its database.
    fn names_without_database(&self) -> bool {
        let text = self.text;
        let word: &[u8] = match () {
            () if text.is_word(0, b"CREATE") && text.is_word(1, b"TABLE") => b"LIKE",
            () if text.is_one_of(0, &[b"GRANT", b"REVOKE"]) && !text.is_word(1, b"PROXY") => b"ON",
            () => return false,
        };
        let Some(at) = (2..text.len()).find(|at| text.is_word(*at, word)) else { return false };
        let of_kind = text.is_one_of(at + 1, &[b"TABLE", b"PROCEDURE", b"FUNCTION", b"PACKAGE"]);
        let name = at + 1 + At::from(of_kind);
        (text.is_name(name) || text.is(name, b'*')) && !text.is(name + 1, b'.')
    }

    /// The same, by grammar; `None` where the statement is not understood.
    fn tables_of_tree(&self, first: At) -> Option<BTreeSet<Vec<u8>>> {
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
        let tables = scope.instances.iter().filter(|instance| instance.what != What::Query);
        let named = tables.filter_map(|instance| instance.schema.clone());
        Some(named.filter(|name| has_a_home(name)).collect())
    }

    /// Databases of the rules that stand in front of a dot: of tables, routines and privileges.
    fn qualifiers(&self, named: &mut BTreeSet<Vec<u8>>) -> Result<(), Refusal> {
        let text = self.text;
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
            }
        }
        Ok(())
    }

    fn asks_for_database(&self) -> bool {
        let text = self.text;
        (0..text.len()).any(|at| {
            text.is_one_of(at, &[b"DATABASE", b"SCHEMA"]) && text.is(at + 1, b'(') && text.is(at + 2, b')')
        })
    }

    /// Whether it is about servers and accounts, or takes a lock that all sessions must meet at one of them.
    fn is_of_servers(&self) -> bool {
        let text = self.text;
        let mut object = 1;
        while text.is_one_of(object, &[b"OR", b"REPLACE"]) {
            object += 1;
        }
        self.request.recognised.uses.contains(Uses::USER_LOCK)
            || text.is_one_of(0, OF_SERVERS)
            || text.is_one_of(0, &[b"CREATE", b"ALTER", b"DROP", b"RENAME", b"SET"])
                && text.is_one_of(object, SERVER_OBJECTS)
    }
}

/// Whether a database's name stands there, and no option: ALTER DATABASE without a name is about the default one.
pub(super) fn names_database(text: &Text, at: At) -> bool {
    let options: &[&[u8]] =
        &[b"DEFAULT", b"CHARACTER", b"CHARSET", b"COLLATE", b"READ", b"ENCRYPTION", b"COMMENT"];
    text.is_name(at) && !text.is_one_of(at, options)
}

/// Servers' own schemas are everywhere; no name is no place.
fn has_a_home(name: &[u8]) -> bool {
    !name.is_empty() && !is_system_schema(name)
}

fn is_part_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$')
}

fn apart(one: &[u8], other: &[u8]) -> Refusal {
    let what = format!("{} and {} have their homes on two clusters", shown(one), shown(other));
    Refusal::new(Reason::HomesApart, what)
}
