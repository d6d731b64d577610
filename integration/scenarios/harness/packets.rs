//! The replies that a raw client reads, and the commands that it puts together.

use tidegate::wire::capabilities::Capabilities;
use tidegate::wire::command as com;
use tidegate::wire::cursor::put_lenenc_bytes;
use tidegate::wire::err::ErrPacket;
use tidegate::wire::frame::lenenc;
use tidegate::wire::ok::{Ok as OkPacket, Status, changes};

use super::RawClient;

/// One result of a command.
#[derive(Debug)]
pub enum Outcome {
    Ok(Okay),
    Err(ErrPacket),
    Rows(ResultSet),
    /// LOCAL INFILE: the server wants this file.
    File(String),
}

/// What an OK packet, or the end of rows, says.
#[derive(Clone, Debug, Default)]
pub struct Okay {
    pub affected_rows: u64,
    pub insert_id: u64,
    pub status: Status,
    pub warnings: u16,
    pub info: String,
    /// Session state information, undecoded.
    pub changes: Vec<u8>,
}

/// Rows, undecoded.
#[derive(Debug, Default)]
pub struct ResultSet {
    /// Column definitions.
    pub columns: Vec<Vec<u8>>,
    pub rows: Vec<Vec<u8>>,
    pub end: Okay,
}

