//! A line that is cut into pieces, each of one shard.
//!
//! Owns: that pieces join without a gap. Does not know: what the line's points are. Invariant: the pieces are in order, a point is in one
//! of them at most, and none is missing between the first and the last.

use super::set::{ShardIx, ShardSet};

/// Points from `from` on and below `to`; `None` is no end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece<T> {
    /// The first point.
    pub from: Option<T>,
    /// The first point that is not in it any more.
    pub to: Option<T>,
    /// Whose they are.
    pub shard: ShardIx,
}

/// Pieces that join.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pieces<T>(Vec<Piece<T>>);

/// Why pieces do not make a line; numbers are places in what was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PieceFault {
    /// This one has no point.
    Empty(usize),
    /// There are points between the end of the first and the start of the second.
    Gap(usize, usize),
    /// Both have the same points.
    Overlap(usize, usize),
}

impl<T: Ord> Pieces<T> {
    /// The pieces in order.
    pub fn new(given: Vec<Piece<T>>) -> Result<Self, PieceFault> {
        let mut pieces: Vec<_> = given.into_iter().enumerate().collect();
        if let Some((at, _)) = pieces.iter().find(|(_, piece)| is_empty(piece)) {
            return Err(PieceFault::Empty(*at));
        }
        // `None` is first: no start.
        pieces.sort_by(|(_, a), (_, b)| a.from.cmp(&b.from));
        for (before, after) in pieces.iter().zip(pieces.iter().skip(1)) {
            let ((first, before), (second, after)) = (before, after);
            match (&before.to, &after.from) {
                (Some(to), Some(from)) if to == from => {}
                (Some(to), Some(from)) if to < from => return Err(PieceFault::Gap(*first, *second)),
                _ => return Err(PieceFault::Overlap(*first, *second)),
            }
        }
        Ok(Self(pieces.into_iter().map(|(_, piece)| piece).collect()))
    }

    /// Whose the point is.
    pub(super) fn locate(&self, point: &T) -> Option<ShardIx> {
        let started = self.0.partition_point(|piece| piece.from.as_ref().is_none_or(|from| from <= point));
        let piece = self.0.get(started.checked_sub(1)?)?;
        piece.to.as_ref().is_none_or(|to| point < to).then_some(piece.shard)
    }

    /// Whose points there are from `low` to `high`, both included; `None` is no bound.
    pub(super) fn within(&self, low: Option<&T>, high: Option<&T>) -> ShardSet {
        let meets = |piece: &&Piece<T>| {
            let starts = high.zip(piece.from.as_ref()).is_none_or(|(high, from)| from <= high);
            let goes_on = low.zip(piece.to.as_ref()).is_none_or(|(low, to)| low < to);
            starts && goes_on
        };
        self.0.iter().filter(meets).map(|piece| piece.shard).collect()
    }

    /// The pieces in order.
    pub fn iter(&self) -> impl Iterator<Item = &Piece<T>> {
        self.0.iter()
    }
}

fn is_empty<T: Ord>(piece: &Piece<T>) -> bool {
    piece.from.as_ref().zip(piece.to.as_ref()).is_some_and(|(from, to)| from >= to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(from: Option<i32>, to: Option<i32>, shard: u16) -> Piece<i32> {
        Piece { from, to, shard: ShardIx(shard) }
    }

    #[test]
    fn pieces_are_half_open() {
        let pieces = Pieces::new(vec![
            piece(Some(10), Some(20), 1),
            piece(None, Some(10), 0),
            piece(Some(20), Some(30), 2),
        ])
        .unwrap();
        for (point, shard) in
            [(-5, Some(0)), (9, Some(0)), (10, Some(1)), (19, Some(1)), (20, Some(2)), (30, None)]
        {
            assert_eq!(pieces.locate(&point), shard.map(ShardIx), "{point}");
        }
        let within = |low: Option<i32>, high: Option<i32>| {
            pieces.within(low.as_ref(), high.as_ref()).iter().map(|shard| shard.0).collect::<Vec<_>>()
        };
        assert_eq!(within(Some(10), Some(19)), [1]);
        assert_eq!(within(Some(9), Some(20)), [0, 1, 2]);
        assert_eq!(within(None, Some(9)), [0]);
        assert_eq!(within(Some(25), None), [2]);
        assert!(within(Some(30), None).is_empty());
    }

    #[test]
    fn gaps_overlaps_and_empty_pieces_are_refused() {
        let fault = |given| Pieces::new(given).unwrap_err();
        assert_eq!(fault(vec![piece(Some(5), Some(5), 0)]), PieceFault::Empty(0));
        assert_eq!(fault(vec![piece(Some(6), None, 0), piece(None, Some(5), 1)]), PieceFault::Gap(1, 0));
        assert_eq!(fault(vec![piece(None, Some(6), 0), piece(Some(5), None, 1)]), PieceFault::Overlap(0, 1));
        assert_eq!(fault(vec![piece(None, None, 0), piece(None, Some(3), 1)]), PieceFault::Overlap(0, 1));
    }
}
