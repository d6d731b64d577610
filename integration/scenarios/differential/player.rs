//! Plays steps on one connection and keeps every packet that comes back.
//!
//! Owns: the commands' bytes, and where a reply ends. Does not know: what is right. Invariant: packets are kept as they
//! came, except for statement ids, which are the server's own counter.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tidegate::wire::auth::{Plugin, salt_from, scramble};
use tidegate::wire::capabilities::Capabilities;
use tidegate::wire::command as com;
use tidegate::wire::cursor::put_lenenc_bytes;
use tidegate::wire::frame::{lenenc, put_lenenc};
use tidegate::wire::ok::Status;

use super::step::{Execution, Step};
use super::value::Value;
use crate::harness::{Login, RawClient};

/// The id of a statement that no slot has.
const NO_STATEMENT: u32 = 0x7fff_ffff;

/// Longest wait for a packet; below the harness's own, which would end the test. Two hundred sessions may queue for a connection.
const PATIENCE: Duration = Duration::from_secs(25);

/// A packet of a reply.
#[derive(Clone, PartialEq, Debug)]
pub struct Packet {
    pub bytes: Vec<u8>,
    pub is_row: bool,
    /// Where status flags begin, in a packet that ends something.
    pub status_at: Option<usize>,
}

impl Packet {
    /// Whether it ends something that has left warnings.
    pub fn warns(&self) -> bool {
        self.warnings() > 0
    }

    /// How many warnings that has left which it ends.
    pub fn warnings(&self) -> u16 {
        let Some(at) = self.status_at else { return 0 };
        // In an OK packet they stand behind the flags, in an EOF before them.
        let at = if self.bytes.len() == 5 { at - 2 } else { at + 2 };
        self.bytes.get(at..at + 2).map_or(0, |count| u16::from_le_bytes([count[0], count[1]]))
    }

    fn plain(bytes: Vec<u8>) -> Self {
        Self { bytes, is_row: false, status_at: None }
    }
}

/// One connection.
pub struct Player {
    client: RawClient,
    slots: Vec<Option<Slot>>,
    closed: bool,
}

/// A prepared statement.
#[derive(Clone, Default)]
struct Slot {
    id: u32,
    parameters: usize,
    /// A cursor may be open.
    cursor: bool,
    /// What was sent last.
    sent: Vec<Value>,
    /// Parameters of which long data was sent.
    long: BTreeSet<usize>,
}

/// The connection has ended.
struct Closed;

impl Player {
    /// Logs in.
    pub async fn login(address: SocketAddr, login: &Login) -> Self {
        let mut client = RawClient::login(address, login).await.expect("the login works");
        client.expect_any_number(); // they are looked at as the answers are
        Self { client, slots: vec![None; 4], closed: false }
    }

    /// Carries out a step, and gives all packets of its reply.
    pub async fn play(&mut self, step: &Step) -> Vec<Packet> {
        let mut seen = Vec::new();
        if !self.closed && self.carry_out(step, &mut seen).await.is_err() {
            self.closed = true;
            seen.push(Packet::plain(b"(the connection has ended)".to_vec()));
        }
        // Servers miscount the packets of a compressed connection, see docs/protocol.md.
        let counts = !self.client.capabilities.contains(Capabilities::COMPRESS);
        if std::mem::take(&mut self.client.out_of_order) && counts {
            seen.push(Packet::plain(b"(packets out of order)".to_vec()));
        }
        seen
    }

