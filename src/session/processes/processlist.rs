//! The reply to SHOW PROCESSLIST, in Tidegate's ids.
//!
//! Owns: how its rows are read, changed and written, in text and in binary. Does not know: who may see what: the server has decided.
//! Invariant: columns and everything that ends the reply stay as the server has sent them; a reply that is not understood stays whole.

use std::collections::{HashMap, HashSet};

use super::{Asker, Processes, Resting};
use crate::ids::{BackendId, ClientId};
use crate::session::reply::Rows;
use crate::wire::frame::{HEADER, Header, PAYLOAD_MAX, lenenc_string, put_lenenc_string, put_packet};
use crate::wire::socket::Peer;

/// Id, User, Host, db, Command, Time, State, Info, and MariaDB's Progress: how many bytes each has in a binary row; 0: it is a text.
const WIDTHS: [usize; 9] = [8, 0, 0, 0, 0, 4, 0, 0, 8];
const ID: usize = 0;
const USER: usize = 1;
const HOST: usize = 2;
/// MariaDB's Progress where nothing is in progress.
const NO_PROGRESS: &[u8] = b"0.000";

/// A row's values as they stand in the packet, without their lengths; `None` is NULL.
type Row = Vec<Option<Vec<u8>>>;

/// Where the reply comes from.
pub(in crate::session) struct Source<'a> {
    /// `@@server_id`.
    pub server: u32,
    /// The thread that has answered.
    pub thread: BackendId,
    /// The account's name on the server.
    pub user: &'a [u8],
    pub rows: Rows,
}

/// The reply with sessions in the place of the threads that serve them; `None` where it is not understood.
pub(in crate::session) fn in_sessions(
    reply: &[u8],
    source: &Source<'_>,
    processes: &Processes<'_>,
) -> Option<Vec<u8>> {
    let mut packets = Vec::new();
    let mut rest = reply;
    while !rest.is_empty() {
        let length =
            Header::parse(rest).map(|header| header.length).filter(|length| *length < PAYLOAD_MAX)?;
        packets.push(rest.get(HEADER..HEADER + length)?);
        rest = rest.get(HEADER + length..)?;
    }
    let [count, inner @ .., end] = &packets[..] else { return None };
    let columns = usize::from(*count.first()?);
    let is_end = |packet: &[u8]| packet.first() == Some(&0xfe) && packet.len() < 1 << 16;
    let definitions =
        inner.iter().take_while(|packet| packet.starts_with(b"\x03def") || is_end(packet)).count();
    let (head, rows) = inner.split_at_checked(definitions)?;
    if !is_end(end) || columns > WIDTHS.len() || columns <= HOST {
        return None;
    }
    let rows: Option<Vec<Row>> = rows.iter().map(|row| source.rows.read(row, columns)).collect();
    let rows = shown(rows?, columns, source, processes)?;
    let mut out = Vec::with_capacity(reply.len() * 2);
    let mut sequence = Header::parse(reply)?.sequence;
    for packet in [count].into_iter().chain(head) {
        sequence = put_packet(&mut out, sequence, packet);
    }
    for row in &rows {
        sequence = put_packet(&mut out, sequence, &source.rows.write(row));
    }
    put_packet(&mut out, sequence, end);
    Some(out)
}

fn shown(rows: Vec<Row>, columns: usize, source: &Source<'_>, processes: &Processes<'_>) -> Option<Vec<Row>> {
    let Asker { id: own, peer, .. } = processes.asker;
    let here = processes.threads.iter().filter(|thread| thread.server == source.server);
    let mut threads: HashMap<BackendId, Option<(ClientId, Peer)>> =
        here.map(|thread| (thread.thread, thread.session)).collect();
    threads.insert(source.thread, Some((own, peer)));
    // Who sees others on the server sees them here.
    let sees_all =
        rows.iter().any(|row| row.get(USER).is_some_and(|user| user.as_deref() != Some(source.user)));
    let mut listed = HashSet::from([own]);
    let mut all = Vec::new();
    for mut row in rows {
        let thread = source.rows.number(row.first()?.as_deref()?)?;
        match threads.get(&BackendId(thread)) {
            None => all.push((thread, row)),
            Some(None) => {} // nobody's
            Some(Some((id, peer))) => {
                row[ID] = Some(source.rows.of_number(id.0.into(), WIDTHS[ID]));
                row[HOST] = Some(peer.to_string().into_bytes());
                listed.insert(*id);
                all.push((id.0.into(), row));
            }
        }
    }
    let resting = processes.resting.iter().filter(|session| {
        !listed.contains(&session.id) && (sees_all || session.user.as_bytes() == source.user)
    });
    all.extend(resting.map(|session| (session.id.0.into(), added(session, columns, source.rows))));
    all.sort_by_key(|(id, _)| *id);
    Some(all.into_iter().map(|(_, row)| row).collect())
}

