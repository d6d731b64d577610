//! What a client's prepared statement is by the rules: its plan, its text at each shard, and values that came ahead of their execution.
//!
//! Owns: the bounds on these. Does not know: shards, servers' statements. Invariant: a plan is used only for the rules that it was made by;
//! values that came ahead are those of the next execution, whole, or it fails.

use std::sync::Arc;

use crate::backend::statements::Source;
use crate::plan::sharded::Planned;
use crate::session::worker::{Reserved, Worker};
use crate::sql::Literal;

/// Texts that are kept for shards, of one statement.
const SOURCES_MAX: usize = 256;
/// What they take, together.
const TEXTS_MAX: usize = 1 << 20;

/// A statement by the rules.
#[derive(Debug)]
pub(in crate::session) struct Placed {
    /// Which rules.
    pub generation: u64,
    pub planned: Arc<Planned>,
    /// With named parameters, where it runs on shards.
    pub text: Box<[u8]>,
    /// That text's.
    pub literals: Vec<Literal>,
    /// Where the client's text names no columns: how they are named, and which they were.
    pub listed: Option<(Arc<Planned>, Arc<[String]>)>,
}

impl Placed {
    /// A statement whose text is of no use on shards.
    pub fn without_text(generation: u64, planned: Arc<Planned>) -> Self {
        Self { generation, planned, text: Box::default(), literals: Vec::new(), listed: None }
    }
}

/// What a client's statement is beside what it is at home.
#[derive(Debug, Default)]
pub(in crate::session) struct Abroad {
    pub placed: Option<Arc<Placed>>,
    /// As shards know it, the oldest first.
    sources: Vec<Arc<Source>>,
    /// As the shard knows it where it was executed last.
    last: Option<Arc<Source>>,
    pub ahead: Ahead,
}

impl Abroad {
    /// Of a statement that was prepared at a shard, where a source is given.
    pub fn prepared_as(source: Option<Arc<Source>>) -> Self {
        Self { sources: source.into_iter().collect(), ..Self::default() }
    }

    /// As a shard knows it that has this text in this schema.
    pub fn find(&self, text: &[u8], schema: &[u8]) -> Option<&Arc<Source>> {
        self.sources.iter().find(|source| source.state.schema == schema && *source.text == *text)
    }

    /// Keeps one more; gives those that make room for it.
    pub fn keep(&mut self, source: Arc<Source>) -> Vec<Arc<Source>> {
        let mut size: usize = self.sources.iter().map(|source| source.text.len()).sum();
        size += source.text.len();
        let mut out = Vec::new();
        while self.sources.len() >= SOURCES_MAX || size > TEXTS_MAX {
            // A cursor may be open on the one that was executed last.
            let is_last =
                |source: &Arc<Source>| self.last.as_ref().is_some_and(|last| Arc::ptr_eq(last, source));
            let Some(oldest) = self.sources.iter().position(|source| !is_last(source)) else { break };
            let oldest = self.sources.remove(oldest);
            size -= oldest.text.len();
            out.push(oldest);
        }
        self.sources.push(source);
        out
    }

    /// It is executed at a shard.
    pub fn note_execution(&mut self, source: &Arc<Source>) {
        self.last = Some(Arc::clone(source));
    }

    /// As what it was executed last at a shard.
    pub fn last(&self) -> Option<&Arc<Source>> {
        self.last.as_ref()
    }

    /// As all shards know it.
    pub fn sources(&self) -> &[Arc<Source>] {
        &self.sources
    }
}

/// Values that COM_STMT_SEND_LONG_DATA has brought, which wait for the execution that says where they go.
#[derive(Debug, Default)]
pub(in crate::session) struct Ahead {
    values: Vec<(u16, Vec<u8>)>,
    reserved: Option<Reserved>,
}

impl Ahead {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The value of a parameter.
    pub fn value(&self, parameter: u16) -> Option<&[u8]> {
        self.values.iter().find(|(which, _)| *which == parameter).map(|(_, value)| &value[..])
    }

    /// Adds to a parameter's value; false where that is too much: for one packet, or for all sessions together.
    pub fn add(&mut self, parameter: u16, bytes: &[u8], worker: &Worker) -> bool {
        let size: usize = self.values.iter().map(|(_, value)| value.len()).sum();
        let Some(reserved) = worker.reserve_packet(bytes.len()) else { return false };
        if size + bytes.len() > worker.config.limits.packet_max {
            return false;
        }
        match &mut self.reserved {
            Some(before) => before.join(reserved),
            None => self.reserved = Some(reserved),
        }
        match self.values.iter_mut().find(|(which, _)| *which == parameter) {
            Some((_, value)) => value.extend_from_slice(bytes),
            None => self.values.push((parameter, bytes.to_vec())),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use super::*;
    use crate::backend::state::State;

    fn source(text: &[u8], schema: &[u8]) -> Arc<Source> {
        let state = Arc::new(State::with_schema(schema.into()));
        Arc::new(Source::new(text.into(), state, |_| 0, &RandomState::new()))
    }

    #[test]
    fn a_text_in_another_schema_is_another_statement() {
        let mut abroad = Abroad::prepared_as(Some(source(b"SELECT 1", b"shop_0")));
        assert!(
            abroad.find(b"SELECT 1", b"shop_1").is_none() && abroad.find(b"SELECT 2", b"shop_0").is_none()
        );
        assert!(abroad.keep(source(b"SELECT 1", b"shop_1")).is_empty());
        assert!(
            abroad.find(b"SELECT 1", b"shop_1").is_some() && abroad.find(b"SELECT 1", b"shop_0").is_some()
        );
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_last_one_stays() {
        let first = source(b"first", b"");
        let mut abroad = Abroad::prepared_as(Some(Arc::clone(&first)));
        abroad.note_execution(&first);
        let mut gone = 0;
        for number in 0..1000 {
            gone += abroad.keep(source(format!("SELECT {number}").as_bytes(), b"")).len();
            assert!(abroad.sources.len() <= SOURCES_MAX && abroad.find(b"first", b"").is_some());
        }
        assert_eq!(gone + abroad.sources.len(), 1001);
        abroad.keep(source(&vec![b' '; TEXTS_MAX], b""));
        assert_eq!(abroad.sources.len(), 2, "beside a large one is the last one alone");
    }
}
