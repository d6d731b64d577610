//! The book fed with probes' ends, without a server or a clock.

mod seats;
mod succession;

use std::net::SocketAddr;

use super::*;
use crate::config::{Cluster, Keepalive, LagBy, Monitor, Pool, Reads, Secret, ServerTls, ServerTlsMode};
use crate::topology::facts;
use crate::topology::group::{Membership, Unfit};
use crate::topology::pulse::Beat;
use crate::topology::replication::tests::channel;
use crate::topology::replication::{Channel, IoThread, Replication};
use crate::topology::snapshot::Standing;

/// When the probes connected.
static CONNECTED: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

const A: ServerId = ServerId(0);
const B: ServerId = ServerId(1);
const THIRD: ServerId = ServerId(2);

fn server(port: u16) -> config::Server {
    config::Server { host: "h".into(), port, weight: 1, draining: false }
}

/// Probes of no effect on what is tested here.
fn rhythm() -> Monitor {
    Monitor {
        user: "m".into(),
        password: Secret::new(""),
        interval: Duration::from_millis(100),
        timeout: Duration::from_millis(900),
        failures: 3,
        successes: 2,
        lag: LagBy::Auto,
    }
}

/// Two servers; facts hold 3 × (100 ms + 900 ms), and `max_lag` is 2 s.
pub fn book() -> Book {
    Book::new(&cluster(), &rhythm(), ServerIds::default())
}

/// Three servers, one of which Tidegate promotes.
fn guarded() -> Book {
    let mut cluster = cluster();
    cluster.servers.push(config::Server { port: 3, ..cluster.servers[0].clone() });
    let (second, nobody) = (Duration::from_secs(1), || Secret::new(""));
    cluster.promotion = Some(config::Promotion {
        user: "f".into(),
        password: nobody(),
        replication_user: "r".into(),
        replication_password: nobody(),
        apply_timeout: second,
        transactions_timeout: second,
    });
    Book::new(&cluster, &rhythm(), ServerIds::default())
}

fn cluster() -> Cluster {
    let unused = Duration::ZERO;
    Cluster {
        compression: None,
        multi_primary: false,
        resolve_interval: Duration::from_secs(5),
        name: "main".into(),
        servers: vec![server(1), server(2)],
        tls: ServerTls { mode: ServerTlsMode::Off, ..ServerTls::default() },
        keepalive: Keepalive::default(),
        forward_attributes: false,
        transactions: config::Transactions::default(),
        promotion: None,
        reads: Reads::default(),
        pool: Pool {
            max: 1,
            min_idle: 0,
            idle_timeout: unused,
            lifetime: unused,
            lifetime_jitter_percent: 0,
            queue: 1,
            queue_timeout: unused,
            connect_timeout: unused,
            primary_wait: unused,
        },
    }
}

fn said(server_id: u32, read_only: bool, channels: Vec<Channel>) -> Outcome {
    let version = facts::parse_version("9.7.4", "").unwrap();
    let greeting = facts::usual_greeting(version, "9.7.4", false);
    let facts = ServerFacts {
        version_text: greeting.version_text,
        version,
        capabilities: greeting.capabilities,
        mariadb_capabilities: 0,
        auth_plugin: greeting.auth_plugin,
        greeting_collation: greeting.collation,
        autocommit: true,
        commit_chains: false,
        serializable: false,
        sql_mode: String::new(),
        default_collation: "utf8mb4_0900_ai_ci".into(),
        default_collation_id: 255,
        lower_case_table_names: 0,
        wait_timeout: Duration::from_secs(28_800),
        interactive_timeout: Duration::from_secs(28_800),
        max_allowed_packet: 1 << 26,
        gtids: true,
    };
    let replication = Replication::Channels(channels);
    let identity = Identity { read_only, server_id, server_uuid: None, replication, group: None };
    Outcome::Good(Observation {
        connected: *CONNECTED,
        identity,
        facts: Arc::new(facts),
        executed: None,
        history: None,
        hands_over: false,
    })
}

/// What a primary says.
pub fn primary() -> Outcome {
    said(1, false, vec![])
}

/// What its replica says.
pub fn replica(lag_s: Option<u64>) -> Outcome {
    said(2, true, vec![channel(1, lag_s)])
}

fn configure(book: &mut Book, servers: Vec<config::Server>) {
    let cluster = Cluster { servers, ..(*book.settings).clone() };
    book.configure(Arc::new(cluster), &rhythm());
}

