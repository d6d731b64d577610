//! The reductions of a digest: lists of literals to one piece, rows of literals to one, signs into their numbers.
//!
//! Owns: the rules, those of MySQL's `sql_digest` (manual, "Performance Schema Statement Digests").
//! Does not know: how pieces are hashed or written. Invariant: looks back over `WINDOW` pieces at most, so it
//! needs no memory that grows with the statement.

/// One piece of a digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Piece {
    /// A literal or parameter.
    Value,
    /// Two or more of them, with commas.
    Values,
    /// `(Value)`.
    Row,
    /// Two or more of those.
    Rows,
    /// `(Values)`.
    Tuple,
    /// Two or more of those.
    Tuples,
    /// IN and a list of literals.
    InList,
    /// A keyword or operator.
    Text(&'static [u8]),
    /// A single character.
    Mark(u8),
    /// A position in ORDER BY or GROUP BY, which MySQL keeps: start and end of its bytes.
    Position(usize, usize),
    /// An identifier: start and end of its bytes.
    Name(usize, usize),
    /// A word that counts in upper case: start and end of its bytes.
    Upper(usize, usize),
}

impl Piece {
    /// What MySQL writes for it; empty for those that carry their own bytes.
    pub(super) fn text(self) -> &'static [u8] {
        match self {
            Self::Value => b"?",
            Self::Values => b"?, ...",
            Self::Row => b"(?)",
            Self::Rows => b"(?) /* , ... */",
            Self::Tuple => b"(...)",
            Self::Tuples => b"(...) /* , ... */",
            Self::InList => b"IN (...)",
            Self::Text(text) => text,
            Self::Mark(_) | Self::Name(..) | Self::Upper(..) | Self::Position(..) => b"",
        }
    }

    fn is_sign(self) -> bool {
        matches!(self, Self::Mark(b'+' | b'-'))
    }

    /// Whether an expression begins after it, so that a sign there belongs to the number that follows.
    fn begins_expression(self) -> bool {
        match self {
            Self::Mark(mark) => b"(,|&+-*/%^=<>".contains(&mark),
            Self::Text(text) => matches!(
                text,
                b"EVERY"
                    | b"AT"
                    | b"STARTS"
                    | b"ENDS"
                    | b"DEFAULT"
                    | b"RETURN"
                    | b"IF"
                    | b"ELSEIF"
                    | b"CASE"
                    | b"WHEN"
                    | b"THEN"
                    | b"ELSE"
                    | b"WHILE"
                    | b"UNTIL"
                    | b"SELECT"
                    | b"OR"
                    | b"||"
                    | b"XOR"
                    | b"AND"
                    | b"&&"
                    | b"NOT"
                    | b"BETWEEN"
                    | b"LIKE"
                    | b"RLIKE"
                    | b"<<"
                    | b">>"
                    | b"INTERVAL"
                    | b"DIV"
                    | b"MOD"
                    | b"<="
                    | b">="
                    | b"!="
                    | b"<=>"
            ),
            _ => false,
        }
    }
}

/// Where reduced pieces go.
pub(super) trait Sink {
    /// The next piece of the text.
    fn emit(&mut self, sql: &[u8], piece: Piece);
}

/// Enough for the longest rule (six pieces) and a few signs.
const WINDOW: usize = 16;

/// Holds the last pieces back until no rule can touch them.
pub(super) struct Reducer<'a, 's, S: Sink> {
    sql: &'a [u8],
    sink: &'s mut S,
    held: [Piece; WINDOW],
    count: usize,
}

impl<'a, 's, S: Sink> Reducer<'a, 's, S> {
    pub(super) fn new(sql: &'a [u8], sink: &'s mut S) -> Self {
        Self { sql, sink, held: [Piece::Value; WINDOW], count: 0 }
    }

    /// The last piece; a semicolon when there is none.
    pub(super) fn last(&self) -> Piece {
        self.back(1)
    }

    fn back(&self, distance: usize) -> Piece {
        self.count.checked_sub(distance).map_or(Piece::Mark(b';'), |at| self.held[at])
    }

    fn drop_last(&mut self, pieces: usize) {
        self.count = self.count.saturating_sub(pieces);
    }

    /// Adds a piece that no rule reduces.
    pub(super) fn push(&mut self, piece: Piece) {
        if self.count == WINDOW {
            // Half of the window goes at once, so that the rest moves seldom.
            for piece in &self.held[..WINDOW / 2] {
                self.sink.emit(self.sql, *piece);
            }
            self.held.copy_within(WINDOW / 2.., 0);
            self.count = WINDOW / 2;
        }
        self.held[self.count] = piece;
        self.count += 1;
    }

    /// Takes a position back: it began an expression, so it is a literal.
    pub(super) fn position_was_value(&mut self) {
        self.drop_last(1);
        self.push_value();
    }

    /// Adds a number: signs before it belong to it where an expression begins.
    pub(super) fn push_number(&mut self) {
        while self.back(1).is_sign() && self.back(2).begins_expression() {
            self.drop_last(1);
        }
        self.push_value();
    }

    /// Adds a literal: after a literal and a comma they are a list.
    pub(super) fn push_value(&mut self) {
        if self.back(1) == Piece::Mark(b',') && matches!(self.back(2), Piece::Value | Piece::Values) {
            self.drop_last(2);
            self.push(Piece::Values);
        } else {
            self.push(Piece::Value);
        }
    }

    /// Adds a character; `)` may end a row of literals.
    pub(super) fn push_mark(&mut self, mark: u8) {
        let row = match (self.back(2), self.back(1)) {
            (Piece::Mark(b'('), Piece::Value) if mark == b')' => (Piece::Row, Piece::Rows),
            (Piece::Mark(b'('), Piece::Values) if mark == b')' => (Piece::Tuple, Piece::Tuples),
            _ => return self.push(Piece::Mark(mark)),
        };
        self.drop_last(2);
        if self.back(1) == Piece::Text(b"IN") {
            self.drop_last(1);
            self.push(Piece::InList);
        } else if self.back(1) == Piece::Mark(b',') && (self.back(2) == row.0 || self.back(2) == row.1) {
            self.drop_last(2);
            self.push(row.1);
        } else {
            self.push(row.0);
        }
    }

    /// Sends what is held.
    pub(super) fn finish(&mut self) {
        for piece in &self.held[..self.count] {
            self.sink.emit(self.sql, *piece);
        }
        self.count = 0;
    }
}
