//! Values that Tidegate makes for rows, unique over all instances and shards: `generate` in the rules.
//!
//! Owns: how they are made, and what of it all cores share. Does not know: tables, statements, and who grants what they are made from
//! (`topology::grants`). Invariant: a value is given out once; where what grants them fails, none is made.

mod segment;
mod snowflake;
pub mod uuid;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, watch};

pub use segment::{Fetch, GIVEN, Segments, Sequence};
pub use snowflake::{EPOCH_MS, Grant, Lacking, NODES, Run as Ticks, Snowflakes};

/// What it may take from when a grant is good to when it is there.
const SETTLED: Duration = Duration::from_secs(1);

/// Values that were given out together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Run {
    /// Of time, node and count.
    Ticks(Ticks),
    /// One behind the other from this one on.
    From(u64),
    /// UUIDs.
    Uuids(uuid::Series),
}

/// One value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Id {
    /// A number.
    Number(u64),
    /// A UUID.
    Uuid(u128),
}

impl Run {
    /// The value at this place.
    pub fn id(self, at: usize) -> Id {
        match self {
            Self::Ticks(ticks) => Id::Number(ticks.number(at)),
            Self::From(first) => Id::Number(first.saturating_add(at as u64)),
            Self::Uuids(series) => Id::Uuid(series.uuid(at)),
        }
    }
}

/// What all cores of a process make values from.
#[derive(Debug, Default)]
pub struct Generators {
    /// Numbers of time, node and count.
    pub snowflakes: Snowflakes,
    /// Numbers of sequences.
    pub segments: Segments,
    uuids: uuid::Uuids,
    /// What the rules need.
    wanted: watch::Sender<bool>,
    /// Somebody waits for a grant.
    hurry: Notify,
    hurried: AtomicBool,
    /// How often something was granted.
    granted: watch::Sender<u64>,
}

impl Generators {
    /// Whether the rules need a node of their own; whoever grants it waits until they do.
    pub fn want_node(&self, wanted: bool) {
        self.wanted.send_if_modified(|before| std::mem::replace(before, wanted) != wanted);
    }

    /// Waits until the rules need a node.
    pub async fn wanted(&self) {
        // The sender lives as long as `self`.
        let _ = self.wanted.subscribe().wait_for(|wanted| *wanted).await;
    }

    /// Whether they do.
    pub fn is_wanted(&self) -> bool {
        *self.wanted.borrow()
    }

    /// So many numbers, by the clocks of now; waits for a grant where there is none, until `patience` is over.
    ///
    /// # Errors
    /// There is no grant still.
    pub async fn numbers(&self, count: usize, patience: Duration) -> Result<Ticks, Lacking> {
        let mut granted = self.granted.subscribe();
        let mut until = None;
        loop {
            granted.borrow_and_update();
            let lacking = match self.snowflakes.take(count, milliseconds(), Instant::now()) {
                Ok(run) => return Ok(run),
                Err(lacking) => lacking,
            };
            let now = Instant::now();
            let settled = lacking.settles_in.map_or(now, |left| now + left + SETTLED);
            let limit = settled.max(*until.get_or_insert(now + patience));
            self.hurry();
            let left = limit.saturating_duration_since(now);
            if !matches!(tokio::time::timeout(left, granted.changed()).await, Ok(Ok(()))) {
                return Err(lacking);
            }
        }
    }

    /// So many UUIDs, by the clock of now.
    ///
    /// # Errors
    /// The system has no chance to give.
    pub fn uuids(&self, count: usize) -> Result<uuid::Series, Lacking> {
        let mut chance = [0; 16];
        aws_lc_rs::rand::fill(&mut chance).map_err(|_| Lacking::default())?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(self.uuids.take(count, u64::try_from(since.as_millis()).unwrap_or(u64::MAX), chance))
    }

    /// Something was granted, or is known to come.
    pub fn tell(&self) {
        self.granted.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Asks for a grant at once.
    fn hurry(&self) {
        if !self.hurried.swap(true, Ordering::AcqRel) {
            self.hurry.notify_one();
        }
    }

    /// Waits until somebody waits.
    pub async fn hurried(&self) {
        self.hurry.notified().await;
        self.hurried.store(false, Ordering::Release);
    }
}

/// Milliseconds since [`EPOCH_MS`], by the wall clock; 0 before it.
pub fn milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX).saturating_sub(EPOCH_MS)
}
