//! The columns into which values go that name none.
//!
//! Owns: the question and what its answer says. Does not know: whom it goes to. Invariant: generated columns are among them, invisible ones are
//! not, as servers count them.

use super::compose::{Answered, bytes_of, text};

/// Asks for the columns of a table, by its name and schema at the server that is asked.
pub fn columns_question(schema: &str, table: &str) -> String {
    let [schema, table] = [schema, table].map(|name| text(name.as_bytes()));
    format!(
        "SELECT HEX(CONVERT(COLUMN_NAME USING utf8mb4)),EXTRA LIKE '%INVISIBLE%' FROM information_schema.COLUMNS \
         WHERE TABLE_SCHEMA={schema} AND TABLE_NAME={table} ORDER BY ORDINAL_POSITION"
    )
}

/// The names in order; `None` where the answer is not what was asked for.
pub fn columns_told(rows: &[Answered]) -> Option<Vec<String>> {
    let mut columns = Vec::with_capacity(rows.len());
    for row in rows {
        let [Some(name), Some(invisible)] = &row[..] else { return None };
        if invisible == b"0" {
            columns.push(String::from_utf8(bytes_of(name)?).ok()?);
        }
    }
    Some(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_columns_take_no_value() {
        let row = |name: &[u8], invisible: &[u8]| vec![Some(name.to_vec()), Some(invisible.to_vec())];
        let rows = [row(b"6964", b"0"), row(b"78", b"1"), row(b"C3A4", b"0")];
        assert_eq!(columns_told(&rows), Some(vec!["id".to_owned(), "ä".to_owned()]));
        assert_eq!(columns_told(&[vec![None, None]]), None);
        assert!(
            columns_question("shop_0", "o'")
                .ends_with("'shop_0' AND TABLE_NAME=_utf8mb4 X'6F27' ORDER BY ORDINAL_POSITION")
        );
    }
}
