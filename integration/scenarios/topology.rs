//! The topology against real servers of both dialects: each scenario breaks one thing and waits for what follows.

// A scenario's helpers fail by panicking, as its assertions do.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

pub mod fleet;

use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use tidegate::config::{Cluster, Monitor, Secret, ServerTlsMode};
use tidegate::ids::ServerId;
use tidegate::sql::Dialect;
use tidegate::topology::{Cause, LeftOut, Role, Signal, Snapshot, State, Topology};
use tidegate::wire::capabilities::Capabilities;

use fleet::{Fleet, monitor};

/// Longest wait for a change.
const PATIENCE: Duration = Duration::from_secs(30);

const FIRST: ServerId = ServerId(0);
const SECOND: ServerId = ServerId(1);
const THIRD: ServerId = ServerId(2);

/// Makes one test per dialect of each scenario.
macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        mod mysql {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Dialect::MySql).await;
            })*
        }
        mod mariadb {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Dialect::MariaDb).await;
            })*
        }
    };
}

scenarios! {
    roles_and_facts_are_found_whatever_the_order,
    t23_a_stopped_thread_takes_the_reads_away_and_gives_them_back,
    t24_a_hung_replica_goes_down_by_time_out_and_comes_back,
    t24_a_late_replica_that_hangs_never_gets_a_read,
    t25_a_replica_after_reset_all_takes_no_reads,
    t26_a_writable_primary_is_not_taken_out_for_lag,
    t30_a_server_that_is_not_configured_gets_nothing,
    t32_too_many_connections_takes_no_server_out,
    a_killed_replica_goes_down_and_comes_back_by_itself,
    reads_go_on_when_the_primary_is_killed,
    a_report_makes_a_dead_server_known_before_the_next_probe,
    a_promoted_replica_becomes_the_primary,
    missing_rights_have_their_own_reason,
    tls_to_the_servers_as_configured,
}

/// A topology with what it takes to wait for its changes.
struct Watched {
    topology: Arc<Topology>,
}

impl Watched {
    async fn start(cluster: &Cluster, monitor: &Monitor) -> Self {
        let topology = Topology::start(cluster, monitor);
        tokio::time::timeout(PATIENCE, topology.wait_until_known()).await.expect("known in time");
        Self { topology }
    }

    /// Waits for a snapshot of which `wanted` holds; `always` must hold of every one on the way.
    async fn until_while(
        &self,
        what: &str,
        wanted: impl Fn(&Snapshot) -> bool,
        always: impl Fn(&Snapshot) -> bool,
    ) -> Arc<Snapshot> {
        let mut generations = self.topology.subscribe();
        let search = async {
            loop {
                generations.borrow_and_update();
                let snapshot = Arc::clone(&self.topology.snapshot());
                assert!(always(&snapshot), "on the way to {what}: {}", snapshot.explain_unusable());
                if wanted(&snapshot) {
                    return snapshot;
                }
                generations.changed().await.expect("the topology lives");
            }
        };
        match tokio::time::timeout(PATIENCE, search).await {
            Ok(snapshot) => snapshot,
            Err(_) => panic!("waited in vain for {what}: {}", self.topology.snapshot().explain_unusable()),
        }
    }

    async fn until(&self, what: &str, wanted: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
        self.until_while(what, wanted, |_| true).await
    }

    /// Waits until exactly these servers take reads.
    async fn until_readers(&self, readers: &[ServerId]) -> Arc<Snapshot> {
        self.until(&format!("readers {readers:?}"), |snapshot| reads(snapshot) == readers).await
    }

    /// Waits until this server is left out for a reason of which `wanted` holds.
    async fn until_left_out(
        &self,
        id: ServerId,
        what: &str,
        wanted: impl Fn(&LeftOut) -> bool,
    ) -> Arc<Snapshot> {
        self.until(what, |snapshot| left_out(snapshot, id).as_ref().is_some_and(&wanted)).await
    }
}

fn reads(snapshot: &Snapshot) -> Vec<ServerId> {
    snapshot.readers.shares().map(|(id, _)| id).collect()
}

fn left_out(snapshot: &Snapshot, id: ServerId) -> Option<LeftOut> {
    snapshot.server(id).and_then(|server| server.left_out)
}

