//! What each method of balancing makes of replicas that are slow, late, stalled or cold: replicas, clients and a clock of their own, no sockets.
//!
//! Owns: the model. Does not know: sessions (but for how long one reads at one replica). Invariant: the same numbers on every machine.
//! `cargo nextest run --lib simulation --no-capture` prints the table of `docs/consistency.md`.
//!
//! A replica serves as many reads at a time as it has workers; others queue. Times are drawn from an exponential distribution. Clients read, think,
//! and read again, so that one slow replica can hold many of them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use super::balance::{Draw, Load, Readers, Replica, golden, mix};
use super::health::Cause;
use super::pace::Pace;
use super::reads::{LeftOut, ReadLimits, admit};
use super::roles::Role;
use super::warmth::Warmth;
use crate::balance::Balance;
use crate::ids::ServerId;

/// Virtual time of a run, µs.
const END: u64 = 20 * SECOND;
const SECOND: u64 = 1_000_000;
const MS: u64 = 1000;
/// Between two probes.
const PROBE: u64 = 250 * MS;
const MAX_LAG: Duration = Duration::from_secs(2);
/// Enough to keep two thirds of three replicas at work.
const CLIENTS: usize = 100;
const WORKERS: usize = 8;
/// Mean times of a client between two reads, and of a read by a replica that is well.
const THINKS: u64 = 10 * MS;
const READS: u64 = 2 * MS;
/// Reads at one replica until a session draws the next one, and between two looks whether it had better do so at once; as in `session`.
const TURN: u64 = 64;
const LOOK: u64 = 8;

/// A replica's troubles.
struct Model {
    weight: u32,
    workers: usize,
    /// How many times as long a read takes that begins then.
    factor: fn(now: u64) -> f64,
    /// Until when nothing begins.
    stalled: fn(now: u64) -> Option<u64>,
    lag: fn(now: u64) -> Duration,
    up: fn(now: u64) -> bool,
}

/// Nothing is wrong with it.
const WELL: Model = Model {
    weight: 1,
    workers: WORKERS,
    factor: |_| 1.0,
    stalled: |_| None,
    lag: |_| Duration::ZERO,
    up: |_| true,
};

/// Reads that a replica must have served since it has come back until its caches are warm.
const WARM: u64 = 10_000;
/// How many times as long a read takes at first.
const COLD: f64 = 8.0;

/// How a run is made.
#[derive(Clone, Copy)]
struct Plan {
    balance: Balance,
    slow_start: Duration,
    /// Sessions read on where they have begun, as those do that must not go back in time.
    stays: bool,
    /// Instances of Tidegate, each of which knows its own clients' reads only.
    instances: usize,
    clients: usize,
}

/// What has come of it.
struct Report {
    p50: u64,
    p99: u64,
    /// Of the reads, by replica; and of those of the last quarter.
    shares: Vec<f64>,
    last_shares: Vec<f64>,
    /// The most reads in flight at one replica.
    crowd: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Probe,
    Read(usize),
    /// A replica has answered a client, which has asked it at this moment.
    Answer(usize, usize, u64),
}

struct Station {
    model: Model,
    working: usize,
    queue: VecDeque<(usize, u64)>,
    /// What each instance knows: how fast it is, and its own reads in flight.
    known: Vec<(Pace, u32)>,
    served: u64,
    served_before_last: u64,
    /// Since it has come back cold.
    served_since: Option<u64>,
    late: bool,
    warmth: Warmth,
    reads: bool,
}

struct World {
    plan: Plan,
    now: u64,
    origin: Instant,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    numbers: u64,
    turns: u64,
    stations: Vec<Station>,
    readers: Readers,
    /// Of each client: where it reads, how often it has, and when it began to want the answer that it waits for.
    clients: Vec<(Option<ServerId>, u64, u64)>,
    took: Vec<u64>,
    crowd: usize,
}

