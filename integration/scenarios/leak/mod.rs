//! Many sessions share few server connections, and each finds its own state, and no other's.
//!
//! The model of a session is a connection of its own to one server that nobody else uses: it is told the same, and
//! must answer the same.

mod acts;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use tidegate::wire::capabilities::Capabilities;
use tokio::sync::Barrier;

use self::acts::{ACTS, content, placeholders};
use crate::differential::compare::difference;
use crate::differential::player::Player;
use crate::differential::random::{Random, fill};
use crate::differential::step::{Line, Step};
use crate::differential::setting;
use crate::harness::{Cluster, Login, Rules, Scenario, Stage};

both_dialects! {
    no_pin_outlives_its_act,
    two_hundred_sessions_share_eight_connections,
}

const SESSIONS: usize = 200;
const CONNECTIONS: u64 = 8;
/// Acts of a session between two looks at what is held.
const ROUND: usize = 5;

/// The worlds: one server for the models, a cluster behind Tidegate.
struct World {
    stage: Stage,
    alone: SocketAddr,
    // Ends with the world, where it is an own one.
    _reference: Cluster,
}

impl World {
    async fn new(scenario: Scenario, sessions: usize) -> Self {
        let rules = Rules::pool(&format!("{{max: {}, queue: 1000, queue_timeout: 60s}}", setting("C").unwrap_or(8)));
        let stage = scenario.stage_with(rules).await;
        let reference = Cluster::alone(scenario.dialect);
        let sql = content(sessions);
        let sql: Vec<&str> = sql.iter().map(String::as_str).collect();
        reference.run(0, &sql).await;
        stage.cluster.run(0, &sql).await;
        stage.cluster.caught_up().await;
        let server = &reference.servers[0];
        let alone = format!("{}:{}", server.host, server.port).parse().expect("an address");
        Self { stage, alone, _reference: reference }
    }

    /// Sessions that are pinned, and why.
    async fn pinned(&self) -> Vec<String> {
        let text = self.stage.proxy.get("/metrics").await;
        let lines = text.lines().filter(|line| line.starts_with("tidegate_pinned_sessions{") && !line.ends_with(" 0"));
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

impl Actor {
    async fn new(session: usize, seed: u64, addresses: [SocketAddr; 2]) -> Self {
        let mut random = Random::new(seed.wrapping_mul(1_000_003).wrapping_add(session as u64));
        let flags = [Capabilities::empty(), Capabilities::DEPRECATE_EOF][random.below(2)];
        let login =
            Login { database: Some("leak_a".into()), capabilities: Login::OLD | flags, ..Login::default() };
        let model = Player::login(addresses[0], &login).await;
        let through = Player::login(addresses[1], &login).await;
        Self { session, random, login, addresses, model, through, past: Vec::new() }
    }

    /// Plays one act.
    async fn act(&mut self, script: &str) -> Result<(), String> {
        let text = fill(script, &placeholders(), self.session, &mut self.random);
        for line in text.split('\n') {
            self.line(line).await?;
        }
        Ok(())
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
async fn no_pin_outlives_its_act(scenario: Scenario) {
    let world = World::new(scenario, 1).await;
    let mut wrong = Vec::new();
    for (name, script) in ACTS {
        let addresses = [world.alone, world.stage.proxy.address];
        let mut actor = Actor::new(0, 1, addresses).await;
        if let Err(what) = actor.act(script).await {
            wrong.push(format!("{name}: {what}"));
            continue;
        }
        actor.act("SELECT 1").await.expect("an answer");
        let pinned = world.pinned().await;
        if !pinned.is_empty() {
            wrong.push(format!("{name}: {pinned:?}"));
        }
        actor.act("!reset\n{observe}").await.expect("an answer");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// TIDEGATE_LEAK_SECONDS makes it long, TIDEGATE_SEED another one.
async fn two_hundred_sessions_share_eight_connections(scenario: Scenario) {
    let seed = setting("TIDEGATE_SEED").unwrap_or(1);
    let sessions = setting("N").unwrap_or(200) as usize;
    let time = Duration::from_secs(setting("TIDEGATE_LEAK_SECONDS").unwrap_or(10));
    println!("seed {seed}");
    let world = World::new(scenario, sessions).await;
    let addresses = [world.alone, world.stage.proxy.address];
    let mut actors = Vec::new();
    for session in 0..sessions {
        actors.push(Actor::new(session, seed, addresses).await);
    }
    let started = Instant::now();
    let mut rounds = 0;
    while started.elapsed() < time || rounds == 0 {
        let barrier = Arc::new(Barrier::new(sessions));
        let tasks: Vec<_> = actors.drain(..).map(|actor| tokio::spawn(round(actor, Arc::clone(&barrier)))).collect();
        let mut wrong = Vec::new();
        for task in tasks {
            match task.await.expect("a session's task") {
                Ok(actor) => actors.push(actor),
                Err(what) => wrong.push(what),
            }
        }
        assert!(wrong.is_empty(), "seed {seed}, round {rounds}: {} sessions\n{}", wrong.len(), wrong.join("\n"));
        assert_eq!(world.pinned().await, Vec::<String>::new(), "seed {seed}, round {rounds}");
        for server in 0..world.stage.cluster.servers.len() {
            let count = "SELECT COUNT(*) FROM information_schema.processlist WHERE user IN ('app', 'u_empty')";
            let open: Option<u64> = world.stage.cluster.root(server).await.query_first(count).await.expect("a count");
            assert!(open <= Some(CONNECTIONS), "{open:?} connections to server {server}");
        }
        rounds += 1;
    }
    println!("{rounds} rounds of {sessions} sessions with {ROUND} acts each");
}

/// Some acts of one session; all begin together.
async fn round(mut actor: Actor, barrier: Arc<Barrier>) -> Result<Actor, String> {
    barrier.wait().await;
    let only = std::env::var("TIDEGATE_ACTS").unwrap_or_default();
    let acts: Vec<_> = ACTS.iter().filter(|(name, _)| only.is_empty() || only.split(',').any(|o| o == *name)).collect();
    for _ in 0..ROUND {
        let (_, script) = acts[actor.random.below(acts.len())];
        actor.act(script).await?;
    }
    // Whatever was held only for questions about the last statement is given back.
    actor.act("SELECT 1").await?;
    Ok(actor)
}
