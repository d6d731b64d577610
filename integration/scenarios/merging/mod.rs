//! What `merge` makes of the answers of four parts is what the server answers of the whole: rows and definitions, byte by
//! byte, in both protocols. No Tidegate is asked here.

mod aggregates;
mod order;

use std::fmt::Write as _;

use tidegate::merge::{Bounds, Error, Format, Merger, Spec, Step, Want};
use tidegate::wire::column::Column;

use crate::harness::packets::ResultSet;
use crate::harness::{Login, RawClient, Scenario, Stage};

/// Parts of the table; the last is empty.
const PARTS: usize = 4;
const ROWS: u64 = 240;

const BOUNDS: Bounds = Bounds { memory_max: 8 << 20, sort_length_max: 1024 };

/// A statement on the whole table, and what makes its answer out of the parts'. `{t}` stands for the table.
struct Case {
    whole: String,
    part: String,
    spec: Spec,
    compare: Compare,
}

/// What of two answers must agree.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compare {
    /// Rows in their order.
    All,
    /// Rows, where the statement leaves their order open.
    Set,
    /// How many rows there are.
    Number,
}

/// Makes a value, as SQL, of a random number.
pub type Values = fn(u64) -> String;

/// Columns of the table beside `id`, and how their values are made of a random number.
pub const COLUMNS: &[(&str, &str, Values)] = &[
    ("i", "INT", |n| (n as i64 % 20 - 10).to_string()),
    ("ti", "TINYINT UNSIGNED ZEROFILL", |n| (n % 256).to_string()),
    ("b", "BIGINT", |n| (n as i64).to_string()),
    ("ub", "BIGINT UNSIGNED", |n| n.to_string()),
    ("d", "DECIMAL(12,2)", |n| format!("{}.{:02}", n as i64 % 1000, n % 100)),
    ("dd", "DECIMAL(65,30)", |n| format!("{}.{:020}", n as i64, n)),
    ("x", "DOUBLE", |n| (n as i64 as f64 / 3.0).to_string()),
    ("q", "DOUBLE", |n| ((n as i64 % 1000) as f64 / 4.0).to_string()),
    ("f", "FLOAT", |n| (16_777_100 + n % 300).to_string()),
    ("fx", "FLOAT(9,2)", |n| ((n % 1000) as f64 / 4.0).to_string()),
    ("dt", "DATE", |n| format!("'{:04}-{:02}-{:02}'", 1900 + n % 300, n % 12 + 1, n % 28 + 1)),
    ("tm", "TIME(3)", |n| format!("'{}{:02}:{:02}:00.{:03}'", sign(n), n % 800, n % 60, n % 1000)),
    ("dm", "DATETIME(6)", |n| format!("'2020-01-{:02} {:02}:00:00.{:06}'", n % 9 + 1, n % 3, n % 4)),
    ("ts", "TIMESTAMP NULL", |n| format!("'2020-01-{:02} 00:00:{:02}'", n % 9 + 1, n % 60)),
    ("y", "YEAR", |n| (1950 + n % 100).to_string()),
    ("bt", "BIT(12)", |n| (n % 4096).to_string()),
    ("e", "ENUM('z','b','a','M')", |n| (n % 4 + 1).to_string()),
    ("st", "SET('z','b','a')", |n| (n % 8).to_string()),
    ("g", "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci", words),
    ("ubin", "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", words),
    ("uni", "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci", words),
    ("l", "VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci", words),
    ("c", "CHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci", words),
    ("tx", "TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci", words),
    ("vb", "VARBINARY(20)", words),
    ("bn", "BINARY(6)", |n| format!("'{:x}'", n % 4000)),
    ("bl", "BLOB", words),
];

fn sign(number: u64) -> &'static str {
    if number.is_multiple_of(2) { "-" } else { "" }
}

/// Texts that differ by case, accents, trailing spaces and what sorts before a space.
fn words(number: u64) -> String {
    let words = [
        "", " ", "a", "A", "a ", "a  ", "ab", "a b", "a  b", "a\t", "a \t", "á", "Á", "ä", "b", "B", "ß",
        "ss", "z", "é", "e", "a\\0", "a\\0b", "Z ",
    ];
    format!("'{}'", words[number as usize % words.len()])
}

/// MariaDB sorts `a` and `a\0` alike under NO PAD collations, though they are not equal (10.11): such shards are refused.
fn without_zeros(number: u64) -> String {
    words(number).replace("\\0", "0")
}

/// Pseudo-random numbers (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }
}

