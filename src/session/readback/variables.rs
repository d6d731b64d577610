//! User variables of a session: known here, brought to the connection that needs them, read back when it is given up.
//!
//! Owns: which statements need which variables. Does not know: how values are written and read.
//! Invariant: outside of what is `unread`, the values here are those that the client would see on one server; `unread`
//! ones are on the held connection, and pin it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio::time::timeout;

use crate::backend::connection::Connection;
use crate::backend::variables::{Name, Value, read_back};
use crate::ids::AccountId;
use crate::session::Session;
use crate::session::attempt::prelude::PRELUDE_LIMIT;
use crate::session::diagnostics::At;
use crate::session::lease::ABOUT_BEFORE;
use crate::session::pins::Pins;
use crate::session::statements::texts::About;
use crate::session::work::Work;
use crate::sql::{self, Class, PreparedText, Recognised, Uses};
use crate::wire::ok::Status;

/// Variables of one session that are read back and brought; with more, the connection stays pinned.
const NAMES_MAX: usize = 64;
/// Accounts of which names are remembered.
const ACCOUNTS_MAX: usize = 256;

/// What a session has set.
#[derive(Debug, Default)]
pub(in crate::session) struct Variables {
    known: BTreeMap<Name, Value>,
    /// Assigned on the held connection, and not read back yet.
    unread: BTreeSet<Name>,
    /// Named in texts that were prepared by PREPARE: an EXECUTE may assign them.
    in_texts: BTreeSet<Name>,
    /// System variables that such texts set as `@@name`, which MariaDB does not report.
    pub(in crate::session) settings_in_texts: BTreeSet<Vec<u8>>,
    /// Those of the unread that cannot be read as they are: too long, or of a type that no literal has.
    unreadable: BTreeSet<Name>,
    /// Some cannot be told: they stay on the held connection.
    opaque: bool,
    /// Names that the statement in hand reads without the session's having set them, and no client of its account has before.
    news: Vec<Name>,
}

const NAMED: Uses = Uses::USER_VARIABLE_READ.union(Uses::USER_VARIABLE_WRITE);

impl Variables {
    /// Whether the pin that they make ends by reading them back.
    pub fn can_be_read(&self) -> bool {
        !self.opaque && self.unreadable.is_empty()
    }

    /// Whether some are known to the connection alone on which they were set.
    pub fn is_any_unread(&self) -> bool {
        self.opaque || !self.unread.is_empty()
    }

    /// None is set any more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Names that clients of one account have read without having set them; one core's. It ends by forgetting all.
#[derive(Debug, Default)]
pub(in crate::session) struct Unset(RefCell<HashMap<AccountId, BTreeSet<Name>>>);

impl Unset {
    /// Remembers the names; gives those that are new.
    fn note(&self, account: AccountId, mut names: Vec<Name>) -> Vec<Name> {
        if names.is_empty() {
            return names;
        }
        let mut accounts = self.0.borrow_mut();
        if accounts.len() >= ACCOUNTS_MAX && !accounts.contains_key(&account) {
            accounts.clear();
        }
        let known = accounts.entry(account).or_default();
        names.retain(|name| !known.contains(name));
        if known.len() + names.len() > NAMES_MAX {
            known.clear();
        }
        known.extend(names.iter().take(NAMES_MAX).cloned());
        names
    }

