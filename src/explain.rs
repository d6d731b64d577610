//! Where a statement would go, in words: `tidegate route`.

use crate::plan::{self, Situation, Target};
use crate::sql::{self, Dialect, LexCharset, Lexing, ServerVersion};

/// One line about one statement in a fresh session: class, role, reason, digest.
pub fn line(statement: &[u8], mariadb: bool) -> String {
    let (dialect, number) = if mariadb { (Dialect::MariaDb, 101_100) } else { (Dialect::MySql, 90_700) };
    let lexing = Lexing {
        ansi_quotes: false,
        no_backslash_escapes: false,
        charset: LexCharset::AsciiSafe,
        server: ServerVersion { dialect, number },
    };
    let recognised = sql::recognise(statement, &lexing);
    let route = plan::route(recognised, Situation::default());
    let role = match route.target {
        Target::Replica => "replica",
        Target::Primary => "primary",
        Target::Any => "primary (any server where there is none)",
        Target::Held => "the connection of the statement before",
    };
    let class = format!("{:?}", recognised.class);
    let digest = sql::digest(statement, &lexing);
    format!(
        "class={class} role={} reason={:?} digest={digest:016x} {role}",
        route.target.name(),
        route.reason.name()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_class_role_and_reason() {
        let line = line(b"SELECT * FROM t WHERE id = 1", false);
        assert!(line.starts_with("class=Read role=replica reason=\"read-only query\" digest="), "{line}");
    }
}
