//! STDDEV, VARIANCE and their kin, out of the shards' own.
//!
//! Owns: count, mean and squares of what has come. Does not know: rows. Invariant: no squares of the values themselves are added up, which
//! would lose the digits of what lies close together far from zero (Chan, Golub, LeVeque 1979).

use super::spec::Deviation;

/// Values so far.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub(super) struct Moments {
    count: u64,
    mean: f64,
    /// Of distances from the mean.
    squares: f64,
}

impl Moments {
    /// Adds a shard's values by their count, sum and variance.
    #[allow(clippy::cast_precision_loss)] // as the servers divide
    pub fn add(&mut self, count: u64, sum: f64, variance: f64) {
        if count == 0 {
            return;
        }
        let mean = sum / count as f64;
        let squares = variance * count as f64;
        let all = self.count.saturating_add(count);
        let apart = mean - self.mean;
        let share = count as f64 / all as f64;
        *self = match self.count {
            0 => Self { count, mean, squares },
            own => Self {
                count: all,
                mean: self.mean + apart * share,
                squares: self.squares + squares + apart * apart * own as f64 * share,
            },
        };
    }

    /// What is asked for; `None` for NULL.
    #[allow(clippy::cast_precision_loss)]
    pub fn value(&self, of: &Deviation) -> Option<f64> {
        let divisor = self.count.checked_sub(u64::from(of.sample)).filter(|divisor| *divisor > 0)?;
        let variance = self.squares / divisor as f64;
        Some(if of.root { variance.sqrt() } else { variance })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sample: bool, root: bool) -> Deviation {
        Deviation { count: 0, sum: 0, variance: 0, sample, root }
    }

    #[test]
    fn parts_give_what_the_whole_gives() {
        // 1, 2, 3, 4 | 10 | none | 5, 7: mean 32/7, squares 204 - 1024/7
        let mut moments = Moments::default();
        for (count, sum, variance) in [(4, 10.0, 1.25), (1, 10.0, 0.0), (0, 0.0, 0.0), (2, 12.0, 1.0)] {
            moments.add(count, sum, variance);
        }
        let squares: f64 = 204.0 - 1024.0 / 7.0;
        let near = |value: Option<f64>, other: f64| assert!((value.unwrap() - other).abs() < 1e-12);
        near(moments.value(&of(false, false)), squares / 7.0);
        near(moments.value(&of(true, false)), squares / 6.0);
        near(moments.value(&of(false, true)), (squares / 7.0).sqrt());
    }

    #[test]
    fn digits_stay_far_from_zero() {
        let mut moments = Moments::default();
        moments.add(2, 2e9 + 1.0, 0.25);
        moments.add(2, 2e9 + 5.0, 0.25);
        assert_eq!(moments.value(&of(false, false)), Some(1.25));
    }

    #[test]
    fn of_nothing_and_of_a_sample_of_one_there_is_none() {
        let mut moments = Moments::default();
        assert_eq!(moments.value(&of(false, true)), None);
        moments.add(1, 3.0, 0.0);
        assert_eq!((moments.value(&of(false, true)), moments.value(&of(true, true))), (Some(0.0), None));
    }
}
