//! What sessions do: acts that set something, look at it, and end what holds a server connection.
//!
//! Owns: the scripts (`acts.txt`, in the notation of `differential::step`) and what they play on. Invariant: the answer
//! depends on the session alone: on its own row, locks and tables, and on nothing that another session changes or a
//! replica may not have yet.

use crate::differential::forms::{Placeholders, sections};
use crate::differential::{is_wanted, kinds};

/// What a session does.
pub struct Act {
    pub name: String,
    /// Lines, with placeholders.
    pub lines: Vec<String>,
}

/// The acts that are played, as far as TIDEGATE_ACTS wants them.
pub fn acts() -> Vec<Act> {
    let act = |(name, lines): (String, Vec<String>)| {
        is_wanted("TIDEGATE_ACTS", &name).then_some(Act { name, lines })
    };
    sections(include_str!("acts.txt")).into_iter().filter_map(act).collect()
}

/// What their placeholders stand for.
pub fn placeholders() -> Placeholders {
    kinds::placeholders().with(include_str!("placeholders.txt"))
}

/// What acts play on, with a row for each session.
pub fn content(sessions: usize) -> Vec<String> {
    let rows: Vec<String> = (0..sessions).map(|session| format!("({session}, 0)")).collect();
    let mut sql = Vec::new();
    for schema in ["leak_b", "leak_a"] {
        sql.extend([
            format!("DROP DATABASE IF EXISTS {schema}"),
            format!("CREATE DATABASE {schema} CHARACTER SET utf8mb4"),
            format!("USE {schema}"),
            "CREATE TABLE fixed (a INT PRIMARY KEY)".into(),
            "INSERT INTO fixed VALUES (1), (2), (3)".into(),
            "CREATE TABLE rows_a (id INT PRIMARY KEY, n INT)".into(),
            format!("INSERT INTO rows_a VALUES {}", rows.join(", ")),
        ]);
    }
    sql.push("CREATE DEFINER=app@'%' PROCEDURE shows(a INT) SELECT a, DATABASE()".into());
    sql.push(
        "CREATE DEFINER=app@'%' PROCEDURE sets(a INT) SET @a = a, SESSION div_precision_increment = a".into(),
    );
    sql
}
