//! Differences that are known and not mended yet: what shows them is left out, until it is.
//!
//! Owns: the list. Invariant: each entry names a difference that a sequence has shown; TIDEGATE_OPEN=1 plays them too.

/// What a line contains, all of it, and the difference that it shows.
const LINES: &[(&[&str], &str)] = &[
    (&["ROW_COUNT()"], "D18: a PREPARE in between"),
    (&["FOUND_ROWS()"], "D17: before any statement; MySQL's warning in Tidegate's own answer"),
    (&["SHOW WARN"], "D4, D16: errors of Tidegate's own; what MariaDB does not clear"),
    (&["SHOW ERR"], "D4, D16"),
    (&["SHOW COUNT"], "D4, D16"),
    (&["ing_count"], "D4, D16"),
    (&["error_count"], "D4, D16"),
    (&["GET DIAG"], "D4, D16"),
    (&["!ping"], "D24: MySQL's warnings of the statement before"),
    (&["!init-db"], "D25: MySQL's warnings of the statement before"),
    (&["!fetch 0"], "D37: MariaDB's text"),
    (&["!fetch 3"], "D37: MariaDB's text"),
    (&["!prepare", "@"], "D38: user variables while a statement is prepared"),
    (&["autocommit = 0"], "D40: an execution outside of the transaction"),
    (&["TRANSACTION READ ONLY"], "P2: 1290 instead of 1792"),
    (&[", 'y')"], "D35: LAST_INSERT_ID() of an INSERT that fails on MariaDB"),
    (&["_out("], "D33: a row count that MySQL leaves in the reply to CALL"),
    (&["COLLATE utf8mb4"], "L2: the charset of result columns"),
    (&["COLLATE latin1"], "L2"),
];

/// Whether open differences are played all the same.
pub fn are_played() -> bool {
    std::env::var_os("TIDEGATE_OPEN").is_some()
}

/// The open difference that a line would show.
pub fn of_line(line: &str) -> Option<&'static str> {
    let known = || {
        LINES
            .iter()
            .find(|(parts, _)| parts.iter().all(|part| line.contains(part)))
            .map(|(_, difference)| *difference)
    };
    if are_played() { None } else { known() }
}
