//! Two answers to one SELECT.
//!
//! Owns: when they are the same. Does not know: servers. Invariant: only what one server leaves open may differ: the order of rows that are
//! not ordered, which of several equal texts stands for all.

use tidegate::execute::names::Names;
use tidegate::wire::column::{Column, kind};
use tidegate::wire::cursor::Cursor;

use super::statement::Statement;
use crate::harness::Outcome;
use crate::harness::packets::ResultSet;

/// What became of a statement.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    Same,
    /// Both sides have an error.
    Error,
    /// Tidegate has refused it, for this reason.
    Refused(String),
    /// In this.
    Differs(String),
}

/// What Tidegate's answer is worth; `names` are those of the server's database.
pub fn judge(statement: &Statement, server: &Outcome, tidegate: &Outcome, names: &Names) -> Verdict {
    match (server, tidegate) {
        (Outcome::Err(_), Outcome::Err(_)) => Verdict::Error,
        (Outcome::Rows(_), Outcome::Err(error)) if error.code == 1260 => {
            Verdict::Refused("a text beyond group_concat_max_len".to_owned())
        }
        (Outcome::Rows(_), Outcome::Err(error)) if error.code == 1052 => {
            Verdict::Refused("an alias that is a column's name, too".to_owned())
        }
        (Outcome::Rows(_), Outcome::Err(error))
            if error.code == 1105 && error.message.ends_with(b"tables differ") =>
        {
            Verdict::Refused("shards that give an expression another type, by their rows".to_owned())
        }
        (Outcome::Rows(_), Outcome::Err(error)) if error.code == 3854 => {
            Verdict::Refused("a BIT that comes out of a window, which MySQL cannot weigh".to_owned())
        }
        (Outcome::Rows(_), Outcome::Err(error)) if error.code == 1235 => {
            Verdict::Refused(reason(&String::from_utf8_lossy(&error.message)))
        }
        (Outcome::Rows(server), Outcome::Rows(tidegate)) => {
            match difference(statement, server, tidegate, names) {
                None => Verdict::Same,
                Some(what) => Verdict::Differs(what),
            }
        }
        (server, tidegate) => Verdict::Differs(format!("{} / {}", short(server), short(tidegate))),
    }
}

fn short(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Err(error) => format!("{error}"),
        Outcome::Rows(rows) => format!("{} rows", rows.rows.len()),
        other => format!("{other:?}"),
    }
}

/// What Tidegate's answer to a change is worth; `server` is asked only where Tidegate has not refused it.
pub fn judge_change(server: &Outcome, tidegate: &Outcome) -> Verdict {
    match (server, tidegate) {
        (Outcome::Err(one), Outcome::Err(other)) if one.code == other.code => Verdict::Error,
        (Outcome::Ok(one), Outcome::Ok(other))
            if (one.affected_rows, &one.info, one.warnings)
                == (other.affected_rows, &other.info, other.warnings) =>
        {
            Verdict::Same
        }
        (Outcome::Ok(one), Outcome::Ok(other)) => Verdict::Differs(format!("{one:?} / {other:?}")),
        (one, other) => Verdict::Differs(format!("{} / {}", short(one), short(other))),
    }
}

/// Why Tidegate has not carried out a change; `None` for a server's error.
pub fn refusal(tidegate: &Outcome) -> Option<String> {
    match tidegate {
        Outcome::Err(error) if matches!(error.code, 1235 | 1526) => {
            Some(reason(&String::from_utf8_lossy(&error.message)))
        }
        _ => None,
    }
}

/// The reason's name in a refusal; of the merge's errors, which have none, the text without numbers.
fn reason(message: &str) -> String {
    let named = message.split_once("):").and_then(|(before, _)| before.rsplit_once('('));
    match named {
        Some((_, reason)) => reason.to_owned(),
        None => message.chars().filter(|c| !c.is_ascii_digit()).collect(),
    }
}