    fn add_to(&self, account: AccountId, names: &mut Vec<Name>) {
        let accounts = self.0.borrow();
        let unset = accounts.get(&account).into_iter().flatten();
        let new: Vec<Name> = unset.filter(|name| !names.contains(name)).cloned().collect();
        names.extend(new);
    }
}

/// Whether the statement may give values to the variables that it names.
fn may_assign(statement: Recognised) -> bool {
    let uses = statement.uses;
    uses.contains(Uses::USER_VARIABLE_WRITE)
        || uses.contains(Uses::USER_VARIABLE_READ) && matches!(statement.class, Class::Call | Class::Write)
        || statement.class == Class::TextPrepared
}

/// Whether what it runs may read variables that it does not name: triggers, routines, prepared texts.
fn reads_unseen(statement: Recognised) -> bool {
    matches!(statement.class, Class::Write | Class::Call | Class::TextPrepared)
        || statement.uses.contains(Uses::UNKNOWN_FUNCTION)
        || statement.begins_measuring()
}

fn names(found: Option<Vec<Vec<u8>>>) -> Option<Vec<Name>> {
    Some(found?.into_iter().map(Vec::into_boxed_slice).collect())
}

impl Session {
    /// Appends a SET of those variables that the statement may read and that are not right on the connection.
    pub(in crate::session) fn bring_variables(
        &self,
        connection: &mut Connection,
        work: &Work<'_>,
        set: &mut Vec<u8>,
    ) {
        if !work.packets.is_empty() {
            connection.variables.enter(self.me());
        }
        let executes = matches!(work.about, Some(About::Execute(..)));
        let unseen = reads_unseen(work.statement) || executes;
        if unseen {
            connection.variables.fire();
        }
        let shared = connection.variables.is_shared();
        if self.variables.known.is_empty() && connection.variables.is_empty() && !shared {
            return;
        }
        let Recognised { class, uses, .. } = work.statement;
        let named = if unseen {
            None
        } else if !uses.intersects(NAMED) {
            return;
        } else if uses.intersects(ABOUT_BEFORE) && matches!(class, Class::Set | Class::Diagnostics) {
            // A SET would take what the client asks about: only what is read is brought.
            names(sql::user_variables_read(work.sql(), &self.lexing))
        } else {
            names(sql::user_variables(work.sql(), &self.lexing))
        };
        let named = named.unwrap_or_else(|| {
            let others =
                connection.variables.names().filter(|name| !self.variables.known.contains_key(*name));
            let mut all: Vec<Name> = others.chain(self.variables.known.keys()).cloned().collect();
            if shared {
                if uses.intersects(NAMED) || executes {
                    let text = work.text.unwrap_or(work.sql());
                    all.extend(names(sql::user_variables(text, &self.lexing)).unwrap_or_default());
                }
                self.worker.unset_variables.add_to(self.account.id, &mut all);
            }
            all
        });
        // A SET would take what the client asks about: its own variables are trusted to be what it has set.
        let at_hand = uses.intersects(ABOUT_BEFORE) && connection.user == Some(self.me());
        // Nothing is read of them, and they are assigned for certain.
        let assigned = class == Class::Set && !uses.intersects(Uses::NOT_CONSTANT | Uses::MULTIPLE);
        for name in named.iter().filter(|name| !self.variables.unread.contains(*name)) {
            let wanted = self.variables.known.get(name);
            if wanted.is_none() && !connection.variables.names().any(|placed| placed == name) {
                if assigned || self.variables.opaque {
                    continue;
                }
                let may_be_own = connection.variables.has_fired() && self.variables.news.contains(name);
                if may_be_own || self.pins.contains(Pins::UNEXPLAINED) {
                    connection.variables.be_sure(name); // most likely what its own trigger has set
                }
            }
            if at_hand && wanted.is_some() {
                connection.variables.be_sure(name);
            }
            connection.variables.bring(name, wanted, set);
        }
    }

    /// Whether the statement reads a variable that the session has not set. Its name is remembered: from now on it is made
    /// NULL in front of what may fire a trigger, so that what that sets is told from what others have left.
    pub(in crate::session) fn reads_unset(&mut self, work: &Work<'_>) -> bool {
        self.variables.news.clear();
        if !work.statement.uses.contains(Uses::USER_VARIABLE_READ)
            || work.statement.uses.contains(Uses::USER_VARIABLE_WRITE)
        {
            return false;
        }
        let has =
            |name: &Name| self.variables.known.contains_key(name) || self.variables.unread.contains(name);
        let mut unset = names(sql::user_variables(work.sql(), &self.lexing)).unwrap_or_default();
        unset.retain(|name| !has(name));
        let reads = !unset.is_empty();
        self.variables.news = self.worker.unset_variables.note(self.account.id, unset);
        reads
    }

