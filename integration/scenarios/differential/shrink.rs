//! A failing sequence made small.

use super::Sequence;
use super::world::{Difference, World};

/// Takes lines out as long as some difference remains.
pub async fn shrink(world: &mut World, sequence: &Sequence, difference: &Difference) -> Sequence {
    let mut best = sequence.clone();
    best.lines.truncate(difference.line + 1);
    let mut chunk = best.lines.len() / 2;
    while chunk > 0 {
        let mut at = 0;
        while at < best.lines.len() {
            let mut fewer = best.clone();
            let end = (at + chunk).min(fewer.lines.len());
            fewer.lines.drain(at..end);
            match world.play(&fewer).await {
                Some(difference) => {
                    fewer.lines.truncate(difference.line + 1);
                    best = fewer;
                }
                None => at += chunk,
            }
        }
        chunk /= 2;
    }
    best
}