fn state(snapshot: &Snapshot, id: ServerId) -> Option<State> {
    snapshot.server(id).map(|server| server.state)
}

async fn roles_and_facts_are_found_whatever_the_order(dialect: Dialect) {
    let fleet = Fleet::start(dialect, 2);
    let watched = Watched::start(&fleet.cluster(&[1, 2, 0]), &monitor()).await;
    let snapshot = watched.until_readers(&[FIRST, SECOND]).await;
    assert_eq!(snapshot.primary, Some(THIRD));
    let roles: Vec<_> = snapshot.servers.iter().map(|server| server.role).collect();
    assert_eq!(roles, [Role::Replica, Role::Replica, Role::Primary]);

    let facts = snapshot.facts.clone().expect("facts of the primary");
    assert_eq!(facts.version.dialect, dialect);
    assert!(facts.version_text.contains(&fleet.version), "{}", facts.version_text);
    let flags = Capabilities::of(facts.capabilities, 0);
    assert!(flags.contains(Capabilities::SESSION_TRACK | Capabilities::DEPRECATE_EOF | Capabilities::SSL));
    assert_eq!(flags.contains(Capabilities::LONG_PASSWORD), dialect == Dialect::MySql);
    assert_eq!(facts.mariadb_capabilities != 0, dialect == Dialect::MariaDb);
    assert!(facts.autocommit);
    let sql = "SELECT @@global.collation_server, @@global.sql_mode, @@global.max_allowed_packet";
    let told: (String, String, u64) = fleet.root(0).await.query_first(sql).await.unwrap().unwrap();
    assert_eq!(told, (facts.default_collation.clone(), facts.sql_mode.clone(), facts.max_allowed_packet));
    let sql = "SELECT id FROM information_schema.collations WHERE collation_name = @@global.collation_server";
    let id: u16 = fleet.root(0).await.query_first(sql).await.unwrap().unwrap();
    assert_eq!(id, facts.default_collation_id);

    fleet.run(0, &["SET GLOBAL autocommit = 0, GLOBAL sql_mode = 'ANSI_QUOTES'"]).await;
    watched
        .until("the changed settings", |snapshot| {
            snapshot.facts.as_ref().is_some_and(|facts| !facts.autocommit && facts.sql_mode == "ANSI_QUOTES")
        })
        .await;
}

async fn t23_a_stopped_thread_takes_the_reads_away_and_gives_them_back(dialect: Dialect) {
    let fleet = Fleet::start(dialect, 2);
    let mut cluster = fleet.cluster(&[0, 1, 2]);
    cluster.reads.max_lag = None;
    let watched = Watched::start(&cluster, &monitor()).await;
    watched.until_readers(&[SECOND, THIRD]).await;

    fleet.run(1, &["STOP REPLICA SQL_THREAD"]).await;
    let snapshot =
        watched.until_left_out(SECOND, "a stopped SQL thread", |why| *why == LeftOut::SqlStopped(0)).await;
    assert_eq!(reads(&snapshot), [THIRD]);
    assert_eq!(state(&snapshot, SECOND), Some(State::Up));
    fleet.run(1, &["START REPLICA SQL_THREAD"]).await;
    watched.until_readers(&[SECOND, THIRD]).await;

    fleet.run(2, &["STOP REPLICA IO_THREAD"]).await;
    let snapshot =
        watched.until_left_out(THIRD, "a stopped IO thread", |why| *why == LeftOut::IoStopped(0)).await;
    assert_eq!(reads(&snapshot), [SECOND]);
    fleet.run(2, &["START REPLICA IO_THREAD"]).await;
    watched.until_readers(&[SECOND, THIRD]).await;
}

async fn t24_a_hung_replica_goes_down_by_time_out_and_comes_back(dialect: Dialect) {
    let mut fleet = Fleet::start(dialect, 1);
    let watched = Watched::start(&fleet.cluster(&[0, 1]), &monitor()).await;
    watched.until_readers(&[SECOND]).await;
    fleet.tell("pause", 1);
    let snapshot = watched
        .until_left_out(SECOND, "down by time-out", |why| *why == LeftOut::Down(Cause::TimedOut))
        .await;
    assert_eq!((reads(&snapshot), snapshot.primary), (vec![], Some(FIRST)));
    fleet.tell("resume", 1);
    watched.until_readers(&[SECOND]).await;
}

