//! Comments of all kinds, and which versioned ones are code.
//!
//! Does not know: what a hint says. Invariant: that of the lexer.

use memchr::{memchr, memchr2};

use super::{Kind, Lexer};
use crate::sql::model::Dialect;

impl Lexer<'_> {
    /// The end of a comment up to the line's end; a NUL ends it too, as in the servers.
    pub(super) fn line_end(&self, start: usize) -> usize {
        let rest = self.sql.get(start..).unwrap_or_default();
        start + memchr2(b'\n', 0, rest).unwrap_or(rest.len())
    }

    pub(super) fn comment(&mut self, start: usize) -> (Kind, usize) {
        let mariadb = self.lexing.server.dialect == Dialect::MariaDb;
        match (self.byte(start + 2), self.byte(start + 3)) {
            (b'!', _) => self.versioned_comment(start + 3, false),
            (b'M', b'!') if mariadb => self.versioned_comment(start + 4, true),
            (b'+', _) => self.hint_comment(start),
            _ => match self.plain_comment_end(start + 2) {
                Some(end) => (Kind::Comment, end),
                None => (Kind::Unknown, self.sql.len()),
            },
        }
    }

    pub(super) fn plain_comment_end(&self, mut from: usize) -> Option<usize> {
        loop {
            let star = from + memchr(b'*', self.sql.get(from..)?)?;
            if self.byte(star + 1) == b'/' {
                return Some(star + 2);
            }
            from = star + 1;
        }
    }

    /// An optimizer hint. The servers end it at the first `*/` outside quotes, or at the first one at all where it
    /// is a plain comment to them; when the two could differ, it is `Unknown`.
    pub(super) fn hint_comment(&self, start: usize) -> (Kind, usize) {
        let Some(end) = self.plain_comment_end(start + 3) else {
            return (Kind::Unknown, self.sql.len());
        };
        let content = self.sql.get(start..end).unwrap_or_default();
        let unbalanced =
            b"`'\"".iter().any(|quote| !memchr::memchr_iter(*quote, content).count().is_multiple_of(2));
        (if unbalanced { Kind::Unknown } else { Kind::OptimizerHint }, end)
    }

    /// `/*! … */` and `/*!50700 … */`: five digits, six where a sixth stands. Code when the server is of that
    /// version; MariaDB skips MySQL's own 5.7 to 9.99 unless it is marked `/*M!`.
    pub(super) fn versioned_comment(&mut self, digits_at: usize, own: bool) -> (Kind, usize) {
        let length = (0..6).take_while(|offset| self.byte(digits_at + offset).is_ascii_digit()).count();
        let (version, end) = if length < 5 {
            (0, digits_at)
        } else {
            let number =
                (0..length).fold(0, |sum, at| sum * 10 + u32::from(self.byte(digits_at + at) - b'0'));
            (number, digits_at + length)
        };
        let server = self.lexing.server;
        let foreign = server.dialect == Dialect::MariaDb && !own && (50_700..=99_999).contains(&version);
        if version <= server.number && !foreign {
            self.in_code_comment = true;
            return (Kind::Comment, end);
        }
        match self.skipped_comment_end(end) {
            Some(end) => (Kind::Comment, end),
            None => (Kind::Unknown, self.sql.len()),
        }
    }

    /// The end of a versioned comment that is not code: it may hold plain comments, one level deep.
    pub(super) fn skipped_comment_end(&self, mut from: usize) -> Option<usize> {
        loop {
            let at = from + memchr2(b'*', b'/', self.sql.get(from..)?)?;
            from = match (self.byte(at), self.byte(at + 1)) {
                (b'*', b'/') => return Some(at + 2),
                (b'/', b'*') => self.plain_comment_end(at + 2)?,
                _ => at + 1,
            };
        }
    }

    /// `*/`: the end of a versioned comment that is code, or an error.
    pub(super) fn comment_end(&mut self, start: usize) -> (Kind, usize) {
        let open = std::mem::replace(&mut self.in_code_comment, false);
        (if open { Kind::Comment } else { Kind::Unknown }, start + 2)
    }
}
