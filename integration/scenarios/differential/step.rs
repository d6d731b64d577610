//! One step of a sequence, as a line of text: what generators write, sequences print and cases keep.
//!
//! Owns: the notation. Does not know: sessions, servers. Invariant: what is printed can be read again.
//!
//! A line is a statement, sent by COM_QUERY, or `!verb …`, another command. `~` before it: rows are not compared.
//! `«bf5c»` stands for these bytes.

use super::value::Value;

/// What a client does.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    Query(Vec<u8>),
    /// A statement with query attributes, where they are on.
    Attributes(Vec<u8>, Vec<Value>),
    /// A statement, and the file to send when it is asked for.
    File(Vec<u8>, Vec<u8>),
    Prepare(usize, Vec<u8>),
    Execute(Execution),
    Fetch(usize, u32),
    LongData(usize, u16, Vec<u8>),
    ResetStatement(usize),
    CloseStatement(usize),
    InitDb(Vec<u8>),
    Ping,
    ResetConnection,
    ChangeUser {
        user: String,
        password: String,
        database: String,
    },
    FieldList(Vec<u8>),
    SetOption(u16),
    Statistics,
    Raw(Vec<u8>),
}

/// COM_STMT_EXECUTE of the statement in a slot.
#[derive(Clone, PartialEq, Debug)]
pub struct Execution {
    pub slot: usize,
    pub cursor: bool,
    /// Whether types are sent; without them, values are of the types sent last.
    pub types: bool,
    /// Taken as far as the statement has parameters.
    pub values: Vec<Value>,
}

/// A step, and whether its rows count.
#[derive(Clone, PartialEq, Debug)]
pub struct Line {
    pub step: Step,
    /// Whether its rows count.
    pub exact: bool,
    /// Whether the affected rows in its OK packets count.
    pub counted: bool,
    /// Whether session tracking's word that a transaction is over counts.
    pub told: bool,
    /// Whether the number of warnings counts.
    pub warned: bool,
    /// Whether it may change the default database.
    pub moves: bool,
}

impl Line {
    /// Reads a line.
    pub fn parse(text: &str) -> Self {
        let step = Step::parse(text.strip_prefix('~').unwrap_or(text));
        Self { step, exact: !text.starts_with('~'), counted: true, told: true, warned: true, moves: true }
    }
}

impl Step {
    fn parse(text: &str) -> Self {
        let Some(command) = text.strip_prefix('!') else { return Self::Query(bytes(text)) };
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("a number in {command}"));
        let slot = || number(first);
        let execution = |cursor, types| {
            let values = second.split(' ').filter(|word| !word.is_empty()).map(Value::parse).collect();
            Self::Execute(Execution { slot: slot(), cursor, types, values })
        };
        match verb {
            "attributes" => Self::Attributes(bytes(second), first.split(',').map(Value::parse).collect()),
            "file" => {
                let (file, sql) = rest.split_once("» ").expect("«file» statement");
                Self::File(bytes(sql), bytes(&format!("{file}»")))
            }
            "prepare" => Self::Prepare(slot(), bytes(second)),
            "execute" => execution(false, true),
            "again" => execution(false, false),
            "cursor" => execution(true, true),
            "fetch" => Self::Fetch(slot(), second.parse().expect("a number of rows")),
            "long" => {
                let (param, data) = second.split_once(' ').expect("slot parameter data");
                Self::LongData(slot(), param.parse().expect("a parameter"), bytes(data))
            }
            "reset-statement" => Self::ResetStatement(slot()),
            "close" => Self::CloseStatement(slot()),
            "init-db" => Self::InitDb(bytes(rest)),
            "ping" => Self::Ping,
            "reset" => Self::ResetConnection,
            "change-user" => {
                let (password, database) = second.split_once(' ').unwrap_or((second, ""));
                let [user, password, database] = [first, password, database].map(str::to_owned);
                Self::ChangeUser { user, password, database }
            }
            "field-list" => Self::FieldList(bytes(rest)),
            "set-option" => Self::SetOption(rest.parse().expect("an option")),
            "statistics" => Self::Statistics,
            "raw" => Self::Raw(bytes(rest)),
            _ => panic!("no such step: {text}"),
        }
    }
}

/// The text with what stands in guillemets as bytes.
fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('«') {
        out.extend_from_slice(before.as_bytes());
        let (hex, after) = after.split_once('»').expect("an end of «");
        out.extend(unhex(hex));
        rest = after;
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// Bytes from hexadecimal digits.
pub fn unhex(digits: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).expect("a hexadecimal digit") as u8;
    digits.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