impl World {
    fn run(models: Vec<Model>, plan: Plan) -> Report {
        let origin = Instant::now();
        let station = |model| Station {
            model,
            working: 0,
            queue: VecDeque::new(),
            known: (0..plan.instances).map(|_| (Pace::new(origin), 0)).collect(),
            served: 0,
            served_before_last: 0,
            served_since: None,
            late: false,
            warmth: Warmth::UNKNOWN,
            reads: true,
        };
        let mut world = Self {
            plan,
            now: 0,
            origin,
            events: BinaryHeap::new(),
            numbers: 0,
            turns: 0,
            stations: models.into_iter().map(station).collect(),
            readers: Readers::default(),
            clients: vec![(None, 0, 0); plan.clients],
            took: Vec::new(),
            crowd: 0,
        };
        world.probe();
        for client in 0..plan.clients {
            let first = world.exponential(THINKS);
            world.plan_for(first, Event::Read(client));
        }
        while let Some(Reverse((at, _, event))) = world.events.pop()
            && at < END
        {
            world.now = at;
            match event {
                Event::Probe => world.probe(),
                Event::Read(client) => {
                    world.clients[client].2 = at;
                    world.ask(client);
                }
                Event::Answer(place, client, asked) => world.answer(place, client, asked),
            }
        }
        world.report()
    }

    fn random(&mut self) -> u64 {
        self.numbers += 1;
        mix(golden(self.numbers))
    }

    fn exponential(&mut self, mean: u64) -> u64 {
        let unit = (self.random() >> 11) as f64 / (1u64 << 53) as f64;
        (-(1.0 - unit).ln() * mean as f64) as u64
    }

    fn plan_for(&mut self, delay: u64, event: Event) {
        let number = self.random();
        self.events.push(Reverse((self.now + delay, number, event)));
    }

    fn clock(&self) -> Instant {
        self.origin + Duration::from_micros(self.now)
    }

    /// Who takes reads from now on.
    fn probe(&mut self) {
        let (now, clock) = (self.now, self.clock());
        let limits = ReadLimits { max_lag: Some(MAX_LAG), facts_max_age: Duration::ZERO };
        for station in &mut self.stations {
            let (lag, up) = ((station.model.lag)(now), (station.model.up)(now));
            let late = admit(lag, station.late, Duration::ZERO, &limits).err();
            let left_out = if up { late } else { Some(LeftOut::Down(Cause::Refused)) };
            station.late = late.is_some();
            station.reads = left_out.is_none();
            station.warmth.note(Role::Replica, left_out, now > 0, clock);
            if !up {
                station.served_since = Some(0);
            }
        }
        let reading = self.stations.iter().enumerate().filter(|(_, station)| station.reads);
        let replicas = reading.map(|(place, station)| Replica {
            id: ServerId(place as u16),
            address: ["a", "b", "c"][place],
            weight: station.model.weight,
            lag: (station.model.lag)(now),
            warmth_permille: station.warmth.permille(self.plan.slow_start, clock),
        });
        self.readers = Readers::new(replicas, Some(MAX_LAG), self.plan.balance);
        self.plan_for(PROBE, Event::Probe);
    }

    /// A client sends a read to a replica.
    fn ask(&mut self, client: usize) {
        self.turns += 1;
        let (random, turn) = (self.random(), self.turns);
        let now = self.clock();
        let load = |id: ServerId| {
            let (pace, running) = &self.stations[usize::from(id.0)].known[client % self.plan.instances];
            Load { connections: *running, running: *running, speed: pace.speed(now) }
        };
        let draw = Draw { random, spread: golden(turn), turn, source: mix(client as u64), load: &load };
        let (home, stayed, _) = self.clients[client];
        let home = home.filter(|home| self.plan.stays && self.stations[usize::from(home.0)].reads);
        let leaves = |home: ServerId| {
            let looks = stayed % LOOK == 0 && self.plan.balance == Balance::LagWeighted;
            stayed >= TURN || looks && self.readers.is_outdone(home, draw)
        };
        let (place, stayed) = match home {
            Some(home) if !leaves(home) => (home, stayed + 1),
            _ => (self.readers.choose(self.plan.balance, draw, &[]).expect("a replica"), 1),
        };
        self.clients[client].0 = Some(place);
        self.clients[client].1 = stayed;
        let station = &mut self.stations[usize::from(place.0)];
        station.queue.push_back((client, self.now));
        station.known[client % self.plan.instances].1 += 1;
        self.crowd = self.crowd.max(station.queue.len() + station.working);
        self.work(usize::from(place.0));
    }