fn readers(book: &mut Book, now: Instant) -> Vec<ServerId> {
    book.snapshot(0, now).readers.shares().map(|(id, _)| id).collect()
}

fn left_out(book: &mut Book, id: ServerId, now: Instant) -> Option<LeftOut> {
    book.snapshot(0, now).server(id).and_then(|server| server.left_out)
}

const TIMED_OUT: Outcome = Outcome::Failed(Cause::TimedOut);

#[test]
fn a_primary_and_a_replica() {
    let (mut book, now) = (book(), Instant::now());
    assert!(!book.all_probed() && !book.snapshot(0, now).can_serve());
    book.probed(A, primary(), now);
    assert_eq!(left_out(&mut book, A, now), Some(LeftOut::RoleUndecided));
    book.probed(B, replica(Some(1)), now);
    let snapshot = book.snapshot(7, now);
    assert_eq!((snapshot.generation, snapshot.primary), (7, Some(A)));
    assert_eq!(snapshot.pick_replica(0, &[]), Some(B));
    assert_eq!(snapshot.server(B).unwrap().lag, Some(Duration::from_secs(1)));
    assert_eq!(snapshot.server(A).unwrap().lag, None);
    assert_eq!(snapshot.version, facts::parse_version("9.7.4", ""));
}

#[test]
fn the_same_answer_makes_the_same_snapshot() {
    let (mut book, now) = (book(), Instant::now());
    for step in 0..3 {
        let now = now + Duration::from_millis(100 * step);
        book.probed(A, primary(), now);
        book.probed(B, replica(Some(0)), now);
    }
    let one = book.snapshot(0, now);
    book.probed(A, primary(), now);
    let other = book.snapshot(0, now);
    assert_eq!(one, other);
    assert!(Arc::ptr_eq(one.facts.as_ref().unwrap(), other.facts.as_ref().unwrap()), "and keeps its facts");
}

#[test]
fn t24_a_time_out_leaves_a_late_replica_out() {
    let (mut book, now) = (book(), Instant::now());
    book.probed(A, primary(), now);
    book.probed(B, replica(Some(60)), now);
    for step in 0..10 {
        assert_eq!(readers(&mut book, now + Duration::from_secs(step)), []);
        book.probed(B, TIMED_OUT, now + Duration::from_secs(step));
    }
}

#[test]
fn t24_old_facts_serve_nothing() {
    let (mut book, now) = (book(), Instant::now());
    book.probed(A, primary(), now);
    book.probed(B, replica(Some(0)), now);
    assert_eq!(readers(&mut book, now + Duration::from_secs(3)), [B]);
    assert_eq!(readers(&mut book, now + Duration::from_millis(3001)), []);
    book.probed(B, TIMED_OUT, now + Duration::from_millis(3001));
    let state = book.snapshot(0, now).server(B).unwrap().state;
    assert_eq!(state, State::Down, "one failure is enough when it is that long ago");
}

#[test]
fn t26_t32_the_primary_serves_while_it_is_up() {
    let (mut book, now) = (book(), Instant::now());
    let late_writer = said(1, false, vec![Channel { sql_runs: false, ..channel(99, None) }]);
    book.probed(A, late_writer, now);
    book.probed(B, replica(Some(0)), now);
    let later = now + Duration::from_secs(3600);
    book.probed(A, Outcome::Busy, later);
    let snapshot = book.snapshot(0, later);
    assert_eq!((snapshot.primary, snapshot.server(A).unwrap().left_out), (Some(A), None));
    assert_eq!(snapshot.server(B).unwrap().left_out, Some(LeftOut::Stale));
}

#[test]
fn weight_0_takes_no_reads_but_shows_its_lag() {
    let (mut book, now) = (book(), Instant::now());
    Arc::make_mut(&mut book.servers[1].config).weight = 0;
    book.probed(A, primary(), now);
    book.probed(B, replica(Some(1)), now);
    let snapshot = book.snapshot(0, now);
    let server = snapshot.server(B).unwrap();
    assert_eq!((server.left_out, server.lag), (Some(LeftOut::NoWeight), Some(Duration::from_secs(1))));
    assert!(snapshot.readers.is_empty());
}

#[test]
fn reads_go_on_from_the_first_missing_beat_of_a_dying_primary() {
    let (mut book, now) = (book(), Instant::now());
    book.probed(A, primary(), now);
    book.probed(B, replica(Some(0)), now);
    let cut = || said(2, true, vec![Channel { io: IoThread::Connecting, ..channel(1, None) }]);
    for step in 1..=20 {
        let now = now + Duration::from_millis(100 * step);
        book.probed(B, cut(), now);
        assert_eq!(readers(&mut book, now), [B], "step {step}");
        if step > 1 {
            book.probed(A, Outcome::Failed(Cause::Refused), now);
        }
    }
    assert_eq!(book.snapshot(0, now).primary, None);
}

