//! Character sets: characters whose later bytes look like ASCII, and introducers.
//!
//! Does not know: collations. Invariant: that of the lexer.

use super::{Kind, Lexer};
use crate::sql::model::LexCharset;

impl Lexer<'_> {
    /// Bytes of the character at an offset: more than one only where its later bytes may look like ASCII.
    #[inline]
    pub(super) fn character(&self, at: usize) -> usize {
        let lead = self.byte(at);
        if lead < 0x80 || self.lexing.charset == LexCharset::AsciiSafe {
            return 1;
        }
        let next = self.byte(at + 1);
        let double = match self.lexing.charset {
            LexCharset::AsciiSafe => false,
            LexCharset::Big5 => matches!(lead, 0xA1..=0xF9) && matches!(next, 0x40..=0x7E | 0xA1..=0xFE),
            LexCharset::Gbk => matches!(lead, 0x81..=0xFE) && matches!(next, 0x40..=0x7E | 0x80..=0xFE),
            LexCharset::Sjis => {
                matches!(lead, 0x81..=0x9F | 0xE0..=0xFC) && matches!(next, 0x40..=0x7E | 0x80..=0xFC)
            }
            LexCharset::Gb18030 => {
                let quadruple = matches!(next, 0x30..=0x39)
                    && matches!(self.byte(at + 2), 0x81..=0xFE)
                    && matches!(self.byte(at + 3), 0x30..=0x39);
                if matches!(lead, 0x81..=0xFE) && quadruple {
                    return 4;
                }
                matches!(lead, 0x81..=0xFE) && matches!(next, 0x40..=0x7E | 0x80..=0xFE)
            }
        };
        if double { 2 } else { 1 }
    }

    pub(super) fn introducer_or_word(&mut self, start: usize) -> (Kind, usize) {
        let end = self.identifier(start);
        let name = self.sql.get(start + 1..end).unwrap_or_default();
        if is_charset(name) { (Kind::Introducer, end) } else { self.word(start) }
    }
}

/// Names of character sets that may stand as `_name` in front of a literal.
fn is_charset(name: &[u8]) -> bool {
    const CHARSETS: [&[u8]; 42] = [
        b"armscii8",
        b"ascii",
        b"big5",
        b"binary",
        b"cp1250",
        b"cp1251",
        b"cp1256",
        b"cp1257",
        b"cp850",
        b"cp852",
        b"cp866",
        b"cp932",
        b"dec8",
        b"eucjpms",
        b"euckr",
        b"gb18030",
        b"gb2312",
        b"gbk",
        b"geostd8",
        b"greek",
        b"hebrew",
        b"hp8",
        b"keybcs2",
        b"koi8r",
        b"koi8u",
        b"latin1",
        b"latin2",
        b"latin5",
        b"latin7",
        b"macce",
        b"macroman",
        b"sjis",
        b"swe7",
        b"tis620",
        b"ucs2",
        b"ujis",
        b"utf16",
        b"utf16le",
        b"utf32",
        b"utf8",
        b"utf8mb3",
        b"utf8mb4",
    ];
    CHARSETS.iter().any(|charset| charset.eq_ignore_ascii_case(name))
}
