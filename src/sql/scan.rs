//! Walks a packet's statements token by token and notes what they use on the way.
//!
//! Owns: the context of one statement (last two tokens, depth, calls, variables, locking clauses, hints).
//! Does not know: classes; `recognise` asks it for tokens and gives each statement its class.
//! Invariant: every token of the packet passes `observe` once, whatever the classifier does with it.

use super::functions;
use super::keywords::{self, Keyword};
use super::lexer::{Kind, Lexer, Token};
use super::model::{Dialect, Hint, Lexing, Uses};
use crate::balance::Balance;
use crate::consistency::Consistency;

/// A significant token with what the keyword table knows of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub(super) token: Token,
    pub(super) keyword: Keyword,
    /// Cannot be a name in this dialect.
    pub(super) reserved: bool,
}

const NOTHING: Item = Item {
    token: Token { kind: Kind::Punct(0), start: 0, end: 0 },
    keyword: Keyword::Other,
    reserved: false,
};

impl Item {
    pub(super) fn is(&self, byte: u8) -> bool {
        self.token.kind == Kind::Punct(byte)
    }

    /// An unquoted or quoted identifier, or a keyword.
    pub(super) fn is_name(&self) -> bool {
        matches!(self.token.kind, Kind::Word | Kind::Name | Kind::QuotedName)
    }
}

/// Follows `name (` until it is known whether it is a call. `name (SELECT` is none (`= ANY (SELECT …)`), nor is
/// `, name (a, b) AS (`, which names a common table expression.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Candidate {
    None,
    Open,
    Columns,
    Closed,
    As,
}

/// How a user or system variable that comes next is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// It is read.
    No,
    /// It is assigned by SET.
    Yes,
}

/// The walker.
pub(super) struct Scan<'a> {
    pub(super) sql: &'a [u8],
    pub(super) lexing: Lexing,
    lexer: Lexer<'a>,
    /// Union over the packet.
    pub(super) uses: Uses,
    pub(super) hint: Option<Hint>,
    pub(super) balance: Option<Balance>,
    /// A further statement may follow the one that has ended.
    pub(super) more: bool,
    ended: bool,
    last: Item,
    before: Item,
    /// Significant tokens of this statement so far.
    pub(super) count: u32,
    /// Open parentheses of this statement.
    pub(super) depth: u32,
    candidate: Candidate,
    candidate_in_list: bool,
    /// LAST_INSERT_ID( was just opened: an argument makes it a write.
    last_insert_id_open: bool,
    /// WITH begins the statement: `, name (` may be a common table expression.
    pub(super) with: bool,
    /// The next `(` after a name opens a column list, not a call (INSERT INTO t (…)).
    pub(super) column_list: bool,
    pub(super) target: Target,
    /// FOR UPDATE, FOR SHARE or LOCK IN SHARE MODE was seen in this statement.
    pub(super) locking: bool,
    /// INTO was seen in this statement.
    pub(super) into: bool,
    /// SELECT was seen in this statement.
    pub(super) select: bool,
}

impl<'a> Scan<'a> {
    pub(super) fn new(sql: &'a [u8], lexing: &Lexing) -> Self {
        Self {
            sql,
            lexing: *lexing,
            lexer: Lexer::new(sql, lexing),
            uses: Uses::empty(),
            hint: None,
            balance: None,
            more: true,
            ended: false,
            last: NOTHING,
            before: NOTHING,
            count: 0,
            depth: 0,
            candidate: Candidate::None,
            candidate_in_list: false,
            last_insert_id_open: false,
            with: false,
            column_list: false,
            target: Target::No,
            locking: false,
            into: false,
            select: false,
        }
    }

    /// Forgets the statement that has ended.
    pub(super) fn begin_statement(&mut self) {
        self.ended = false;
        self.last = NOTHING;
        self.before = NOTHING;
        self.count = 0;
        self.depth = 0;
        self.candidate = Candidate::None;
        self.last_insert_id_open = false;
        self.with = false;
        self.column_list = false;
        self.target = Target::No;
        self.locking = false;
        self.into = false;
        self.select = false;
    }

