//! Which home a statement without sharded tables runs at, where databases have theirs on other clusters than the default one.
//!
//! Owns: that all databases which a packet names are at one place. Does not know: where names stand (`names`), servers. Invariant: a packet whose
//! databases are at two places is refused; at a home that is not the default database's it runs without a default database, so that a name
//! that was overlooked is an error there, never another table.

mod names;

use super::parse::text::Text;
use super::planned::{Planned, Where};
use super::planner::Planner;
use super::refusal::{Reason, Refusal, shown};
use super::route::{self, Request, prepares_text};
use crate::ids::ClusterId;
use crate::shard::Rules;
use crate::sql::lexer::{Kind, Lexer};
use crate::sql::{self, PreparedText, Uses};

pub(super) use self::names::names_database;

/// The plan with the place where it runs. `planned` is right but for that.
pub(super) fn place(
    planner: &Planner,
    request: &Request<'_>,
    planned: Result<Planned, Refusal>,
) -> Result<Planned, Refusal> {
    match planned? {
        Planned::Home => {
            let homes = Homes::of(planner, request);
            let home = homes.packet()?;
            Ok(if home == homes.own { Planned::Home } else { Planned::HomeOf(home) })
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
        Planned::Dictionary(dictionary) if !dictionary.is_show() => {
            let homes = Homes::of(planner, request);
            match homes.names()?.iter().find(|name| !homes.is_default(name)) {
                Some(name) => {
                    let what = format!(
                        "information_schema is read beside tables of {}, whose home is on another cluster",
                        shown(name)
                    );
                    Err(Refusal::new(Reason::HomesApart, what))
                }
                None => Ok(Planned::Dictionary(dictionary)),
            }
        }
        planned => Ok(planned),
    }
}

/// The databases of one statement, or of a packet.
struct Homes<'a> {
    planner: &'a Planner,
    text: Text,
    request: &'a Request<'a>,
    /// The default database's.
    own: ClusterId,
}

impl<'a> Homes<'a> {
    fn of(planner: &'a Planner, request: &'a Request<'a>) -> Self {
        let own = planner.rules().home_of(request.database.unwrap_or_default());
        Self { planner, text: Text::new(request.sql, request.lexing), request, own }
    }

    fn rules(&self) -> &Rules {
        self.planner.rules()
    }

    fn is_default(&self, database: &[u8]) -> bool {
        self.rules().home_of(database) == self.rules().home
    }

    /// The only one that the packet can run at.
    fn packet(&self) -> Result<ClusterId, Refusal> {
        let default = self.rules().home;
        let uses = self.request.recognised.uses;
        let prepares = prepares_text(&self.text) || uses.contains(Uses::TEXT_PREPARED);
        let names_moved = (0..self.text.len()).any(|at| {
            matches!(self.text.kind(at), Kind::Word | Kind::Name | Kind::QuotedName)
                && self.planner.is_moved(&self.text.name(at))
        });
        if self.own == default && !names_moved && !prepares {
            return Ok(default);
        }
        // In a routine's body stands what ends statements, too.
        let home = match uses.contains(Uses::MULTIPLE) && !self.defines_a_routine() {
            true => self.several()?,
            false => self.one()?,
        };
        let home = home.unwrap_or(self.own);
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

    /// That of all statements of the packet.
    fn several(&self) -> Result<Option<ClusterId>, Refusal> {
        let Request { sql, lexing, .. } = *self.request;
        let ends = Lexer::new(sql, lexing).filter(|token| token.kind == Kind::Punct(b';'));
        let mut start = 0;
        let mut home = None;
        for end in ends.map(|end| end.start).chain([sql.len()]) {
            let part = sql.get(start..end).unwrap_or_default();
            start = end + 1;
            let recognised = sql::recognise(part, lexing);
            let request = Request { sql: part, recognised, ..*self.request };
            let of_part = Homes::of(self.planner, &request);
            let goes = match of_part.text.is_word(0, b"USE") {
                true => Some(self.rules().home_of(&of_part.text.name(1)))
                    .filter(|_| !sql::is_system_schema(&of_part.text.name(1))),
                false => of_part.one()?,
            };
            let used = of_part.text.is_word(0, b"USE") && goes.is_some_and(|goes| goes != self.own);
            if used || goes.is_some() && home.is_some() && goes != home {
                let what =
                    "Several statements in one packet, whose databases have their homes on two clusters";
                return Err(Refusal::new(Reason::SeveralStatements, what));
            }
            home = goes.or(home);
        }
        Ok(home)
    }

    /// That of one statement; `None` where it can run at any.
    fn one(&self) -> Result<Option<ClusterId>, Refusal> {
        if prepares_text(&self.text) {
            return self.of_prepared_text().map(Some);
        }
        if let Some(name) = self.database_named() {
            return Ok(Some(self.rules().home_of(&name)));
        }
        let named = self.names()?;
        let mut names = named.iter();
        let Some(first) = names.next() else {
            return Ok(if self.is_of_servers() {
                Some(self.rules().home)
            } else {
                (!self.is_of_none()).then_some(self.own)
            });
        };
        let home = self.rules().home_of(first);
        match names.find(|name| self.rules().home_of(name) != home) {
            Some(other) => Err(apart(first, other)),
            None => Ok(Some(home)),
        }
    }

    /// PREPARE … FROM: at the default database's home, where the text itself would run there.
    fn of_prepared_text(&self) -> Result<ClusterId, Refusal> {
        let refused = || {
            let what = "A text that may name a database of another cluster is prepared by a statement";
            Err(Refusal::new(Reason::TextPrepared, what))
        };
        let Some(texts) = sql::prepared_texts(self.request.sql, self.request.lexing) else {
            return refused();
        };
        for text in texts {
            let PreparedText::Literal(sql) = text else { return refused() };
            let recognised = sql::recognise(&sql, self.request.lexing);
            if !matches!(
                route::plan(self.planner, &Request { sql: &sql, recognised, ..*self.request }),
                Planned::Home
            ) || sql::first_word(&sql, self.request.lexing).eq_ignore_ascii_case(b"use")
            {
                return refused();
            }
        }
        Ok(self.own)
    }
}

fn apart(one: &[u8], other: &[u8]) -> Refusal {
    let what = format!("{} and {} have their homes on two clusters", shown(one), shown(other));
    Refusal::new(Reason::HomesApart, what)
}
