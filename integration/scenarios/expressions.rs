//! The planner's reading of expressions against real servers: a key must never be lost or made up by an operator that binds otherwise.
//!
//! A random expression and the same one with all the parentheses that the planner's tree implies have the same value on a server, for
//! rows with NULLs, or the tree is wrong. What either side does not parse is no comparison, and must not be most of it.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};
use tidegate::plan::sharded::{Modes, bracketed};
use tidegate::sql::{LexCharset, Lexing, ServerVersion};

use crate::harness::Scenario;

both_dialects!(servers_read_expressions_as_the_planner_does);

/// Expressions that are asked.
const EXPRESSIONS: usize = 3_000;

/// A generator of numbers that needs no more than to be the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }

    /// Operands and operators with few parentheses: how they bind is what is asked.
    fn expression(&mut self, depth: usize) -> String {
        let mut out = self.operand(depth);
        for _ in 0..self.roll(5) {
            out = match self.roll(12) {
                0..=6 => format!("{out} {} {}", self.pick(BINARY), self.operand(depth)),
                7 => format!(
                    "{out} {} {} AND {}",
                    self.pick(&["BETWEEN", "NOT BETWEEN"]),
                    self.operand(0),
                    self.operand(0)
                ),
                8 => format!(
                    "{out} {} ({}, {})",
                    self.pick(&["IN", "NOT IN"]),
                    self.operand(0),
                    self.operand(0)
                ),
                9 => format!("{out} {}", self.pick(BEHIND)),
                10 => format!(
                    "{out} {} {}",
                    self.pick(&["LIKE", "NOT LIKE", "REGEXP", "LIKE BINARY"]),
                    self.pick(TEXTS)
                ),
                _ => {
                    format!("{out} {} {}", self.pick(&["AND", "OR", "&&", "||", "XOR"]), self.operand(depth))
                }
            };
        }
        out
    }

    fn operand(&mut self, depth: usize) -> String {
        let before = if self.roll(4) == 0 { self.pick(BEFORE) } else { "" };
        let inside = match self.roll(if depth == 0 { 8 } else { 11 }) {
            0..=4 => self.pick(&["a", "b", "c", "d"]).to_owned(),
            5..=7 => self.pick(CONSTANTS).to_owned(),
            8 => format!("({})", self.expression(depth - 1)),
            9 => format!("IF({}, {}, {})", self.expression(depth - 1), self.operand(0), self.operand(0)),
            _ => format!(
                "CASE WHEN {} THEN {} ELSE {} END",
                self.expression(depth - 1),
                self.operand(0),
                self.operand(0)
            ),
        };
        format!("{before}{inside}")
    }
}

const BINARY: &[&str] = &[
    "=", "<=>", "<", "<=", ">", ">=", "<>", "!=", "+", "-", "*", "%", "DIV", "MOD", "^", "&", "|", "<<",
    ">>", "=", "=", "AND", "OR", "XOR", "&&", "||",
];
const BEFORE: &[&str] = &["NOT ", "!", "-", "~", "BINARY ", "NOT ", "@x := ", "+", "- ", "! "];
const BEHIND: &[&str] =
    &["IS NULL", "IS NOT NULL", "IS TRUE", "IS NOT FALSE", "IS UNKNOWN", "COLLATE utf8mb4_bin", "IS NULL"];
const TEXTS: &[&str] = &["'1%'", "'a'", "BINARY '1'", "s", "'A' COLLATE utf8mb4_bin"];
const CONSTANTS: &[&str] = &["0", "1", "2", "5", "NULL", "-1", "'1'", "'a'", "TRUE", "s"];

/// The expression's and its bracketed form's values, row by row; the server's words where it has no value.
async fn values(client: &mut Conn, expressions: &[&str]) -> Result<Vec<Vec<Value>>, String> {
    let asked = format!("SELECT {} FROM planned ORDER BY id", expressions.join(", "));
    let rows: Vec<Row> = client.query(asked).await.map_err(|error| error.to_string())?;
    Ok(rows.into_iter().map(Row::unwrap).collect())
}

async fn servers_read_expressions_as_the_planner_does(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage
        .given(&[
            "CREATE TABLE planned (id INT PRIMARY KEY, a INT, b INT, c INT, d BIGINT UNSIGNED, s VARCHAR(10))",
            "INSERT INTO planned VALUES (1, 0, 1, 2, 3, '1'), (2, 1, NULL, 5, 0, 'a'), (3, NULL, -1, 0, 1, 'A'), \
             (4, -7, 2, 1, 2, NULL), (5, 3, 3, NULL, 5, '0.5')",
        ])
        .await;
    let dialect = scenario.dialect;
    let number = if scenario.is_mysql() { 90_700 } else { 101_100 };
    let lexing = Lexing {
        ansi_quotes: false,
        no_backslash_escapes: false,
        charset: LexCharset::AsciiSafe,
        server: ServerVersion { dialect, number },
    };
    // Past Tidegate, on the primary: the servers' reading is asked for, nothing else.
    let mut server = stage.cluster.root(0).await;
    server.query_drop(format!("USE {}", stage.schema)).await.unwrap();
    let seed = std::env::var("TIDEGATE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut dice = Dice(seed);
    let (mut compared, mut not_ours, mut not_theirs) = (0, 0, 0);
    for _ in 0..EXPRESSIONS {
        let expression = dice.expression(2);
        let Some(bracketed) = bracketed(expression.as_bytes(), &lexing, Modes::default()) else {
            // What we do not understand is refused; what servers do not understand either is no loss.
            not_ours += usize::from(values(&mut server, &[&expression]).await.is_ok());
            continue;
        };
        let bracketed = String::from_utf8(bracketed).unwrap();
        match values(&mut server, &[&expression, &bracketed]).await {
            Ok(rows) => {
                compared += 1;
                let differs = rows.iter().position(|row| row[0] != row[1]);
                assert_eq!(differs, None, "{expression}\n{bracketed}\n{rows:?}");
            }
            Err(_) => {
                not_theirs += 1;
                let alone = values(&mut server, &[&expression]).await;
                let with_brackets = values(&mut server, &[&bracketed]).await;
                assert_eq!(
                    alone.is_ok(),
                    with_brackets.is_ok() && alone.is_ok(),
                    "{expression}\n{bracketed}\n{with_brackets:?}"
                );
            }
        }
    }
    assert!(
        compared > EXPRESSIONS / 2,
        "seed {seed}: {compared} compared, {not_theirs} not read by the server"
    );
    // Predicates in a row, comparisons behind IS TRUE: MariaDB takes more of them than MySQL.
    assert!(not_ours < EXPRESSIONS / 8, "seed {seed}: {not_ours} that only the server reads");
}
