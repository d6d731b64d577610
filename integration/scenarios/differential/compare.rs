//! Whether two replies are the same.
//!
//! Owns: the list of fields that may differ, each with its reason. Invariant: everything else is equal byte for byte.

use super::player::Packet;
use super::step::Line;

/// How two replies differ, in words.
pub fn difference(expected: &[Packet], found: &[Packet], line: &Line) -> Option<String> {
    let seen = |packets: &[Packet]| -> Vec<Vec<u8>> {
        packets.iter().filter(|packet| line.exact || !packet.is_row).map(|packet| packet.bytes.clone()).collect()
    };
    let (expected, found) = (seen(expected), seen(found));
    for (index, (expected, found)) in expected.iter().zip(&found).enumerate() {
        if expected != found {
            return Some(format!(
                "packet {index}\n  server:   {}\n  tidegate: {}",
                expected.escape_ascii(),
                found.escape_ascii()
            ));
        }
    }
    (expected.len() != found.len()).then(|| format!("{} packets, not {}", found.len(), expected.len()))
}