async fn t24_a_late_replica_that_hangs_never_gets_a_read(dialect: Dialect) {
    let mut fleet = Fleet::start(dialect, 1);
    let watched = Watched::start(&fleet.cluster(&[0, 1]), &monitor()).await;
    watched.until_readers(&[SECOND]).await;

    // A lock that the applier waits for; its table arrives first.
    fleet.run(0, &["CREATE TABLE test.late (id INT PRIMARY KEY)", "INSERT INTO test.late VALUES (1)"]).await;
    let mut holder = fleet.root(1).await;
    let locked = async {
        while holder.query_drop("LOCK TABLES test.late READ").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, locked).await.expect("the table arrives");
    fleet.run(0, &["INSERT INTO test.late VALUES (2)"]).await;
    let late = |why: &LeftOut| matches!(why, LeftOut::Late { .. });
    let snapshot = watched.until_left_out(SECOND, "late", late).await;
    assert_eq!(reads(&snapshot), []);

    fleet.tell("pause", 1);
    let out = |snapshot: &Snapshot| snapshot.readers.is_empty();
    watched.until_while("down", |snapshot| state(snapshot, SECOND) == Some(State::Down), out).await;
    fleet.tell("resume", 1);
    watched.until_while("up", |snapshot| state(snapshot, SECOND) == Some(State::Up), out).await;
    let snapshot = watched.until_left_out(SECOND, "still late", late).await;
    assert_eq!(reads(&snapshot), []);

    holder.query_drop("UNLOCK TABLES").await.unwrap();
    watched.until_readers(&[SECOND]).await;
}

async fn t25_a_replica_after_reset_all_takes_no_reads(dialect: Dialect) {
    let fleet = Fleet::start(dialect, 1);
    let mut cluster = fleet.cluster(&[0, 1]);
    cluster.reads.max_lag = None;
    let watched = Watched::start(&cluster, &monitor()).await;
    watched.until_readers(&[SECOND]).await;
    fleet.run(1, &["STOP REPLICA", "RESET REPLICA ALL"]).await;
    let snapshot =
        watched.until_left_out(SECOND, "following nobody", |why| *why == LeftOut::NotReplicating).await;
    assert_eq!((reads(&snapshot), state(&snapshot, SECOND)), (vec![], Some(State::Up)));
}

async fn t26_a_writable_primary_is_not_taken_out_for_lag(dialect: Dialect) {
    let fleet = Fleet::start(dialect, 1);
    fleet.run(1, &["STOP REPLICA SQL_THREAD", "SET GLOBAL read_only = OFF"]).await;
    // It follows a server outside of the cluster, and is as late as can be.
    let watched = Watched::start(&fleet.cluster(&[1]), &monitor()).await;
    let snapshot = watched.until("a primary", |snapshot| snapshot.primary.is_some()).await;
    assert_eq!(left_out(&snapshot, FIRST), None);
    assert_eq!(reads(&snapshot), []);
}

async fn t30_a_server_that_is_not_configured_gets_nothing(dialect: Dialect) {
    let fleet = Fleet::start(dialect, 2);
    let mut cluster = fleet.cluster(&[0, 1]);
    cluster.servers[1].weight = 1000;
    let watched = Watched::start(&cluster, &monitor()).await;
    let snapshot = watched.until_readers(&[SECOND]).await;
    assert_eq!(snapshot.servers.len(), 2);
    assert!((0..1000).all(|step| snapshot.pick_replica(step * (u64::MAX / 1000), &[]) == Some(SECOND)));
    let sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'tidegate'";
    let seen = |index| {
        let fleet = &fleet;
        async move { fleet.root(index).await.query_first::<u64, _>(sql).await.unwrap().unwrap() }
    };
    assert_eq!((seen(1).await, seen(2).await), (1, 0));
}

