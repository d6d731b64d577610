//! What a misspelt word most likely stands for.
//!
//! Owns: the distance between words, and how near is near enough. Does not know: options.
//! Invariant: a guess is one of the candidates; a long word is not compared, so the cost is bounded.

/// Bytes of a word that is compared at all.
const WORD_MAX: usize = 40;

/// The candidate that `word` most likely stands for.
pub(super) fn did_you_mean<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    if word.len() > WORD_MAX {
        return None;
    }
    let word = word.to_ascii_lowercase().replace('-', "_");
    let near = candidates.map(|candidate| (distance(&word, candidate), candidate));
    let (edits, candidate) = near.min_by_key(|(edits, _)| *edits)?;
    (edits <= 1 + candidate.len() / 5 && edits < candidate.len()).then_some(candidate)
}

/// Edits (insert, delete, replace, swap neighbours) from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.chars().collect::<Vec<_>>(), b.chars().collect::<Vec<_>>());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let change = row[j] + usize::from(from != to);
            let mut best = change.min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *to && *from == b[j - 1] {
                best = best.min(before[j - 1] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_what_was_meant() {
        let options = ["max_lag", "min_idle", "max", "queue_timeout", "tls"];
        for (word, meant) in [
            ("max_lagg", Some("max_lag")),
            ("max-lag", Some("max_lag")),
            ("tsl", Some("tls")),
            ("queue_timout", Some("queue_timeout")),
            ("databases", None),
            ("xyz", None),
        ] {
            assert_eq!(did_you_mean(word, options.into_iter()), meant, "{word}");
        }
    }
}
