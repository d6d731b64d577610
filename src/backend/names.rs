//! Names of the character sets and collations that handshakes give by number.

use mysql_common::collations::{Collation, CollationId};

use crate::sql::Dialect;

/// Charset and collation of a handshake's collation id; servers take an id that they do not know as their default,
/// which is named by `utf8mb4` here.
pub fn of_collation(id: u16, dialect: Dialect) -> (String, String) {
    let collation = Collation::resolve(CollationId::from(id));
    // MySQL 8's clients ask for utf8mb4_0900_ai_ci, whichever server they speak to.
    let foreign = dialect == Dialect::MariaDb && collation.collation().contains("_0900_");
    if foreign || matches!(collation.id(), CollationId::UNKNOWN_COLLATION_ID) {
        return ("utf8mb4".into(), "utf8mb4_general_ci".into());
    }
    (collation.charset().into(), collation.collation().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_ids_have_their_names() {
        for (id, charset, collation) in [
            (45, "utf8mb4", "utf8mb4_general_ci"),
            (255, "utf8mb4", "utf8mb4_0900_ai_ci"),
            (8, "latin1", "latin1_swedish_ci"),
            (28, "gbk", "gbk_chinese_ci"),
        ] {
            assert_eq!(of_collation(id, Dialect::MySql), (charset.into(), collation.into()));
        }
        assert_eq!(of_collation(255, Dialect::MariaDb).1, "utf8mb4_general_ci", "MariaDB does not know it");
    }
}