    /// The statement has run on this connection, well or not: the variables that it may have assigned are there.
    pub(in crate::session) async fn note_variables(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        succeeded: bool,
    ) {
        if !may_assign(work.statement) {
            return;
        }
        let mut beside = Vec::new();
        let mut assigned = names(sql::user_variables(work.sql(), &self.lexing)).unwrap_or_else(|| {
            // Those that can be compared have been brought; the others stay where they are.
            self.variables.opaque = true;
            self.variables.known.keys().cloned().collect()
        });
        if work.statement.class == Class::TextPrepared {
            self.note_texts(work);
            assigned.extend(self.variables.in_texts.iter().cloned());
        }
        // Where not all were brought, a failure leaves others' values in those that it did not reach.
        let brought = !work.statement.uses.intersects(ABOUT_BEFORE);
        for name in assigned {
            let reached = succeeded || brought && connection.variables.is_sure(&name);
            connection.variables.touch(&name);
            if reached {
                self.variables.unreadable.remove(&name); // it has another value now
                if self.held.is_some() {
                    beside.push(name);
                } else {
                    self.variables.unread.insert(name);
                }
            }
        }
        // Beside a soft pin: this connection is not the one on which others are.
        if !beside.is_empty() {
            self.read_names(connection, beside).await;
        }
        let variables = &mut self.variables;
        variables.opaque |= variables.known.len() + variables.unread.len() > NAMES_MAX;
        if variables.opaque || !variables.unread.is_empty() {
            self.set_pins(self.pins | Pins::USER_VARIABLES);
        }
    }

    /// GET DIAGNOSTICS has asked a connection that does not know how many rows the session's last statement has changed.
    pub(in crate::session) fn note_row_count(&mut self, here: At, work: &Work<'_>) {
        let knows = self.last.place == Some(here) && !self.last.counts_are_ours;
        if knows || work.statement.uses.contains(Uses::MULTIPLE) {
            return;
        }
        for name in sql::row_count_targets(work.sql(), &self.lexing) {
            let count = Value::integer(&name, self.last.row_count);
            let name = name.into_boxed_slice();
            self.variables.unread.remove(&name);
            self.variables.known.insert(name, count);
        }
        if self.variables.unread.is_empty() && !self.variables.opaque {
            self.set_pins(self.pins.difference(Pins::USER_VARIABLES));
        }
    }

    /// The variables in the texts that a PREPARE may have prepared: literals, and values of variables.
    fn note_texts(&mut self, work: &Work<'_>) {
        let Some(texts) = sql::prepared_texts(work.sql(), &self.lexing) else {
            self.variables.opaque = true;
            return;
        };
        for text in texts {
            match self.prepared_text(&text).and_then(|text| sql::user_variables(&text, &self.lexing)) {
                Some(names) if self.variables.in_texts.len() + names.len() <= NAMES_MAX => {
                    self.variables.in_texts.extend(names.into_iter().map(Vec::into_boxed_slice));
                }
                _ => self.variables.opaque = true,
            }
        }
    }

    /// The text that a PREPARE prepares, where that is known.
    pub(in crate::session) fn prepared_text(&self, text: &PreparedText) -> Option<Vec<u8>> {
        match text {
            PreparedText::Literal(text) => Some(text.clone()),
            PreparedText::Variable(name) if self.variables.unread.contains(name.as_slice()) => None,
            PreparedText::Variable(name) => self.variables.known.get(name.as_slice()).and_then(Value::text),
        }
    }

    /// Whether only what ends by a question to the server, or by none being asked, pins the held connection.
    pub(in crate::session) fn is_pinned_in_passing(&self) -> bool {
        let mut passing = Pins::PASSING;
        passing.set(Pins::USER_VARIABLES, self.variables.can_be_read());
        passing.set(Pins::USER_LOCK, self.ledger.may_ask_locks());
        passing.contains(self.pins)
    }

