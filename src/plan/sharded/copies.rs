//! Changes of reference tables: the same at home and on every shard.
//!
//! Owns: what makes a change come out alike on every copy. Does not know: where copies are. Invariant: given equal copies, a clock that stands
//! still and the session's own variables, a planned change leaves equal copies.

use super::across;
use super::parse::text::Text;
use super::planned::{Copies, Planned, Verb};
use super::refusal::{Reason, Refusal, shown};
use super::scope::{Scope, What};
use crate::sql::Uses;
use crate::sql::lexer::Kind;

/// Functions whose answer is another one each time, or on each server. Those of time are not among them: the sites are given one time.
pub(super) const VARYING: &[&[u8]] = &[
    b"CONNECTION_ID",
    b"CURRENT_ROLE",
    b"CURRENT_USER",
    b"DES_ENCRYPT",
    b"ENCRYPT",
    b"ICU_VERSION",
    b"RAND",
    b"RANDOM_BYTES",
    b"ROWNUM",
    b"SESSION_USER",
    b"SYSDATE",
    b"SYSTEM_USER",
    b"SYS_GUID",
    b"USER",
    b"UUID",
    b"UUID_SHORT",
    b"VERSION",
];

/// What a change does besides setting values.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Besides {
    /// LIMIT.
    pub limited: bool,
    /// RETURNING.
    pub returning: bool,
    /// Its rows are selected.
    pub selects: bool,
}

impl Scope<'_> {
    /// The statement names one table, and that is a reference table.
    pub(super) fn is_of_one_reference(&self) -> bool {
        matches!(&self.instances[..], [only] if matches!(only.what, What::Reference))
    }

    /// The change of the one table that the statement names.
    pub(super) fn copies(&self, verb: Verb, besides: Besides, uses: Uses) -> Result<Planned, Refusal> {
        let table = self.instances.first();
        let name = table.and_then(|table| table.name).map_or(&b""[..], |name| self.text.bytes(name.last()));
        let refuse = |what: &str| {
            let what = format!("The copies of {} would differ: {what}", shown(name));
            Err(Refusal::new(Reason::ReferenceWrite, what))
        };
        if besides.selects || !self.is_of_one_reference() {
            return refuse("another table is read");
        }
        if besides.limited {
            return refuse("LIMIT takes rows in the order of each server");
        }
        if besides.returning {
            return Err(Refusal::new(Reason::ReturningAcrossShards, "RETURNING of all copies"));
        }
        across::state(self.without_false_writes(uses))?;
        self.functions(uses)?;
        if uses.intersects(Uses::SYSTEM_VARIABLE | Uses::SEQUENCE | Uses::SEQUENCE_LAST) {
            return refuse("it asks for something of one server");
        }
        if let Some(function) = varying(self.text) {
            return refuse(&format!("{} has another value each time or on each server", shown(function)));
        }
        let Some(database) = table.and_then(|table| table.schema.as_deref()) else {
            return refuse("its database is not known");
        };
        let database = String::from_utf8_lossy(database).into_owned();
        let mut edits = self.edits.clone();
        edits.sort_by_key(|edit| edit.token);
        edits.dedup();
        Ok(Planned::Copies(Box::new(Copies { database, verb, edits })))
    }

    /// INTO makes every variable one that may be assigned; in a statement without `:=` none is.
    pub(super) fn without_false_writes(&self, mut uses: Uses) -> Uses {
        let assigns = || (0..self.text.len()).any(|at| self.text.kind(at) == Kind::Assign);
        if uses.contains(Uses::USER_VARIABLE_WRITE) && !assigns() {
            uses.remove(Uses::USER_VARIABLE_WRITE);
        }
        uses
    }
}

/// A function that varies; rows of VALUES are looked at, too.
pub(super) fn varying(text: &Text) -> Option<&[u8]> {
    let calls = |at: &u32| text.is(at + 1, b'(') || text.is_reserved(*at);
    let at = (0..text.len()).find(|at| text.is_one_of(*at, VARYING) && calls(at))?;
    Some(text.bytes(at))
}
