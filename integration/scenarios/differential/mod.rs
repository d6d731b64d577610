//! The same sequences of statements on one server and through Tidegate: every packet must be the same.
//!
//! TIDEGATE_SEED begins at another seed, TIDEGATE_SECONDS goes on for as long, TIDEGATE_KINDS=name,name plays only these
//! kinds, TIDEGATE_CASES=file instead the sequences of a file that is written as cases.txt is.

pub mod compare;
mod doubt;
pub mod forms;
pub mod kinds;
pub mod player;
mod sequence;
mod shrink;
pub mod step;
mod value;
mod world;

use std::time::{Duration, Instant};

use self::kinds::Kinds;
use self::sequence::Sequence;
use self::world::World;
use crate::harness::{Login, Scenario};

both_dialects! {
    random_sequences_are_answered_as_by_one_server,
}

/// Random sequences of the short form.
const COUNT: usize = 20;

/// A number in the environment.
pub fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: a number")))
}

/// Whether a name is in a list in the environment, or there is no such list.
pub fn is_wanted(list: &str, name: &str) -> bool {
    std::env::var(list).map_or(true, |list| list.split(',').any(|wanted| wanted == name))
}

async fn random_sequences_are_answered_as_by_one_server(scenario: Scenario) {
    let kinds = Kinds::read();
    let mut world = World::new(scenario).await;
    let mut failures = Vec::new();
    let own = std::env::var("TIDEGATE_CASES").ok();
    let text = own.as_ref().map(|path| std::fs::read_to_string(path).expect("a file of cases"));
    for case in Sequence::cases(text.as_deref().unwrap_or(include_str!("cases.txt"))) {
        failures.extend(try_out(&mut world, &case).await);
    }
    let first = setting("TIDEGATE_SEED").unwrap_or(1);
    let time = setting("TIDEGATE_SECONDS").map(Duration::from_secs);
    let started = Instant::now();
    let mut played = 0;
    for seed in first.. {
        if own.is_some() || time.map_or(played == COUNT, |time| started.elapsed() > time) {
            break;
        }
        played += 1;
        failures.extend(try_out(&mut world, &Sequence::random(&kinds, seed)).await);
    }
    let (steps, differences) = (world.steps, failures.len());
    eprintln!(
        "{played} random sequences from seed {first}, {steps} steps with the kept ones, {differences} differences"
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Plays a sequence; where it differs, the smallest part of it that does.
async fn try_out(world: &mut World, sequence: &Sequence) -> Option<String> {
    eprintln!("{}", sequence.name); // where it hangs or panics, it was this one
    let difference = world.play(sequence).await?;
    let small = shrink::shrink(world, sequence, &difference).await;
    let what = world.play(&small).await.map_or("not repeated".to_owned(), |difference| difference.what);
    let lines: Vec<String> =
        small.lines.iter().map(|(session, line)| format!("  {session} {line}")).collect();
    let flags = small.login.capabilities.difference(Login::OLD);
    let (first, collation, name) = (&difference.what, small.login.collation, &sequence.name);
    let text = format!(
        "--- {name}, flags {flags:?}, collation {collation}: {first}\n{}\n  {what}",
        lines.join("\n")
    );
    eprintln!("{text}");
    Some(text)
}
