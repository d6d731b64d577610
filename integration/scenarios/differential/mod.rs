//! The same sequences of statements on one server and through Tidegate: every packet must be the same.

pub mod compare;
pub mod kinds;
pub mod player;
pub mod random;
mod shrink;
pub mod step;
mod value;
mod world;

use std::time::{Duration, Instant};

use tidegate::wire::capabilities::Capabilities;

use self::random::{Random, fill};
use self::world::World;
use crate::harness::{Login, Scenario};

both_dialects! {
    random_sequences_are_answered_as_by_one_server,
}

/// Sessions of a sequence, on either side.
const SESSIONS: usize = 3;
/// Steps of a sequence.
const LENGTH: usize = 100;

/// What is played: sessions and their lines.
#[derive(Clone)]
pub struct Sequence {
    login: Login,
    lines: Vec<(usize, String)>,
}

/// The flags of the clients that are tried.
fn logins() -> Vec<Login> {
    let old = Login { capabilities: Login::OLD | Capabilities::LOCAL_FILES, ..Login::default() };
    let with = |flags| Login { capabilities: old.capabilities | flags, ..old.clone() };
    vec![
        old.clone(),
        with(Capabilities::DEPRECATE_EOF),
        with(Capabilities::DEPRECATE_EOF | Capabilities::QUERY_ATTRIBUTES),
        with(Capabilities::FOUND_ROWS | Capabilities::DEPRECATE_EOF),
        with(Capabilities::IGNORE_SPACE),
        Login { collation: 8, ..old.clone() },
    ]
}

/// A random sequence.
fn sequence(seed: u64) -> Sequence {
    let mut random = Random::new(seed);
    let logins = logins();
    let login = logins[random.below(logins.len())].clone();
    let total: usize = kinds::KINDS.iter().map(|kind| kind.weight).sum();
    let mut lines = Vec::new();
    while lines.len() < LENGTH {
        let session = random.below(SESSIONS);
        let mut at = random.below(total);
        let kind = kinds::KINDS
            .iter()
            .find(|kind| {
                let found = at < kind.weight;
                at = at.saturating_sub(kind.weight);
                found
            })
            .expect("a kind");
        let text = fill(random.pick(kind.forms), kinds::PLACEHOLDERS, session, &mut random);
        lines.extend(text.split('\n').map(|line| (session, line.to_owned())));
    }
    Sequence { login, lines }
}

pub fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: a number")))
}

async fn random_sequences_are_answered_as_by_one_server(scenario: Scenario) {
    let mut world = World::new(scenario).await;
    let first = setting("TIDEGATE_SEED").unwrap_or(1);
    let time = Duration::from_secs(setting("TIDEGATE_SECONDS").unwrap_or(10));
    let count = setting("TIDEGATE_COUNT").unwrap_or(u64::MAX);
    let started = Instant::now();
    let mut failures = 0;
    if let Ok(path) = std::env::var("TIDEGATE_CASE") {
        let text = std::fs::read_to_string(path).unwrap();
        let mut lines = text.lines();
        let flags: usize = lines.next().unwrap().parse().unwrap();
        let lines = lines.map(|line| { let (n, rest) = line.split_once(' ').unwrap(); (n.parse().unwrap(), rest.to_owned()) }).collect();
        let sequence = Sequence { login: logins()[flags].clone(), lines };
        if let Some(difference) = world.play(&sequence).await { println!("line {} {}", difference.line, difference.what); }
        return;
    }
    for seed in (first..).take(count as usize) {
        if started.elapsed() > time {
            println!("{} sequences, {failures} differ", seed - first);
            break;
        }
        let sequence = sequence(seed);
        let Some(difference) = world.play(&sequence).await else { continue };
        failures += 1;
        let (line, what) = (difference.line, &difference.what);
        println!("--- seed {seed}: line {line} `{}`: {what}", sequence.lines[line].1);
        use std::io::Write; std::io::stdout().flush().unwrap();
        let small = shrink::shrink(&mut world, &sequence, &difference).await;
        println!("    smallest sequence, flags {:?}, collation {}:", small.login.capabilities & !Login::OLD, small.login.collation);
        for (session, line) in &small.lines {
            println!("    {session} {line}");
        }
        if let Some(difference) = world.play(&small).await {
            println!("    {}", difference.what);
        } else {
            println!("    (not repeated)");
        }
    }
    assert_eq!(failures, 0);
}