    /// The statement's next significant token; `None` at its end, and ever after until `begin_statement`.
    #[inline]
    pub(super) fn next(&mut self) -> Option<Item> {
        if self.ended {
            return None;
        }
        loop {
            let Some(token) = self.lexer.next() else {
                self.more = false;
                break;
            };
            match token.kind {
                Kind::Comment => self.comment(&token),
                Kind::OptimizerHint => {}
                Kind::Punct(b';') => break,
                _ => return Some(self.observe(token)),
            }
        }
        self.ended = true;
        self.settle_candidate();
        None
    }

    /// The keyword that comes next; consumes it.
    pub(super) fn next_keyword(&mut self) -> Keyword {
        self.next().map_or(Keyword::Other, |item| item.keyword)
    }

    /// Consumes the rest of the statement.
    pub(super) fn drain(&mut self) {
        while self.next().is_some() {}
    }

    /// The token before the last one is this keyword.
    pub(super) fn after(&self, keyword: Keyword) -> bool {
        self.before.keyword == keyword
    }

    fn observe(&mut self, token: Token) -> Item {
        let mut item = Item { token, keyword: Keyword::Other, reserved: false };
        if self.candidate != Candidate::None {
            self.follow_candidate(&token);
        }
        if std::mem::replace(&mut self.last_insert_id_open, false) && token.kind != Kind::Punct(b')') {
            self.uses |= Uses::PRIMARY_FUNCTION;
        }
        match token.kind {
            Kind::Word => {
                if let Some(found) = keywords::find(token.text(self.sql)) {
                    item.keyword = found.keyword();
                    item.reserved = found.reserved(self.lexing.server.dialect);
                    self.keyword(item.keyword);
                }
            }
            Kind::Punct(b'(') => {
                self.parenthesis(&token);
                self.depth = self.depth.saturating_add(1);
            }
            Kind::Punct(b',') if self.before.keyword == Keyword::Limit => self.uses |= Uses::OFFSET,
            Kind::Punct(b')') => self.depth = self.depth.saturating_sub(1),
            Kind::Punct(b'.') => self.schema(),
            Kind::Name => self.name_behind_dot(&token),
            Kind::UserVariable => self.user_variable(),
            Kind::SystemVariable => self.system_variable(&token),
            Kind::Assign if self.last.token.kind == Kind::UserVariable => {
                self.uses |= Uses::USER_VARIABLE_WRITE;
            }
            Kind::Unknown => self.uses |= Uses::DOUBT,
            _ => {}
        }
        self.before = self.last;
        self.last = item;
        self.count = self.count.saturating_add(1);
        item
    }

    fn keyword(&mut self, keyword: Keyword) {
        match keyword {
            Keyword::Select => self.select = true,
            Keyword::Into => self.into = true,
            Keyword::Update if self.last.keyword == Keyword::For => self.locking = true,
            Keyword::Share if matches!(self.last.keyword, Keyword::For | Keyword::In) => self.locking = true,
            Keyword::SqlCalcFoundRows => self.uses |= Uses::CALC_FOUND_ROWS,
            Keyword::For
                if self.last.keyword == Keyword::Value
                    && matches!(self.before.keyword, Keyword::Next | Keyword::Previous) =>
            {
                let draws = self.before.keyword == Keyword::Next;
                self.uses |= Uses::PRIMARY_FUNCTION;
                self.uses |= if draws { Uses::SEQUENCE } else { Uses::SEQUENCE_LAST };
            }
            Keyword::Set => self.column_list = false,
            Keyword::Offset => self.uses |= Uses::OFFSET,
            _ => {}
        }
    }

