//! The id that a client is told of rows whose values Tidegate has made: what one server with AUTO_INCREMENT would tell.
//!
//! Owns: whether rows with such values were inserted, by the server's word. Does not know: how values are made, what LAST_INSERT_ID() is.
//! Invariant: the server's own id stands where it tells of a row that was there before.

use crate::wire::capabilities::Capabilities;
use crate::wire::frame::{HEADER, put_header};
use crate::wire::ok::Ok as OkPacket;

/// The values of one INSERT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Made {
    /// That of the first row that needed one.
    pub first: u64,
    /// That of the last such row.
    pub last: u64,
    /// It may have changed rows that were there, instead: ON DUPLICATE KEY UPDATE.
    pub updates: bool,
}

impl Made {
    /// The id to tell, where the server has told this one and so many rows; `None` where its own is right.
    pub fn told(self, insert_id: u64, affected_rows: u64) -> Option<u64> {
        let inserted = match (self.updates, insert_id) {
            (false, _) => affected_rows > 0,
            // Two rows are told for one that was changed.
            (true, 0) => affected_rows == 1 || affected_rows > 0 && self.first != self.last,
            // A column with AUTO_INCREMENT, whose given value is told; or LAST_INSERT_ID(id) among what is set.
            (true, told) => (self.first..=self.last).contains(&told),
        };
        inserted.then_some(self.first)
    }
}

/// The OK packet, header included, with another id.
pub(super) fn with_id(packet: &[u8], id: u64, capabilities: Capabilities) -> Option<Vec<u8>> {
    let payload = packet.get(HEADER..)?;
    let ok = OkPacket { last_insert_id: id, ..OkPacket::parse(payload, capabilities)? };
    let (mut fresh, mut body) = (Vec::with_capacity(packet.len() + 9), Vec::with_capacity(packet.len() + 9));
    ok.put(&mut body, *payload.first()?, capabilities);
    put_header(&mut fresh, body.len(), *packet.get(HEADER - 1)?);
    fresh.extend_from_slice(&body);
    Some(fresh)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ok::Status;

    #[test]
    fn the_first_id_is_told_of_rows_that_were_inserted() {
        let one = Made { first: 100, last: 100, updates: false };
        let several = Made { last: 102, ..one };
        let or_update = |made: Made| Made { updates: true, ..made };
        for (made, told, affected, expected) in [
            (one, 0, 1, Some(100)),
            (one, 100, 1, Some(100)),
            (several, 102, 3, Some(100)), // the column has AUTO_INCREMENT: the last value that was given
            (several, 7, 3, Some(100)),   // a row of it gave its own
            (one, 0, 0, None),            // INSERT IGNORE, and nothing was inserted
            (or_update(one), 0, 1, Some(100)),
            (or_update(one), 100, 1, Some(100)),
            (or_update(one), 0, 2, None),
            (or_update(one), 0, 0, None),
            (or_update(one), 7, 2, None), // LAST_INSERT_ID(id) of the row that was there
            (or_update(several), 0, 4, Some(100)),
        ] {
            assert_eq!(made.told(told, affected), expected, "{made:?} {told} {affected}");
        }
    }

    #[test]
    fn all_else_of_the_packet_stays() {
        let flags = Capabilities::SESSION_TRACK;
        let ok = OkPacket {
            affected_rows: 3,
            last_insert_id: 0,
            status: Status::AUTOCOMMIT | Status::SESSION_STATE_CHANGED,
            warnings: 2,
            info: b"Records: 3",
            changes: b"\x02\x01\x31",
        };
        let (mut packet, mut payload) = (Vec::new(), Vec::new());
        ok.put(&mut payload, 0, flags);
        put_header(&mut packet, payload.len(), 7);
        packet.extend_from_slice(&payload);
        let fresh = with_id(&packet, u64::MAX, flags).unwrap();
        assert_eq!(fresh[3], 7);
        let told = OkPacket::parse(&fresh[HEADER..], flags).unwrap();
        assert_eq!((told.last_insert_id, told.affected_rows, told.warnings), (u64::MAX, 3, 2));
        assert_eq!((told.info, told.changes), (ok.info, ok.changes));
        assert_eq!(with_id(b"\x01\x00\x00\x07\x00", 1, flags), None);
    }
}
