//! SET of a statement that loads a file.
//!
//! Owns: which columns get values by it, and what these may be. Does not know: the fields. Invariant: what it computes for a row is the same at
//! every shard, and on every copy.

use super::Reader;
use crate::plan::sharded::copies::VARYING;
use crate::plan::sharded::parse::text::At;
use crate::plan::sharded::refusal::{Refusal, shown};
use crate::shard::Table;
use crate::sql::lexer::Kind;
use crate::sql::{self, Uses};

/// Functions whose value is another one for every row, wherever it is.
const BY_ROW: &[&[u8]] = &[b"RAND", b"RANDOM_BYTES", b"SYSDATE", b"SYS_GUID", b"UUID"];

impl Reader<'_> {
    /// SET, up to the end: the columns that it gives values.
    pub(super) fn assigned(&mut self, table: &Table) -> Result<Vec<Vec<u8>>, Refusal> {
        if self.at < self.text.len() && !self.text.is_word(self.at, b"SET") {
            return self.not_parsed();
        }
        let behind = self.at + 1;
        let (mut columns, mut depth, mut begins) = (Vec::new(), 0u32, true);
        for at in behind..self.text.len() {
            if begins {
                if !self.text.is_name(at) || !self.text.is(at + 1, b'=') {
                    return self.refuse("A file is loaded into {} with SET of what is no plain column");
                }
                columns.push(self.text.name(at).into_owned());
            }
            match self.text.kind(at) {
                Kind::Punct(b'(') => depth += 1,
                Kind::Punct(b')') => depth = depth.saturating_sub(1),
                Kind::Punct(b'.') => {
                    return self.refuse("A file is loaded into {} with SET and qualified names");
                }
                Kind::Assign => {
                    return self.refuse("A file is loaded into {} with SET that gives variables values");
                }
                Kind::Word if self.text.is_one_of(at, &[b"SELECT", b"TABLE", b"VALUES", b"WITH"]) => {
                    return self.refuse("A file is loaded into {} with SET and a subquery");
                }
                _ => {}
            }
            begins = depth == 0 && self.text.is(at, b',');
        }
        if begins && self.at < self.text.len() {
            return self.not_parsed();
        }
        self.values_of_set(behind, table)?;
        self.at = self.text.len();
        Ok(columns)
    }

    /// What SET computes is the same at every shard, and on every copy.
    fn values_of_set(&self, behind: At, table: &Table) -> Result<(), Refusal> {
        let mut probe = b"SELECT".to_vec();
        for at in behind..self.text.len() {
            probe.push(b' ');
            probe.extend_from_slice(self.text.bytes(at));
        }
        let uses = sql::recognise(&probe, self.arguments.lexing).uses;
        if behind < self.text.len() && !uses.difference(Uses::USER_VARIABLE_READ).is_empty() {
            return self.refuse(
                "A file is loaded into {} with SET by a function that is not known, or of one server",
            );
        }
        let names = |at: &At| self.text.is(at + 1, b'(') || self.text.is_reserved(*at);
        let varies = |at: &At| self.text.is_one_of(*at, VARYING) && names(at);
        let differs = |at: &At| varies(at) && !self.text.is_one_of(*at, BY_ROW);
        let is_copied = matches!(table, Table::Reference { .. });
        match (behind..self.text.len()).find(|at| if is_copied { varies(at) } else { differs(at) }) {
            None => Ok(()),
            Some(at) => {
                let function = shown(self.text.bytes(at));
                self.refuse(&format!(
                    "A file is loaded into {{}} with SET by {function}, which differs from server to server"
                ))
            }
        }
    }
}
