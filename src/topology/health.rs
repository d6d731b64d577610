//! Whether one server is up: a pure state machine fed by probes and by what sessions meet.
//!
//! Does not know: roles, lag, clocks. Invariant: only a good probe makes a server `Up`, and nothing but
//! `failures` bad signs in a row (or facts older than they may be) makes it `Down`.

use std::fmt;

/// Whether a server takes connections.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// Not probed yet, or never with success and not often enough without.
    Unknown,
    /// Its probes succeed.
    Up,
    /// Its probes failed as often as the configuration allows.
    Down,
}

impl State {
    /// The word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// What a session met at a server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Signal {
    /// The connection was refused: nobody listens.
    ConnectRefused,
    /// The connection was not there in time.
    ConnectTimeout,
    /// A connection that worked has ended.
    ConnectionLost,
    /// A connection was made.
    Ok,
}

/// Why a probe failed, in words that may be shown to a client.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// Nobody listens on the port.
    Refused,
    /// The host cannot be reached or its name is not known.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// The connection ended during the probe.
    Lost,
    /// The server refuses the monitor's account.
    AccessDenied,
    /// TLS could not be set up.
    Tls,
    /// The answer was not understood.
    Protocol,
    /// The server answered with this error code.
    Server(u16),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::Unreachable => f.write_str("cannot be reached"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Lost => f.write_str("connection lost"),
            Self::AccessDenied => f.write_str("the monitor account is refused"),
            Self::Tls => f.write_str("TLS failed"),
            Self::Protocol => f.write_str("answer not understood"),
            Self::Server(code) => write!(f, "server error {code}"),
        }
    }
}

/// One piece of news about a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum News {
    /// A probe succeeded.
    Good,
    /// The server answered that it has no connection left (1040 and its family): alive, and no failure (T32).
    Busy,
    /// A probe failed; `stale` when what is known of the server is older than it may be (T24).
    Bad { cause: Cause, stale: bool },
    /// A session could not connect. Counts once between two good probes, however many sessions say so.
    Reported(Cause),
    /// A session could connect: takes back what other sessions reported, and nothing else (T24).
    Connected,
}

/// How many probes in a row decide.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thresholds {
    /// Bad ones until `Down`.
    pub failures: u32,
    /// Good ones until `Up` again.
    pub successes: u32,
}

/// The machine's state; what counts lives in the variant where it counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Health {
    /// Never a good probe.
    Unknown { failures: u32, cause: Option<Cause> },
    /// In use.
    Up { failures: u32, reported: bool },
    /// Taken out.
    Down { successes: u32, cause: Cause },
}

impl Health {
    /// Before the first probe.
    pub const NEW: Self = Self::Unknown { failures: 0, cause: None };

    /// The state without its counters.
    pub fn state(self) -> State {
        match self {
            Self::Unknown { .. } => State::Unknown,
            Self::Up { .. } => State::Up,
            Self::Down { .. } => State::Down,
        }
    }

    /// The last failure's cause, while it matters.
    pub fn cause(self) -> Option<Cause> {
        match self {
            Self::Unknown { cause, .. } => cause,
            Self::Up { .. } => None,
            Self::Down { cause, .. } => Some(cause),
        }
    }

