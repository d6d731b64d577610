//! The whole merge, by cases, and against an evaluation that keeps all rows in memory.

mod averages;
mod cases;
mod decimal;
mod property;

use super::key::{self, Codec};
use super::row::{self, Field, Layout};
use super::*;
use crate::wire::column::{BINARY_CHARSET, Column, UNSIGNED, kind};
use crate::wire::frame::put_lenenc_string;

/// utf8mb4_0900_ai_ci.
const UTF8: u16 = 255;

const BOUNDS: Bounds = Bounds { memory_max: 1 << 20, sort_length_max: 1024 };

/// A value of a test's row; how it is sent follows from its column.
#[derive(Clone, PartialEq, Debug)]
enum Value {
    Null,
    Text(Vec<u8>),
}

fn text(value: impl ToString) -> Value {
    Value::Text(value.to_string().into_bytes())
}

pub(super) fn definition(kind: u8, charset: u16, flags: u16, decimals: u8) -> Column {
    let mut payload = b"\x03def\x00\x00\x00\x01c\x00\x0c".to_vec();
    payload.extend_from_slice(&charset.to_le_bytes());
    payload.extend_from_slice(&20u32.to_le_bytes());
    payload.push(kind);
    payload.extend_from_slice(&flags.to_le_bytes());
    payload.extend_from_slice(&[decimals, 0, 0]);
    Column::parse(&payload).unwrap()
}

fn bigint() -> Column {
    definition(kind::LONGLONG, BINARY_CHARSET, 0, 0)
}

fn unsigned() -> Column {
    definition(kind::LONGLONG, BINARY_CHARSET, UNSIGNED, 0)
}

fn decimals(scale: u8) -> Column {
    definition(kind::NEWDECIMAL, BINARY_CHARSET, 0, scale)
}

fn varchar() -> Column {
    definition(kind::VAR_STRING, UTF8, 0, 0)
}

fn varbinary() -> Column {
    definition(kind::VAR_STRING, BINARY_CHARSET, 0, 0)
}

/// A row as a server sends it.
fn encode(columns: &[Column], row: &[Value], format: Format) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = row::Writer::begin(format, row.len(), &mut out);
    for (column, value) in columns.iter().zip(row) {
        let Value::Text(value) = value else {
            writer.null();
            continue;
        };
        let number = || std::str::from_utf8(value).unwrap();
        let mut encoded = Vec::new();
        match (format, column.kind) {
            (Format::Binary, kind::LONGLONG) => {
                encoded.extend_from_slice(&number().parse::<i128>().unwrap().to_le_bytes()[..8]);
            }
            (Format::Binary, kind::LONG) => {
                encoded.extend_from_slice(&number().parse::<i32>().unwrap().to_le_bytes());
            }
            (Format::Binary, kind::DOUBLE) => {
                encoded.extend_from_slice(&number().parse::<f64>().unwrap().to_le_bytes());
            }
            _ => put_lenenc_string(&mut encoded, value),
        }
        writer.encoded(false, &encoded);
    }
    out
}

/// The values of a row, as text.
fn decode(columns: &[Column], row: &[u8], format: Format) -> Vec<Value> {
    let mut fields = Vec::new();
    Layout::new(format, columns.iter()).split(row, &mut fields).unwrap();
    let value = |(field, column): (&Field, &Column)| {
        let Some(bytes) = field.of(row) else { return Value::Null };
        match (format, column.kind) {
            (Format::Binary, kind::LONGLONG) if column.is_unsigned() => {
                text(key::unsigned(bytes, format).unwrap())
            }
            (Format::Binary, kind::LONGLONG | kind::LONG) => text(key::signed(bytes, format).unwrap()),
            (Format::Binary, kind::DOUBLE) => text(key::real(bytes, format).unwrap()),
            _ => Value::Text(bytes.to_vec()),
        }
    };
    fields.iter().zip(columns).map(value).collect()
}

/// Merges shards' rows, each told of when it is wanted, and nothing told that is not.
fn merge(
    spec: &Spec,
    columns: &[Column],
    shards: &[Vec<Vec<Value>>],
    format: Format,
    bounds: Bounds,
) -> Result<Vec<Vec<Value>>, Error> {
    let mut merger = Merger::new(spec, columns, format, shards.len(), bounds)?;
    let mut rest: Vec<_> = shards.iter().map(|rows| Some(rows.iter())).collect();
    let (mut result, mut out) = (Vec::new(), Vec::new());
    loop {
        out.clear();
        match merger.next(&mut out)? {
            Step::Row => result.push(decode(merger.columns(), &out, format)),
            Step::Done => return Ok(result),
            Step::Wants(want) => {
                assert_eq!(merger.wants(), Some(want));
                let shard = match want {
                    Want::Shard(shard) => shard,
                    Want::Any => rest.iter().rposition(Option::is_some).unwrap(),
                };
                match rest[shard].as_mut().unwrap().next() {
                    Some(row) => merger.push(shard, &encode(columns, row, format))?,
                    None => {
                        rest[shard] = None;
                        merger.ended(shard)?;
                    }
                }
            }
        }
    }
}