/// The whole table, its parts, and a session beside them.
async fn table(scenario: Scenario) -> (Stage, RawClient) {
    let stage = scenario.stage().await;
    let mut random = Random(5);
    let mut create = "id INT PRIMARY KEY".to_owned();
    COLUMNS.iter().for_each(|(name, kind, _)| write!(create, ", {name} {kind}").unwrap());
    if scenario.is_mysql() {
        create.push_str(
            ", ai VARCHAR(20) COLLATE utf8mb4_0900_ai_ci, cs VARCHAR(20) COLLATE utf8mb4_0900_as_cs",
        );
    } else {
        create.push_str(
            ", ai VARCHAR(20) COLLATE utf8mb4_unicode_520_nopad_ci, cs VARCHAR(20) COLLATE utf8mb4_nopad_bin",
        );
    }
    let mut rows = Vec::new();
    for id in 1..=ROWS {
        let mut value = |of: Values| match random.next() {
            null if null.is_multiple_of(8) => "NULL".to_owned(),
            number => of(number >> 3),
        };
        let mut row = format!("({id}");
        for (_, _, of) in COLUMNS {
            write!(row, ", {}", value(*of)).unwrap();
        }
        write!(row, ", {}, {})", value(words), value(without_zeros)).unwrap();
        rows.push(row);
    }
    let mut statements = vec![
        "SET sql_mode = 'NO_ENGINE_SUBSTITUTION'".to_owned(),
        format!("CREATE TABLE t ({create})"),
        format!("INSERT INTO t VALUES {}", rows.join(", ")),
    ];
    for part in 0..PARTS {
        statements.push(format!("CREATE TABLE t_{part} LIKE t"));
        statements
            .push(format!("INSERT INTO t_{part} SELECT * FROM t WHERE id * 7 % {} = {part}", PARTS - 1));
    }
    statements.push(format!("TRUNCATE t_{}", PARTS - 1));
    stage.given(&statements.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let client = stage.direct(Login::default()).await;
    (stage, client)
}

async fn answer(client: &mut RawClient, sql: &str, format: Format) -> ResultSet {
    match format {
        Format::Text => client.select(sql).await,
        Format::Binary => {
            let prepared = client.prepare(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            client.execute(prepared, &[]).await.rows()
        }
    }
}

fn columns(answer: &ResultSet) -> Vec<Column> {
    answer.columns.iter().map(|payload| Column::parse(payload).expect("a definition")).collect()
}

/// Merges answers; gives definitions and rows.
fn merge(spec: &Spec, parts: &[ResultSet], format: Format) -> Result<(Vec<Column>, Vec<Vec<u8>>), Error> {
    let mut merger = Merger::new(spec, &columns(&parts[0]), format, parts.len(), BOUNDS)?;
    for (shard, part) in parts.iter().enumerate() {
        merger.check(shard, &columns(part))?;
    }
    let mut rest: Vec<_> = parts.iter().map(|part| Some(part.rows.iter())).collect();
    let mut rows = Vec::new();
    loop {
        let mut row = Vec::new();
        match merger.next(&mut row)? {
            Step::Row => rows.push(row),
            Step::Done => return Ok((merger.columns().to_vec(), rows)),
            Step::Wants(want) => {
                let shard = match want {
                    Want::Shard(shard) => shard,
                    Want::Any => rest.iter().position(Option::is_some).expect("one that has not ended"),
                };
                match rest[shard].as_mut().and_then(Iterator::next) {
                    Some(row) => merger.push(shard, row)?,
                    None => {
                        rest[shard] = None;
                        merger.ended(shard)?;
                    }
                }
            }
        }
    }
}

/// A definition but for the table that it comes from, whose name tells the part.
fn comparable(column: &Column) -> (Vec<u8>, Vec<u8>) {
    let payload = column.payload();
    let mut cursor = tidegate::wire::cursor::Cursor::new(payload);
    for _ in 0..3 {
        cursor.lenenc_bytes();
    }
    let head = payload.len() - cursor.rest_length();
    cursor.lenenc_bytes();
    (payload[..head].to_vec(), cursor.rest().to_vec())
}

impl Case {
    /// Whether the parts' answers make that of the whole.
    async fn check(&self, client: &mut RawClient, mismatches: &mut Vec<String>) {
        for format in [Format::Text, Format::Binary] {
            let whole = answer(client, &self.whole.replace("{t}", "t AS t"), format).await;
            let mut parts = Vec::new();
            for part in 0..PARTS {
                let sql = self.part.replace("{t}", &format!("t_{part} AS t"));
                parts.push(answer(client, &sql, format).await);
            }
            let mut mismatch = |what: String| mismatches.push(format!("{format:?} {}: {what}", self.whole));
            let (definitions, mut rows) = match merge(&self.spec, &parts, format) {
                Ok(merged) => merged,
                Err(error) => {
                    mismatch(error.to_string());
                    continue;
                }
            };
            let mut expected = whole.rows.clone();
            match self.compare {
                Compare::All => {}
                Compare::Set => {
                    rows.sort();
                    expected.sort();
                }
                Compare::Number => rows.iter_mut().chain(&mut expected).for_each(Vec::clear),
            }
            if let Some(at) =
                (0..rows.len().max(expected.len())).find(|at| rows.get(*at) != expected.get(*at))
            {
                let show = |rows: &[Vec<u8>]| rows.get(at).map(|row| row.escape_ascii().to_string());
                mismatch(format!("row {at}: {:?}, the server has {:?}", show(&rows), show(&expected)));
            }
            for (merged, own) in definitions.iter().zip(&columns(&whole)) {
                if comparable(merged) != comparable(own) {
                    let show = |column: &Column| column.payload().escape_ascii().to_string();
                    mismatch(format!("{}, the server has {}", show(merged), show(own)));
                }
            }
            if definitions.len() != whole.columns.len() {
                mismatch(format!("{} columns, the server has {}", definitions.len(), whole.columns.len()));
            }
        }
    }
}

/// Checks all; tells of all that differ.
async fn check(client: &mut RawClient, cases: Vec<Case>) {
    let mut mismatches = Vec::new();
    for case in &cases {
        case.check(client, &mut mismatches).await;
    }
    assert!(!cases.is_empty() && mismatches.is_empty(), "\n{}", mismatches.join("\n"));
}
