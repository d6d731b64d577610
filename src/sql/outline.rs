//! Everything the lexer can tell of a statement, for planning, `tidegate route` and logs; not on the hot path.
//!
//! Owns: literals, placeholders, named tables, locking clauses, variables, calls, hints, with their byte spans.
//! Does not know: grammar beyond the words around a name, so a table that stands in an odd place may be missed;
//! what must not be missed is in `Uses`. Invariant: spans lie inside the text; linear time; no recursion.

use super::digest::{digest, digest_text};
use super::functions;
use super::keywords::{self, Keyword};
use super::lexer::{Kind, Lexer, Token};
use super::model::{Lexing, Recognised, Uses};
use super::recognise::recognise;
use super::scan::{split_variable, unquoted};
use super::tables::Tables;
use std::ops::Range;

/// A literal's kind and bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Literal {
    /// `Integer`, `Decimal`, `Float`, `Hex`, `Bit` or `String`.
    pub kind: Kind,
    /// Byte range in the text, quotes included, introducer and sign not.
    pub span: Range<usize>,
}

/// A table that the statement names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableName {
    /// The schema, where it is written; quotes taken off.
    pub schema: Option<Vec<u8>>,
    /// The table; quotes taken off.
    pub name: Vec<u8>,
    /// Byte range of the whole name, schema included.
    pub span: Range<usize>,
}

/// A locking clause.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Locking {
    /// FOR UPDATE.
    Update,
    /// FOR SHARE or LOCK IN SHARE MODE.
    Share,
}

/// A variable that the statement reads or assigns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Variable {
    /// User, or system with its scope in lower case (empty when none is written).
    pub scope: Scope,
    /// The name, quotes taken off.
    pub name: Vec<u8>,
    /// An assignment operator follows it.
    pub assigned: bool,
}

/// Where a variable lives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// `@x`.
    User,
    /// `@@x`, `@@session.x`.
    System(String),
}

/// A function that is called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// The name as written, with its schema where there is one.
    pub span: Range<usize>,
    /// What the call uses; `UNKNOWN_FUNCTION` where it may be a stored function.
    pub uses: Uses,
}

/// All that the lexer tells of a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outline {
    /// Class, uses, Tidegate's hint.
    pub recognised: Recognised,
    /// The digest.
    pub digest: u64,
    /// The digest's text.
    pub digest_text: Vec<u8>,
    /// Literals in the order of the text.
    pub literals: Vec<Literal>,
    /// Offsets of `?`.
    pub placeholders: Vec<usize>,
    /// Tables named, each time they are named; common table expressions are left out.
    pub tables: Vec<TableName>,
    /// Locking clauses.
    pub locking: Vec<Locking>,
    /// Variables in `@` form.
    pub variables: Vec<Variable>,
    /// Calls of functions.
    pub calls: Vec<Call>,
    /// Byte ranges of `/*+ … */`.
    pub optimizer_hints: Vec<Range<usize>>,
}

impl Outline {
    /// Outlines a packet.
    pub fn of(sql: &[u8], lexing: &Lexing) -> Self {
        let mut outline = Self {
            recognised: recognise(sql, lexing),
            digest: digest(sql, lexing),
            digest_text: digest_text(sql, lexing),
            literals: Vec::new(),
            placeholders: Vec::new(),
            tables: Vec::new(),
            locking: Vec::new(),
            variables: Vec::new(),
            calls: Vec::new(),
            optimizer_hints: Vec::new(),
        };
        let mut tables = Tables::new(sql);
        let mut trail = Trail { last: [Seen::NOTHING; 3] };
        for token in Lexer::new(sql, lexing) {
            match token.kind {
                Kind::Comment => continue,
                Kind::OptimizerHint => {
                    outline.optimizer_hints.push(token.start..token.end);
                    continue;
                }
                _ => {}
            }
            let seen = Seen::of(token, sql, lexing);
            tables.see(&seen);
            outline.note(&seen, &trail, sql, lexing);
            trail.push(seen);
        }
        outline.tables = tables.finish();
        outline
    }