#[test]
fn t23_a_replica_that_alone_lost_its_primary_serves_only_as_long_as_it_is_surely_fresh() {
    let (mut book, now) = (book(), Instant::now());
    book.probed(B, replica(Some(0)), now);
    let cut = || said(2, true, vec![Channel { io: IoThread::Connecting, ..channel(1, None) }]);
    let mut at = |ms| {
        let now = now + Duration::from_millis(ms);
        book.probed(A, primary(), now);
        book.probed(B, cut(), now);
        left_out(&mut book, B, now)
    };
    assert_eq!(at(2000), None);
    assert!(matches!(at(2001), Some(LeftOut::Late { .. })));
    assert_eq!(at(3001), Some(LeftOut::LagUnknown));
}

#[test]
fn t30_an_id_that_is_not_configured_is_ignored() {
    let (mut book, now) = (book(), Instant::now());
    book.probed(ServerId(2), primary(), now);
    book.reported(ServerId(2), Some(Cause::Refused));
    assert_eq!(book.snapshot(0, now).servers.len(), 2);
}

/// What a server says that has executed so much.
fn executed(mut outcome: Outcome, sequence: u64) -> Outcome {
    if let Outcome::Good(observation) = &mut outcome {
        let position = format!("0-1-{sequence}");
        observation.executed = Transactions::parse(position.as_bytes()).map(Arc::new);
    }
    outcome
}

#[test]
fn t29_lag_is_told_below_a_second_by_gtids() {
    let (mut book, start) = (book(), Instant::now());
    let at = |ms| start + Duration::from_millis(ms);
    book.probed(A, primary(), at(0));
    book.probed(B, replica(Some(0)), at(0));
    let lag_at = |book: &mut Book, now| book.snapshot(0, now).server(B).unwrap().lag;
    assert_eq!(lag_at(&mut book, at(0)), Some(Duration::ZERO));
    for (ms, written, applied, lag_ms) in
        [(100, 10, 10, 0), (200, 20, 19, 0), (300, 30, 19, 100), (400, 30, 25, 100), (500, 30, 30, 0)]
    {
        book.probed(A, executed(primary(), written), at(ms));
        // Whole seconds would say one.
        book.probed(B, executed(replica(Some(1)), applied), at(ms));
        assert_eq!(lag_at(&mut book, at(ms)), Some(Duration::from_millis(lag_ms)), "at {ms}");
    }
    // What it does not say by GTIDs is told by the status, and NULL is still no lag.
    book.probed(B, replica(Some(1)), at(600));
    assert_eq!(lag_at(&mut book, at(600)), Some(Duration::from_secs(1)));
    book.probed(B, executed(replica(None), 30), at(700));
    assert_eq!(left_out(&mut book, B, at(700)), Some(LeftOut::LagUnknown));
}

/// The status of the replica says that it is in time, whatever the table says.
#[test]
fn what_monitor_lag_asks_for_comes_before_the_status() {
    let table = config::TableName { database: "d".into(), table: "t".into() };
    let lag = LagBy::Heartbeat(config::Beats { table, interval: Duration::from_secs(1) });
    let (mut book, start) =
        (Book::new(&cluster(), &Monitor { lag, ..rhythm() }, ServerIds::default()), Instant::now());
    let at = |ms| start + Duration::from_millis(ms);
    let beat = |second: i64| Reading::Beat(Beat(second * 1_000_000));
    let said = |book: &mut Book, ms| {
        book.probed(A, primary(), at(ms));
        book.probed(B, replica(Some(0)), at(ms));
        let snapshot = book.snapshot(0, at(ms));
        let server = snapshot.server(B).unwrap();
        (server.lag.map(|lag| lag.as_millis()), server.left_out.is_none(), server.lag_is_asked)
    };
    assert_eq!(said(&mut book, 0), (Some(0), true, false));
    book.measured(B, beat(7), at(0));
    assert_eq!(said(&mut book, 0), (Some(0), true, false), "the primary has shown no beat");
    for (ms, second) in [(0, 7), (1000, 8), (2000, 9)] {
        book.measured(A, beat(second), at(ms));
    }
    book.measured(B, beat(8), at(2100));
    assert_eq!(said(&mut book, 2100), (Some(100), true, true));
    book.measured(B, beat(3), at(2100));
    assert_eq!(said(&mut book, 2100), (Some(6100), false, true));
    book.measured(B, Reading::Answer(None), at(2100));
    assert_eq!(said(&mut book, 2100), (None, false, true));
    book.measured(B, Reading::Nothing, at(2100));
    assert_eq!(said(&mut book, 2100), (Some(0), true, false));
    book.measured(B, beat(8), at(2100));
    assert_eq!(said(&mut book, 5101), (Some(0), true, false), "too long ago");
    // A stopped thread is one, whatever it has; and without a primary what was applied is fresh.
    book.measured(B, beat(9), at(5101));
    book.probed(B, self::said(2, true, vec![Channel { sql_runs: false, ..channel(1, None) }]), at(5101));
    assert_eq!(left_out(&mut book, B, at(5101)), Some(LeftOut::SqlStopped(0)));
    book.measured(B, beat(3), at(5102));
    for ms in 5200..5203 {
        book.probed(A, Outcome::Failed(Cause::Refused), at(ms));
    }
    book.probed(B, replica(Some(0)), at(5203));
    assert_eq!((book.snapshot(0, at(5203)).primary, left_out(&mut book, B, at(5203))), (None, None));
}

