//! Headings of columns of information_schema as MySQL gives them: in capitals, however the statement writes them.
//!
//! Owns: which columns of a SELECT list get an alias. Does not know: which tables are read. Invariant: a column that has an alias, or is part of an
//! expression, stays as it is; an alias has the column's own name, so that no name means anything else than before.

use crate::plan::sharded::edits::{Edit, NameEdit};
use crate::plan::sharded::parse::text::{At, Text};
use crate::sql::BEFORE_LIST;

/// An alias for each plain column of SELECT lists that is not written in capitals. `is_column`: whether such a name, in capitals, is a column's.
pub(super) fn edits(text: &Text, is_column: &dyn Fn(&str) -> bool) -> Vec<NameEdit> {
    let mut edits = Vec::new();
    for select in (0..text.len()).filter(|at| text.is_word(*at, b"SELECT")) {
        let mut at = select + 1;
        while text.is_one_of(at, &BEFORE_LIST) {
            at += 1;
        }
        let (mut depth, mut start) = (0u32, at);
        loop {
            let ends = depth == 0 && (at >= text.len() || text.is(at, b')') || text.is_word(at, b"FROM"));
            if ends || depth == 0 && text.is(at, b',') {
                edits.extend(heading(text, start, at, is_column));
                start = at + 1;
            }
            if ends || at >= text.len() {
                break;
            }
            depth += u32::from(text.is(at, b'('));
            depth = depth.saturating_sub(text.is(at, b')').into());
            at += 1;
        }
    }
    edits
}

/// The alias of one item, from `start` up to `end`.
fn heading(text: &Text, start: At, end: At, is_column: &dyn Fn(&str) -> bool) -> Option<NameEdit> {
    let last = end.checked_sub(1)?;
    let parts = end.checked_sub(start)?;
    let is_plain = match parts {
        1 => text.is_name(start),
        3 => text.is(start + 1, b'.'),
        5 => text.is(start + 1, b'.') && text.is(start + 3, b'.'),
        _ => false,
    };
    let name = text.name(last);
    let own = std::str::from_utf8(&name).ok()?;
    let heading = own.to_ascii_uppercase();
    if !is_plain || own == heading || !is_column(&heading) {
        return None;
    }
    let text = [text.bytes(last), b" AS `", heading.as_bytes(), b"`"].concat();
    Some(NameEdit { token: last, edit: Edit::Text(text) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sharded::edits::{Place, text_for};
    use crate::sql::tests::MYSQL;

    fn with_headings(sql: &str) -> String {
        let text = Text::new(sql.as_bytes(), &MYSQL);
        let edits = edits(&text, &|name| ["TABLE_NAME", "TABLE_TYPE"].contains(&name));
        let nowhere = Place { database: b"", schema: b"", suffix: b"" };
        let made = text_for(sql.as_bytes(), &MYSQL, &edits, &nowhere);
        made.map_or_else(|| sql.to_owned(), |text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn plain_columns_get_their_headings_and_others_stay() {
        for (sql, made) in [
            ("select table_name from t", "select table_name AS `TABLE_NAME` from t"),
            (
                "select distinct t.`table_name`, x.y.Table_Type from t",
                "select distinct t.`table_name` AS `TABLE_NAME`, x.y.Table_Type AS `TABLE_TYPE` from t",
            ),
            (
                "select 1 from t where a in (select table_name from u)",
                "select 1 from t where a in (select table_name AS `TABLE_NAME` from u)",
            ),
            ("(select table_name)", "(select table_name AS `TABLE_NAME`)"),
        ] {
            assert_eq!(with_headings(sql), made);
        }
        for sql in [
            "SELECT TABLE_NAME, TABLE_TYPE FROM t",
            "select table_name as n, table_name n, 'table_name', other from t",
            "select upper(table_name), table_name || '', table_name + table_type, -table_name from t",
            "select count(*), t.* from t order by table_name",
            "select",
            "select table_name,",
        ] {
            assert!(!with_headings(sql).contains("AS `TABLE_NAME`") || sql.ends_with(','), "{sql}");
        }
    }
}