/// A parameter of a prepared statement.
#[derive(Clone, Debug)]
pub enum Param<'a> {
    Null,
    Int(i64),
    Unsigned(u64),
    Text(&'a [u8]),
    /// A value of this type with these flags, as it is written.
    Typed(u8, u8, &'a [u8]),
    /// Sent before by COM_STMT_SEND_LONG_DATA.
    Sent,
}

/// A prepared statement's answer.
#[derive(Clone, Copy, Debug)]
pub struct Prepared {
    pub id: u32,
    pub columns: u16,
    pub parameters: u16,
}

impl Okay {
    pub fn read(payload: &[u8], capabilities: Capabilities) -> Self {
        let ok = OkPacket::parse(payload, capabilities).expect("a well-formed OK packet");
        let track = capabilities.contains(Capabilities::SESSION_TRACK);
        assert!(track || !ok.status.contains(Status::SESSION_STATE_CHANGED), "tracking was not asked for");
        Self {
            affected_rows: ok.affected_rows,
            insert_id: ok.last_insert_id,
            status: ok.status,
            warnings: ok.warnings,
            info: String::from_utf8_lossy(ok.info).into_owned(),
            changes: ok.changes.to_vec(),
        }
    }

    fn end(payload: &[u8], capabilities: Capabilities) -> Self {
        if capabilities.contains(Capabilities::DEPRECATE_EOF) {
            return Self::read(payload, capabilities);
        }
        let &[0xfe, w0, w1, s0, s1] = payload else { panic!("no EOF packet: {payload:02x?}") };
        let status = Status::from_bits_retain(u16::from_le_bytes([s0, s1]));
        Self { status, warnings: u16::from_le_bytes([w0, w1]), ..Self::default() }
    }

    /// Whether the session tracker reported anything.
    pub fn reports_changes(&self) -> bool {
        changes(&self.changes).count() > 0
    }
}

impl ResultSet {
    /// The rows of a text result.
    pub fn texts(&self) -> Vec<Vec<Option<String>>> {
        let cell = |cell: Option<Vec<u8>>| cell.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        self.bytes().into_iter().map(|row| row.into_iter().map(cell).collect()).collect()
    }

    /// The same, undecoded.
    pub fn bytes(&self) -> Vec<Vec<Option<Vec<u8>>>> {
        self.rows.iter().map(|row| cells(row)).collect()
    }

    /// The first cell of a text result.
    pub fn value(&self) -> Option<String> {
        self.texts().into_iter().next().and_then(|row| row.into_iter().next()?)
    }

    /// A column's name.
    pub fn name(&self, column: usize) -> String {
        String::from_utf8_lossy(&cells(&self.columns[column][..])[4].clone().expect("a name")).into_owned()
    }
}

/// Length-encoded strings up to the end, or up to what is none.
fn cells(mut bytes: &[u8]) -> Vec<Option<Vec<u8>>> {
    let mut cells = Vec::new();
    while let Some((&first, rest)) = bytes.split_first() {
        if first == 0xfb {
            cells.push(None);
            bytes = rest;
            continue;
        }
        let Some((length, rest)) = lenenc(bytes) else { break };
        let Some((cell, rest)) = rest.split_at_checked(length as usize) else { break };
        cells.push(Some(cell.to_vec()));
        bytes = rest;
    }
    cells
}

impl RawClient {
    /// One result.
    pub async fn outcome(&mut self) -> Outcome {
        let first = self.read().await;
        match first[0] {
            0x00 => Outcome::Ok(Okay::read(&first, self.capabilities)),
            0xff => Outcome::Err(ErrPacket::decode(&first).expect("an ERR packet")),
            0xfb => Outcome::File(String::from_utf8_lossy(&first[1..]).into_owned()),
            _ => {
                let (count, _) = lenenc(&first).expect("a column count");
                let columns = self.definitions(count).await;
                self.rows(columns).await
            }
        }
    }

    /// Column definitions, with the EOF behind them where the client is of that age.
    pub async fn definitions(&mut self, count: u64) -> Vec<Vec<u8>> {
        let mut columns = Vec::new();
        for _ in 0..count {
            columns.push(self.read().await);
        }
        if count > 0 && !self.capabilities.contains(Capabilities::DEPRECATE_EOF) {
            let eof = self.read().await;
            assert_eq!((eof[0], eof.len()), (0xfe, 5), "EOF behind the columns");
        }
        columns
    }

    /// COM_FIELD_LIST: all packets of the answer.
    pub async fn fields(&mut self, table: &[u8]) -> Vec<Vec<u8>> {
        self.command(com::FIELD_LIST, table).await;
        let mut packets = vec![self.read().await];
        while !matches!(packets.last().unwrap()[0], 0xfe | 0xff) {
            packets.push(self.read().await);
        }
        packets
    }

    /// Rows up to their end.
    pub async fn rows(&mut self, columns: Vec<Vec<u8>>) -> Outcome {
        let mut rows = Vec::new();
        loop {
            let packet = self.read().await;
            match packet[0] {
                0xff => return Outcome::Err(ErrPacket::decode(&packet).expect("an ERR packet")),
                0xfe if packet.len() < 0xff_ff_ff => {
                    let end = Okay::end(&packet, self.capabilities);
                    return Outcome::Rows(ResultSet { columns, rows, end });
                }
                _ => rows.push(packet),
            }
        }
    }

    /// All results of a command that was sent.
    pub async fn outcomes(&mut self) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        loop {
            let outcome = self.outcome().await;
            let status = match &outcome {
                Outcome::Ok(ok) => ok.status,
                Outcome::Rows(rows) => rows.end.status,
                Outcome::Err(_) | Outcome::File(_) => Status::empty(),
            };
            outcomes.push(outcome);
            if !status.contains(Status::MORE_RESULTS) {
                return outcomes;
            }
        }
    }

    /// Sends COM_QUERY, with empty query attributes where they are on.
    pub async fn send_query(&mut self, sql: impl AsRef<[u8]>) {
        let attributes: &[u8] =
            if self.capabilities.contains(Capabilities::QUERY_ATTRIBUTES) { &[0, 1] } else { &[] };
        self.send(&[&[com::QUERY], attributes, sql.as_ref()].concat()).await;
    }

    /// All results of a text statement.
    pub async fn query(&mut self, sql: impl AsRef<[u8]>) -> Vec<Outcome> {
        self.send_query(sql).await;
        self.outcomes().await
    }

    /// A statement that answers OK.
    pub async fn ok(&mut self, sql: impl AsRef<[u8]>) -> Okay {
        self.query(sql).await.pop().expect("a result").ok()
    }

    /// A statement that is refused.
    pub async fn error(&mut self, sql: impl AsRef<[u8]>) -> ErrPacket {
        self.query(sql).await.pop().expect("a result").err()
    }

    /// A statement that answers with rows.
    pub async fn select(&mut self, sql: impl AsRef<[u8]>) -> ResultSet {
        self.query(sql).await.pop().expect("a result").rows()
    }

    /// The first cell of a statement's rows.
    pub async fn value(&mut self, sql: impl AsRef<[u8]>) -> Option<String> {
        self.select(sql).await.value()
    }

    /// Prepares a statement.
    pub async fn prepare(&mut self, sql: impl AsRef<[u8]>) -> Result<Prepared, ErrPacket> {
        self.command(com::STMT_PREPARE, sql.as_ref()).await;
        let first = self.read().await;
        if first[0] == 0xff {
            return Err(ErrPacket::decode(&first).expect("an ERR packet"));
        }
        let number = |at: usize| u16::from_le_bytes([first[at], first[at + 1]]);
        let id = u32::from_le_bytes([first[1], first[2], first[3], first[4]]);
        let prepared = Prepared { id, columns: number(5), parameters: number(7) };
        self.definitions(u64::from(prepared.parameters)).await;
        self.definitions(u64::from(prepared.columns)).await;
        Ok(prepared)
    }

    /// Sends COM_STMT_EXECUTE; `types`: whether the parameters' types are sent with them.
    pub async fn send_execute(&mut self, statement: Prepared, cursor: u8, params: &[Param<'_>], types: bool) {
        let mut payload = vec![com::STMT_EXECUTE];
        payload.extend_from_slice(&statement.id.to_le_bytes());
        payload.push(cursor);
        payload.extend_from_slice(&1u32.to_le_bytes());
        if !params.is_empty() {
            let mut nulls = vec![0; params.len().div_ceil(8)];
            let (mut kinds, mut values) = (Vec::new(), Vec::new());
            for (index, param) in params.iter().enumerate() {
                let (kind, sign) = match param {
                    Param::Null => (6, 0),
                    Param::Int(_) => (8, 0),
                    Param::Unsigned(_) => (8, 0x80),
                    Param::Text(_) | Param::Sent => (0xfd, 0),
                    Param::Typed(kind, flags, _) => (*kind, *flags),
                };
                kinds.extend_from_slice(&[kind, sign]);
                match param {
                    Param::Null => nulls[index / 8] |= 1 << (index % 8),
                    Param::Int(value) => values.extend_from_slice(&value.to_le_bytes()),
                    Param::Unsigned(value) => values.extend_from_slice(&value.to_le_bytes()),
                    Param::Text(text) => put_lenenc_bytes(&mut values, text),
                    Param::Typed(_, _, bytes) => values.extend_from_slice(bytes),
                    Param::Sent => {}
                }
            }
            payload.extend_from_slice(&nulls);
            payload.push(u8::from(types));
            if types {
                payload.extend_from_slice(&kinds);
            }
            payload.extend_from_slice(&values);
        }
        self.send(&payload).await;
    }

    /// Executes a prepared statement without a cursor, sending types.
    pub async fn execute(&mut self, statement: Prepared, params: &[Param<'_>]) -> Outcome {
        self.send_execute(statement, 0, params, true).await;
        self.outcomes().await.pop().expect("a result")
    }
}

impl Outcome {
    pub fn ok(self) -> Okay {
        let Self::Ok(ok) = self else { panic!("OK was due: {self:?}") };
        ok
    }

    pub fn err(self) -> ErrPacket {
        let Self::Err(error) = self else { panic!("an error was due: {self:?}") };
        error
    }

    pub fn rows(self) -> ResultSet {
        let Self::Rows(rows) = self else { panic!("rows were due: {self:?}") };
        rows
    }
}
