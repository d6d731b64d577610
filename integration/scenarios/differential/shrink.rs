//! A failing sequence made small.

use super::sequence::Sequence;
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
            let kept: Vec<_> = fewer.lines.drain(at..end).filter(|(_, line)| is_needed(line)).collect();
            fewer.lines.splice(at..at, kept);
            if fewer.lines.len() == best.lines.len() {
                at += chunk;
                continue;
            }
            match world.play(&fewer).await {
                Some(other) if is_same(&other, &fewer, difference, sequence) => {
                    fewer.lines.truncate(other.line + 1);
                    best = fewer;
                }
                _ => at += chunk,
            }
        }
        chunk /= 2;
    }
    best
}

/// Whether a line gives all user variables a value: one without differs by itself (D36).
fn is_needed(line: &str) -> bool {
    line.starts_with("SET @a = ") && line.ends_with("@`d e` = 2.5")
}

/// Whether two differences look like one: the same statement, and answers that begin alike.
fn is_same(a: &Difference, in_a: &Sequence, b: &Difference, in_b: &Sequence) -> bool {
    let kind = |difference: &Difference| {
        [&difference.expected, &difference.found].map(|packets| {
            (
                packets.len() > 1,
                packets.first().map(|packet| packet.bytes[..packet.bytes.len().min(3)].to_vec()),
            )
        })
    };
    in_a.lines[a.line].1 == in_b.lines[b.line].1 && kind(a) == kind(b)
}