    /// The next state.
    pub fn handle(self, news: News, thresholds: Thresholds) -> Self {
        match (self, news) {
            (Self::Down { successes, .. }, News::Good) if successes + 1 < thresholds.successes => {
                Self::Down { successes: successes + 1, cause: self.cause().unwrap_or(Cause::Lost) }
            }
            (_, News::Good) => Self::Up { failures: 0, reported: false },

            (Self::Up { .. }, News::Busy) => Self::Up { failures: 0, reported: false },
            (unchanged, News::Busy) => unchanged,

            (Self::Unknown { failures, .. }, News::Bad { cause, .. }) => {
                let failures = failures.saturating_add(1);
                if failures >= thresholds.failures {
                    Self::Down { successes: 0, cause }
                } else {
                    Self::Unknown { failures, cause: Some(cause) }
                }
            }
            (Self::Up { failures, reported }, News::Bad { cause, stale }) => {
                let failures = failures.saturating_add(1);
                if stale || failures + u32::from(reported) >= thresholds.failures {
                    Self::Down { successes: 0, cause }
                } else {
                    Self::Up { failures, reported }
                }
            }
            (Self::Down { .. }, News::Bad { cause, .. }) => Self::Down { successes: 0, cause },

            (Self::Up { failures, .. }, News::Reported(cause)) => {
                if failures.saturating_add(1) >= thresholds.failures {
                    Self::Down { successes: 0, cause }
                } else {
                    Self::Up { failures, reported: true }
                }
            }
            (Self::Up { failures, .. }, News::Connected) => Self::Up { failures, reported: false },
            (unchanged, News::Reported(_) | News::Connected) => unchanged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Thresholds = Thresholds { failures: 3, successes: 2 };
    const BAD: News = News::Bad { cause: Cause::TimedOut, stale: false };
    const REFUSED: News = News::Reported(Cause::Refused);

    fn after(news: &[News]) -> Health {
        news.iter().fold(Health::NEW, |health, news| health.handle(*news, LIMITS))
    }

    fn state(news: &[News]) -> State {
        after(news).state()
    }

    #[test]
    fn the_first_good_probe_is_enough_at_the_start() {
        assert_eq!(state(&[]), State::Unknown);
        assert_eq!(state(&[News::Good]), State::Up);
        assert_eq!(state(&[BAD, BAD, News::Good]), State::Up);
    }

    #[test]
    fn failures_in_a_row_take_it_out() {
        assert_eq!(state(&[BAD, BAD]), State::Unknown);
        assert_eq!(state(&[BAD, BAD, BAD]), State::Down);
        assert_eq!(state(&[News::Good, BAD, BAD]), State::Up);
        assert_eq!(state(&[News::Good, BAD, BAD, BAD]), State::Down);
        assert_eq!(state(&[News::Good, BAD, BAD, News::Good, BAD, BAD]), State::Up);
        assert_eq!(after(&[BAD, BAD, BAD]).cause(), Some(Cause::TimedOut));
    }

    #[test]
    fn successes_in_a_row_bring_it_back() {
        let down = [News::Good, BAD, BAD, BAD];
        let then = |more: &[News]| state(&[&down, more].concat());
        assert_eq!(then(&[News::Good]), State::Down);
        assert_eq!(then(&[News::Good, News::Good]), State::Up);
        assert_eq!(then(&[News::Good, BAD, News::Good]), State::Down);
    }

    #[test]
    fn t24_nothing_but_good_probes_brings_it_back() {
        let down = [BAD, BAD, BAD];
        for news in [BAD, News::Busy, News::Connected, REFUSED] {
            assert_eq!(state(&[&down[..], &[news; 10]].concat()), State::Down, "{news:?}");
        }
    }

    #[test]
    fn t24_stale_facts_take_it_out_at_the_first_failure() {
        let stale = News::Bad { cause: Cause::TimedOut, stale: true };
        assert_eq!(state(&[News::Good, stale]), State::Down);
        assert_eq!(state(&[stale]), State::Unknown, "nothing was known that could be stale");
    }

    #[test]
    fn t32_too_many_connections_is_no_failure() {
        assert_eq!(state(&[&[News::Good][..], &[News::Busy; 100]].concat()), State::Up);
        assert_eq!(state(&[News::Good, BAD, BAD, News::Busy, BAD, BAD]), State::Up, "it answered in between");
        assert_eq!(state(&[News::Busy]), State::Unknown);
    }

    #[test]
    fn reports_count_once_between_two_good_probes() {
        assert_eq!(state(&[&[News::Good][..], &[REFUSED; 1000]].concat()), State::Up);
        assert_eq!(state(&[News::Good, REFUSED, BAD]), State::Up);
        assert_eq!(
            state(&[News::Good, REFUSED, BAD, BAD]),
            State::Down,
            "one report and two probes are three"
        );
        assert_eq!(state(&[News::Good, BAD, BAD, REFUSED]), State::Down);
        assert_eq!(state(&[News::Good, REFUSED, News::Connected, BAD, BAD]), State::Up, "taken back");
    }

    #[test]
    fn a_report_says_nothing_of_a_server_that_is_not_in_use() {
        assert_eq!(state(&[REFUSED, REFUSED, REFUSED]), State::Unknown);
    }
}
