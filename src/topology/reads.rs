//! Whether a replica may serve reads, and how far behind it is.
//!
//! Does not know: the primary's state beyond "there is none", clients, weights above zero. Pure: time comes in as ages.
//! Invariant: what is not known to be fresh enough serves nothing (T23 to T25); the primary is never asked (T26).

use std::fmt;
use std::time::Duration;

use super::group::Unfit;
use super::health::Cause;
use super::replication::{Channel, IoThread, Replication};

/// Why a server takes no reads; its text may be shown to a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeftOut {
    /// No probe has succeeded yet; the last one's failure, if one has ended.
    NotProbed(Option<Cause>),
    /// It is down.
    Down(Cause),
    /// Writable, but which server is the primary is decided only when all were probed.
    RoleUndecided,
    /// Writable beside the primary and following nobody.
    Rival,
    /// It is a member of a group, and does not go along with it.
    Unfit(Unfit),
    /// Writable, and it cannot be told that it is the primary: another server is writable, too, or others follow somebody else.
    Contested,
    /// It is the primary, and hands over to another server: new writes wait.
    HandsOver,
    /// It has come back without this many transactions that other servers have: its data was emptied, or is older than it was.
    Lost(u64),
    /// It was the primary, and has this many transactions that the primary lacks: it is not made a replica.
    Diverged(u64),
    /// Its weight is 0.
    NoWeight,
    /// It finishes what it has begun, as the rules or an operator want it.
    Draining,
    /// It is no longer one of the cluster's, and finishes what it has begun.
    Leaving,
    /// The monitor account may not see its replication status.
    ReplicationUnreadable,
    /// Read-only, but it follows nobody.
    NotReplicating,
    /// Read-only and following nobody, though others follow it, and there is no primary.
    Halted {
        /// Tidegate may change that by order.
        promotes: bool,
    },
    /// Its receiving thread is stopped; the last error's code, 0 for none.
    IoStopped(u32),
    /// Its applying thread is stopped; the last error's code, 0 for none.
    SqlStopped(u32),
    /// How far it is behind is not known.
    LagUnknown,
    /// Further behind than `max`.
    Late {
        /// How far it is behind.
        lag: Duration,
        /// The configured bound.
        max: Duration,
        /// How late it was told to be (`SOURCE_DELAY`).
        told: Duration,
    },
    /// It is too long ago that it last answered.
    Stale,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotProbed(None) => f.write_str("not probed yet"),
            Self::NotProbed(Some(cause)) => write!(f, "not reached yet: {cause}"),
            Self::Down(cause) => write!(f, "down: {cause}"),
            Self::RoleUndecided => f.write_str("its role is not decided before all servers were probed"),
            Self::Rival => f.write_str("writable beside the primary and following nobody"),
            Self::Unfit(unfit) => unfit.fmt(f),
            Self::Contested => f.write_str(
                "writable, but not known to be the primary: another server is writable, or others follow another (split brain)",
            ),
            Self::HandsOver => f.write_str("it hands over to another primary"),
            Self::Lost(count) => {
                write!(f, "it has come back without {count} transactions that other servers have")
            }
            Self::Diverged(count) => write!(f, "it has {count} transactions that the primary lacks"),
            Self::NoWeight => f.write_str("its weight is 0"),
            Self::Draining => f.write_str("it drains"),
            Self::Leaving => f.write_str("it leaves the cluster"),
            Self::ReplicationUnreadable => f.write_str(
                "the monitor account may not see the replication status \
                 (it needs REPLICATION CLIENT; on MariaDB REPLICA MONITOR)",
            ),
            Self::NotReplicating => f.write_str("read-only, but it follows no source"),
            Self::Halted { promotes } => {
                f.write_str("read-only, and it follows no source, but the others follow it: somebody has set it so, or a change of the primary broke off; to end that, ")?;
                f.write_str(if *promotes { "SWITCHOVER TO it or to another, or " } else { "" })?;
                f.write_str("SET GLOBAL read_only = OFF there")
            }
            Self::IoStopped(0) => f.write_str("its receiving (IO) thread is stopped"),
            Self::IoStopped(code) => write!(f, "its receiving (IO) thread is stopped by error {code}"),
            Self::SqlStopped(0) => f.write_str("its applying (SQL) thread is stopped"),
            Self::SqlStopped(code) => write!(f, "its applying (SQL) thread is stopped by error {code}"),
            Self::LagUnknown => f.write_str("its lag is not known"),
            Self::Late { lag, max, told } => {
                write!(f, "{lag:?} behind, ")?;
                match lag > max {
                    true => write!(f, "more than {max:?}")?,
                    false => write!(f, "after more than {max:?}: it takes reads again below {:?}", *max / 4 * 3)?,
                }
                match told.is_zero() {
                    true => Ok(()),
                    false => write!(f, "; it is told to be {told:?} late"),
                }
            }
            Self::Stale => f.write_str("no answer for too long"),
        }
    }
}

