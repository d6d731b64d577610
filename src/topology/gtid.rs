//! Transactions by their GTIDs: what a server has executed, what a session has written.
//!
//! Owns: both dialects' notations in one form. Does not know: servers, sessions, time. Invariant: intervals of one origin are
//! in order and do not touch, so that "contains" is one walk.

use std::fmt;

/// Intervals kept of one origin; beyond it the smallest gaps are taken for filled, which asks for more than was meant, never less.
const INTERVALS_MAX: usize = 32;
/// Origins of a session's own transactions: servers or domains that it has written to.
const ORIGINS_MAX: usize = 64;

/// Where transactions are counted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Origin {
    /// MySQL: a server's UUID, and the tag of a tagged GTID (8.3 and later).
    Source(Box<[u8]>),
    /// MariaDB: a replication domain. One position stands for all before it.
    Domain(u32),
    /// MariaDB: what one server (by its id) has written in a domain.
    Stream(u32, u32),
}

/// A set of transactions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Transactions {
    /// In order of the origins.
    of: Vec<(Origin, Intervals)>,
}

/// First and last number of each run, in order.
type Intervals = Vec<(u64, u64)>;

impl Transactions {
    /// Reads MySQL's `uuid[:tag]:1-5:7,uuid:…` or MariaDB's `domain-server-sequence,…`; whitespace is allowed where servers put it.
    /// `None` where it is neither.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut set = Self::default();
        for part in text.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|part| !part.is_empty()) {
            if part.contains(&b':') { set.add_mysql(part)? } else { set.add_mariadb(part)? }
        }
        Some(set)
    }

    /// Reads MariaDB's `gtid_binlog_state`, which tells how far the binary log goes for each server that wrote in a domain: where two
    /// servers have used the same number, this tells their transactions apart.
    pub fn parse_state(text: &[u8]) -> Option<Self> {
        let mut set = Self::default();
        for part in text.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|part| !part.is_empty()) {
            let mut fields = part.split(|byte| *byte == b'-').map(number);
            let (domain, server, sequence) = (fields.next()??, fields.next()??, fields.next()??);
            let origin = Origin::Stream(u32::try_from(domain).ok()?, u32::try_from(server).ok()?);
            if fields.next().is_some() {
                return None;
            }
            set.add(&origin, 1, sequence.max(1));
        }
        Some(set)
    }

    /// Adds all of `other`'s, as they are.
    pub fn join(&mut self, other: &Self) {
        for (origin, intervals) in &other.of {
            intervals.iter().for_each(|&(first, last)| self.add(origin, first, last));
        }
    }

    /// Those of these that `other` lacks.
    pub fn without(&self, other: &Self) -> Self {
        let mut left = Self::default();
        for (origin, intervals) in &self.of {
            let known =
                other.of.binary_search_by(|(known, _)| known.cmp(origin)).map(|at| &other.of[at].1[..]);
            let known = known.unwrap_or_default();
            for &(first, last) in intervals {
                let mut from = first;
                for &(start, end) in known.iter().filter(|run| run.1 >= first && run.0 <= last) {
                    if from < start {
                        left.add(origin, from, start - 1);
                    }
                    from = from.max(end.saturating_add(1));
                }
                if from <= last {
                    left.add(origin, from, last);
                }
            }
        }
        left
    }

    /// Those that one server has written itself, by its UUID (MySQL) or its id (MariaDB, of [`Transactions::parse_state`]).
    pub fn written_by(&self, uuid: Option<&str>, server_id: u32) -> Self {
        let is_its = |origin: &Origin| match origin {
            Origin::Source(name) => uuid.is_some_and(|uuid| {
                name.get(..uuid.len()).is_some_and(|start| start.eq_ignore_ascii_case(uuid.as_bytes()))
            }),
            Origin::Stream(_, server) => *server == server_id,
            Origin::Domain(_) => false,
        };
        Self { of: self.of.iter().filter(|(origin, _)| is_its(origin)).cloned().collect() }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        let each = self.of.iter().flat_map(|(_, runs)| runs).map(|(first, last)| last - first);
        each.fold(0, |sum, more| sum.saturating_add(more.saturating_add(1)))
    }

    fn add_mysql(&mut self, part: &[u8]) -> Option<()> {
        let mut fields = part.split(|byte| *byte == b':').map(<[u8]>::trim_ascii);
        let uuid = fields.next().filter(|uuid| is_uuid(uuid))?.to_ascii_lowercase();
        let mut origin = Origin::Source(uuid.clone().into());
        for field in fields {
            let (first, last) = match field.iter().position(|byte| *byte == b'-') {
                Some(at) => (number(&field[..at]), number(&field[at + 1..])),
                None => (number(field), number(field)),
            };
            match (first, last) {
                (Some(first), Some(last)) if 0 < first && first <= last => self.add(&origin, first, last),
                _ if is_tag(field) => {
                    let tag = field.to_ascii_lowercase();
                    origin = Origin::Source([&uuid[..], b":", &tag].concat().into());
                }
                _ => return None,
            }
        }
        Some(())
    }

    fn add_mariadb(&mut self, part: &[u8]) -> Option<()> {
        let mut fields = part.split(|byte| *byte == b'-').map(number);
        let (domain, _server, sequence) = (fields.next()??, fields.next()??, fields.next()??);
        let origin = Origin::Domain(u32::try_from(domain).ok()?);
        if fields.next().is_some() {
            return None;
        }
        if sequence > 0 {
            self.add(&origin, 1, sequence);
        }
        Some(())
    }

    fn add(&mut self, origin: &Origin, first: u64, last: u64) {
        match self.of.binary_search_by(|(known, _)| known.cmp(origin)) {
            Ok(at) => insert(&mut self.of[at].1, first, last),
            Err(at) => self.of.insert(at, (origin.clone(), vec![(first, last)])),
        }
    }

    /// Adds all of `other`'s. Bounded: past [`INTERVALS_MAX`] gaps are taken for filled; false past [`ORIGINS_MAX`] origins.
    #[must_use]
    pub fn extend(&mut self, other: &Self) -> bool {
        for (origin, intervals) in &other.of {
            intervals.iter().for_each(|&(first, last)| self.add(origin, first, last));
        }
        for (_, intervals) in &mut self.of {
            while intervals.len() > INTERVALS_MAX {
                close_smallest_gap(intervals);
            }
        }
        self.of.len() <= ORIGINS_MAX
    }

    /// Whether all of `other`'s are among these.
    pub fn contains(&self, other: &Self) -> bool {
        other.of.iter().all(|(origin, wanted)| {
            let known = self.of.binary_search_by(|(known, _)| known.cmp(origin)).map(|at| &self.of[at].1);
            known.is_ok_and(|known| {
                wanted.iter().all(|&(first, last)| {
                    let after = known.partition_point(|run| run.0 <= first);
                    after > 0 && last <= known[after - 1].1
                })
            })
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }
}

/// As the servers' functions that wait take it.
impl fmt::Display for Transactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (origin, intervals)) in self.of.iter().enumerate() {
            f.write_str(if at > 0 { "," } else { "" })?;
            match origin {
                Origin::Source(name) => {
                    f.write_str(&String::from_utf8_lossy(name))?;
                    intervals.iter().try_for_each(|(first, last)| write!(f, ":{first}-{last}"))?;
                }
                // Which server it came from does not matter to who waits for it.
                Origin::Domain(domain) => {
                    let last = intervals.last().map_or(0, |(_, last)| *last);
                    write!(f, "{domain}-1-{last}")?;
                }
                Origin::Stream(domain, server) => {
                    let (first, last) = intervals.last().copied().unwrap_or_default();
                    write!(f, "{domain}-{server}-")?;
                    if first > 1 && first < last {
                        write!(f, "{first}…{last}")?
                    } else {
                        write!(f, "{last}")?
                    }
                }
            }
        }
        Ok(())
    }
}

