//! A statement's shape: what is left of it when its literals are taken out. Equal shapes have equal plans.
//!
//! Owns: which tokens count, and where the literals are. Does not know: grammar, plans.
//! Invariant: no allocation but in the caller's buffer, linear time. The hash is keyed by a secret seed, because what is decided by a
//! shape is not harmless when a client forges one: nobody who does not know the seed can make two statements of one shape.

use super::lexer::{Kind, Lexer, Token};
use super::model::Lexing;
use super::outline::Literal;

/// The shape of a packet. `literals` is emptied, then filled with the literals in the order of the text; parameters (`?`) are not
/// among them. Comments and white space do not count; case does; a whole number that is an item of ORDER BY or GROUP BY counts as it
/// is written, because it names a column.
pub fn shape(sql: &[u8], lexing: &Lexing, seed: u128, literals: &mut Vec<Literal>) -> u128 {
    literals.clear();
    let mut hash = Hash::new(seed);
    let mut lists = Lists::default();
    for token in Lexer::new(sql, lexing) {
        let text = token.text(sql);
        match token.kind {
            Kind::Comment | Kind::OptimizerHint => continue,
            Kind::Integer | Kind::Decimal | Kind::Float | Kind::Hex | Kind::Bit | Kind::String => {
                let counts = match token.kind {
                    Kind::Integer if lists.at_item => text,
                    // `'…'`, `"…"` or `N'…'`.
                    Kind::String => text.get(..1).unwrap_or_default(),
                    _ => b"",
                };
                hash.bytes(code(token.kind), counts);
                literals.push(Literal { kind: token.kind, span: token.start..token.end });
            }
            kind => hash.bytes(code(kind), text),
        }
        lists.see(&token, text);
    }
    hash.finish()
}

/// Whether a whole number that comes next is an item of ORDER BY or GROUP BY.
#[derive(Default)]
struct Lists {
    depth: u32,
    list: Option<u32>,
    at_item: bool,
}

impl Lists {
    fn see(&mut self, token: &Token, text: &[u8]) {
        self.at_item = false;
        match token.kind {
            Kind::Punct(b'(') => self.depth = self.depth.saturating_add(1),
            Kind::Punct(b')') => {
                self.depth = self.depth.saturating_sub(1);
                self.list = self.list.filter(|depth| *depth <= self.depth);
            }
            Kind::Punct(b',') => self.at_item = self.list == Some(self.depth),
            Kind::Word if text.eq_ignore_ascii_case(b"BY") => {
                self.list = Some(self.depth);
                self.at_item = true;
            }
            Kind::Word if text.eq_ignore_ascii_case(b"LIMIT") => self.list = None,
            _ => {}
        }
    }
}

/// A number for each kind of token; single characters are told apart by their text.
fn code(kind: Kind) -> u64 {
    match kind {
        Kind::Word => 1,
        Kind::Name => 2,
        Kind::QuotedName => 3,
        Kind::String => 4,
        Kind::Introducer => 5,
        Kind::Integer => 6,
        Kind::Decimal => 7,
        Kind::Float => 8,
        Kind::Hex => 9,
        Kind::Bit => 10,
        Kind::Placeholder => 11,
        Kind::UserVariable => 12,
        Kind::SystemVariable => 13,
        Kind::Assign => 14,
        Kind::Operator => 15,
        Kind::Punct(_) => 16,
        Kind::Comment => 17,
        Kind::OptimizerHint => 18,
        Kind::Unknown => 19,
    }
}

/// Two lanes of multiplying and folding, each under its own half of the seed.
struct Hash {
    lanes: [u64; 2],
    keys: [u64; 2],
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

impl Hash {
    fn new(seed: u128) -> Self {
        let (low, high) = (seed as u64, (seed >> 64) as u64);
        let keys = [fold(low ^ 0xA076_1D64_78BD_642F, 0xE703_7ED1_A0B4_28DB) | 1, high | 1];
        Self { lanes: [low, fold(high, 0x8EBC_6AF0_9C88_C6E3) ^ low.rotate_left(32)], keys }
    }

    #[inline]
    fn word(&mut self, word: u64) {
        let [one, other] = self.lanes;
        self.lanes = [
            fold(one ^ word, self.keys[0]),
            fold(other.rotate_left(23) ^ word, self.keys[1] ^ 0x5895_65E3_1B4C_2F35),
        ];
    }

    #[inline]
    fn bytes(&mut self, code: u64, bytes: &[u8]) {
        self.word(code << 56 | bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            self.word(chunk.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
    }

    fn finish(mut self) -> u128 {
        self.word(0x0053_4841_5045);
        u128::from(self.lanes[0]) << 64 | u128::from(self.lanes[1])
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MARIADB, MYSQL};
    use super::*;

    fn of(sql: &str) -> u128 {
        shape(sql.as_bytes(), &MYSQL, 7, &mut Vec::new())
    }

    #[test]
    fn literals_comments_and_spaces_do_not_count() {
        let one = of("SELECT * FROM t WHERE a = 5 AND b = 'x' LIMIT 3");
        assert_eq!(one, of("SELECT  * FROM t /* y */ WHERE a=17 AND b = 'O''Hara' LIMIT 30 -- z"));
        for other in [
            "SELECT * FROM t WHERE a = '5' AND b = 'x' LIMIT 3",
            "SELECT * FROM t WHERE a = 5 AND b = N'x' LIMIT 3",
            "SELECT * FROM t WHERE a = -5 AND b = 'x' LIMIT 3",
            "SELECT * FROM t WHERE a = ? AND b = 'x' LIMIT 3",
            "SELECT * FROM t WHERE a = 5.0 AND b = 'x' LIMIT 3",
            "SELECT * FROM t WHERE a = 5 AND b = 'x' LIMIT 3, 3",
            "SELECT * FROM t WHERE `a` = 5 AND b = 'x' LIMIT 3",
        ] {
            assert_ne!(one, of(other), "{other}");
        }
    }

    #[test]
    fn positions_count() {
        assert_ne!(of("SELECT a, b FROM t ORDER BY 1"), of("SELECT a, b FROM t ORDER BY 2"));
        assert_ne!(of("SELECT a, b FROM t GROUP BY a, 1"), of("SELECT a, b FROM t GROUP BY a, 2"));
        assert_eq!(of("SELECT a FROM t ORDER BY a LIMIT 1, 2"), of("SELECT a FROM t ORDER BY a LIMIT 3, 4"));
        assert_eq!(of("SELECT a FROM t ORDER BY f(a, 1), b"), of("SELECT a FROM t ORDER BY f(a, 2), b"));
    }

    #[test]
    fn the_seed_and_what_is_code_count() {
        let sql = b"SELECT 1 /*!50700 + 1 */";
        let of = |lexing, seed| shape(sql, lexing, seed, &mut Vec::new());
        assert_ne!(of(&MYSQL, 1), of(&MYSQL, 2));
        assert_ne!(of(&MYSQL, 1), of(&MARIADB, 1));
    }

    #[test]
    fn literals_are_collected_in_order() {
        let sql = b"SELECT 'a', 2 FROM t WHERE x IN (0x10, ?, -1.5)";
        let mut literals = vec![Literal { kind: Kind::Bit, span: 0..0 }];
        shape(sql, &MYSQL, 1, &mut literals);
        let texts: Vec<_> = literals.iter().map(|literal| &sql[literal.span.clone()]).collect();
        assert_eq!(texts, [&b"'a'"[..], b"2", b"0x10", b"1.5"]);
    }
}
