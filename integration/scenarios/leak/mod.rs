//! Many sessions share few server connections, and each finds its own state, and no other's.
//!
//! The model of a session is a connection of its own to one server that nobody else uses: it is told the same, and
//! must answer the same.
//!
//! TIDEGATE_SEED and TIDEGATE_SECONDS make it another and longer; TIDEGATE_ACTS=name,name plays only these acts.

mod acts;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate::wire::capabilities::Capabilities;
use tokio::sync::Barrier;

use self::acts::{Act, acts, content, placeholders};
use crate::differential::compare::difference;
use crate::differential::forms::{Placeholders, Random};
use crate::differential::player::Player;
use crate::differential::setting;
use crate::differential::step::{Line, Step};
use crate::harness::{Cluster, Login, PATIENCE, Rules, Scenario, Stage, pace};

both_dialects! {
    two_hundred_sessions_share_eight_connections,
}

const SESSIONS: usize = 200;
const CONNECTIONS: u64 = 8;
/// Acts of a session between two looks at what is held.
const ROUND: usize = 5;
/// Leaves nothing to ask about. MariaDB's warnings outlast what uses no table.
const CLEARS: &str = "SELECT COUNT(*) FROM leak_a.fixed";
/// Rounds of the short form.
const ROUNDS: usize = 1;

/// The worlds: one server for the models, a cluster behind Tidegate.
struct World {
    stage: Stage,
    alone: SocketAddr,
    // Ends with the world, where it is an own one.
    _reference: Cluster,
}

impl World {
    async fn new(scenario: Scenario) -> Self {
        let pool = format!("{{max: {}, queue: 1000, queue_timeout: 60s}}", setting("C").unwrap_or(8));
        let rules = Rules { reads: "consistency: session".into(), ..Rules::pool(&pool) };
        let stage = scenario.stage_with(rules).await;
        let reference = Cluster::alone(scenario.dialect);
        let sql = content(SESSIONS);
        let sql: Vec<&str> = sql.iter().map(String::as_str).collect();
        reference.run(0, &sql).await;
        stage.cluster.run(0, &sql).await;
        stage.cluster.caught_up().await;
        let alone = reference.address(0);
        Self { stage, alone, _reference: reference }
    }

    /// Connections to a server.
    async fn connections(&self, server: usize) -> u64 {
        let server = &self.stage.cluster.servers[server];
        let label = format!("server=\"{}:{}\"", server.host, server.port);
        self.stage.proxy.metric("tidegate_pool_open", &[&label]).await
    }

    /// Sessions that stay pinned, and why. A pin ends when its client has the answer already.
    async fn pinned(&self) -> Vec<String> {
        let mut pace = pace();
        let ending = async {
            while !self.pinned_now().await.is_empty() {
                pace.tick().await;
            }
        };
        match tokio::time::timeout(PATIENCE, ending).await {
            Ok(()) => vec![],
            Err(_) => self.pinned_now().await,
        }
    }

    async fn pinned_now(&self) -> Vec<String> {
        let text = self.stage.proxy.get("/metrics").await;
        let lines = text
            .lines()
            .filter(|line| line.starts_with("tidegate_pinned_sessions{") && !line.ends_with(" 0"));
        lines.map(str::to_owned).collect()
    }
}

/// A session and its model.
struct Actor {
    session: usize,
    random: Random,
    login: Login,
    addresses: [SocketAddr; 2],
    model: Player,
    through: Player,
    /// What it has done since it logged in.
    past: Vec<String>,
}

/// What all sessions of a round share.
struct Play {
    acts: Vec<Act>,
    placeholders: Placeholders,
    barrier: Barrier,
}

impl Actor {
    async fn new(session: usize, seed: u64, addresses: [SocketAddr; 2]) -> Self {
        let mut random = Random::new(seed.wrapping_mul(1_000_003).wrapping_add(session as u64));
        let flags = *random.pick(&[Capabilities::empty(), Capabilities::DEPRECATE_EOF]);
        let login =
            Login { database: Some("leak_a".into()), capabilities: Login::OLD | flags, ..Login::default() };
        let model = Player::login(addresses[0], &login).await;
        let through = Player::login(addresses[1], &login).await;
        Self { session, random, login, addresses, model, through, past: Vec::new() }
    }