fn difference(
    statement: &Statement,
    server: &ResultSet,
    tidegate: &ResultSet,
    names: &Names,
) -> Option<String> {
    let definitions = |result: &ResultSet| -> Vec<Vec<u8>> {
        result.columns.iter().map(|column| names.of_definition(column).unwrap_or(column.clone())).collect()
    };
    for (one, other) in definitions(server).iter().zip(definitions(tidegate)) {
        // Of the columns that sums are over servers tell as of computed ones, or not: by their rows.
        let tabled = [one, &other].map(|own| is_of_table(own));
        let open = statement.rollup && !(tabled[0] && tabled[1]);
        if comparable(one, open) != comparable(&other, open) {
            return Some(format!("definition {} / {}", one.escape_ascii(), other.escape_ascii()));
        }
    }
    if server.columns.len() != tidegate.columns.len() || server.rows.len() != tidegate.rows.len() {
        let count =
            |result: &ResultSet| format!("{} columns, {} rows", result.columns.len(), result.rows.len());
        return Some(format!("{} / {}", count(server), count(tidegate)));
    }
    // Beyond a LIMIT one server computes nothing that it could warn of. MySQL warns of MIN and MAX of dates that are all NULL where
    // they are part of another expression. A shard warns of its own part: of no rows, by which it divides, of groups that HAVING leaves out.
    let told = ["MIN(", "MAX(", "/ COUNT(", "/ SUM("];
    let quiet = statement.limit.is_none()
        && statement.having.is_empty()
        && !told.iter().any(|words| statement.sql().contains(words));
    if server.end.warnings == 0 && tidegate.end.warnings != 0 && quiet {
        return Some(format!("{} warnings", tidegate.end.warnings));
    }
    // Which rows come is open.
    if statement.limit.is_some() && !statement.is_ordered() {
        return None;
    }
    let (mut one, mut other) = (rows(statement, server), rows(statement, tidegate));
    if !statement.is_ordered() {
        one.sort();
        other.sort();
    }
    let is_double = |place: usize| {
        let column = server.columns.get(place).and_then(|column| Column::parse(column));
        column.is_some_and(|column| column.kind == kind::DOUBLE)
    };
    // How far numbers may lie apart.
    let slack = |place: usize| {
        let sql = &statement.items.get(place)?.sql;
        let has = |names: &[&str]| names.iter().any(|name| sql.contains(name));
        match () {
            // One in the middle between two may be rounded either way.
            () if has(&["STD", "VAR_", "VARIANCE"]) && has(&["ROUND("]) => Some(0.011),
            // MariaDB rounds to as many digits as the column has, of which there are four at least.
            () if has(&["STD", "VAR_", "VARIANCE"]) => Some(1.1e-4),
            // A server computes with averages that are rounded to their type's digits where its plan has them in a temporary table before
            // they are sorted: an index more changes that on one server, too.
            () if statement.sorts_groups() && has(&["AVG("]) && has(&["ROUND("]) => Some(0.11),
            () if statement.sorts_groups() && has(&["AVG("]) => Some(2e-3),
            // Quotients of DOUBLE, whose last digits differ with the order of rows.
            () if has(&["/ 7)", "/ 3)"]) && is_double(place) => Some(0.0),
            () => None,
        }
    };
    let alike = |one: &Row, other: &Row| {
        one.len() == other.len()
            && one.iter().zip(other).enumerate().all(|(place, (one, other))| {
                one == other
                    || slack(place).is_some_and(|slack| is_near(one.as_deref(), other.as_deref(), slack))
            })
    };
    let at = one.iter().zip(&other).position(|(one, other)| !alike(one, other))?;
    Some(format!("row {at}: {:?} / {:?}", one[at], other[at]))
}

/// Whether a definition names a table's column.
fn is_of_table(definition: &[u8]) -> bool {
    let mut cursor = Cursor::new(definition);
    let names: [_; 4] = std::array::from_fn(|_| cursor.lenenc_bytes().expect("a name")); // the last: the table's own
    !names[3].is_empty()
}

/// A definition but for what depends on how a server executes: whether it reads a value from a table, from a temporary one, or computes
/// it; whether a table had no row. An index more changes these on one server, too.
fn comparable(definition: &[u8], open: bool) -> Vec<u8> {
    const UNSIGNED: u16 = 0x20;
    const KEPT: u16 = UNSIGNED | 0x40 | 0x100 | 0x800; // ZEROFILL, ENUM, SET
    let column = Column::parse(definition).expect("a definition");
    let mut cursor = Cursor::new(definition);
    let [_, schema, table, original, name, origin] =
        std::array::from_fn(|_| cursor.lenenc_bytes().expect("a name"));
    // int<1> length, int<2> character set, int<4> length, int<1> type, int<2> flags, int<1> decimals, two bytes of filler
    let mut fixed = cursor.rest().to_vec();
    let computed = open || original.is_empty();
    let original = if computed { b"" } else { original };
    let flags = u16::from_le_bytes([fixed[8], fixed[9]]) & if computed { UNSIGNED } else { KEPT };
    fixed[8..10].copy_from_slice(&flags.to_le_bytes());
    if computed {
        fixed[3..7].fill(0); // of a text that is kept, or a decimal
    }
    if computed && column.is_string() {
        (fixed[7], fixed[10]) = (0xfd, 0); // VAR_STRING, where one of the BLOBs was made of it
    }
    if open && matches!(fixed[7], 1 | 2 | 9) {
        fixed[7] = 8; // likewise
    }
    if computed && matches!(fixed[7], 3 | 13) {
        fixed[7] = 8; // LONG or YEAR, where LONGLONG was narrowed
    }
    if computed && column.kind == kind::JSON {
        (fixed[1], fixed[10]) = (63, 0); // from a temporary table, JSON has no character set
    }
    let origin = if computed { b"" } else { origin };
    // Whether a derived table is put into a temporary one is open, too.
    let schema = if table == b"d" { b"" } else { schema };
    [schema, table, original, name, origin, &fixed].join(&b'|')
}

type Row = Vec<Option<String>>;