    /// A replica begins what it can.
    fn work(&mut self, place: usize) {
        while self.stations[place].working < self.stations[place].model.workers {
            let Some((client, asked)) = self.stations[place].queue.pop_front() else { return };
            let drawn = self.exponential(READS);
            let station = &mut self.stations[place];
            let chill =
                station.served_since.map_or(0.0, |served| 1.0 - (served as f64 / WARM as f64).min(1.0));
            let factor = (station.model.factor)(self.now) * (1.0 + (COLD - 1.0) * chill);
            let stall = (station.model.stalled)(self.now).map_or(0, |until| until - self.now);
            station.working += 1;
            self.plan_for(stall + (drawn as f64 * factor) as u64, Event::Answer(place, client, asked));
        }
    }

    fn answer(&mut self, place: usize, client: usize, asked: u64) {
        let now = self.clock();
        let station = &mut self.stations[place];
        station.working -= 1;
        station.served += 1;
        station.served_before_last += u64::from(self.now < END / 4 * 3);
        if let Some(served) = &mut station.served_since {
            *served += 1;
        }
        let (pace, running) = &mut station.known[client % self.plan.instances];
        pace.note(now, Duration::from_micros(self.now - asked));
        *running -= 1;
        self.took.push(self.now - self.clients[client].2);
        let pause = self.exponential(THINKS);
        self.plan_for(pause, Event::Read(client));
        self.work(place);
    }

    fn report(mut self) -> Report {
        self.took.sort_unstable();
        let at = |permille: usize| self.took[self.took.len() * permille / 1000];
        let shares = |served: fn(&Station) -> u64| {
            let all: u64 = self.stations.iter().map(served).sum();
            self.stations.iter().map(|station| served(station) as f64 / all as f64).collect()
        };
        Report {
            p50: at(500),
            p99: at(990),
            shares: shares(|station| station.served),
            last_shares: shares(|station| station.served - station.served_before_last),
            crowd: self.crowd,
        }
    }
}

/// What came of a scene by each method.
struct Outcome {
    random: Report,
    ours: Report,
    /// Without slow start.
    at_once: Report,
    random_stays: Report,
    ours_stays: Report,
    /// With four instances.
    ours_apart: Report,
}

/// Plays a scene by each method, and prints a line of the table for each.
fn play(title: &str, clients: usize, models: impl Fn() -> Vec<Model>) -> Outcome {
    let usual =
        Plan { balance: Balance::Random, slow_start: Duration::ZERO, stays: false, instances: 1, clients };
    let ours = Plan { balance: Balance::LagWeighted, slow_start: Duration::from_secs(10), ..usual };
    let run = |name: &str, plan| {
        let report = World::run(models(), plan);
        let shares: Vec<_> = report.shares.iter().map(|share| format!("{:.0}", share * 100.0)).collect();
        let ms = |us: u64| format!("{:.1}", us as f64 / 1000.0);
        let (p50, p99) = (ms(report.p50), ms(report.p99));
        println!("| {title} | {name} | {p50} | {p99} | {} | {} |", shares.join(" "), report.crowd);
        report
    };
    let random = run("`random`, without slow start", usual);
    run("`round_robin`", Plan { balance: Balance::RoundRobin, ..ours });
    run("`least_connections`", Plan { balance: Balance::LeastConnections, ..ours });
    Outcome {
        random,
        at_once: run("`lag_weighted`, without slow start", Plan { slow_start: Duration::ZERO, ..ours }),
        ours: run("`lag_weighted`", ours),
        ours_apart: run("`lag_weighted`, four instances", Plan { instances: 4, ..ours }),
        random_stays: run("`random`, sessions that stay", Plan { stays: true, ..usual }),
        ours_stays: run("`lag_weighted`, sessions that stay", Plan { stays: true, ..ours }),
    }
}

/// Whether each share is what it should be, but for so much.
fn near(shares: &[f64], due: &[f64], but_for: f64) -> bool {
    shares.iter().zip(due).all(|(share, due)| (share - due).abs() <= but_for)
}

const THIRDS: [f64; 3] = [1.0 / 3.0; 3];

