//! The same random SELECTs on one server with all rows and, through Tidegate, on four shards of two clusters: every answer is the same, or
//! refused with its reason.
//!
//! Owns: which statements are played, what is told of them. Does not know: how shards' rows are merged. Invariant: a seed gives the same
//! tables, rows and statements again; what differs is told as the smallest statement that does.
//!
//! TIDEGATE_SEED begins at another seed, TIDEGATE_SECONDS goes on for as long, TIDEGATE_STATEMENT plays one statement on the seed's tables.

mod changes;
mod compare;
mod generate;
mod kinds;
mod statement;
mod tables;
mod world;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use self::compare::Verdict;
use self::generate::Generator;
use self::tables::Tables;
use self::world::World;
use crate::differential::forms::Random;
use crate::differential::setting;
use crate::harness::Scenario;

both_dialects! {
    random_selects_are_answered_as_by_one_server,
}

/// Tables of the short form, and statements on each.
const SEEDS: u64 = 2;
const STATEMENTS: usize = 150;
/// Changes of the tables' rows after these; the tables are compared after each.
const CHANGES: usize = 40;
/// Differences that are told of.
const TOLD_MAX: usize = 20;

/// What became of all statements.
#[derive(Default)]
struct Tally {
    same: usize,
    errors: usize,
    refused: BTreeMap<String, usize>,
    failures: Vec<String>,
}

impl Tally {
    fn all(&self) -> usize {
        self.same + self.errors + self.failures.len() + self.refused.values().sum::<usize>()
    }

    fn print(&self) {
        eprintln!(
            "{} statements: {} the same, {} errors on both sides, {} differ",
            self.all(),
            self.same,
            self.errors,
            self.failures.len()
        );
        let mut reasons: Vec<_> = self.refused.iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        reasons.iter().for_each(|(reason, count)| eprintln!("{count:7} refused: {reason}"));
    }
}

async fn random_selects_are_answered_as_by_one_server(scenario: Scenario) {
    let mut world = World::new(scenario).await;
    let first = setting("TIDEGATE_SEED").unwrap_or(1);
    let time = setting("TIDEGATE_SECONDS").map(Duration::from_secs);
    let started = Instant::now();
    let mut tally = Tally::default();
    for seed in first.. {
        if time.map_or(seed == first + SEEDS, |time| started.elapsed() > time)
            || tally.failures.len() >= TOLD_MAX
        {
            break;
        }
        eprintln!("seed {seed}");
        let mut random = Random::new(seed);
        let tables = Tables::random(&mut random, scenario.is_mysql());
        world.fill(&tables, &mut random).await;
        world.fill_words(&tables, &mut random).await;
        if let Ok(sql) = std::env::var("TIDEGATE_STATEMENT") {
            eprintln!("{}", world.tell(&sql).await);
            return;
        }
        for _ in 0..STATEMENTS {
            let statement = Generator { tables: &tables, random: &mut random }.statement();
            match world.judge(&statement).await {
                Verdict::Same => tally.same += 1,
                Verdict::Error => tally.errors += 1,
                Verdict::Refused(reason) => *tally.refused.entry(reason).or_default() += 1,
                Verdict::Differs(what) => {
                    let sql = statement.sql();
                    eprintln!("seed {seed}, before it is made smaller: {sql}\n  {what}");
                    let small = world.shrink(statement).await;
                    let prepared = if small.prepared { ", prepared" } else { "" };
                    let what = world.judge(&small).await;
                    let told =
                        format!("--- seed {seed}{prepared}\n{}\n  {what:?}", world.tell(&small.sql()).await);
                    eprintln!("{told}");
                    tally.failures.push(told);
                }
            }
        }
        for _ in 0..CHANGES {
            let change = Generator { tables: &tables, random: &mut random }.change();
            let mut verdict = world.change(&change).await;
            for table in ["one", "two", "words"] {
                let difference = world.contents(table).await;
                verdict = difference.map_or(verdict, Verdict::Differs);
            }
            match verdict {
                Verdict::Same => tally.same += 1,
                Verdict::Error => tally.errors += 1,
                Verdict::Refused(reason) => {
                    *tally.refused.entry(format!("a change: {reason}")).or_default() += 1
                }
                Verdict::Differs(what) => {
                    let told = format!("--- seed {seed}\n{change}\n{what}");
                    eprintln!("{told}");
                    tally.failures.push(told);
                    // What comes after it would differ for the same reason.
                    break;
                }
            }
        }
    }
    tally.print();
    assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n"));
    assert!(tally.same > 0, "nothing was answered");
}