async fn t32_too_many_connections_takes_no_server_out(dialect: Dialect) {
    let fleet = Fleet::start(dialect, 1);
    let watched = Watched::start(&fleet.cluster(&[0, 1]), &monitor()).await;
    watched.until_readers(&[SECOND]).await;
    for index in [0, 1] {
        let mut root = fleet.root(index).await;
        let mut held = Vec::new();
        for _ in 0..12 {
            held.push(fleet.root(index).await);
        }
        root.query_drop("SET GLOBAL max_connections = 10").await.unwrap();
        let sql = "SELECT id FROM information_schema.processlist WHERE user = 'tidegate'";
        let monitor: u64 = root.query_first(sql).await.unwrap().unwrap();
        root.query_drop(format!("KILL {monitor}")).await.unwrap();

        let up = |snapshot: &Snapshot| {
            state(snapshot, FIRST) == Some(State::Up) && state(snapshot, SECOND) == Some(State::Up)
        };
        if index == 1 {
            // What is known of a replica must not be too old; of that it is up, no doubt arises.
            let stale = |snapshot: &Snapshot| left_out(snapshot, SECOND) == Some(LeftOut::Stale);
            watched.until_while("old facts", stale, up).await;
        } else {
            // Refusals of 1040 by the server's own count, many more than failures would take.
            let sql = "SHOW GLOBAL STATUS LIKE 'Connection_errors_max_connections'";
            let refused = async {
                while root.query_first::<(String, u64), _>(sql).await.unwrap().unwrap().1 < 10 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(PATIENCE, refused).await.expect("probes are refused");
            let snapshot = Arc::clone(&watched.topology.snapshot());
            assert!(up(&snapshot) && snapshot.primary == Some(FIRST), "{}", snapshot.explain_unusable());
        }
        root.query_drop("SET GLOBAL max_connections = 100").await.unwrap();
        watched.until_while("reads again", |snapshot| reads(snapshot) == [SECOND], up).await;
    }
}

async fn a_killed_replica_goes_down_and_comes_back_by_itself(dialect: Dialect) {
    let mut fleet = Fleet::start(dialect, 2);
    let watched = Watched::start(&fleet.cluster(&[0, 1, 2]), &monitor()).await;
    watched.until_readers(&[SECOND, THIRD]).await;
    fleet.tell("kill", 1);
    let snapshot = watched.until_left_out(SECOND, "down", |why| *why == LeftOut::Down(Cause::Refused)).await;
    assert_eq!((reads(&snapshot), snapshot.primary), (vec![THIRD], Some(FIRST)));
    fleet.tell("start", 1);
    watched.until_readers(&[SECOND, THIRD]).await;
}

async fn reads_go_on_when_the_primary_is_killed(dialect: Dialect) {
    let mut fleet = Fleet::start(dialect, 2);
    let mut cluster = fleet.cluster(&[0, 1, 2]);
    // A lag that is not told any more is estimated by the time since then, which a busy machine makes long.
    cluster.reads.max_lag = None;
    let patient = Monitor { timeout: Duration::from_secs(10), ..monitor() };
    let watched = Watched::start(&cluster, &patient).await;
    watched.until_readers(&[SECOND, THIRD]).await;
    let both_read = |snapshot: &Snapshot| reads(snapshot) == [SECOND, THIRD];

    fleet.tell("kill", 0);
    let snapshot = watched.until_while("no primary", |snapshot| snapshot.primary.is_none(), both_read).await;
    assert_eq!(
        snapshot.server(FIRST).map(|server| (server.role, server.state)),
        Some((Role::Primary, State::Down))
    );

    // A Tidegate that starts now reads as well: the replicas have applied all they have.
    let late = Watched::start(&cluster, &patient).await;
    let snapshot = late.until_readers(&[SECOND, THIRD]).await;
    assert_eq!(snapshot.primary, None);

    fleet.tell("start", 0);
    watched.until("the primary again", |snapshot| snapshot.primary == Some(FIRST)).await;
    late.until("the primary", |snapshot| snapshot.primary == Some(FIRST)).await;
}

async fn a_report_makes_a_dead_server_known_before_the_next_probe(dialect: Dialect) {
    let mut fleet = Fleet::start(dialect, 1);
    let rare = Monitor { interval: Duration::from_secs(3600), failures: 2, ..monitor() };
    let watched = Watched::start(&fleet.cluster(&[0, 1]), &rare).await;
    watched.until_readers(&[SECOND]).await;
    watched.topology.report(SECOND, Signal::ConnectRefused);
    watched.topology.report(SECOND, Signal::Ok);
    fleet.tell("kill", 1);
    watched.topology.report(SECOND, Signal::ConnectRefused);
    watched.until_left_out(SECOND, "down", |why| *why == LeftOut::Down(Cause::Refused)).await;
}

async fn a_promoted_replica_becomes_the_primary(dialect: Dialect) {
    let fleet = Fleet::start(dialect, 1);
    let watched = Watched::start(&fleet.cluster(&[0, 1]), &monitor()).await;
    watched.until_readers(&[SECOND]).await;
    fleet.run(0, &["SET GLOBAL read_only = ON"]).await;
    watched.until("no primary", |snapshot| snapshot.primary.is_none()).await;
    fleet.run(1, &["STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL read_only = OFF"]).await;
    let snapshot = watched.until("the new primary", |snapshot| snapshot.primary == Some(SECOND)).await;
    assert_eq!(left_out(&snapshot, FIRST), Some(LeftOut::NotReplicating));

    // The old one becomes writable again: it must not take the writes back, nor any read.
    fleet.run(0, &["SET GLOBAL read_only = OFF"]).await;
    let snapshot = watched.until_left_out(FIRST, "a rival", |why| *why == LeftOut::Rival).await;
    assert_eq!((snapshot.primary, reads(&snapshot)), (Some(SECOND), vec![]));
}

async fn missing_rights_have_their_own_reason(dialect: Dialect) {
    let fleet = Fleet::start(dialect, 1);
    fleet.run(0, &["CREATE USER weak@'%' IDENTIFIED BY ''"]).await;
    let weak = Monitor { user: "weak".into(), password: Secret::new(""), ..monitor() };
    let watched = Watched::start(&fleet.cluster(&[0, 1]), &weak).await;
    let unreadable = |snapshot: &Snapshot| {
        [FIRST, SECOND].iter().all(|id| left_out(snapshot, *id) == Some(LeftOut::ReplicationUnreadable))
    };
    let snapshot = watched.until("the reason", unreadable).await;
    assert_eq!((snapshot.primary, reads(&snapshot)), (None, vec![]));
    assert!(snapshot.explain_unusable().contains("REPLICATION CLIENT"));

    let wrong = Monitor { user: "nobody".into(), ..monitor() };
    let watched = Watched::start(&fleet.cluster(&[0, 1]), &wrong).await;
    watched.until_left_out(FIRST, "down", |why| *why == LeftOut::Down(Cause::AccessDenied)).await;
}

async fn tls_to_the_servers_as_configured(dialect: Dialect) {
    let fleet = Fleet::start(dialect, 0);
    // This account may only come over TLS, and may see no replication status: alone, it is believed.
    let account = Monitor { user: "u_tls".into(), password: Secret::new("tls-pw"), ..monitor() };
    let mut cluster = fleet.cluster(&[0]);
    let outcome = |cluster: Cluster| {
        let account = &account;
        async move {
            let watched = Watched::start(&cluster, account).await;
            let settled = |snapshot: &Snapshot| state(snapshot, FIRST) != Some(State::Unknown);
            let snapshot = watched.until("up or down", settled).await;
            (snapshot.primary, left_out(&snapshot, FIRST))
        }
    };
    assert_eq!(outcome(cluster.clone()).await, (None, Some(LeftOut::Down(Cause::AccessDenied))));
    for mode in [ServerTlsMode::Preferred, ServerTlsMode::Required] {
        cluster.tls.mode = mode;
        assert_eq!(outcome(cluster.clone()).await, (Some(FIRST), None), "{mode:?}");
    }
    cluster.tls.mode = ServerTlsMode::Verified;
    cluster.tls.ca = Some(fleet.tls.ca.clone());
    assert_eq!(outcome(cluster.clone()).await, (Some(FIRST), None));
    cluster.tls.ca = Some(fleet.tls.other_ca.clone());
    assert_eq!(outcome(cluster).await, (None, Some(LeftOut::Down(Cause::Tls))));
}
