//! Texts that a server may take for equal have one form here.
//!
//! Owns: which collations are known, and the form of a text under each. Does not know: columns.
//! Invariant: two texts that are equal under the collation, in a column of any type that can have it, have one form, or one of them is in
//! doubt. Texts that differ may have one form, too: then their rows are on one shard, which is no harm.

use super::value::{Charset, Doubt};

/// A collation as the rules name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Collation {
    /// Its name on the servers; empty where the rules name none.
    pub name: &'static str,
    /// How texts that it takes for equal come to one form.
    pub form: Form,
}

/// How a text comes to its form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Every character counts, but spaces at the end do not: most collations do not count them (PAD SPACE), and columns of type CHAR lose them.
    Exact,
    /// Printable ASCII without the case of letters, and without spaces at the end. Other texts are in doubt: some collations
    /// ignore control characters, take `é` for `e`, or have letters of two characters.
    Folded,
}

impl Collation {
    /// What holds where the rules name no collation: right under every one that `named` knows.
    pub const ANY: Self = Self { name: "", form: Form::Folded };

    /// The collation of that name, where its forms are known to hold.
    pub fn named(name: &str) -> Option<Self> {
        let known = |names: &[&'static str], form| {
            let name = names.iter().find(|known| known.eq_ignore_ascii_case(name))?;
            Some(Self { name, form })
        };
        known(&EXACT, Form::Exact).or_else(|| known(&FOLDED, Form::Folded))
    }

    /// All names that `named` knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        EXACT.iter().chain(&FOLDED).copied()
    }

    /// The one form of a text, in UTF-8.
    pub(super) fn form(self, text: &[u8], charset: Charset) -> Result<Vec<u8>, Doubt> {
        let mut form = match (text.is_ascii(), charset) {
            (_, Charset::Unknown) => return Err(Doubt::Charset),
            (true, _) => text.to_vec(),
            (false, Charset::Utf8) if std::str::from_utf8(text).is_ok() => text.to_vec(),
            (false, Charset::Latin1) => {
                text.iter().map(|byte| latin1(*byte)).collect::<String>().into_bytes()
            }
            (false, _) => return Err(Doubt::Charset),
        };
        if self.form == Form::Folded {
            if !form.iter().all(|byte| (b' '..=b'~').contains(byte)) {
                return Err(Doubt::Characters);
            }
            form.make_ascii_lowercase();
        }
        form.truncate(form.iter().rposition(|byte| *byte != b' ').map_or(0, |at| at + 1));
        Ok(form)
    }
}

/// Collations that compare by characters' codes.
const EXACT: [&str; 9] = [
    "ascii_bin",
    "latin1_bin",
    "utf8mb3_bin",
    "utf8mb4_bin",
    "utf8mb4_0900_bin",
    "ascii_nopad_bin",
    "latin1_nopad_bin",
    "utf8mb3_nopad_bin",
    "utf8mb4_nopad_bin",
];

/// Collations under which no two printable ASCII texts are equal but by the case of letters and spaces at the end.
const FOLDED: [&str; 22] = [
    "utf8mb4_0900_ai_ci",
    "utf8mb4_0900_as_ci",
    "utf8mb4_0900_as_cs",
    "utf8mb4_general_ci",
    "utf8mb4_unicode_ci",
    "utf8mb4_unicode_520_ci",
    "utf8mb4_general_nopad_ci",
    "utf8mb4_unicode_nopad_ci",
    "utf8mb4_unicode_520_nopad_ci",
    "utf8mb4_uca1400_ai_ci",
    "utf8mb4_uca1400_as_ci",
    "utf8mb4_uca1400_as_cs",
    "utf8mb3_uca1400_ai_ci",
    "utf8mb3_general_ci",
    "utf8mb3_unicode_ci",
    "latin1_swedish_ci",
    "latin1_general_ci",
    "latin1_general_cs",
    "latin1_german1_ci",
    "latin1_german2_ci",
    "latin1_danish_ci",
    "ascii_general_ci",
];

/// A byte of servers' `latin1`: code page 1252, whose five free bytes stand for themselves.
fn latin1(byte: u8) -> char {
    const HIGH: [u16; 32] = [
        0x20ac, 0x81, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039, 0x0152,
        0x8d, 0x017d, 0x8f, 0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc, 0x2122,
        0x0161, 0x203a, 0x0153, 0x9d, 0x017e, 0x0178,
    ];
    let high = usize::from(byte).checked_sub(0x80).and_then(|at| HIGH.get(at));
    high.and_then(|code| char::from_u32((*code).into())).unwrap_or(char::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(name: &str, text: &[u8], charset: Charset) -> Result<Vec<u8>, Doubt> {
        Collation::named(name).unwrap().form(text, charset)
    }

    #[test]
    fn folded_texts_lose_case_and_spaces_at_the_end() {
        for text in ["Abc", "ABC", "abc  "] {
            assert_eq!(form("utf8mb4_0900_ai_ci", text.as_bytes(), Charset::Utf8), Ok(b"abc".to_vec()));
        }
        for text in ["é", "a\tb", "a\0", "\u{7f}"] {
            assert_eq!(Collation::ANY.form(text.as_bytes(), Charset::Utf8), Err(Doubt::Characters), "{text}");
        }
    }

    #[test]
    fn exact_texts_are_the_same_in_every_character_set() {
        let name = "utf8mb4_bin";
        assert_eq!(form(name, "grün€ ".as_bytes(), Charset::Utf8), Ok("grün€".into()));
        assert_eq!(form(name, b"gr\xfcn\x80", Charset::Latin1), Ok("grün€".into()));
        assert_eq!(form(name, b"Abc", Charset::AsciiBased), Ok(b"Abc".to_vec()));
        for (text, charset) in
            [(&b"gr\xfcn"[..], Charset::Utf8), (b"gr\xfcn", Charset::AsciiBased), (b"abc", Charset::Unknown)]
        {
            assert_eq!(form(name, text, charset), Err(Doubt::Charset));
        }
    }

    #[test]
    fn collations_that_are_not_known_are_refused() {
        assert_eq!(Collation::named("UTF8MB4_BIN").map(|collation| collation.name), Some("utf8mb4_bin"));
        assert!(
            ["utf8mb4_lithuanian_ci", "binary", "", "utf8mb4"]
                .iter()
                .all(|name| Collation::named(name).is_none())
        );
    }
}