/// A session for which no thread stands.
fn added(session: &Resting, columns: usize, rows: Rows) -> Row {
    let Resting { id, user, host, database, command, seconds, state, .. } = session;
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let progress = match rows {
        Rows::Text => NO_PROGRESS.to_vec(),
        Rows::Binary => vec![0; 8],
    };
    let mut row = vec![
        Some(rows.of_number(id.0.into(), WIDTHS[ID])),
        text(user),
        text(host),
        database.as_deref().and_then(text),
        text(command),
        Some(rows.of_number(*seconds, 4)),
        text(state),
        None,
        Some(progress),
    ];
    row.truncate(columns);
    row
}

impl Rows {
    fn read(self, packet: &[u8], columns: usize) -> Option<Row> {
        match self {
            Self::Text => {
                let mut rest = packet;
                let mut row = Vec::with_capacity(columns);
                while let [first, after @ ..] = rest {
                    if *first == 0xfb {
                        row.push(None);
                        rest = after;
                    } else {
                        let (value, after) = lenenc_string(rest)?;
                        row.push(Some(value.to_vec()));
                        rest = after;
                    }
                }
                (row.len() == columns).then_some(row)
            }
            Self::Binary => {
                let (nulls, mut rest) = packet.get(1..)?.split_at_checked((columns + 9) / 8)?;
                let mut row = Vec::with_capacity(columns);
                for (column, width) in WIDTHS.iter().enumerate().take(columns) {
                    let bit = column + 2;
                    let value = if nulls.get(bit / 8)? & (1 << (bit % 8)) != 0 {
                        None
                    } else if *width > 0 {
                        let (value, after) = rest.split_at_checked(*width)?;
                        rest = after;
                        Some(value.to_vec())
                    } else {
                        let (value, after) = lenenc_string(rest)?;
                        rest = after;
                        Some(value.to_vec())
                    };
                    row.push(value);
                }
                rest.is_empty().then_some(row)
            }
        }
    }

    fn write(self, row: &Row) -> Vec<u8> {
        let mut out = Vec::new();
        if self == Self::Binary {
            out.resize(1 + (row.len() + 9) / 8, 0);
            for column in
                row.iter().enumerate().filter(|(_, value)| value.is_none()).map(|(column, _)| column + 2)
            {
                out[1 + column / 8] |= 1 << (column % 8);
            }
        }
        for (value, width) in row.iter().zip(WIDTHS) {
            match value {
                None if self == Self::Text => out.push(0xfb),
                None => {}
                Some(value) if self == Self::Binary && width > 0 => out.extend_from_slice(value),
                Some(value) => put_lenenc_string(&mut out, value),
            }
        }
        out
    }

    fn number(self, value: &[u8]) -> Option<u64> {
        match self {
            Self::Text => std::str::from_utf8(value).ok()?.parse().ok(),
            Self::Binary => Some(u64::from_le_bytes(*value.first_chunk()?)),
        }
    }

