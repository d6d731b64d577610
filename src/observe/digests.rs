//! Statements by digest: a table of bounded size for each worker thread, merged when it is shown.
//!
//! The table lives on its thread and is counted without atomics; whoever shows it asks the thread for a copy. A
//! statement that finds the table full takes the place of one that was not seen for a while (the second-chance
//! clock), whose figures go to a common rest, so that sums stay true.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Digests of one worker thread.
pub const DIGESTS_MAX: usize = 4096;
/// Bytes of a digest's text that are kept, as MySQL's `performance_schema_max_digest_length`.
pub const TEXT_MAX: usize = 1024;
/// Routes that are told apart.
const ROUTES_MAX: usize = 4;

/// What statements of one digest have cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    /// How often.
    pub count: u64,
    /// How often with an error.
    pub errors: u64,
    /// Rows returned or changed.
    pub rows: u64,
    /// Nanoseconds from a statement's packet to the end of its reply, all together.
    pub total_ns: u64,
    /// The longest of them.
    pub max_ns: u64,
    /// How often on each route, by its index.
    pub routes: [u64; ROUTES_MAX],
}

impl Figures {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.errors += other.errors;
        self.rows = self.rows.saturating_add(other.rows);
        self.total_ns = self.total_ns.saturating_add(other.total_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        self.routes.iter_mut().zip(other.routes).for_each(|(sum, more)| *sum += more);
    }

    fn of(execution: &Execution) -> Self {
        let ns = u64::try_from(execution.took.as_nanos()).unwrap_or(u64::MAX);
        let mut routes = [0; ROUTES_MAX];
        if let Some(route) = routes.get_mut(execution.route) {
            *route = 1;
        }
        Self {
            count: 1,
            errors: u64::from(execution.failed),
            rows: execution.rows,
            total_ns: ns,
            max_ns: ns,
            routes,
        }
    }
}

/// One execution.
#[derive(Clone, Copy, Debug)]
pub struct Execution {
    /// From its packet to the end of its reply.
    pub took: Duration,
    /// Rows returned or changed.
    pub rows: u64,
    /// Whether it ended in an error.
    pub failed: bool,
    /// Index of its route.
    pub route: usize,
    /// Index of the route's reason.
    pub reason: usize,
}

/// A digest's place in the table, as long as no other takes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place(usize);

/// One digest.
#[derive(Clone, Debug)]
pub struct Digest {
    /// The digest; 0 for the rest of all that are no longer in the table.
    pub digest: u64,
    /// Its text, cut at [`TEXT_MAX`].
    pub text: Arc<[u8]>,
    /// What its statements have cost.
    pub figures: Figures,
    /// Index of the reason of the last one's route.
    pub reason: usize,
    /// When it was first seen, this time in the table.
    pub first_seen: SystemTime,
}

#[derive(Debug)]
struct Slot {
    shown: Digest,
    /// Seen since the clock's hand came by.
    touched: bool,
}

/// The digests of one worker thread.
#[derive(Debug)]
pub struct Digests {
    max: usize,
    slots: Vec<Slot>,
    // Digests can be forged by clients: the hash must not let them choose where these meet.
    places: HashMap<u64, usize>,
    hand: usize,
    rest: Figures,
}

impl Default for Digests {
    fn default() -> Self {
        Self::new(DIGESTS_MAX)
    }
}

impl Digests {
    fn new(max: usize) -> Self {
        Self { max, slots: Vec::new(), places: HashMap::new(), hand: 0, rest: Figures::default() }
    }

    /// The place of a digest. Its text is asked for where it has none yet.
    pub fn place(&mut self, digest: u64, text: impl FnOnce() -> Vec<u8>) -> Place {
        if let Some(&at) = self.places.get(&digest) {
            if let Some(slot) = self.slots.get_mut(at) {
                slot.touched = true;
            }
            return Place(at);
        }
        let shown = Digest {
            digest,
            text: shorten(text()),
            figures: Figures::default(),
            reason: 0,
            first_seen: SystemTime::now(),
        };
        let slot = Slot { shown, touched: false };
        let at = if self.slots.len() < self.max {
            self.slots.push(slot);
            self.slots.len() - 1
        } else {
            self.replace(slot)
        };
        self.places.insert(digest, at);
        Place(at)
    }

    /// Puts the slot where one was not touched for a round of the hand; its figures go to the rest.
    fn replace(&mut self, slot: Slot) -> usize {
        loop {
            let at = self.hand;
            self.hand = (self.hand + 1) % self.max;
            let Some(old) = self.slots.get_mut(at) else { continue };
            if std::mem::take(&mut old.touched) {
                continue;
            }
            let old = std::mem::replace(old, slot);
            self.places.remove(&old.shown.digest);
            self.rest.add(&old.shown.figures);
            return at;
        }
    }

