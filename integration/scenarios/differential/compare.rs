//! Whether two replies are the same.
//!
//! Owns: the list of what may differ, each with its reason. Invariant: everything else is equal byte for byte.
//!
//! | Field | Why |
//! |---|---|
//! | statement ids (`player`) | each server's own count |
//! | how passwords are proven in COM_CHANGE_USER (`player`) | between each server and its client |
//! | numbers in COM_STATISTICS | what the server did for all clients |
//! | the id in "The statement (5) has no open cursor", and that message's length, also where it is asked about | a statement's id |
//! | the row in errors of an execution, "… at row 3" | MariaDB: left over from the statement before on the connection |
//! | NO_INDEX and NO_GOOD_INDEX after a statement | the optimizer's choice, by each server's statistics |
//! | SESSION_STATE_CHANGED in the server's EOF | no change can stand behind it; MariaDB sets it, also for clients that did not ask |
//! | SESSION_STATE_CHANGED with no change behind it | MySQL: sets it, after an implicit commit, or does not |
//! | the order of session tracking's entries | MariaDB: by the addresses that variables have in its process |
//! | counts in a larger expression (`doubt`) | the connection may serve others by then; refused where it does |
//! | errors beside one about a statement that does not exist or has no cursor, of its arguments, and of an unknown command (`doubt`) | MySQL: added to those of the statement before |
//! | that a transaction is over which a failed statement has ended (`doubt`) | MySQL: told with the next OK, which may be that of what Tidegate replays |
//! | the default database, where a server reports it behind what cannot change it (`doubt`) | late, of a statement that has failed; or the same, around a view or function of another one |
//! | the number of warnings behind an unknown command (`doubt`) | MySQL: with those of the statement before |
//! | affected rows of some CALLs (`doubt`) | MySQL: left over from the statement before on the connection |
//! | LAST_INSERT_ID() after an INSERT that failed (`doubt`) | undefined, say the manuals |
//! | 1792 for 1210 or 1835, of an execution | a replica refuses a write before it reads the arguments, which are malformed, or too many or few |
//! | rows, where the line begins with `~` | what the kind says: clocks, ids of connections |

use tidegate::wire::capabilities::Capabilities;
use tidegate::wire::frame::lenenc_string;
use tidegate::wire::ok::{Ok as OkPacket, Status};

use super::player::Packet;
use super::step::{Line, Step};

/// Session tracking's word that no transaction is open.
const TRANSACTION_IS_OVER: &[u8] = b"\x05\x09\x08________";
/// Session tracking's entry of the default database.
const SCHEMA: u8 = 1;

