//! Differences that are known and not mended yet: what shows them is left out, until it is.
//!
//! Owns: the list. Invariant: each entry names a difference that a sequence has shown; TIDEGATE_OPEN=1 plays them too.

/// What a line contains, and the difference that it shows.
const LINES: &[(&str, &str)] = &[
    ("ROW_COUNT()", "D2, D18: flags of own answers; a PREPARE in between"),
    ("FOUND_ROWS()", "D2, D17: flags of own answers; MySQL's warning"),
    ("CONNECTION_ID()", "D3: MariaDB's type"),
    ("SHOW WARN", "D4, D7, D8, D16: errors of Tidegate's own; what MariaDB does not clear"),
    ("SHOW ERR", "as SHOW WARNINGS"),
    ("SHOW COUNT", "as SHOW WARNINGS"),
    ("ing_count", "as SHOW WARNINGS"),
    ("error_count", "as SHOW WARNINGS"),
    ("GET DIAG", "D14, D19, D28: goes to a replica, and its variables stay there"),
    ("!ping", "D20, D24: flags and warnings of the statement before"),
    ("!set-option", "D20"),
    ("!reset-statement", "D20"),
    ("!init-db", "D25: MySQL's warnings of the statement before"),
    ("!cursor", "D11, D12: pinned to a replica; lost beside a soft pin"),
    ("!fetch", "D12"),
    ("!long", "D11: pinned to a replica"),
    ("SET TRANSACTION ISO", "D21: dropped by a statement without tables on MariaDB"),
    ("TRANSACTION READ ONLY", "D21, D30, P2: 1290 instead of 1792; lost beside a soft pin"),
    ("INTO @", "D27: variables set by a statement that fails"),
    ("COLLATE utf8mb4", "L2: the charset of result columns"),
    ("COLLATE latin1", "L2"),
];

/// What the server's answer contains.
const ANSWERS: &[(&str, &str)] = &[
    ("Unknown prepared statement handler", "D1: the text"),
    ("Incorrect arguments to mysqld", "D15: 1835 instead of 1210"),
];

/// Whether open differences are played all the same.
pub fn are_played() -> bool {
    std::env::var_os("TIDEGATE_OPEN").is_some()
}

/// The open difference that a line would show.
pub fn of_line(line: &str) -> Option<&'static str> {
    find(LINES, line)
}

/// The open difference that an answer shows.
pub fn of_answer(what: &str) -> Option<&'static str> {
    find(ANSWERS, what)
}

fn find(list: &'static [(&str, &str)], text: &str) -> Option<&'static str> {
    let known = || list.iter().find(|(part, _)| text.contains(part)).map(|(_, difference)| *difference);
    if are_played() { None } else { known() }
}