    /// Reads back what is unread, unless something else keeps the connection. Whoever asks about the statement before
    /// must have asked by now, or have nothing to ask.
    pub(in crate::session) async fn read_variables(&mut self, connection: &mut Connection) {
        let only = self.pins.difference(Pins::PASSING) == Pins::USER_VARIABLES;
        if !only
            || !self.variables.can_be_read()
            || connection.status.contains(Status::IN_TRANSACTION)
            || connection.broken
        {
            return;
        }
        self.read_unread(connection).await;
    }

    /// GET DIAGNOSTICS is to assign variables where the statement before ran, beside the connection on which others are: those are read
    /// first, and that connection is given back where nothing else is on it.
    pub(in crate::session) async fn free_variables_for(&mut self, statement: Recognised) {
        let beside = statement.class == Class::Diagnostics
            && statement.uses.contains(Uses::USER_VARIABLE_WRITE)
            && self.pins.contains(Pins::USER_VARIABLES)
            && self
                .held
                .as_ref()
                .is_some_and(|held| self.last.place.is_some_and(|place| place != (held.server, held.id)));
        if !beside {
            return;
        }
        self.settle_pins().await;
        if self.pins.difference(Pins::PASSING).is_empty()
            && let Some(held) = self.held.take()
        {
            self.release(held, false);
        }
    }

    /// The same on the way to another place, whatever keeps the connection: the values are known there then.
    pub(in crate::session) async fn take_variables_along(&mut self) {
        if self.pins.contains(Pins::USER_VARIABLES)
            && self.variables.can_be_read()
            && let Some(mut held) = self.held.take_if(|held| !held.broken)
        {
            self.read_unread(&mut held).await;
            self.held = Some(held);
        }
    }

    /// The values that these variables have on a connection; `None` where one of them, or with them all of the session's, cannot be kept.
    pub(in crate::session) async fn ask_variables(
        &self,
        connection: &mut Connection,
        names: &[Name],
    ) -> Option<Vec<(Name, Value)>> {
        let news = names.iter().filter(|name| !self.variables.known.contains_key(*name));
        if self.variables.known.len() + news.count() > NAMES_MAX {
            return None;
        }
        let mut buffer = self.worker.buffers.take();
        let read = timeout(PRELUDE_LIMIT, read_back(connection, names, &mut buffer)).await;
        connection.broken |= !matches!(read, Ok(Ok(_)));
        names.iter().cloned().zip(read.ok()?.ok()?).map(|(name, value)| Some((name, value?))).collect()
    }

    /// The session's variables have these values now.
    pub(in crate::session) fn know_variables(&mut self, values: Vec<(Name, Value)>) {
        self.variables.known.extend(values);
    }

    async fn read_unread(&mut self, connection: &mut Connection) {
        let names: Vec<Name> = std::mem::take(&mut self.variables.unread).into_iter().collect();
        self.read_names(connection, names).await;
    }

    async fn read_names(&mut self, connection: &mut Connection, names: Vec<Name>) {
        let mut buffer = self.worker.buffers.take();
        let read = timeout(PRELUDE_LIMIT, read_back(connection, &names, &mut buffer)).await;
        connection.user = None; // what the client may ask about its last statement is gone from it
        let Ok(Ok(values)) = read else {
            connection.broken = true; // with the values: the pin stands, and ends the session
            return;
        };
        for (name, value) in names.into_iter().zip(values) {
            match value {
                Some(value) => {
                    connection.variables.put(&name, &value);
                    self.variables.unread.remove(&name);
                    self.variables.known.insert(name, value);
                }
                None => {
                    self.variables.unread.insert(name.clone());
                    self.variables.unreadable.insert(name);
                }
            }
        }
        if self.variables.can_be_read() {
            self.set_pins(self.pins.difference(Pins::USER_VARIABLES));
        }
    }
}