    /// Some acts; all sessions begin together.
    async fn round(mut self, play: Arc<Play>) -> Result<Self, String> {
        play.barrier.wait().await;
        for _ in 0..ROUND {
            let act = self.random.pick(&play.acts);
            for form in &act.lines {
                let line = play.placeholders.fill(form, self.session, &mut self.random);
                self.line(&line).await.map_err(|what| format!("{}: {what}", act.name))?;
            }
        }
        // What was held only for questions about the last statement is given back.
        self.line(CLEARS).await?;
        Ok(self)
    }

    async fn line(&mut self, text: &str) -> Result<(), String> {
        self.past.push(text.to_owned());
        if text == "!reconnect" {
            self.past.clear();
            self.model.play(&Step::ResetConnection).await; // so that its locks are free
            self.model = Player::login(self.addresses[0], &self.login).await;
            self.through = Player::login(self.addresses[1], &self.login).await;
            return Ok(());
        }
        let line = Line::parse(text);
        let expected = self.model.play(&line.step).await;
        let found = self.through.play(&line.step).await;
        match difference(&expected, &found, &line) {
            None => Ok(()),
            Some(what) => {
                let past = &self.past[self.past.len().saturating_sub(40)..];
                Err(format!("session {}, `{text}`: {what}\n    {}", self.session, past.join("\n    ")))
            }
        }
    }
}

/// One session alone: after each act, nothing is held.
async fn no_pin_outlives_its_cause(world: &World) {
    let placeholders = placeholders();
    let mut wrong = Vec::new();
    for act in acts() {
        let mut actor = Actor::new(0, 1, [world.alone, world.stage.proxy.address]).await;
        for form in act.lines.iter().map(String::as_str).chain([CLEARS]) {
            let line = placeholders.fill(form, 0, &mut actor.random);
            if let Err(what) = actor.line(&line).await {
                wrong.push(format!("{}: {what}", act.name));
            }
        }
        let pinned = world.pinned().await;
        if !pinned.is_empty() {
            wrong.push(format!("{}: {pinned:?}", act.name));
        }
        // So that its locks are free, and its row.
        actor.line("!reset").await.expect("a reset is answered alike");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn two_hundred_sessions_share_eight_connections(scenario: Scenario) {
    let seed = setting("TIDEGATE_SEED").unwrap_or(1);
    let time = setting("TIDEGATE_SECONDS").map(Duration::from_secs);
    eprintln!("seed {seed}");
    let world = World::new(scenario).await;
    no_pin_outlives_its_cause(&world).await;
    let mut actors = Vec::new();
    for session in 0..SESSIONS {
        actors.push(Actor::new(session, seed, [world.alone, world.stage.proxy.address]).await);
    }
    let barrier = Barrier::new(SESSIONS);
    let play = Arc::new(Play { acts: acts(), placeholders: placeholders(), barrier });
    let started = Instant::now();
    let mut rounds = 0;
    while time.map_or(rounds < ROUNDS, |time| started.elapsed() < time) {
        let tasks: Vec<_> =
            actors.drain(..).map(|actor| tokio::spawn(actor.round(Arc::clone(&play)))).collect();
        let mut wrong = Vec::new();
        for task in tasks {
            match task.await.expect("a session's task") {
                Ok(actor) => actors.push(actor),
                Err(what) => wrong.push(what),
            }
        }
        let count = wrong.len();
        assert_eq!(count, 0, "seed {seed}, round {rounds}: {count} sessions\n{}", wrong.join("\n"));
        assert_eq!(world.pinned().await, Vec::<String>::new(), "seed {seed}, round {rounds}");
        for server in 0..world.stage.cluster.servers.len() {
            let open = world.connections(server).await;
            assert!(open <= CONNECTIONS, "{open} connections to server {server}");
        }
        rounds += 1;
    }
    eprintln!("{rounds} rounds of {SESSIONS} sessions with {ROUND} acts each");
}
