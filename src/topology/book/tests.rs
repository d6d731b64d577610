//! The book fed with probes' ends, without a server or a clock.

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
    Book::new(&cluster(), &rhythm())
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
    Book::new(&cluster, &rhythm())
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
    let (mut book, start) = (Book::new(&cluster(), &Monitor { lag, ..rhythm() }), Instant::now());
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

/// What the snapshot has: port, id, standing.
fn standing(book: &mut Book) -> Vec<(u16, u16, Standing)> {
    let snapshot = book.snapshot(0, Instant::now());
    snapshot.servers.iter().map(|server| (server.config.port, server.id.0, server.standing)).collect()
}

fn configure(book: &mut Book, servers: Vec<config::Server>) {
    let cluster = Cluster { servers, ..(*book.settings).clone() };
    book.configure(Arc::new(cluster), &rhythm());
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

/// The book of two servers whose names are found, probed.
fn found() -> Book {
    let mut book = book();
    for port in [1, 2] {
        book.moved("h", port, at(port));
    }
    book.probed(A, primary(), Instant::now());
    book.probed(B, replica(Some(0)), Instant::now());
    assert_eq!(readers(&mut book, Instant::now()), [B]);
    book
}

use Standing::{Draining, Leaving, Member};

#[test]
fn who_comes_is_not_known_and_who_stays_is() {
    let (mut book, now) = (found(), Instant::now());
    configure(&mut book, vec![server(3), server(2), server(1)]);
    assert_eq!(standing(&mut book), [(3, 2, Member), (2, 1, Member), (1, 0, Member)]);
    assert_eq!(readers(&mut book, now), [B]);
    assert_eq!(book.snapshot(0, now).primary, Some(A), "a new server takes nothing from the others");
    assert!(!book.all_probed());
    book.moved("h", 3, at(3));
    book.probed(ServerId(2), replica(Some(0)), now);
    assert_eq!(readers(&mut book, now), [ServerId(2), B]);
}

#[test]
fn t30_who_goes_takes_nothing_and_is_there_until_it_is_forgotten() {
    let (mut book, now) = (found(), Instant::now());
    configure(&mut book, vec![server(1)]);
    assert_eq!(standing(&mut book), [(1, 0, Member), (2, 1, Leaving)]);
    assert_eq!(readers(&mut book, now), []);
    assert_eq!(left_out(&mut book, B, now), Some(LeftOut::Leaving));
    book.probed(B, replica(Some(0)), now);
    assert_eq!(readers(&mut book, now), []);
    book.gone(A);
    assert_eq!(standing(&mut book).len(), 2, "a member is not forgotten");
    book.gone(B);
    assert_eq!(standing(&mut book), [(1, 0, Member)]);
    configure(&mut book, vec![server(1), server(2)]);
    assert_eq!(standing(&mut book), [(1, 0, Member), (2, 2, Member)], "nothing is taken for what it was");
}

#[test]
fn who_drains_takes_no_reads_and_comes_back_as_it_was() {
    let (mut book, now) = (found(), Instant::now());
    configure(&mut book, vec![server(1), config::Server { draining: true, ..server(2) }]);
    assert_eq!(standing(&mut book), [(1, 0, Member), (2, 1, Draining)]);
    assert_eq!((readers(&mut book, now), left_out(&mut book, B, now)), (vec![], Some(LeftOut::Draining)));
    configure(&mut book, vec![server(1), server(2)]);
    assert_eq!(readers(&mut book, now), [B]);
}

#[test]
fn a_primary_is_not_removed_and_drains_when_another_is() {
    let (mut book, now) = (found(), Instant::now());
    let without = Cluster { servers: vec![server(2)], ..(*book.settings).clone() };
    assert_eq!(book.check(&without), Err(Refused::RemovesPrimary("h:1".into())));
    configure(&mut book, vec![config::Server { draining: true, ..server(1) }, server(2)]);
    let snapshot = book.snapshot(0, now);
    assert_eq!(snapshot.primary, Some(A));
    assert!(!snapshot.server(A).unwrap().is_closing());
    book.probed(A, said(1, true, vec![]), now);
    book.probed(B, said(2, false, vec![]), now);
    let snapshot = book.snapshot(0, now);
    assert_eq!(snapshot.primary, Some(B));
    assert!(snapshot.server(A).unwrap().is_closing());
    assert_eq!(book.check(&without), Ok(()));
}

#[test]
fn t30_a_name_that_leads_elsewhere_is_another_server() {
    let (mut book, now) = (found(), Instant::now());
    book.moved("h", 2, at(7));
    assert_eq!(standing(&mut book), [(1, 0, Member), (2, 2, Member), (2, 1, Leaving)]);
    assert_eq!(readers(&mut book, now), []);
    book.probed(B, replica(Some(0)), now);
    assert_eq!(readers(&mut book, now), []);
    book.probed(ServerId(2), replica(Some(0)), now);
    assert_eq!(readers(&mut book, now), [ServerId(2)]);
    // Back before the old one was forgotten: it is the old one again.
    book.moved("h", 2, at(2));
    assert_eq!(standing(&mut book), [(1, 0, Member), (2, 1, Member), (2, 2, Leaving)]);
    assert_eq!(readers(&mut book, now), [B]);
    // Also where it is listed again, with another weight by now.
    configure(&mut book, vec![server(1)]);
    configure(&mut book, vec![server(1), config::Server { weight: 7, ..server(2) }]);
    assert_eq!(standing(&mut book)[1], (2, 3, Member));
    book.moved("h", 2, at(2));
    assert_eq!(standing(&mut book), [(1, 0, Member), (2, 1, Member), (2, 2, Leaving)]);
    assert_eq!(book.snapshot(0, now).server(B).unwrap().config.weight, 7);
    // The primary's name: no write goes to the old address from now on.
    book.moved("h", 1, at(8));
    assert_eq!(book.snapshot(0, now).primary, None);
    book.probed(ServerId(4), primary(), now);
    assert_eq!(book.snapshot(0, now).primary, Some(ServerId(4)));
}

/// Three servers of which A is the primary.
fn watched(now: Instant) -> Book {
    let mut book = guarded();
    let follower = |id| said(id, true, vec![channel(1, Some(0))]);
    for (id, outcome) in [(A, primary()), (B, follower(2)), (THIRD, follower(3))] {
        book.probed(id, outcome, now);
    }
    assert_eq!(book.snapshot(0, now).primary, Some(A));
    book
}

#[test]
fn a_primary_that_hands_over_takes_nothing_new_and_keeps_its_role() {
    let now = Instant::now();
    let mut book = watched(now);
    book.hand_over(Some(A));
    let snapshot = book.snapshot(0, now);
    assert_eq!((snapshot.primary, snapshot.server(A).unwrap().role), (None, Role::Primary));
    assert_eq!(snapshot.server(A).unwrap().left_out, Some(LeftOut::HandsOver));
    assert_eq!(readers(&mut book, now), [B, THIRD], "reads go on");
    book.probed(A, said(1, true, vec![]), now);
    book.probed(B, said(2, false, vec![]), now);
    assert_eq!(book.snapshot(0, now).primary, None, "the third is still seen to follow A");
    book.probed(THIRD, said(3, true, vec![channel(2, Some(0))]), now);
    assert_eq!(book.snapshot(0, now).primary, Some(B), "the next one does not hand over");
    book.hand_over(None);
    assert_eq!(book.snapshot(0, now).primary, Some(B));
}

#[test]
fn an_old_primary_that_comes_back_writable_is_loose_and_used_by_nobody() {
    let now = Instant::now();
    let mut book = watched(now);
    let down =
        |book: &mut Book, id| (0..3).for_each(|_| book.probed(id, Outcome::Failed(Cause::Refused), now));
    down(&mut book, A);
    book.probed(B, said(2, false, vec![]), now);
    book.probed(THIRD, said(3, true, vec![channel(2, Some(0))]), now);
    assert_eq!(book.snapshot(0, now).primary, Some(B));
    // The new one is down when the old one is back, and nobody is left who would speak against it.
    down(&mut book, B);
    down(&mut book, THIRD);
    book.probed(A, primary(), now);
    book.probed(A, primary(), now);
    let snapshot = book.snapshot(0, now);
    assert_eq!((snapshot.primary, snapshot.server(A).unwrap().role), (None, Role::Rival));
    assert_eq!(book.plight().loose, [A]);
    book.probed(A, said(1, true, vec![channel(2, Some(0))]), now);
    assert!(book.plight().loose.is_empty() && book.plight().stray.is_empty(), "it follows");
}

#[test]
fn two_writable_servers_without_a_majority_are_a_split_brain() {
    let now = Instant::now();
    let mut book = watched(now);
    book.probed(B, said(2, false, vec![]), now);
    book.probed(THIRD, said(3, true, vec![]), now);
    let snapshot = book.snapshot(0, now);
    assert_eq!(snapshot.primary, None);
    assert_eq!(snapshot.server(A).unwrap().left_out, Some(LeftOut::Contested));
    assert!(snapshot.explain_unusable_to_client().contains("split brain"));
    assert!(book.plight().loose.is_empty(), "which of them it is cannot be told");
}

#[test]
fn a_server_may_have_been_restarted_when_its_probes_connected_anew() {
    let (mut book, now) = (book(), Instant::now());
    book.probed(A, primary(), now);
    book.probed(B, replica(Some(0)), now);
    book.probed(A, said(1, true, vec![]), now + Duration::from_millis(250));
    assert_eq!(book.writable_before(A), None, "somebody has set it read only");
    let Outcome::Good(mut observation) = said(1, true, vec![]) else { panic!("it is good") };
    observation.connected = now + Duration::from_millis(400);
    book.probed(A, Outcome::Good(observation), now + Duration::from_millis(500));
    assert_eq!(book.writable_before(A), Some(now));
}

/// An answer of a member that has committed this much.
fn member(server_id: u32, unfit: Option<Unfit>, sequence: u64) -> Outcome {
    let mut outcome = executed(said(server_id, false, vec![]), sequence);
    if let Outcome::Good(observation) = &mut outcome {
        observation.identity.group = Some(Membership { name: "g".into(), unfit });
    }
    outcome
}

#[test]
fn a_member_of_the_primarys_group_reads_while_it_is_in_step() {
    let (mut book, now) = (book(), Instant::now());
    book.probed(A, member(1, None, 7), now);
    book.probed(B, member(2, None, 7), now);
    assert_eq!(book.snapshot(0, now).primary, Some(A));
    assert_eq!(
        left_out(&mut book, B, now),
        Some(LeftOut::LagUnknown),
        "nothing is known of the primary's course"
    );
    book.probed(A, member(1, None, 8), now);
    book.probed(B, member(2, None, 8), now);
    assert_eq!(readers(&mut book, now), [B]);
    book.probed(B, member(2, Some(Unfit::Parted), 8), now);
    assert_eq!(left_out(&mut book, B, now), Some(LeftOut::Unfit(Unfit::Parted)));
    book.probed(A, member(1, Some(Unfit::Parted), 8), now);
    book.probed(B, member(2, None, 9), now);
    let snapshot = book.snapshot(0, now);
    assert_eq!(
        (snapshot.primary, snapshot.server(A).unwrap().left_out),
        (Some(B), Some(LeftOut::Unfit(Unfit::Parted)))
    );
}

#[test]
fn a_second_writable_server_is_a_peer_where_the_operator_says_so() {
    for (multi_primary, role, takes) in [(false, Role::Rival, vec![]), (true, Role::Peer, vec![B])] {
        let mut book = Book::new(&Cluster { multi_primary, ..cluster() }, &rhythm());
        let now = Instant::now();
        book.probed(A, said(1, false, vec![]), now);
        book.probed(B, said(2, false, vec![]), now);
        assert_eq!(book.snapshot(0, now).server(B).unwrap().role, role);
        assert_eq!(readers(&mut book, now), takes);
        for _ in 0..3 {
            book.probed(A, TIMED_OUT, now);
        }
        assert_eq!(book.snapshot(0, now).primary, Some(B));
    }
}

/// A good probe over a connection made at `connected`, of a server that has all this.
fn has(outcome: Outcome, connected: Instant, history: &str) -> Outcome {
    let Outcome::Good(mut observation) = outcome else { panic!("it is good") };
    observation.connected = connected;
    observation.history = Transactions::parse_state(history.as_bytes()).map(Arc::new);
    Outcome::Good(observation)
}

#[test]
fn a_primary_that_comes_back_without_what_others_have_is_none() {
    let now = Instant::now();
    let later = now + Duration::from_secs(1);
    let mut book = watched(now);
    let follower = |id| said(id, true, vec![channel(1, Some(0))]);
    let lost = |book: &mut Book| match book.snapshot(0, later).server(A).unwrap().left_out {
        Some(LeftOut::Lost(count)) => count,
        _ => 0,
    };
    book.probed(A, has(primary(), now, "0-1-100"), now);
    book.probed(B, has(follower(2), now, "0-1-90"), now);
    book.probed(A, has(primary(), now, "0-1-1"), now);
    assert_eq!(
        (lost(&mut book), book.snapshot(0, later).primary),
        (0, Some(A)),
        "RESET MASTER is somebody's own doing"
    );
    book.probed(A, has(primary(), now, "0-1-100"), now);
    // Another connection: it may have been restarted.
    book.probed(A, has(primary(), later, "0-1-100"), later);
    assert_eq!(book.snapshot(0, later).primary, Some(A));
    book.probed(A, has(primary(), later + Duration::from_secs(1), "0-1-40"), later);
    assert_eq!(
        (lost(&mut book), book.snapshot(0, later).primary),
        (50, None),
        "what nobody has does not count"
    );
    assert_eq!((book.plight().gone, book.missed(A).count()), (Some(A), 60));
    book.probed(A, has(said(1, true, vec![channel(2, Some(0))]), later, "0-1-40"), later);
    assert_eq!(lost(&mut book), 0, "it follows, and gets it again");
}

#[test]
fn a_primary_that_is_being_replaced_is_none_whatever_it_says() {
    let now = Instant::now();
    let mut book = watched(now);
    book.bar(A, true);
    book.probed(A, primary(), now);
    let snapshot = book.snapshot(0, now);
    assert_eq!((snapshot.primary, snapshot.server(A).unwrap().replaced), (None, true));
    book.bar(A, false);
    let snapshot = book.snapshot(0, now);
    assert_eq!(
        (snapshot.primary, snapshot.server(A).unwrap().replaced),
        (Some(A), false),
        "nobody could take its place"
    );
}

#[test]
fn who_is_at_a_replaced_primary_is_told_until_it_takes_no_writes() {
    let now = Instant::now();
    let mut book = watched(now);
    (0..3).for_each(|_| book.probed(A, Outcome::Failed(Cause::TimedOut), now));
    assert!(!book.snapshot(0, now).server(A).unwrap().replaced, "it may come back");
    book.probed(B, said(2, false, vec![]), now);
    book.probed(THIRD, said(3, true, vec![channel(2, Some(0))]), now);
    let replaced = |book: &mut Book| book.snapshot(0, now).server(A).unwrap().replaced;
    assert!(replaced(&mut book));
    (0..2).for_each(|_| book.probed(A, primary(), now));
    assert!(replaced(&mut book));
    book.probed(A, said(1, true, vec![]), now);
    assert!(!replaced(&mut book));
}

#[test]
fn what_a_replica_was_asked_later_about_is_not_missing() {
    let now = Instant::now();
    let (later, last) = (now + Duration::from_secs(1), now + Duration::from_secs(2));
    let mut book = watched(now);
    let follower = |id| said(id, true, vec![channel(1, Some(0))]);
    book.probed(A, has(primary(), now, "0-1-100"), now);
    // A's answer is older than its replica's, and comes in later.
    book.probed(B, has(follower(2), now, "0-1-105"), now);
    book.probed(A, has(primary(), later, "0-1-101"), later);
    assert_eq!(book.snapshot(0, later).primary, Some(A));
    book.probed(A, has(primary(), later, "0-1-106"), last);
    assert_eq!((book.snapshot(0, last).primary, book.missed(A).count()), (Some(A), 0));
    // Its machine has lost the end of its log.
    book.probed(B, has(follower(2), now, "0-1-110"), last);
    book.probed(A, has(primary(), last, "0-1-106"), last);
    book.probed(A, has(primary(), last, "0-1-107"), last);
    assert_eq!((book.snapshot(0, last).primary, book.missed(A).count()), (None, 3));
}