    async fn carry_out(&mut self, step: &Step, seen: &mut Vec<Packet>) -> Result<(), Closed> {
        match step {
            Step::Query(sql) => {
                self.client.send_query(sql).await;
                self.results(&[], seen).await
            }
            Step::Attributes(sql, values) => {
                self.send_with_attributes(sql, values).await;
                self.results(&[], seen).await
            }
            Step::File(sql, file) => {
                self.client.send_query(sql).await;
                self.results(file, seen).await
            }
            Step::Prepare(slot, sql) => self.prepare(*slot, sql, seen).await,
            Step::Execute(execution) => {
                let cursor = self.renew_cursor(execution.slot, execution.cursor).await?;
                self.send_execute(execution, cursor).await;
                self.results(&[], seen).await
            }
            Step::Fetch(slot, rows) => {
                let rest = [self.id(*slot).to_le_bytes(), rows.to_le_bytes()].concat();
                self.client.command(com::STMT_FETCH, &rest).await;
                self.rows(seen).await.map(drop)
            }
            Step::LongData(slot, parameter, data) => {
                let id = self.id(*slot).to_le_bytes();
                let rest = [&id[..], &parameter.to_le_bytes(), data].concat();
                self.client.command(com::STMT_SEND_LONG_DATA, &rest).await;
                if let Some(slot) = &mut self.slots[*slot] {
                    slot.long.insert(usize::from(*parameter));
                }
                Ok(())
            }
            Step::ResetStatement(slot) => {
                let id = self.id(*slot).to_le_bytes();
                if let Some(slot) = &mut self.slots[*slot] {
                    slot.long.clear();
                }
                self.simple(com::STMT_RESET, &id, seen).await
            }
            Step::CloseStatement(slot) => {
                let id = self.id(*slot).to_le_bytes();
                self.client.command(com::STMT_CLOSE, &id).await;
                self.slots[*slot] = None;
                Ok(())
            }
            Step::InitDb(name) => self.simple(com::INIT_DB, name, seen).await,
            Step::Ping => self.simple(com::PING, &[], seen).await,
            Step::ResetConnection => {
                self.slots.fill(None);
                self.simple(com::RESET_CONNECTION, &[], seen).await
            }
            Step::ChangeUser { user, password, database } => {
                self.change_user(user, password, database, seen).await
            }
            Step::FieldList(table) => {
                let rest = [&table[..], &[0]].concat();
                self.client.command(com::FIELD_LIST, &rest).await;
                self.rows(seen).await.map(drop)
            }
            Step::SetOption(option) => self.simple(com::SET_OPTION, &option.to_le_bytes(), seen).await,
            Step::Statistics => self.simple(com::STATISTICS, &[], seen).await,
            Step::Raw(bytes) => {
                self.client.send(bytes).await;
                self.packet(false, seen).await.map(drop)
            }
        }
    }

    /// Whether to open a cursor; one that is open is closed. MySQL 9.7 gives no end to the rows of a statement that has
    /// had a cursor and is executed without one: so it gets a cursor again.
    async fn renew_cursor(&mut self, slot: usize, wanted: bool) -> Result<bool, Closed> {
        let Some(known) = &mut self.slots[slot] else { return Ok(wanted) };
        let id = known.id.to_le_bytes();
        if !known.cursor {
            known.cursor = wanted;
            return Ok(wanted);
        }
        known.long.clear();
        self.client.command(com::STMT_RESET, &id).await;
        self.packet(false, &mut Vec::new()).await?;
        Ok(true)
    }

    fn id(&self, slot: usize) -> u32 {
        self.slots[slot].as_ref().map_or(NO_STATEMENT, |slot| slot.id)
    }

    async fn simple(&mut self, command: u8, rest: &[u8], seen: &mut Vec<Packet>) -> Result<(), Closed> {
        self.client.command(command, rest).await;
        if let [0, ..] | [0xfe, _, _, _, _] = self.packet(false, seen).await?[..] {
            self.status(seen);
        }
        Ok(())
    }

    async fn packet(&mut self, is_row: bool, seen: &mut Vec<Packet>) -> Result<Vec<u8>, Closed> {
        let Ok(bytes) = tokio::time::timeout(PATIENCE, self.client.next()).await else {
            seen.push(Packet::plain(b"(no answer)".to_vec()));
            return Err(Closed);
        };
        let bytes = bytes.ok_or(Closed)?;
        seen.push(Packet { bytes: bytes.clone(), is_row, status_at: None });
        Ok(bytes)
    }