    /// `(`: a call, a column list or a grouping, by what stands before it.
    fn parenthesis(&mut self, open: &Token) {
        let column_list = std::mem::replace(&mut self.column_list, false);
        let adjacent = self.last.token.end == open.start;
        match self.last.token.kind {
            Kind::Word if self.before.is(b'.') => {}
            Kind::Word => {
                let name = self.last.token.text(self.sql);
                if let Some(uses) = functions::uses_of(name, adjacent, self.lexing.server) {
                    self.uses |= uses;
                    self.last_insert_id_open = uses.contains(Uses::LAST_INSERT_ID);
                    return;
                }
                if self.last.reserved {
                    return;
                }
            }
            Kind::Name | Kind::QuotedName => {}
            _ => return,
        }
        let list = column_list
            || self.before.is(b')')
            || self.before.token.kind == Kind::String
            || matches!(
                self.before.keyword,
                Keyword::As | Keyword::With | Keyword::Recursive | Keyword::Procedure
            );
        if list {
            return;
        }
        self.candidate = Candidate::Open;
        self.candidate_in_list = self.with && self.before.is(b',');
    }

    fn follow_candidate(&mut self, token: &Token) {
        let is = |word: &[u8]| token.text(self.sql).eq_ignore_ascii_case(word);
        let in_list = self.candidate_in_list;
        self.candidate = match (self.candidate, token.kind) {
            (Candidate::Open, Kind::Word) if is(b"SELECT") => Candidate::None,
            (Candidate::Open, Kind::Word | Kind::QuotedName) if in_list => Candidate::Columns,
            (Candidate::Columns, Kind::Word | Kind::QuotedName | Kind::Punct(b',')) => Candidate::Columns,
            (Candidate::Columns, Kind::Punct(b')')) => Candidate::Closed,
            (Candidate::Closed, Kind::Word) if is(b"AS") => Candidate::As,
            (Candidate::As, Kind::Punct(b'(')) => Candidate::None,
            _ => return self.settle_candidate(),
        };
    }

    fn settle_candidate(&mut self) {
        if std::mem::replace(&mut self.candidate, Candidate::None) != Candidate::None {
            self.uses |= Uses::UNKNOWN_FUNCTION;
        }
    }

    /// `name.`: the schema of a table, unless it is itself qualified.
    fn schema(&mut self) {
        if self.last.is_name() && !self.before.is(b'.') && is_system_schema(self.last.token.text(self.sql)) {
            self.uses |= Uses::SYSTEM_SCHEMA;
        }
    }

    /// MariaDB in Oracle mode: `sequence.NEXTVAL`; a system table of what the session's statements have left.
    fn name_behind_dot(&mut self, token: &Token) {
        const COLUMNS: [&[u8]; 3] = [b"NEXTVAL", b"CURRVAL", b"LASTVAL"];
        const MEASURES: [&[u8]; 3] = [b"SESSION_STATUS", b"OPTIMIZER_TRACE", b"PROFILING"];
        let name = token.text(self.sql);
        let is_one = |of: &[&[u8]; 3]| of.iter().any(|other| other.eq_ignore_ascii_case(name));
        if name.len() == 7 && is_one(&COLUMNS) {
            self.uses |= Uses::PRIMARY_FUNCTION;
            let draws = name.eq_ignore_ascii_case(COLUMNS[0]);
            if self.lexing.server.dialect == Dialect::MariaDb {
                self.uses |= if draws { Uses::SEQUENCE } else { Uses::SEQUENCE_LAST };
            }
        } else if self.uses.contains(Uses::SYSTEM_SCHEMA) && is_one(&MEASURES) {
            self.uses |= Uses::MEASURES;
        }
    }

    fn user_variable(&mut self) {
        self.uses |= match self.target {
            Target::Yes => Uses::USER_VARIABLE_WRITE,
            Target::No if self.into => Uses::USER_VARIABLE_READ | Uses::USER_VARIABLE_WRITE,
            Target::No => Uses::USER_VARIABLE_READ,
        };
    }