#[test]
fn a_lag_that_swings_about_the_bound_does_not_flap() {
    let (mut book, now) = (book(), Instant::now());
    book.probed(A, primary(), now);
    let mut readers_at = |lag_s| {
        book.probed(B, replica(Some(lag_s)), now);
        readers(&mut book, now).len()
    };
    assert_eq!([2, 3, 2, 2, 1, 2, 3, 2].map(&mut readers_at), [1, 0, 0, 0, 1, 1, 0, 0]);
}

/// The shares of B and a third server, whose slow start takes 10 s.
fn shares(book: &mut Book, now: Instant) -> Vec<u64> {
    book.snapshot(0, now).readers.shares().map(|(_, share)| share).collect()
}

#[test]
fn who_comes_back_begins_with_a_tenth() {
    let (mut book, start) = (book(), Instant::now());
    configure(&mut book, vec![server(1), server(2), server(3)]);
    let third = || said(3, true, vec![channel(1, Some(0))]);
    let good = |book: &mut Book, now| {
        book.probed(A, primary(), now);
        book.probed(B, replica(Some(0)), now);
    };
    good(&mut book, start);
    assert_eq!(shares(&mut book, start), [1000], "known before the third was looked at");
    book.probed(THIRD, third(), start);
    assert_eq!(shares(&mut book, start), [1000, 1000], "Tidegate begins: they were there before");
    let fails = start + Duration::from_secs(1);
    (0..3).for_each(|_| book.probed(THIRD, TIMED_OUT, fails));
    assert_eq!(shares(&mut book, fails), [1000]);
    let mut at = |ms| {
        let now = fails + Duration::from_millis(ms);
        good(&mut book, now);
        (0..2).for_each(|_| book.probed(THIRD, third(), now));
        shares(&mut book, now)
    };
    for (ms, share) in [(100, 100), (1000, 100), (1100, 200), (5200, 600), (9100, 1000), (99_000, 1000)] {
        assert_eq!(at(ms), [1000, share], "{ms}");
    }
}

#[test]
fn a_new_one_begins_with_a_tenth_and_one_that_was_late_or_the_primary_does_not() {
    let (mut book, now) = (book(), Instant::now());
    book.probed(A, primary(), now);
    book.probed(B, replica(Some(0)), now);
    assert_eq!(shares(&mut book, now), [1000]);
    for (lag_s, expected) in [(3, vec![]), (0, vec![1000])] {
        book.probed(B, replica(Some(lag_s)), now);
        assert_eq!(shares(&mut book, now), expected, "what was late has applied what was written");
    }
    configure(&mut book, vec![server(1), server(2), server(3)]);
    book.probed(THIRD, said(3, true, vec![channel(1, Some(0))]), now);
    assert_eq!(shares(&mut book, now), [1000, 100]);
    // B takes the primary's place.
    book.probed(B, said(2, false, vec![]), now);
    book.probed(A, said(1, true, vec![channel(2, Some(0))]), now);
    let snapshot = book.snapshot(0, now);
    assert_eq!(snapshot.primary, Some(B));
    assert_eq!(snapshot.readers.shares().collect::<Vec<_>>(), [(A, 1000), (THIRD, 100)]);
}