/// Whether two numbers differ in their last digits at most.
fn is_near(one: Option<&str>, other: Option<&str>, slack: f64) -> bool {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<f64>().ok());
    let (Some(one), Some(other)) = (number(one), number(other)) else { return false };
    (one - other).abs() <= 1e-9 * one.abs().max(other.abs()) + slack
}

/// Rows whose open texts are made one.
fn rows(statement: &Statement, result: &ResultSet) -> Vec<Row> {
    let columns: Vec<_> =
        result.columns.iter().map(|column| Column::parse(column).expect("a definition")).collect();
    let text = |place: usize, value: Option<Vec<u8>>| {
        let item = statement.items.get(place);
        let is_text = columns[place].charset != 63 || columns[place].kind == kind::JSON;
        // MariaDB tells of a BIT and gives its digits, for MIN and MAX beside texts that are joined in order: no digits are such a BIT.
        let value = value.map(|value| match columns[place].kind {
            kind::BIT if value.len() > 1 && value.iter().all(u8::is_ascii_digit) => digits(&value),
            _ => value,
        });
        let open = item.is_none_or(|item| item.open) && is_text;
        let text = value.map(|value| if open { folded(&value) } else { value.escape_ascii().to_string() });
        // Texts are joined in an open order, and of equal ones any may come first.
        let joins = ["GROUP_CONCAT", "JSON_ARRAYAGG", "JSON_OBJECTAGG"];
        let joined = item.is_some_and(|item| joins.iter().any(|name| item.sql.contains(name)));
        // Where shards' groups are finer, or summed up, MIN and MAX of a ZEROFILL column come from a temporary table, which does not fill.
        let unfilled = item.is_some_and(|item| item.sql.starts_with("M"))
            && (statement.rollup || statement.items.iter().any(|item| item.sql.contains("GROUP_CONCAT")));
        match text {
            Some(text) if joined => Some(sorted(&text)),
            Some(text) if unfilled && text.len() > 1 => Some(text.trim_start_matches('0').to_owned()),
            text => text,
        }
    };
    let row =
        |row: Vec<Option<Vec<u8>>>| row.into_iter().enumerate().map(|(at, value)| text(at, value)).collect();
    match statement.prepared {
        true => result.rows.iter().map(|bytes| row(binary(&columns, bytes))).collect(),
        false => result.bytes().into_iter().map(row).collect(),
    }
}

/// The two bytes of a number.
fn digits(value: &[u8]) -> Vec<u8> {
    let number: u16 = String::from_utf8_lossy(value).parse().expect("a number");
    number.to_be_bytes().to_vec()
}

/// Its characters, sorted, without spaces: at the ends of texts they are open, too.
fn sorted(text: &str) -> String {
    let mut characters: Vec<_> = text.chars().filter(|character| *character != ' ').collect();
    characters.sort_unstable();
    characters.into_iter().collect()
}

/// The values of a binary row, numbers as text: an INT here may be a BIGINT there.
fn binary(columns: &[Column], row: &[u8]) -> Vec<Option<Vec<u8>>> {
    let bitmap = (columns.len() + 9) / 8;
    let mut cursor = Cursor::new(&row[1 + bitmap..]);
    let mut value = |(place, column): (usize, &Column)| {
        let bit = place + 2;
        if row[1 + bit / 8] & (1 << (bit % 8)) != 0 {
            return None;
        }
        let width = match column.kind {
            kind::TINY => 1,
            kind::SHORT | kind::YEAR => 2,
            kind::LONG | kind::INT24 | kind::FLOAT => 4,
            kind::LONGLONG | kind::DOUBLE => 8,
            _ => return Some(cursor.lenenc_bytes().expect("a value").to_vec()),
        };
        let bytes = cursor.bytes(width).expect("a number");
        let mut wide = [if !column.is_unsigned() && bytes[width - 1] >= 0x80 { 0xff } else { 0 }; 8];
        wide[..width].copy_from_slice(bytes);
        Some(match column.kind {
            kind::FLOAT => f32::from_le_bytes(bytes.try_into().expect("four")).to_string().into_bytes(),
            kind::DOUBLE => f64::from_le_bytes(wide).to_string().into_bytes(),
            _ if column.is_unsigned() => u64::from_le_bytes(wide).to_string().into_bytes(),
            _ => i64::from_le_bytes(wide).to_string().into_bytes(),
        })
    };
    columns.iter().enumerate().map(&mut value).collect()
}

/// A text without what a collation may take for equal.
fn folded(value: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(value)
        .to_lowercase()
        .replace('ß', "s")
        .replace("ss", "s")
        .replace(['\0', '\t'], "");
    while text.contains(" ..") {
        text = text.replace(" ..", ".."); // CONCAT(MIN(text), '..', MAX(text)): spaces at the end of the first
    }
    let plain = text.trim_end_matches([' ']).chars().map(|c| match c {
        'á' | 'ä' => 'a',
        'é' => 'e',
        other => other,
    });
    plain.collect()
}