    /// All results of a statement.
    async fn results(&mut self, file: &[u8], seen: &mut Vec<Packet>) -> Result<(), Closed> {
        loop {
            let first = self.packet(false, seen).await?;
            let status = match first[0] {
                0xff => return Ok(()),
                0x00 => self.status(seen),
                0xfb => {
                    if !file.is_empty() {
                        self.client.send_numbered(file).await;
                    }
                    self.client.send_numbered(&[]).await;
                    Status::MORE_RESULTS // the statement's own end
                }
                _ => {
                    let (count, _) = lenenc(&first).expect("a column count");
                    for _ in 0..count {
                        self.packet(false, seen).await?;
                    }
                    let columns = self.end_of_columns(seen).await?;
                    if columns.contains(Status::CURSOR_EXISTS) {
                        columns
                    } else {
                        // Of OUT parameters, MySQL says there that more follows, and not behind the row.
                        let more = columns.contains(Status::PS_OUT_PARAMS);
                        let status = self.rows(seen).await?;
                        if more { status | Status::MORE_RESULTS } else { status }
                    }
                }
            };
            if !status.contains(Status::MORE_RESULTS) {
                return Ok(());
            }
        }
    }

    /// What the EOF behind the columns says, where there is one.
    async fn end_of_columns(&mut self, seen: &mut Vec<Packet>) -> Result<Status, Closed> {
        if self.client.capabilities.contains(Capabilities::DEPRECATE_EOF) {
            return Ok(Status::empty());
        }
        self.packet(false, seen).await?;
        Ok(self.status(seen))
    }

    /// Rows or column definitions, up to their end.
    async fn rows(&mut self, seen: &mut Vec<Packet>) -> Result<Status, Closed> {
        loop {
            let packet = self.packet(true, seen).await?;
            let is_end = packet[0] == 0xfe && packet.len() < 0xff_ff_ff;
            if is_end || packet[0] == 0xff {
                if let Some(last) = seen.last_mut() {
                    last.is_row = false;
                }
                return Ok(if is_end { self.status(seen) } else { Status::empty() });
            }
        }
    }

