//! BIT_AND, BIT_OR, BIT_XOR: of numbers, and (MySQL) of equally long bytes.

use super::error::Error;
use super::key;
use super::row::{Format, Writer};
use crate::wire::column::{BINARY_CHARSET, Column, kind};

/// Which of the three.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    And,
    Or,
    Xor,
}

/// An operation, and what it works on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bits {
    operation: Operation,
    numbers: bool,
}

/// A result so far.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Value {
    Number(u64),
    Bytes(Vec<u8>),
}

impl Bits {
    /// `None` where the column holds neither.
    pub fn of(operation: Operation, column: &Column) -> Option<Self> {
        let bytes = column.is_string() && column.charset == BINARY_CHARSET;
        let numbers = column.kind == kind::LONGLONG;
        (numbers || bytes).then_some(Self { operation, numbers })
    }

    /// The result of no values: a number, whereas bytes have a length that only shards know.
    pub fn empty(self) -> Option<Value> {
        self.numbers.then_some(Value::Number(if self.operation == Operation::And { u64::MAX } else { 0 }))
    }

    pub fn fold(self, kept: &mut Option<Value>, value: &[u8], format: Format) -> Result<(), Error> {
        match kept {
            Some(Value::Number(kept)) => *kept = self.apply(*kept, key::unsigned(value, format)?),
            Some(Value::Bytes(kept)) if kept.len() == value.len() => {
                // Only the low byte of what comes out is kept: the rest is of no matter.
                kept.iter_mut().zip(value).for_each(|(kept, byte)| {
                    *kept = self.apply(u64::from(*kept), u64::from(*byte)) as u8;
                });
            }
            Some(Value::Bytes(_)) => return Err(Error::Malformed),
            None => *kept = Some(Value::Bytes(value.to_vec())),
        }
        Ok(())
    }

    fn apply(self, left: u64, right: u64) -> u64 {
        match self.operation {
            Operation::And => left & right,
            Operation::Or => left | right,
            Operation::Xor => left ^ right,
        }
    }
}

/// Writes a result.
pub(super) fn write(value: Option<&Value>, writer: &mut Writer<'_>) {
    match value {
        None => writer.null(),
        Some(Value::Number(number)) => writer.integer(i128::from(*number), 8),
        Some(Value::Bytes(bytes)) => writer.bytes(bytes),
    }
}
