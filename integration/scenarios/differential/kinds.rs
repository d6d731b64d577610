//! The kinds of statement that sequences are made of.
//!
//! Owns: what is tried (`kinds.txt`, `placeholders.txt`). Does not know: how it is sent. Invariant: what a form yields
//! has one answer: no clock, no random number, no server's name, nothing that another session of the sequence changes
//! or blocks.

use super::forms::{Placeholders, Random, sections};

/// Kinds and what their placeholders stand for.
pub struct Kinds {
    kinds: Vec<Kind>,
    placeholders: Placeholders,
}

struct Kind {
    weight: usize,
    /// Each a line, or several with ⏎ in between.
    forms: Vec<String>,
}

impl Kinds {
    /// Those of the files, as far as TIDEGATE_KINDS wants them.
    pub fn read() -> Self {
        let kind = |(heading, forms): (String, Vec<String>)| {
            let (name, weight) = heading.rsplit_once(", ").expect("a name and a weight");
            let weight = weight.parse().expect("a weight");
            super::is_wanted("TIDEGATE_KINDS", name).then_some(Kind { weight, forms })
        };
        let kinds = sections(include_str!("kinds.txt")).into_iter().filter_map(kind).collect();
        Self { kinds, placeholders: placeholders() }
    }

    /// What each session begins with.
    pub fn beginning(&self) -> String {
        self.placeholders.fill("{known}", 0, &mut Random::new(0))
    }

    /// One line, or several, of a kind chosen by weight.
    pub fn lines(&self, session: usize, random: &mut Random) -> Vec<String> {
        let mut at = random.below(self.kinds.iter().map(|kind| kind.weight).sum());
        let kind = self.kinds.iter().find(|kind| {
            let reached = at < kind.weight;
            at = at.saturating_sub(kind.weight);
            reached
        });
        let form = random.pick(&kind.expect("weights add up to their sum").forms);
        let text = self.placeholders.fill(form, session, random);
        text.split(" ⏎ ").map(str::to_owned).collect()
    }
}

/// What placeholders stand for.
pub fn placeholders() -> Placeholders {
    Placeholders::read(include_str!("placeholders.txt"))
}