    /// The status flags of the packet that came last, an OK or an EOF.
    fn status(&self, seen: &mut [Packet]) -> Status {
        let Packet { bytes, status_at, .. } = seen.last_mut().expect("a packet");
        let is_eof = bytes[0] == 0xfe && bytes.len() == 5; // an OK packet has more
        let at = if is_eof {
            3
        } else {
            let (_, rest) = lenenc(&bytes[1..]).expect("affected rows");
            let (_, rest) = lenenc(rest).expect("an insert id");
            bytes.len() - rest.len()
        };
        *status_at = Some(at);
        Status::from_bits_retain(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
    }

    async fn prepare(&mut self, slot: usize, sql: &[u8], seen: &mut Vec<Packet>) -> Result<(), Closed> {
        self.client.command(com::STMT_PREPARE, sql).await;
        self.slots[slot] = None;
        let first = self.packet(false, seen).await?;
        if first[0] == 0xff {
            return Ok(());
        }
        let number = |at: usize| u16::from_le_bytes([first[at], first[at + 1]]);
        let id = u32::from_le_bytes([first[1], first[2], first[3], first[4]]);
        if let Some(last) = seen.last_mut() {
            last.bytes[1..5].fill(0);
        }
        let (columns, parameters) = (number(5), number(7));
        self.slots[slot] = Some(Slot { id, parameters: usize::from(parameters), ..Slot::default() });
        for count in [parameters, columns] {
            for _ in 0..count {
                self.packet(false, seen).await?;
            }
            if count > 0 {
                self.end_of_columns(seen).await?;
            }
        }
        Ok(())
    }

    async fn send_execute(&mut self, execution: &Execution, cursor: bool) {
        let mut slot = self.slots[execution.slot].clone().unwrap_or_default();
        let id = self.id(execution.slot);
        let mut values: Vec<Value> = execution.values.iter().take(slot.parameters).cloned().collect();
        // MySQL keeps the types of the first execution for what it says of columns, as long as it keeps the statement:
        // on another connection, Tidegate prepares it anew (D23).
        let keeps = !self.client.greeting.version.windows(7).any(|word| word == b"MariaDB");
        if !execution.types || keeps && !slot.sent.is_empty() {
            // Values of the types that the server knows, as far as there are any.
            for (value, sent) in values.iter_mut().zip(&slot.sent) {
                let suits =
                    execution.values.iter().find(|other| other.kind == sent.kind && other.bytes.is_some());
                *value = suits.unwrap_or(sent).clone();
            }
        } else {
            slot.sent = values.clone();
        }
        let mut payload = vec![com::STMT_EXECUTE];
        payload.extend_from_slice(&id.to_le_bytes());
        payload.push(u8::from(cursor));
        payload.extend_from_slice(&1u32.to_le_bytes());
        if !values.is_empty() {
            let named = self.client.capabilities.contains(Capabilities::QUERY_ATTRIBUTES);
            if named {
                put_lenenc(&mut payload, values.len() as u64);
            }
            put_values(&mut payload, &values, &slot.long, execution.types, named);
        }
        slot.long.clear();
        if let Some(known) = &mut self.slots[execution.slot] {
            *known = slot;
        }
        self.client.send(&payload).await;
    }

    async fn send_with_attributes(&mut self, sql: &[u8], values: &[Value]) {
        let mut payload = vec![com::QUERY];
        if self.client.capabilities.contains(Capabilities::QUERY_ATTRIBUTES) {
            put_lenenc(&mut payload, values.len() as u64);
            payload.push(1);
            put_values(&mut payload, values, &BTreeSet::new(), true, true);
        }
        payload.extend_from_slice(sql);
        self.client.send(&payload).await;
    }

    async fn change_user(
        &mut self,
        user: &str,
        password: &str,
        database: &str,
        seen: &mut Vec<Packet>,
    ) -> Result<(), Closed> {
        self.slots.fill(None);
        let salt = salt_from(&self.client.greeting.salt).expect("20 bytes");
        let plugin = Plugin::CachingSha2Password;
        let auth = scramble(plugin, &salt, password.as_bytes()).expect("a hash");
        let length = [u8::try_from(auth.len()).expect("short")];
        let end = [&b"\0"[..], &45u16.to_le_bytes(), plugin.name().as_bytes(), b"\0"].concat();
        let rest = [user.as_bytes(), b"\0", &length, &auth, database.as_bytes(), &end].concat();
        self.client.command(com::CHANGE_USER, &rest).await;
        // How passwords are proven is between each server and its client: only the end is kept.
        let bytes = self.client.prove_raw(&Login::account(user, password), salt).await.ok_or(Closed)?;
        seen.push(Packet::plain(bytes));
        Ok(())
    }
}

/// NULL bitmap, types (with names, where asked), values.
fn put_values(out: &mut Vec<u8>, values: &[Value], long: &BTreeSet<usize>, types: bool, names: bool) {
    let mut nulls = vec![0u8; values.len().div_ceil(8)];
    for (index, value) in values.iter().enumerate() {
        if value.bytes.is_none() && !long.contains(&index) {
            nulls[index / 8] |= 1 << (index % 8);
        }
    }
    out.extend_from_slice(&nulls);
    out.push(u8::from(types));
    if types {
        for (index, value) in values.iter().enumerate() {
            let kind = if long.contains(&index) { [0xfc, 0] } else { value.kind };
            out.extend_from_slice(&kind);
            if names {
                put_lenenc_bytes(out, format!("attribute{index}").as_bytes());
            }
        }
    }
    for (index, value) in values.iter().enumerate() {
        if let Some(bytes) = value.bytes.as_ref().filter(|_| !long.contains(&index)) {
            out.extend_from_slice(bytes);
        }
    }
}
