//! A table as a MySQL result set, by opensrv-mysql.
//!
//! Owns: the fences around that library. It answers unknown commands with OK, lets any password in unless told
//! otherwise, trusts lengths and sequence numbers, panics on some input, and reads freed memory when one read brings
//! more than one packet (`PacketReader::next_async` drops the buffer that the first one lies in; seen with 0.7.0). So
//! nothing of a client reaches it: it runs in memory, for one result at a time, on a handshake and a command of our
//! own making, each in a read of its own, in a task of its own. What it writes before the result is cut off; the
//! status flags that it leaves out are put in.

use std::io;

use async_trait::async_trait;
use opensrv_mysql::{
    AsyncMysqlIntermediary, AsyncMysqlShim, Column, ColumnFlags, ColumnType, ErrorKind, ParamParser,
    QueryResultWriter, StatementMetaWriter,
};
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::table::{Kind, Table};
use crate::wire::capabilities::Capabilities;
use crate::wire::command;
use crate::wire::frame::{HEADER, Header, put_packet};
use crate::wire::ok::Status;

/// Where the status flags are in the payload that ends a result set, as an EOF packet (behind the warnings) and as an OK
/// packet that takes its place (behind two numbers that are 0).
const STATUS_AT: std::ops::Range<usize> = 3..5;

/// The packets of the answer to COM_QUERY, the first of which has number 1.
///
/// # Errors
/// The library failed or panicked; nothing has been sent.
pub(super) async fn encode(table: Table, capabilities: Capabilities, status: Status) -> io::Result<Vec<u8>> {
    let work = async move {
        let [handshake, query] = request(capabilities);
        // One packet a read, see above: `chain` does not read from both at once.
        let input = (&handshake[..]).chain(&query[..]);
        let mut output = Vec::new();
        AsyncMysqlIntermediary::run_on(Shim::of(table), input, &mut output).await?;
        io::Result::Ok(output)
    };
    let output = tokio::spawn(work).await.map_err(io::Error::other)??;
    // The greeting, and the OK to the handshake.
    let answer = (0..2).try_fold(&output[..], |rest, _| rest.get(packet_length(rest)?..)).unwrap_or_default();
    let mut answer = answer.to_vec();
    set_status(&mut answer, status).ok_or(io::ErrorKind::InvalidData)?;
    Ok(answer)
}

/// A client's part of the exchange, as packets: its handshake response, and a query whose text does not matter.
fn request(capabilities: Capabilities) -> [Vec<u8>; 2] {
    let flags = Capabilities::PROTOCOL_41
        | Capabilities::SECURE_CONNECTION
        | capabilities.intersection(Capabilities::DEPRECATE_EOF);
    let mut response = flags.bits().to_le_bytes().to_vec(); // int<4>
    response.resize(4 + 4 + 1 + 23, 0); // packet size, charset, filler
    response.extend_from_slice(b"console\0\x01x"); // user, and some answer, so that it asks for no other
    let (mut handshake, mut query) = (Vec::new(), Vec::new());
    put_packet(&mut handshake, 1, &response);
    put_packet(&mut query, 0, &[command::QUERY, b'*']);
    [handshake, query]
}

fn packet_length(bytes: &[u8]) -> Option<usize> {
    Some(HEADER + Header::parse(bytes)?.length)
}

/// Puts the status flags into the last packet.
fn set_status(answer: &mut [u8], status: Status) -> Option<()> {
    let mut last = 0;
    while let Some(length) = answer.get(last..).and_then(packet_length).filter(|l| last + l < answer.len()) {
        last += length;
    }
    let payload = answer.get_mut(last + HEADER..)?;
    payload.first().filter(|header| **header == 0xfe)?;
    payload.get_mut(STATUS_AT)?.copy_from_slice(&status.bits().to_le_bytes());
    Some(())
}

/// The library's view of us: every query is answered with the table.
struct Shim {
    columns: Vec<Column>,
    table: Table,
}

