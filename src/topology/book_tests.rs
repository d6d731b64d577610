//! The book fed with probes' ends, without a server or a clock.

use super::super::facts;
use super::super::replication::Channel;
use super::super::replication::tests::channel;
use super::*;
use crate::config::{Cluster, Keepalive, Monitor, Pool, Reads, Secret, ServerTls, ServerTlsMode};

const A: ServerId = ServerId(0);
const B: ServerId = ServerId(1);

/// Two servers; facts hold 3 × (100 ms + 900 ms), and `max_lag` is 2 s.
pub fn book() -> Book {
    let server = |port| config::Server { host: "h".into(), port, weight: 1 };
    let unused = Duration::ZERO;
    let cluster = Cluster {
        compression: None,
        name: "main".into(),
        servers: vec![server(1), server(2)],
        tls: ServerTls { mode: ServerTlsMode::Off, ..ServerTls::default() },
        keepalive: Keepalive::default(),
        forward_attributes: false,
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
    };
    let monitor = Monitor {
        user: "m".into(),
        password: Secret::new(""),
        interval: Duration::from_millis(100),
        timeout: Duration::from_millis(900),
        failures: 3,
        successes: 2,
    };
    Book::new(&cluster, &monitor)
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
    let identity = Identity { read_only, server_id, server_uuid: None, replication };
    Outcome::Good(Observation { identity, facts: Arc::new(facts), executed: None })
}

/// What a primary says.
pub fn primary() -> Outcome {
    said(1, false, vec![])
}

/// What its replica says.
pub fn replica(lag_s: Option<u64>) -> Outcome {
    said(2, true, vec![channel(1, lag_s)])
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