    fn system_variable(&mut self, token: &Token) {
        if self.target == Target::Yes {
            return;
        }
        let (_, name) = split_variable(token.text(self.sql));
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        self.uses |= Uses::SYSTEM_VARIABLE;
        if is(b"last_insert_id") || is(b"identity") {
            self.uses |= Uses::LAST_INSERT_ID;
        } else if is(b"warning_count") || is(b"error_count") {
            self.uses |= Uses::DIAGNOSTICS;
        } else if is(b"pseudo_thread_id") {
            self.uses |= Uses::CONNECTION_ID;
        }
    }

    /// A comment may ask for a role, a level of consistency and a way to spread reads, at the statement's start or after its first keyword.
    fn comment(&mut self, token: &Token) {
        if self.count > 1 {
            return;
        }
        for asked in asked_for(token.text(self.sql)) {
            if let Some(hint) = parse_hint(asked) {
                let stronger = self.hint == Some(Hint::Primary) || hint == Hint::Primary;
                self.hint = Some(if stronger { Hint::Primary } else { hint });
            }
            self.balance = parse_balance(asked).or(self.balance);
        }
    }
}

/// `@@[scope.]name` as scope and name, quotes taken off.
pub(super) fn split_variable(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.strip_prefix(b"@@").unwrap_or(text);
    match text.iter().position(|byte| *byte == b'.') {
        Some(dot) if is_scope(unquoted(&text[..dot])) => (unquoted(&text[..dot]), unquoted(&text[dot + 1..])),
        _ => (b"", unquoted(text)),
    }
}

fn is_scope(word: &[u8]) -> bool {
    const SCOPES: [&[u8]; 5] = [b"session", b"local", b"global", b"persist", b"persist_only"];
    SCOPES.iter().any(|scope| scope.eq_ignore_ascii_case(word))
}

/// A name, or a string, between quotes; those inside are doubled.
pub fn quoted(text: &[u8], quote: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    out.push(quote);
    for byte in text {
        out.push(*byte);
        if *byte == quote {
            out.push(quote);
        }
    }
    out.push(quote);
    out
}

/// An identifier without its quotes (doubled quotes inside stay doubled).
pub(super) fn unquoted(name: &[u8]) -> &[u8] {
    match name {
        [b'`', inner @ .., b'`'] | [b'"', inner @ .., b'"'] => inner,
        _ => name,
    }
}

/// Whether the servers keep their own tables in this database.
pub fn is_system_schema(name: &[u8]) -> bool {
    const SCHEMAS: [&[u8]; 4] = [b"information_schema", b"performance_schema", b"mysql", b"sys"];
    let name = unquoted(name);
    SCHEMAS.iter().any(|schema| schema.eq_ignore_ascii_case(name))
}

/// What `/* tidegate: primary */` and its like ask for, each between commas.
fn asked_for(comment: &[u8]) -> impl Iterator<Item = &[u8]> {
    let list = || {
        let inside = comment.strip_prefix(b"/*")?.strip_suffix(b"*/")?.trim_ascii();
        let (name, rest) = inside.split_at_checked(b"tidegate".len())?;
        let rest = rest.trim_ascii_start().strip_prefix(b":")?;
        name.eq_ignore_ascii_case(b"tidegate").then_some(rest)
    };
    list().into_iter().flat_map(|list| list.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

/// `balance=random` and its like.
fn parse_balance(asked: &[u8]) -> Option<Balance> {
    let (name, rest) = asked.split_at_checked(b"balance".len())?;
    let method = rest.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    Balance::parse(method).filter(|_| name.eq_ignore_ascii_case(b"balance"))
}

fn parse_hint(role: &[u8]) -> Option<Hint> {
    if role.eq_ignore_ascii_case(b"primary") {
        Some(Hint::Primary)
    } else if role.eq_ignore_ascii_case(b"replica") {
        Some(Hint::Replica)
    } else {
        Consistency::parse(role).map(Hint::Fresh)
    }
}