    /// Counts an execution. `place` was the digest's when the statement began.
    pub fn count(&mut self, place: Place, digest: u64, execution: &Execution) {
        let figures = Figures::of(execution);
        match self.slots.get_mut(place.0).filter(|slot| slot.shown.digest == digest) {
            Some(slot) => {
                slot.shown.figures.add(&figures);
                slot.shown.reason = execution.reason;
            }
            None => self.rest.add(&figures), // others came in great number while it ran
        }
    }

    /// A digest's text.
    pub fn text(&self, digest: u64) -> Option<Arc<[u8]>> {
        let slot = self.slots.get(*self.places.get(&digest)?)?;
        Some(Arc::clone(&slot.shown.text))
    }

    /// A copy of the table, the rest included if there is one.
    pub fn copy(&self) -> Vec<Digest> {
        let rest = (self.rest.count > 0).then(|| Digest {
            digest: 0,
            text: Arc::default(),
            figures: self.rest,
            reason: 0,
            first_seen: SystemTime::UNIX_EPOCH,
        });
        self.slots.iter().map(|slot| slot.shown.clone()).chain(rest).collect()
    }
}

/// The tables of several threads as one, unordered.
pub fn merge(tables: impl IntoIterator<Item = Vec<Digest>>) -> Vec<Digest> {
    let mut merged: HashMap<u64, Digest> = HashMap::new();
    for digest in tables.into_iter().flatten() {
        match merged.entry(digest.digest) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(digest);
            }
            std::collections::hash_map::Entry::Occupied(mut entry) => {
                let sum = entry.get_mut();
                sum.figures.add(&digest.figures);
                sum.first_seen = sum.first_seen.min(digest.first_seen);
            }
        }
    }
    merged.into_values().collect()
}

fn shorten(mut text: Vec<u8>) -> Arc<[u8]> {
    if text.len() > TEXT_MAX {
        text.truncate(TEXT_MAX - 3);
        text.extend_from_slice(b"...");
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn execution(ms: u64, failed: bool) -> Execution {
        Execution { took: Duration::from_millis(ms), rows: 2, failed, route: 1, reason: 3 }
    }

    fn run(digests: &mut Digests, digest: u64) {
        let place = digests.place(digest, || digest.to_string().into());
        digests.count(place, digest, &execution(1, false));
    }

    #[test]
    fn figures_add_up_over_threads() {
        let (mut one, mut other) = (Digests::default(), Digests::default());
        run(&mut one, 7);
        let place = one.place(7, || panic!("its text is known"));
        one.count(place, 7, &execution(5, true));
        run(&mut other, 7);
        let merged = merge([one.copy(), other.copy()]);
        let [digest] = &merged[..] else { panic!("{merged:?}") };
        assert_eq!((&*digest.text, digest.reason), (&b"7"[..], 3));
        let figures = digest.figures;
        assert_eq!((figures.count, figures.errors, figures.rows), (3, 1, 6));
        assert_eq!((figures.total_ns, figures.max_ns, figures.routes), (7_000_000, 5_000_000, [0, 3, 0, 0]));
    }

    #[test]
    fn a_full_table_keeps_what_is_in_use_and_loses_no_figure() {
        let mut digests = Digests::new(4);
        for digest in 1..=100 {
            run(&mut digests, 1); // always in use
            run(&mut digests, digest);
        }
        let copy = digests.copy();
        assert_eq!(copy.len(), 5, "four and the rest");
        assert!(copy.iter().any(|digest| digest.digest == 1 && digest.figures.count == 101));
        assert_eq!(copy.iter().map(|digest| digest.figures.count).sum::<u64>(), 200);
    }

    #[test]
    fn an_execution_whose_place_was_taken_is_counted_with_the_rest() {
        let mut digests = Digests::new(1);
        let place = digests.place(1, Vec::new);
        digests.place(2, Vec::new);
        digests.count(place, 1, &execution(1, false));
        assert_eq!(digests.copy()[0].figures.count, 0);
        assert_eq!(digests.copy()[1].figures.count, 1);
    }

    #[test]
    fn long_texts_are_cut() {
        let mut digests = Digests::default();
        digests.place(1, || vec![b'x'; TEXT_MAX + 1]);
        let text = digests.text(1).unwrap();
        assert!(text.len() == TEXT_MAX && text.ends_with(b"x..."));
    }
}
