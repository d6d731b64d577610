//! What the rules' language has and the program does not carry out yet.
//!
//! Owns: the list, and the words by which it is refused. Does not know: when it comes.
//! Invariant: an option that would do nothing is an error; what is taken off `PENDING` loads, for it is read and kept already.

use super::super::fields::{Context, Item};

/// A part of the language.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Feature {
    /// `tables.NAME.generate` by UUIDs.
    Generate,
}

/// What nothing carries out yet.
const PENDING: &[Feature] = &[Feature::Generate];

impl Feature {
    /// What a refusal calls it, and what to do instead.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Generate => {
                ("this way to make values", "write `snowflake` or `segment`, or give each row its value")
            }
        }
    }
}

/// Refuses what is written at `item` if nothing carries it out.
pub(super) fn check(item: &Item<'_>, feature: Feature, cx: &mut Context<'_, '_>) {
    if PENDING.contains(&feature) {
        let (what, help) = feature.words();
        item.error(cx, format!("{what} is not in this release"), Some(help.to_owned()));
    }
}
