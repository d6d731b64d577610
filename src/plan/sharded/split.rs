//! The rows of one INSERT, apart: the text that has some of them.
//!
//! Owns: where rows begin and end in the bytes, and what becomes of the numbers of tokens where rows are left out. Does not know: which
//! shard a row belongs to. Invariant: head, rows and tail stay byte for byte; of what stands between two rows only a comma is left.

use std::ops::Range;

use super::edits::NameEdit;
use super::parse::text::{At, counts};
use super::planned::InsertedRow;
use crate::sql::Lexing;
use crate::sql::lexer::Lexer;

/// An INSERT by its rows.
#[derive(Debug)]
pub struct Split<'a> {
    sql: &'a [u8],
    rows: &'a [InsertedRow],
    spans: Vec<Range<usize>>,
}

impl<'a> Split<'a> {
    /// Finds the rows of a plan in a text of its shape, in one pass; `None` where they are not there.
    pub fn of(sql: &'a [u8], lexing: &Lexing, rows: &'a [InsertedRow]) -> Option<Self> {
        let mut spans = Vec::with_capacity(rows.len());
        let mut start = 0;
        let tokens = Lexer::new(sql, lexing).filter(|token| counts(token.kind)).zip(0..);
        for (token, number) in tokens {
            let Some(row) = rows.get(spans.len()) else { break };
            if number == row.tokens.start {
                start = token.start;
            }
            if number + 1 == row.tokens.end {
                spans.push(start..token.end);
            }
        }
        (spans.len() == rows.len() && !rows.is_empty()).then_some(Self { sql, rows, spans })
    }

    /// The text with these rows alone, in their order, and the edits as they are there.
    pub fn only(&self, kept: &[usize], edits: &[NameEdit]) -> (Vec<u8>, Vec<NameEdit>) {
        let (Some(first), Some(last)) = (self.spans.first(), self.spans.last()) else {
            return (self.sql.to_vec(), edits.to_vec());
        };
        let spans = || kept.iter().filter_map(|row| self.spans.get(*row));
        let (head, tail) = (&self.sql[..first.start], &self.sql[last.end..]);
        let length = spans().map(|span| span.len() + 1).sum::<usize>() + head.len() + tail.len();
        let mut text = Vec::with_capacity(length);
        text.extend_from_slice(head);
        for (at, span) in spans().enumerate() {
            if at > 0 {
                text.push(b',');
            }
            text.extend_from_slice(&self.sql[span.clone()]);
        }
        text.extend_from_slice(tail);
        (text, self.renumbered(kept, edits))
    }

    /// The edits of head, rows and tail, by the numbers that their tokens have where only these rows are.
    fn renumbered(&self, kept: &[usize], edits: &[NameEdit]) -> Vec<NameEdit> {
        let begin = self.rows.first().map_or(0, |row| row.tokens.start);
        let end = self.rows.last().map_or(0, |row| row.tokens.end);
        let (head, rest) = edits.split_at(edits.partition_point(|edit| edit.token < begin));
        let mut fresh = head.to_vec();
        let mut rest = rest.iter().peekable();
        let mut move_to = |from: &Range<At>, to: At, fresh: &mut Vec<NameEdit>| {
            while rest.next_if(|edit| edit.token < from.start).is_some() {}
            while let Some(edit) = rest.next_if(|edit| edit.token < from.end) {
                fresh.push(NameEdit { token: edit.token - from.start + to, edit: edit.edit.clone() });
            }
        };
        if head.len() == edits.len() {
            return fresh;
        }
        let mut to = begin;
        for (at, row) in kept.iter().filter_map(|row| self.rows.get(*row)).enumerate() {
            to += u32::from(at > 0);
            move_to(&row.tokens, to, &mut fresh);
            to += row.tokens.end - row.tokens.start;
        }
        move_to(&(end..At::MAX), to, &mut fresh);
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::super::edits::{Place, text_for};
    use super::super::planned::{Planned, Sites};
    use super::super::{Modes, Planner, Request};
    use super::*;
    use crate::shard::Charset;
    use crate::sql;
    use crate::sql::tests::MYSQL;

    const RULES: &str = "version: 1\nlisten: 127.0.0.1:4406\nmonitor: {user: m, password: p}\nclusters: {main: {servers: [10.0.0.1]}}\n\
        databases:\n  shop:\n    home: {cluster: main, schema: shop}\n    keyspaces:\n      k:\n        method: mod\n        \
        key_type: integer\n        slots: 2\n        shards: {s0: {cluster: main, schema: shop_0, slots: 0}, s1: {cluster: main, \
        schema: shop_1, slots: 1}}\n        tables: {orders: id}\n";

    fn texts(sql: &str, kept: &[&[usize]]) -> Vec<String> {
        let config = crate::config::load(RULES, "rules", &|_| None).unwrap();
        let planner = Planner::new(std::sync::Arc::new(config.rules));
        let request = Request {
            sql: sql.as_bytes(),
            lexing: &MYSQL,
            modes: Modes::default(),
            database: Some(b"shop"),
            charset: Charset::Utf8,
            recognised: sql::recognise(sql.as_bytes(), &MYSQL),
        };
        let Planned::Routed(routed) = planner.plan(&request) else { panic!("{sql}") };
        let Sites::Rows(rows) = &routed.sites else { panic!("{sql}") };
        let split = Split::of(sql.as_bytes(), &MYSQL, rows).expect("rows");
        let place = Place { database: b"shop", schema: b"shop_1", suffix: b"" };
        let text = |kept: &&[usize]| {
            let (text, edits) = split.only(kept, &routed.edits);
            let text = text_for(&text, &MYSQL, &edits, &place).unwrap_or(text);
            String::from_utf8(text).unwrap()
        };
        kept.iter().map(text).collect()
    }

    #[test]
    fn each_part_has_the_head_its_rows_and_the_tail() {
        let sql = "insert /* bulk */ into orders (id, t) values (1, 'a),('), /* two */ (2, 'b') ,\n(3, (1 + 2)) -- end\n\
                   on duplicate key update t = values(t);";
        let texts = texts(sql, &[&[0, 2], &[1]]);
        let tail = " -- end\non duplicate key update t = values(t);";
        assert_eq!(
            texts[0],
            format!("insert /* bulk */ into orders (id, t) values (1, 'a),('),(3, (1 + 2)){tail}")
        );
        assert_eq!(texts[1], format!("insert /* bulk */ into orders (id, t) values (2, 'b'){tail}"));
    }

    #[test]
    fn names_are_found_again_wherever_they_stand() {
        let sql = "INSERT IGNORE INTO shop.orders (id, t) VALUES (1, DATABASE()), (2, 'b'), (3, SCHEMA()) \
                   ON DUPLICATE KEY UPDATE shop.orders.t = CONCAT(shop.orders.t, DATABASE())";
        let texts = texts(sql, &[&[0, 1, 2], &[0], &[1], &[2], &[1, 2]]);
        let head = "INSERT IGNORE INTO `shop_1`.orders (id, t) VALUES ";
        let tail = " ON DUPLICATE KEY UPDATE `shop_1`.orders.t = CONCAT(`shop_1`.orders.t, 'shop')";
        let rows = ["(1, 'shop')", "(2, 'b')", "(3, 'shop')"];
        let expected = [&[0, 1, 2][..], &[0], &[1], &[2], &[1, 2]].map(|kept| {
            let kept: Vec<&str> = kept.iter().map(|row| rows[*row]).collect();
            format!("{head}{}{tail}", kept.join(","))
        });
        assert_eq!(texts, expected);
    }
}
