//! A console statement as words: the proxy's own lexer, with names and texts unquoted.

use crate::sql::lexer::{Kind as Lexed, Lexer};
use crate::sql::{Dialect, LexCharset, Lexing, ServerVersion};

/// How the console reads text, whatever the servers do.
const LEXING: Lexing = Lexing {
    ansi_quotes: false,
    no_backslash_escapes: false,
    charset: LexCharset::AsciiSafe,
    server: ServerVersion { dialect: Dialect::MySql, number: 80_000 },
};

/// What a token is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Token {
    /// A keyword or a name.
    Word(String),
    /// A name in backticks.
    Quoted(String),
    /// A text.
    Text(String),
    /// A number, as written.
    Number(String),
    /// `@@x`: the name without scope, in lower case.
    Variable(String),
    /// Anything else, as written.
    Mark(String),
}

/// The tokens of a statement, and how far each has been read.
pub(super) struct Tokens {
    sql: String,
    all: Vec<(Token, usize, usize)>,
    at: usize,
}

impl Tokens {
    /// Cuts a statement. Comments, and a `;` at the end, are left out.
    pub fn of(sql: &str) -> Self {
        let bytes = sql.as_bytes();
        let mut all = Vec::new();
        for token in Lexer::new(bytes, &LEXING) {
            let text = String::from_utf8_lossy(token.text(bytes)).into_owned();
            let made = match token.kind {
                Lexed::Comment | Lexed::OptimizerHint | Lexed::Introducer => continue,
                Lexed::Word | Lexed::Name => Token::Word(text),
                Lexed::QuotedName => Token::Quoted(unquote(&text, false)),
                Lexed::String => Token::Text(unquote(&text, true)),
                Lexed::Integer | Lexed::Decimal | Lexed::Float => Token::Number(text),
                Lexed::SystemVariable => Token::Variable(variable(&text)),
                _ => Token::Mark(text),
            };
            all.push((made, token.start, token.end));
        }
        while matches!(all.last(), Some((Token::Mark(mark), ..)) if mark == ";") {
            all.pop();
        }
        Self { sql: sql.to_owned(), all, at: 0 }
    }

    /// The next token, which stays the next.
    pub fn peek(&self) -> Option<&Token> {
        self.all.get(self.at).map(|(token, ..)| token)
    }

    /// The next token.
    pub fn next(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.at += usize::from(token.is_some());
        token
    }

    /// Whether all is read.
    pub fn is_done(&self) -> bool {
        self.at >= self.all.len()
    }

    /// Reads these words if they come next, all of them.
    pub fn words(&mut self, words: &[&str]) -> bool {
        let come = words.iter().enumerate().all(|(at, word)| {
            matches!(self.all.get(self.at + at), Some((Token::Word(found), ..)) if found.eq_ignore_ascii_case(word))
        });
        self.at += if come { words.len() } else { 0 };
        come
    }

    /// Reads one of these words if it comes next.
    pub fn word_of(&mut self, words: &[&'static str]) -> Option<&'static str> {
        words.iter().copied().find(|word| self.words(&[word]))
    }

    /// Reads this mark if it comes next.
    pub fn mark(&mut self, mark: &str) -> bool {
        let comes = matches!(self.peek(), Some(Token::Mark(found)) if found == mark);
        self.at += usize::from(comes);
        comes
    }

    /// Reads a name, in backticks or without.
    pub fn name(&mut self) -> Option<String> {
        match self.peek() {
            Some(Token::Word(name) | Token::Quoted(name)) => {
                let name = name.clone();
                self.at += 1;
                Some(name)
            }
            _ => None,
        }
    }

    /// Reads a whole number.
    pub fn number(&mut self) -> Option<u64> {
        let Some(Token::Number(text)) = self.peek() else { return None };
        let number = text.parse().ok()?;
        self.at += 1;
        Some(number)
    }

    /// Where the next token is.
    pub fn place(&self) -> usize {
        self.at
    }

    /// Reads again from a place where it has been before.
    pub fn back_to(&mut self, place: usize) {
        self.at = place.min(self.at);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// The text from the token at `from` to the last that was read.
    pub fn text_since(&self, from: usize) -> String {
        let start = self.all.get(from).map_or(0, |(_, start, _)| *start);
        let end = self.at.checked_sub(1).and_then(|last| self.all.get(last)).map_or(start, |(.., end)| *end);
        self.sql.get(start..end).unwrap_or_default().to_owned()
    }
}

/// `@@session.x`, `@@GLOBAL.x`, `` @@`x` `` as `x`.
fn variable(text: &str) -> String {
    let name = text.trim_start_matches('@').replace(['`', ' '], "").to_ascii_lowercase();
    let scopes = ["session.", "global.", "local."];
    scopes.iter().find_map(|scope| name.strip_prefix(scope)).unwrap_or(&name).to_owned()
}

fn unquote(text: &str, escapes: bool) -> String {
    let text = text.trim_start_matches(['n', 'N']);
    let Some(quote) = text.chars().next() else { return String::new() };
    let inside = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)).unwrap_or_default();
    let mut out = String::with_capacity(inside.len());
    let mut characters = inside.chars();
    while let Some(character) = characters.next() {
        match character {
            // `\%` and `\_` keep their backslash: it is for LIKE.
            '\\' if escapes => match characters.next() {
                Some(escaped @ ('%' | '_')) => out.extend(['\\', escaped]),
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(escaped) => out.push(escaped),
                None => {}
            },
            _ if character == quote => out.extend(characters.next()), // doubled
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_cut_and_unquoted() {
        let mut tokens = Tokens::of("/* x */ show `a``b` LIKE 'it''s\\_' @@SESSION.`Tx_Isolation` <> 12;");
        assert!(tokens.words(&["SHOW"]) && !tokens.words(&["a"]));
        assert_eq!(tokens.name().as_deref(), Some("a`b"));
        assert_eq!(tokens.word_of(&["IN", "LIKE"]), Some("LIKE"));
        assert_eq!(tokens.next(), Some(Token::Text("it's\\_".into())));
        let from = tokens.place();
        assert_eq!(tokens.next(), Some(Token::Variable("tx_isolation".into())));
        assert_eq!(tokens.text_since(from), "@@SESSION.`Tx_Isolation`");
        assert!(tokens.mark("<>"));
        assert_eq!(tokens.number(), Some(12));
        assert!(tokens.is_done() && tokens.next().is_none());
    }
}
