//! Whether two replies are the same.
//!
//! Owns: the list of fields that may differ, each with its reason. Invariant: everything else is equal byte for byte.

use super::player::Packet;
use super::step::{Line, Step};

/// How two replies differ, in words.
pub fn difference(expected: &[Packet], found: &[Packet], line: &Line) -> Option<String> {
    let (mut expected, found) = (seen(expected, line), seen(found, line));
    for packet in &mut expected {
        // MariaDB tells of changed state in EOF packets, by its own trackers, also to clients that did not ask.
        if let [0xfe, _, _, _, status] = &mut packet[..] {
            *status &= !0x40;
        }
    }
    if expected == found {
        return None;
    }
    let same = expected.iter().zip(&found).take_while(|(expected, found)| expected == found).count();
    let rest = |packets: &[Vec<u8>]| {
        let texts: Vec<String> =
            packets.iter().skip(same).take(4).map(|packet| packet.escape_ascii().to_string()).collect();
        format!("{} packets: {}", packets.len(), texts.join(" | "))
    };
    Some(format!("from packet {same}\n    server:   {}\n    tidegate: {}", rest(&expected), rest(&found)))
}

/// The packets that count, without what may differ.
fn seen(packets: &[Packet], line: &Line) -> Vec<Vec<u8>> {
    let mut seen = Vec::new();
    for packet in packets.iter().filter(|packet| line.exact || !packet.is_row) {
        seen.push(if matters_by_shape(&packet.bytes, line) {
            without_numbers(&packet.bytes)
        } else {
            packet.bytes.clone()
        });
    }
    seen
}

/// COM_STATISTICS tells how much a server did; "statement (5) has no open cursor" has the id that the server counts.
fn matters_by_shape(packet: &[u8], line: &Line) -> bool {
    matches!(line.step, Step::Statistics)
        || packet.first() == Some(&0xff)
            && packet.get(9..).is_some_and(|message| {
                let message = String::from_utf8_lossy(message);
                message.starts_with("The statement (")
                    || matches!(line.step, Step::Execute(_)) && message.contains(" at row ")
            })
}

/// The text with one 0 for each number.
fn without_numbers(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in text {
        match (byte.is_ascii_digit(), out.last()) {
            (true, Some(b'0')) => {}
            (true, _) => out.push(b'0'),
            (false, _) => out.push(*byte),
        }
    }
    out
}