impl LeftOut {
    /// Whether two reasons are the same but for their figures; the log tells only of the others.
    pub(super) fn same_kind(one: Option<Self>, other: Option<Self>) -> bool {
        match (one, other) {
            (Some(Self::Late { .. }), Some(Self::Late { .. })) => true,
            _ => one == other,
        }
    }
}

/// Bounds on what a replica may be and still serve.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadLimits {
    /// `max_lag`; a replica *further* behind is out.
    pub max_lag: Option<Duration>,
    /// What is known of a server holds no longer than this.
    pub facts_max_age: Duration,
}

/// The lag that was last known, and how long ago that was.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastLag {
    /// The lag.
    pub lag: Duration,
    /// Since when it was not known again.
    pub age: Duration,
}

/// The lag of a server's own report, if all its channels run and all know theirs.
pub(super) fn reported_lag(replication: &Replication) -> Option<Duration> {
    let known = |channel: &Channel| channel.lag.filter(|_| channel.sql_runs && channel.io == IoThread::Runs);
    let channels = replication.channels();
    channels.iter().map(known).collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// How far behind a replica is at most, or why that cannot be said.
///
/// A receiving thread that has lost its source reports NULL. If it is the primary that died, every replica
/// does so at once, and reads must go on: then a replica that has applied all it received is as fresh as any
/// server can be. While there still is a primary, the last known lag plus the time since then is an upper
/// bound, which serves for `facts_max_age` and no longer.
pub(super) fn lag(
    replication: &Replication,
    last: Option<LastLag>,
    primary_is_up: bool,
    limits: &ReadLimits,
) -> Result<Duration, LeftOut> {
    let channels = match replication {
        Replication::Unreadable => return Err(LeftOut::ReplicationUnreadable),
        Replication::Channels(channels) if channels.is_empty() => return Err(LeftOut::NotReplicating),
        Replication::Channels(channels) => channels,
    };
    let mut lag = Duration::ZERO;
    let mut disconnected = false;
    let mut applied_all = true;
    for channel in channels {
        match (channel.sql_runs, channel.io) {
            (false, _) => return Err(LeftOut::SqlStopped(channel.sql_error)),
            (true, IoThread::Stopped) => return Err(LeftOut::IoStopped(channel.io_error)),
            (true, IoThread::Runs) => lag = lag.max(channel.lag.ok_or(LeftOut::LagUnknown)?),
            (true, IoThread::Connecting) => {
                disconnected = true;
                applied_all &= channel.applied_all;
            }
        }
    }
    if !disconnected || (!primary_is_up && applied_all) {
        return Ok(lag);
    }
    match last {
        Some(last) if last.age <= limits.facts_max_age => Ok(whole_seconds_up(last.lag + last.age)),
        _ => Err(LeftOut::LagUnknown),
    }
}

/// Whether this lag is within bounds. Who was out for its lag comes back with three quarters of the bound, not at its edge: a lag
/// that swings about it would send the reads to and fro.
pub(super) fn admit(
    lag: Duration,
    was_late: bool,
    told: Duration,
    limits: &ReadLimits,
) -> Result<(), LeftOut> {
    match limits.max_lag {
        Some(max) if lag > if was_late { max / 4 * 3 } else { max } => Err(LeftOut::Late { lag, max, told }),
        _ => Ok(()),
    }
}

/// Coarse on purpose: a growing estimate must not make a new snapshot at every probe.
fn whole_seconds_up(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs() + u64::from(duration.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::super::replication::tests::channel;
    use super::*;

    const LIMITS: ReadLimits =
        ReadLimits { max_lag: Some(Duration::from_secs(2)), facts_max_age: Duration::from_secs(4) };
    const UNLIMITED: ReadLimits = ReadLimits { max_lag: None, ..LIMITS };

    fn one(change: impl FnOnce(&mut Channel)) -> Replication {
        let mut channel = channel(1, Some(0));
        change(&mut channel);
        Replication::Channels(vec![channel])
    }

    fn disconnected(applied_all: bool) -> Replication {
        one(|c| (c.io, c.lag, c.applied_all) = (IoThread::Connecting, None, applied_all))
    }

    fn last(lag_s: u64, age_ms: u64) -> Option<LastLag> {
        Some(LastLag { lag: Duration::from_secs(lag_s), age: Duration::from_millis(age_ms) })
    }

    #[test]
    fn the_largest_lag_of_all_channels_counts() {
        let two = Replication::Channels(vec![channel(1, Some(1)), channel(9, Some(5))]);
        assert_eq!(lag(&two, None, true, &LIMITS), Ok(Duration::from_secs(5)));
        assert_eq!(reported_lag(&two), Some(Duration::from_secs(5)));
    }

    #[test]
    fn the_bound_is_strict() {
        let of = |seconds, was_late, limits| {
            admit(Duration::from_secs_f64(seconds), was_late, Duration::ZERO, limits)
        };
        let late = |seconds| {
            Err(LeftOut::Late {
                lag: Duration::from_secs_f64(seconds),
                max: Duration::from_secs(2),
                told: Duration::ZERO,
            })
        };
        assert_eq!(of(2.0, false, &LIMITS), Ok(()));
        assert_eq!(of(3.0, false, &LIMITS), late(3.0));
        assert_eq!(of(1.75, true, &LIMITS), late(1.75));
        assert_eq!(of(1.5, true, &LIMITS), Ok(()));
        assert_eq!(of(999_999.0, true, &UNLIMITED), Ok(()));
    }

    #[test]
    fn t23_null_lag_or_a_stopped_thread_takes_it_out_whatever_the_bound() {
        for limits in [LIMITS, UNLIMITED] {
            for primary_is_up in [true, false] {
                let of = |replication: &Replication| lag(replication, last(0, 0), primary_is_up, &limits);
                assert_eq!(of(&one(|c| c.lag = None)), Err(LeftOut::LagUnknown));
                assert_eq!(of(&one(|c| c.sql_runs = false)), Err(LeftOut::SqlStopped(0)));
                assert_eq!(of(&one(|c| c.io = IoThread::Stopped)), Err(LeftOut::IoStopped(0)));
                let error = |c: &mut Channel| (c.sql_runs, c.sql_error, c.lag) = (false, 1062, None);
                assert_eq!(of(&one(error)), Err(LeftOut::SqlStopped(1062)));
            }
        }
        assert_eq!(reported_lag(&one(|c| c.sql_runs = false)), None);
    }

    #[test]
    fn t23_a_good_channel_does_not_hide_a_bad_one() {
        let mut bad = channel(2, None);
        bad.sql_runs = false;
        let two = Replication::Channels(vec![channel(1, Some(0)), bad]);
        assert_eq!(lag(&two, None, true, &LIMITS), Err(LeftOut::SqlStopped(0)));
        assert_eq!(reported_lag(&two), None);
    }

    #[test]
    fn t25_following_nobody_is_not_healthy() {
        let reset = Replication::Channels(vec![]);
        assert_eq!(lag(&reset, last(0, 0), true, &UNLIMITED), Err(LeftOut::NotReplicating));
        assert_eq!(reported_lag(&reset), None);
    }

    #[test]
    fn missing_rights_are_named() {
        let reason = lag(&Replication::Unreadable, last(0, 0), false, &UNLIMITED).unwrap_err();
        assert!(reason.to_string().contains("REPLICATION CLIENT"));
    }

    #[test]
    fn without_a_primary_what_was_applied_is_fresh() {
        assert_eq!(lag(&disconnected(true), None, false, &LIMITS), Ok(Duration::ZERO));
        assert_eq!(lag(&disconnected(false), None, false, &LIMITS), Err(LeftOut::LagUnknown));
    }

    #[test]
    fn with_a_primary_a_lost_source_serves_for_a_while_by_an_upper_bound() {
        let of = |last| lag(&disconnected(true), last, true, &LIMITS);
        assert_eq!(of(last(1, 0)), Ok(Duration::from_secs(1)));
        assert_eq!(of(last(1, 250)), Ok(Duration::from_secs(2)));
        assert_eq!(of(last(1, 4000)), Ok(Duration::from_secs(5)));
        assert_eq!(of(last(1, 4001)), Err(LeftOut::LagUnknown));
        assert_eq!(of(None), Err(LeftOut::LagUnknown));
    }
}