impl Shim {
    fn of(table: Table) -> Self {
        let columns = table.columns.iter().map(|column| Column {
            table: String::new(),
            column: column.name.clone().into_owned(),
            coltype: match column.kind {
                Kind::Number => ColumnType::MYSQL_TYPE_LONGLONG,
                Kind::Fraction => ColumnType::MYSQL_TYPE_DOUBLE,
                Kind::Text => ColumnType::MYSQL_TYPE_VAR_STRING,
            },
            colflags: match column.kind {
                Kind::Number => ColumnFlags::UNSIGNED_FLAG,
                Kind::Fraction | Kind::Text => ColumnFlags::empty(),
            },
        });
        Self { columns: columns.collect(), table }
    }
}

#[async_trait]
impl<W: AsyncWrite + Send + Unpin> AsyncMysqlShim<W> for Shim {
    type Error = io::Error;

    async fn on_prepare<'a>(&'a mut self, _: &'a str, info: StatementMetaWriter<'a, W>) -> io::Result<()> {
        info.error(ErrorKind::ER_UNSUPPORTED_PS, &b"not here"[..]).await
    }

    async fn on_execute<'a>(
        &'a mut self,
        _: u32,
        _: ParamParser<'a>,
        results: QueryResultWriter<'a, W>,
    ) -> io::Result<()> {
        results.error(ErrorKind::ER_UNSUPPORTED_PS, &b"not here"[..]).await
    }

    async fn on_close<'a>(&'a mut self, _: u32)
    where
        W: 'async_trait,
    {
    }

    async fn on_query<'a>(&'a mut self, _: &'a str, results: QueryResultWriter<'a, W>) -> io::Result<()> {
        let mut writer = results.start(&self.columns).await?;
        for row in &self.table.rows {
            for value in row {
                writer.write_col(value.shown().as_deref())?;
            }
            writer.end_row().await?;
        }
        writer.finish().await
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::Value;
    use super::*;
    use crate::wire::reply::{Expect, Scanner, Step, Terminal};

    fn table() -> Table {
        let mut table =
            Table::new(&[("Server", Kind::Text), ("Open", Kind::Number), ("Lag", Kind::Fraction)]);
        table.rows.push(vec!["db-1".into(), Value::Number(7), Value::Null]);
        table.rows.push(vec!["\u{1F30A}".into(), Value::Number(u64::MAX), Value::Fraction(0.25)]);
        table
    }

    #[tokio::test]
    async fn a_table_is_a_whole_result_for_old_and_new_clients() {
        for capabilities in [Capabilities::empty(), Capabilities::DEPRECATE_EOF] {
            let bytes = encode(table(), capabilities, Status::AUTOCOMMIT).await.unwrap();
            assert_eq!(Header::parse(&bytes).unwrap().sequence, 1);
            let mut scanner = Scanner::new(Expect::Results, capabilities);
            let Step::End { start, end, terminal } = scanner.advance(&bytes) else { panic!("no end") };
            assert!(scanner.is_done() && end == bytes.len() && scanner.rows() == 2);
            assert_eq!(terminal == Terminal::Ok, capabilities == Capabilities::DEPRECATE_EOF);
            assert_eq!(bytes[start + HEADER..][STATUS_AT], Status::AUTOCOMMIT.bits().to_le_bytes());
            let text = String::from_utf8_lossy(&bytes).into_owned();
            assert!(text.contains("18446744073709551615") && text.contains("0.250") && text.contains("db-1"));
        }
    }

    #[tokio::test]
    async fn an_empty_table_and_a_large_one() {
        let mut table = table();
        table.rows.clear();
        assert!(encode(table.clone(), Capabilities::empty(), Status::empty()).await.is_ok());
        table.rows = vec![vec!["x".repeat(70_000).into(), Value::Null, Value::Null]; 400];
        assert!(encode(table, Capabilities::empty(), Status::empty()).await.unwrap().len() > 400 * 70_000);
    }

    #[tokio::test]
    async fn a_row_that_does_not_fit_its_columns_is_an_error() {
        let mut table = table();
        table.rows.push(vec![Value::Null]);
        assert!(encode(table, Capabilities::empty(), Status::empty()).await.is_err());
    }
}