/// Puts a run in its place, one with those that it touches.
fn insert(intervals: &mut Intervals, first: u64, last: u64) {
    let from = intervals.partition_point(|run| run.1 < first.saturating_sub(1));
    let to = intervals.partition_point(|run| run.0 <= last.saturating_add(1));
    let whole = intervals[from..to].iter().fold((first, last), |a, b| (a.0.min(b.0), a.1.max(b.1)));
    intervals.splice(from..to, [whole]);
}

fn close_smallest_gap(intervals: &mut Intervals) {
    let gap = |at: &usize| intervals[at + 1].0 - intervals[*at].1;
    if let Some(at) = (0..intervals.len().saturating_sub(1)).min_by_key(gap) {
        intervals[at].1 = intervals[at + 1].1;
        intervals.remove(at + 1);
    }
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text.trim_ascii())
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?
        .parse()
        .ok()
}

fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36 && text.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-')
}

/// MySQL manual, "GTID Tags": a letter or underscore, then up to 31 of those and digits.
fn is_tag(text: &[u8]) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    (1..=32).contains(&text.len()) && !text[0].is_ascii_digit() && text.iter().all(is_word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &str = "9a0b33ef-7c1c-11ef-8c62-0242ac120002";
    const B: &str = "9A0B33EF-7C1C-11EF-8C62-0242AC120003";

    fn set(text: &str) -> Transactions {
        Transactions::parse(text.as_bytes()).expect(text)
    }

    #[test]
    fn both_notations() {
        let executed = set(&format!("{A}:1-5:7-9:backup:1-3,\n{B}:1-100"));
        for inside in [
            format!("{A}:5"),
            format!("{A}:8-9"),
            format!("{B}:50,{A}:1-5"),
            format!("{A}:backup:2"),
            String::new(),
        ] {
            assert!(executed.contains(&set(&inside)), "{inside}");
        }
        for outside in
            [format!("{A}:6"), format!("{A}:5-7"), format!("{A}:other:1"), format!("{B}:101"), "0-1-1".into()]
        {
            assert!(!executed.contains(&set(&outside)), "{outside}");
        }
        let maria = set("0-1-40,2-7-5");
        assert!(maria.contains(&set("0-9-40")) && maria.contains(&set("2-7-1")));
        assert!(!maria.contains(&set("0-1-41")) && !maria.contains(&set("1-1-1")));
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in [
            "abc",
            "0-1",
            "0-1-2-3",
            "0-x-1",
            &format!("{A}:0"),
            &format!("{A}:5-4"),
            &format!("{A}:9x"),
            "x:1",
            "0-1-+5",
        ] {
            assert_eq!(Transactions::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn servers_read_what_is_written() {
        assert_eq!(
            set(&format!("{A}:1-5:7,{B}:2")).to_string(),
            format!("{A}:1-5:7-7,{}:2-2", B.to_lowercase())
        );
        assert_eq!(set(&format!("{A}:t:3")).to_string(), format!("{A}:t:3-3"));
        assert_eq!(set("0-1-40").to_string(), "0-1-40");
    }

    #[test]
    fn a_sessions_own_are_bounded_and_ask_for_no_less() {
        let mut own = Transactions::default();
        let mut all = Vec::new();
        for number in (1..1000).map(|number| number * 3) {
            let one = set(&format!("{A}:{number}"));
            assert!(own.extend(&one));
            all.push(one);
        }
        assert!(own.of[0].1.len() <= INTERVALS_MAX);
        assert!(all.iter().all(|one| own.contains(one)));
        let mut many = Transactions::default();
        let domains = (0..=ORIGINS_MAX).map(|domain| many.extend(&set(&format!("{domain}-1-1"))));
        assert_eq!(domains.filter(|fits| !fits).count(), 1);
    }

    #[test]
    fn what_another_lacks_and_who_wrote_it() {
        let one = set(&format!("{A}:1-10,{B}:1-5:9"));
        let other = set(&format!("{A}:1-3:6-7,{B}:1-20"));
        let left = one.without(&other);
        assert_eq!(left, set(&format!("{A}:4-5:8-10")));
        assert_eq!((left.count(), one.without(&one).count()), (5, 0));
        assert_eq!(one.written_by(Some(&B.to_lowercase()), 0), set(&format!("{B}:1-5:9")));
        let mut all = one.clone();
        all.join(&other);
        assert!(all.contains(&one) && all.contains(&other));
    }

    #[test]
    fn mariadb_servers_that_used_the_same_number_are_told_apart() {
        let state = |text: &str| Transactions::parse_state(text.as_bytes()).expect(text);
        let (old, new) = (state("0-1-105"), state("0-1-100,0-2-105"));
        assert!(!new.contains(&old), "105 of server 1 is not 105 of server 2");
        assert!(new.contains(&state("0-1-100")));
        let lost = old.without(&new);
        assert_eq!((lost.count(), lost.to_string().as_str()), (5, "0-1-101…105"));
        assert_eq!(new.written_by(None, 2), state("0-2-105"));
        assert_eq!(Transactions::parse_state(b"0-1"), None);
    }

    proptest! {
        #[test]
        fn without_is_what_is_in_one_and_not_in_the_other(one in prop::collection::vec((1u64..60, 0u64..6), 0..12), other in prop::collection::vec((1u64..60, 0u64..6), 0..12)) {
            let make = |runs: &[(u64, u64)]| {
                let (mut set, mut plain) = (Transactions::default(), std::collections::BTreeSet::new());
                for (first, more) in runs {
                    set.add(&Origin::Domain(0), *first, first + more);
                    plain.extend(*first..=first + more);
                }
                (set, plain)
            };
            let ((one, plain_one), (other, plain_other)) = (make(&one), make(&other));
            let left = one.without(&other);
            prop_assert_eq!(left.count(), plain_one.difference(&plain_other).count() as u64);
            prop_assert!(one.contains(&left));
            prop_assert!(left.without(&other) == left);
        }

        #[test]
        fn runs_are_those_of_a_plain_set(runs in prop::collection::vec((1u64..60, 0u64..6), 0..30), asked in 1u64..70, more in 0u64..4) {
            let mut set = Transactions::default();
            let origin = Origin::Domain(0);
            let mut plain = std::collections::BTreeSet::new();
            for (first, more) in runs {
                set.add(&origin, first, first + more);
                plain.extend(first..=first + more);
            }
            let wanted = Transactions { of: vec![(origin, vec![(asked, asked + more)])] };
            prop_assert_eq!(set.contains(&wanted), (asked..=asked + more).all(|number| plain.contains(&number)));
            for pair in set.of.first().map_or(&[][..], |(_, runs)| runs).windows(2) {
                prop_assert!(pair[0].1 + 1 < pair[1].0);
            }
        }

        #[test]
        fn no_text_panics(text in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Transactions::parse(&text);
        }
    }
}