    fn of_number(self, number: u64, width: usize) -> Vec<u8> {
        match self {
            Self::Text => number.to_string().into_bytes(),
            Self::Binary => number.to_le_bytes().into_iter().take(width).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::processes::Thread;
    use crate::sql::Dialect;

    const OWN: ClientId = ClientId(1 << 30);
    const OTHER: ClientId = ClientId((1 << 30) + 1);

    fn processes() -> Processes<'static> {
        let thread = |thread, session: Option<ClientId>| Thread {
            server: 1,
            thread: BackendId(thread),
            session: session.map(|id| (id, Peer::Local)),
        };
        let resting = |id, user: &str| Resting {
            id,
            server: 0,
            user: user.into(),
            host: "h".into(),
            database: None,
            command: "Sleep",
            seconds: 300,
            state: "",
        };
        Processes {
            asker: Asker { id: OWN, peer: Peer::Local, text: None },
            threads: vec![thread(7, Some(OTHER)), thread(8, None), Thread { server: 2, ..thread(9, None) }],
            resting: vec![
                resting(ClientId((1 << 30) + 2), "app"),
                resting(ClientId((1 << 30) + 3), "other"),
                resting(OTHER, "app"),
            ],
            dialect: Dialect::MariaDb,
        }
    }

    fn row(rows: Rows, id: u64, user: &str) -> Row {
        let text = |text: &str| Some(text.as_bytes().to_vec());
        let time = Some(rows.of_number(1, 4));
        let id = Some(rows.of_number(id, 8));
        vec![
            id,
            text(user),
            text("1.2.3.4:5"),
            None,
            text("Query"),
            time,
            text(""),
            text("SELECT 1"),
            Some(rows.of_number(0, 8)),
        ]
    }

    /// Ids and hosts of the reply to the threads of `users`.
    fn seen(rows: Rows, users: &[(u64, &str)]) -> Vec<(u64, String)> {
        let mut reply = Vec::new();
        let mut sequence = put_packet(&mut reply, 1, &[9]);
        sequence = put_packet(&mut reply, sequence, b"\x03def");
        sequence = put_packet(&mut reply, sequence, b"\xfe\0\0\x02\0");
        for (id, user) in users {
            sequence = put_packet(&mut reply, sequence, &rows.write(&row(rows, *id, user)));
        }
        put_packet(&mut reply, sequence, b"\xfe\0\0\x02\0");
        let source = Source { server: 1, thread: BackendId(5), user: b"app", rows };
        let out = in_sessions(&reply, &source, &processes()).unwrap();
        let mut found = Vec::new();
        let (mut rest, mut at) = (&out[..], 0);
        while let Some(header) = Header::parse(rest) {
            assert_eq!(header.sequence, 1 + at);
            let packet = &rest[HEADER..HEADER + header.length];
            if at >= 3 && packet[0] != 0xfe {
                let row = rows.read(packet, 9).unwrap();
                let id = rows.number(row[ID].as_deref().unwrap()).unwrap();
                found.push((id, String::from_utf8(row[HOST].clone().unwrap()).unwrap()));
            }
            rest = &rest[HEADER + header.length..];
            at += 1;
        }
        found
    }

    #[test]
    fn threads_become_sessions_in_text_and_in_binary() {
        for rows in [Rows::Text, Rows::Binary] {
            let users = [(5, "app"), (6, "app"), (7, "app"), (8, "app")];
            let expected = [
                (6, "1.2.3.4:5"),
                (1 << 30, "localhost"),
                ((1 << 30) + 1, "localhost"),
                ((1 << 30) + 2, "h"),
            ];
            assert_eq!(seen(rows, &users), expected.map(|(id, host)| (id, host.to_owned())), "{rows:?}");
            let ids: Vec<_> = seen(rows, &[(5, "app"), (9, "root")]).into_iter().map(|row| row.0).collect();
            assert_eq!(
                ids,
                [9, 1 << 30, (1 << 30) + 1, (1 << 30) + 2, (1 << 30) + 3],
                "who sees others: {rows:?}"
            );
        }
    }

    #[test]
    fn what_is_no_such_reply_is_left_alone() {
        let source = Source { server: 1, thread: BackendId(5), user: b"app", rows: Rows::Text };
        for reply in [
            &b""[..],
            b"\x01\0\0\x01\x09",
            b"\x01\0\0\x01\x09\x01\0\0\x02\xfe",
            b"\x05\0\0\x01\0\0\0\x02\0",
            b"\xff\xff\xff\x01",
        ] {
            let found = in_sessions(reply, &source, &processes());
            assert!(found.is_none() || reply.len() == 10, "{reply:?}");
        }
    }
}