#[test]
fn equals_get_reads_by_their_weights() {
    let weights = [0.25, 0.25, 0.5];
    for clients in [4, 10, CLIENTS] {
        let models = || vec![WELL, WELL, Model { weight: 2, workers: 2 * WORKERS, ..WELL }];
        let outcome = play(&format!("all are well, weights 1 1 2, {clients} clients"), clients, models);
        for report in [&outcome.ours, &outcome.ours_apart] {
            assert!(near(&report.shares, &weights, 0.02), "{clients}: {:?}", report.shares);
            assert!(report.p99 <= outcome.random.p99 / 100 * 105);
        }
        // Sessions that stay draw once in 64 reads: few of them are no better spread, whatever the method.
        if clients == CLIENTS {
            let shares = &outcome.ours_stays.shares;
            assert!(near(shares, &weights, 0.02), "{shares:?}");
        }
    }
}

#[test]
fn a_slow_replica_holds_few_up() {
    let outcome =
        play("one is 4 times as slow", CLIENTS, || vec![WELL, WELL, Model { factor: |_| 4.0, ..WELL }]);
    for report in [&outcome.ours, &outcome.ours_stays, &outcome.ours_apart] {
        assert!(report.p99 * 3 < outcome.random.p99.min(outcome.random_stays.p99));
        assert!(report.crowd * 2 < outcome.random.crowd, "no herd on the others: {}", report.crowd);
        assert!(report.shares[2] > 0.05, "it gets what it can serve: {:?}", report.shares);
    }
}

#[test]
fn a_replica_that_is_well_again_is_found_to_be() {
    let factor: fn(u64) -> f64 = |now| if (5 * SECOND..10 * SECOND).contains(&now) { 20.0 } else { 1.0 };
    let models = || vec![WELL, WELL, Model { factor, ..WELL }];
    let outcome = play("one is 20 times as slow for 5 s of 20", CLIENTS, models);
    for report in [&outcome.ours, &outcome.ours_stays, &outcome.ours_apart] {
        assert!(report.p99 < outcome.random.p99.min(outcome.random_stays.p99));
        assert!(report.crowd * 2 < outcome.random.crowd, "{}", report.crowd);
        assert!(near(&report.last_shares, &THIRDS, 0.02), "{:?}", report.last_shares);
    }
}

#[test]
fn a_replica_that_stalls_holds_few_up() {
    let stalled: fn(u64) -> Option<u64> = |now| {
        let began = now - now % (2 * SECOND);
        (now - began < 200 * MS).then_some(began + 200 * MS)
    };
    let outcome = play("one stalls 0.2 s of 2", CLIENTS, || vec![WELL, WELL, Model { stalled, ..WELL }]);
    for report in [&outcome.ours, &outcome.ours_stays, &outcome.ours_apart] {
        assert!(report.p99 < outcome.random.p99.min(outcome.random_stays.p99));
        assert!(report.crowd * 3 < outcome.random.crowd * 2, "{}", report.crowd);
    }
}

#[test]
fn a_lag_that_flaps_makes_no_herd() {
    // From nothing to beyond the bound, and back, in 4 s.
    let lag: fn(u64) -> Duration =
        |now| Duration::from_micros((now % (4 * SECOND)).abs_diff(2 * SECOND) * 11 / 10);
    let models = || vec![WELL, WELL, Model { lag, ..WELL }];
    let outcome = play("one's lag swings from 0 to 2.2 s in 4 s", CLIENTS, models);
    for report in [&outcome.ours, &outcome.ours_stays, &outcome.ours_apart] {
        assert!(report.p99 <= outcome.random.p99 / 100 * 105);
        assert!(report.crowd <= outcome.random.crowd, "{}", report.crowd);
        assert!((0.1..0.3).contains(&report.shares[2]), "{:?}", report.shares);
    }
}

#[test]
fn a_replica_that_comes_back_cold_warms_up_beside_the_others() {
    let up: fn(u64) -> bool = |now| !(SECOND..5 * SECOND).contains(&now);
    let outcome = play("one comes back after 4 s, cold", CLIENTS, || vec![WELL, WELL, Model { up, ..WELL }]);
    for report in [&outcome.ours, &outcome.ours_stays, &outcome.ours_apart] {
        assert!(report.p99 < outcome.random.p99.min(outcome.random_stays.p99) / 3);
        assert!(report.crowd * 2 < outcome.random.crowd, "{}", report.crowd);
        assert!(report.p99 < outcome.at_once.p99, "slow start helps beyond that");
    }
}
