//! Text with placeholders, from files of named sections, filled in at random.
//!
//! Owns: the files' notation and the random numbers. Does not know: SQL. Invariant: a seed gives the same text again.
//!
//! A file: `= heading`, then its lines, one per form, up to an empty line; `#` begins a comment.

use std::collections::HashMap;

/// SplitMix64: random numbers that a seed repeats.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// The sections of a file, in their order: headings and lines.
pub fn sections(text: &str) -> Vec<(String, Vec<String>)> {
    let mut sections: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match (line.strip_prefix("= "), sections.last_mut()) {
            (Some(heading), _) => sections.push((heading.to_owned(), Vec::new())),
            (None, Some((_, lines))) => lines.push(line.to_owned()),
            (None, None) => panic!("a heading before {line}"),
        }
    }
    sections
}

/// What placeholders stand for.
#[derive(Clone, Debug)]
pub struct Placeholders(HashMap<String, Vec<String>>);

impl Placeholders {
    /// Those of a file.
    pub fn read(text: &str) -> Self {
        Self(sections(text).into_iter().collect())
    }

    /// The same with others, or other forms of some.
    pub fn with(mut self, text: &str) -> Self {
        self.0.extend(sections(text));
        self
    }

    /// Fills in a form: `{name}` becomes one of the forms called `name`, itself filled in; `{s}` is the session's number.
    pub fn fill(&self, form: &str, session: usize, random: &mut Random) -> String {
        let mut out = String::new();
        let mut rest = form;
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let (name, after) = after.split_once('}').unwrap_or_else(|| panic!("an end of {form}"));
            match self.0.get(name) {
                _ if name == "s" => out.push_str(&session.to_string()),
                None => panic!("no such placeholder: {name} in {form}"),
                Some(forms) if forms.is_empty() => {}
                // Deep enough: the first form of each is the simplest.
                Some(forms) if out.len() > 400 => out.push_str(&self.fill(&forms[0], session, random)),
                Some(forms) => {
                    let form = random.pick(forms);
                    out.push_str(&self.fill(form, session, random));
                }
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }
}