/// How two replies differ, in words.
pub fn difference(expected: &[Packet], found: &[Packet], line: &Line) -> Option<String> {
    if !line.exact && is_refused(found) {
        return None;
    }
    let malformed = [1210, 1835].iter().any(|code| is_error(expected, *code));
    let executes = match &line.step {
        Step::Execute(_) => true,
        Step::Query(sql) => sql.starts_with(b"EXECUTE"),
        _ => false,
    };
    if executes && malformed && is_error(found, 1792) {
        return None;
    }
    let mut reported = expected.to_vec();
    if !line.moves {
        // The default database, behind a statement that cannot change it.
        reported.iter_mut().for_each(|packet| leave_out(packet, |entry| entry[0] == SCHEMA));
    }
    let expected = seen(&reported, line, Status::SESSION_STATE_CHANGED);
    let found = seen(found, line, Status::empty());
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

/// Whether Tidegate refuses to answer.
pub fn is_refused(found: &[Packet]) -> bool {
    found.iter().any(|packet| memchr::memmem::find(&packet.bytes, b"cannot be answered here").is_some())
}

/// Whether the reply is this error, and nothing else.
fn is_error(reply: &[Packet], code: u16) -> bool {
    let [packet] = reply else { return false };
    packet.bytes.strip_prefix(b"\xff").is_some_and(|rest| rest.starts_with(&code.to_le_bytes()))
}

/// Takes some of what session tracking says out of an OK packet.
fn leave_out(packet: &mut Packet, which: impl Fn(&[u8]) -> bool) {
    let Some(ok) = packet.status_at.and_then(|_| OkPacket::parse(&packet.bytes, Capabilities::SESSION_TRACK))
    else {
        return;
    };
    let kept: Vec<&[u8]> = entries(ok.changes).into_iter().filter(|entry| !which(entry)).collect();
    let changes = kept.concat();
    if changes.len() < ok.changes.len() {
        let mut status = ok.status;
        if changes.is_empty() {
            status.remove(Status::SESSION_STATE_CHANGED);
        }
        let mut bytes = Vec::new();
        let left = OkPacket { changes: &changes, status, ..ok };
        left.put(&mut bytes, packet.bytes[0], Capabilities::SESSION_TRACK);
        packet.bytes = bytes;
    }
}

/// What session tracking says, one by one.
fn entries(changes: &[u8]) -> Vec<&[u8]> {
    let mut entries = Vec::new();
    let mut rest = changes;
    while let Some((_, after)) = rest.get(1..).and_then(lenenc_string) {
        entries.push(&rest[..rest.len() - after.len()]);
        rest = after;
    }
    entries
}

/// The packets that count, without what may differ. `eof`: flags that EOF packets of this side may have.
fn seen(packets: &[Packet], line: &Line, eof: Status) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for packet in packets.iter().filter(|packet| line.exact || !packet.is_row) {
        let mut packet = packet.clone();
        if !line.told {
            leave_out(&mut packet, |entry| entry == TRANSACTION_IS_OVER);
        }
        let mut bytes = packet.bytes;
        if let Some(at) = packet.status_at {
            let mut hidden = if (bytes[0], bytes.len()) == (0xfe, 5) { eof } else { Status::empty() };
            if matches!(line.step, Step::Query(_) | Step::Attributes(..) | Step::Execute(_) | Step::Fetch(..))
            {
                hidden |= Status::NO_INDEX | Status::NO_GOOD_INDEX;
            }
            let [low, high] = hidden.bits().to_le_bytes();
            if !line.warned {
                let count = if bytes.len() == 5 { at - 2 } else { at + 2 };
                bytes[count..count + 2].fill(0);
            }
            bytes[at] &= !low;
            bytes[at + 1] &= !high;
            if bytes.get(at + 4..) == Some(&[0, 0]) {
                bytes.truncate(at + 4); // no text, no changes
                bytes[at + 1] &= !(Status::SESSION_STATE_CHANGED.bits() >> 8) as u8;
            }
            sort_changes(&mut bytes);
            if bytes[0] == 0 && !line.counted {
                bytes.splice(1..at - 1, []); // affected rows; the insert id behind them has one byte
            }
        }
        all.push(if has_numbers(&bytes, line) { without_numbers(&bytes) } else { bytes });
    }
    all
}

/// Puts what an OK packet says of session tracking in one order.
fn sort_changes(bytes: &mut [u8]) {
    let Some(ok) = OkPacket::parse(bytes, Capabilities::SESSION_TRACK) else { return };
    let mut entries = entries(ok.changes);
    let start = bytes.len() - ok.changes.len();
    entries.sort();
    let sorted = entries.concat();
    bytes[start..start + sorted.len()].copy_from_slice(&sorted);
}

/// Whether its numbers are the server's own.
fn has_numbers(packet: &[u8], line: &Line) -> bool {
    let message = packet.strip_prefix(b"\xff").map(String::from_utf8_lossy).unwrap_or_default();
    matches!(line.step, Step::Statistics)
        || memchr::memmem::find(packet, b"The statement (").is_some()
        || matches!(line.step, Step::Execute(_)) && message.contains(" at row ")
}

/// The text with one 0 for each number. In a row, the length of a message about a statement's id counts as one.
fn without_numbers(text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    if let Some(length) = memchr::memmem::find(&text, b"The statement (").and_then(|at| at.checked_sub(1))
        && text[0] != 0xff
    {
        text[length] = b'0';
    }
    let mut out = Vec::new();
    for byte in &text {
        match (byte.is_ascii_digit(), out.last()) {
            (true, Some(b'0')) => {}
            (true, _) => out.push(b'0'),
            (false, _) => out.push(*byte),
        }
    }
    out
}