    fn note(&mut self, seen: &Seen, trail: &Trail, sql: &[u8], lexing: &Lexing) {
        let token = seen.token;
        let [before, last, ..] = [trail.last[1], trail.last[0]];
        match token.kind {
            Kind::Integer | Kind::Decimal | Kind::Float | Kind::Hex | Kind::Bit | Kind::String => {
                self.literals.push(Literal { kind: token.kind, span: token.start..token.end });
            }
            Kind::Placeholder => self.placeholders.push(token.start),
            Kind::Word if last.keyword == Keyword::For && seen.keyword == Keyword::Update => {
                self.locking.push(Locking::Update);
            }
            Kind::Word
                if seen.keyword == Keyword::Share && matches!(last.keyword, Keyword::For | Keyword::In) =>
            {
                self.locking.push(Locking::Share);
            }
            Kind::UserVariable => {
                let name = token.text(sql).strip_prefix(b"@").unwrap_or_default();
                let name = name
                    .strip_prefix(b"'")
                    .and_then(|name| name.strip_suffix(b"'"))
                    .unwrap_or(unquoted(name));
                self.variables.push(Variable { scope: Scope::User, name: name.to_vec(), assigned: false });
            }
            Kind::SystemVariable => {
                let (scope, name) = split_variable(token.text(sql));
                let scope = Scope::System(String::from_utf8_lossy(scope).to_ascii_lowercase());
                self.variables.push(Variable { scope, name: name.to_vec(), assigned: false });
            }
            Kind::Assign => self.assigned(last),
            // `SET @x = 1`, `, @x = 1`: only SET writes so.
            Kind::Punct(b'=') if self.recognised.class_is_set() && opens_item(before) => self.assigned(last),
            Kind::Punct(b'(') => self.call(trail, token, sql, lexing),
            _ => {}
        }
    }

    fn assigned(&mut self, last: Seen) {
        if matches!(last.token.kind, Kind::UserVariable | Kind::SystemVariable)
            && let Some(variable) = self.variables.last_mut()
        {
            variable.assigned = true;
        }
    }

    /// A call, where `recognise` would take it for one; a name that it would not know is `UNKNOWN_FUNCTION`.
    fn call(&mut self, trail: &Trail, open: Token, sql: &[u8], lexing: &Lexing) {
        let [name, dot, schema] = trail.last;
        let qualified = dot.token.kind == Kind::Punct(b'.');
        let start = if qualified { schema.token.start } else { name.token.start };
        let adjacent = name.token.end == open.start;
        let own = match name.token.kind {
            Kind::Word if !qualified => functions::uses_of(name.token.text(sql), adjacent, lexing.server),
            Kind::Word | Kind::Name | Kind::QuotedName => None,
            _ => return,
        };
        // A list of columns is no call: only where the whole packet has a doubtful call can this be one.
        let unknown = self.recognised.uses.contains(Uses::UNKNOWN_FUNCTION);
        let uses = match own {
            Some(_) if name.keyword == Keyword::Values => return,
            Some(uses) => uses,
            None if name.reserved || !unknown => return,
            None => Uses::UNKNOWN_FUNCTION,
        };
        self.calls.push(Call { span: start..name.token.end, uses });
    }
}

fn opens_item(seen: Seen) -> bool {
    seen.keyword == Keyword::Set || seen.token.kind == Kind::Punct(b',')
}

/// A token with what the keyword table knows of it.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) token: Token,
    pub(super) keyword: Keyword,
    pub(super) reserved: bool,
}

impl Seen {
    const NOTHING: Self = Self {
        token: Token { kind: Kind::Unknown, start: 0, end: 0 },
        keyword: Keyword::Other,
        reserved: false,
    };

    pub(super) fn of(token: Token, sql: &[u8], lexing: &Lexing) -> Self {
        let found = if token.kind == Kind::Word { keywords::find(token.text(sql)) } else { None };
        Self {
            token,
            keyword: found.map_or(Keyword::Other, |found| found.keyword()),
            reserved: found.is_some_and(|found| found.reserved(lexing.server.dialect)),
        }
    }
}

/// The last three tokens, newest first.
struct Trail {
    last: [Seen; 3],
}

impl Trail {
    fn push(&mut self, seen: Seen) {
        self.last = [seen, self.last[0], self.last[1]];
    }
}
