//! The first row of each shard that has not been taken yet, least first.
//!
//! Owns: one row per shard. Does not know: what is done with rows. Invariant: a row leaves only when every shard that has
//! not ended has one here, so none that is less can follow; buffers are used again.

use super::error::Error;
use super::key::Codec;
use super::meter::Meter;
use super::row::{Field, Layout};

#[derive(Debug, Default)]
struct Head {
    row: Vec<u8>,
    /// Of `row`, or of the row taken last.
    key: Vec<u8>,
    /// A row has come before.
    begun: bool,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Missing,
    Held,
    Ended,
}

/// A k-way merge that waits for its input.
#[derive(Debug)]
pub(super) struct Heads {
    codec: Codec,
    heads: Vec<Head>,
    /// Shards whose row is here: a binary heap by key, then by number.
    heap: Vec<usize>,
    /// How many shards are `Missing`.
    missing: usize,
    spare: Vec<u8>,
}

impl Heads {
    pub fn new(codec: Codec, shards: usize) -> Self {
        let heads = (0..shards).map(|_| Head::default()).collect();
        Self { codec, heads, heap: Vec::with_capacity(shards), missing: shards, spare: Vec::new() }
    }

    /// A shard without which nothing can be taken.
    pub fn missing(&self) -> Option<usize> {
        if self.missing == 0 {
            return None;
        }
        self.heads.iter().position(|head| head.state == State::Missing)
    }

    pub fn push(
        &mut self,
        shard: usize,
        row: &[u8],
        layout: &Layout,
        fields: &mut Vec<Field>,
        meter: &mut Meter,
    ) -> Result<(), Error> {
        let head = self.heads.get_mut(shard).filter(|head| head.state == State::Missing);
        let head = head.ok_or(Error::OutOfTurn(shard))?;
        layout.split(row, fields)?;
        self.spare.clear();
        let before = self.spare.capacity();
        self.codec.encode(row, fields, &mut self.spare)?;
        meter.take(self.spare.capacity() - before)?;
        // The server's own order is the proof that both compare alike.
        if head.begun && self.spare < head.key {
            return Err(Error::Unsorted(shard));
        }
        std::mem::swap(&mut self.spare, &mut head.key);
        meter.fill(&mut head.row, row)?;
        (head.state, head.begun) = (State::Held, true);
        self.missing -= 1;
        self.heap.push(shard);
        self.rise(self.heap.len() - 1);
        Ok(())
    }

    pub fn ended(&mut self, shard: usize) -> Result<(), Error> {
        let head = self.heads.get_mut(shard).filter(|head| head.state == State::Missing);
        head.ok_or(Error::OutOfTurn(shard))?.state = State::Ended;
        self.missing -= 1;
        Ok(())
    }

    /// Puts the least row into `row`; false where all have ended. To be asked when no shard is missing.
    pub fn take(&mut self, row: &mut Vec<u8>) -> bool {
        if self.heap.is_empty() {
            return false;
        }
        let shard = self.heap.swap_remove(0);
        self.sink();
        let head = &mut self.heads[shard];
        std::mem::swap(row, &mut head.row);
        head.state = State::Missing;
        self.missing += 1;
        true
    }

    fn less(&self, left: usize, right: usize) -> bool {
        let key = |shard: usize| &self.heads[shard].key;
        key(left).cmp(key(right)).then(left.cmp(&right)).is_lt()
    }

    fn rise(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.less(self.heap[at], self.heap[parent]) {
                return;
            }
            self.heap.swap(at, parent);
            at = parent;
        }
    }

    fn sink(&mut self) {
        let mut at = 0;
        loop {
            let children = 2 * at + 1..(2 * at + 3).min(self.heap.len());
            let least =
                children.reduce(
                    |left, right| {
                        if self.less(self.heap[right], self.heap[left]) { right } else { left }
                    },
                );
            match least {
                Some(child) if self.less(self.heap[child], self.heap[at]) => {
                    self.heap.swap(at, child);
                    at = child;
                }
                _ => return,
            }
        }
    }
}
