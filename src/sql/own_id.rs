//! CONNECTION_ID() in a text, and the client's own id in its place; ROW_COUNT() and FOUND_ROWS(), and the session's own counts.
//!
//! Owns: where the calls and `@@pseudo_thread_id` stand, and what columns must still be called. Does not know: sessions. Invariant: see
//! [`super::splice`].

use std::ops::Range;

use super::keywords::Keyword;
use super::lexer::Kind;
use super::model::Lexing;
use super::outline::Seen;
use super::scan::split_variable;
use super::splice::{Edit, asks_by_servers_ids, statements};

/// Words between SELECT and its list.
pub const BEFORE_LIST: [&[u8]; 10] = [
    b"ALL",
    b"DISTINCT",
    b"DISTINCTROW",
    b"HIGH_PRIORITY",
    b"STRAIGHT_JOIN",
    b"SQL_SMALL_RESULT",
    b"SQL_BIG_RESULT",
    b"SQL_BUFFER_RESULT",
    b"SQL_NO_CACHE",
    b"SQL_CALC_FOUND_ROWS",
];

/// Longest name that both dialects give to a column that has none.
const LABEL_MAX: usize = 64;

/// Replaces CONNECTION_ID() and `@@pseudo_thread_id` by this id. Columns keep their names.
///
/// `CAST(… AS UNSIGNED)` of ten digits has the very type that each dialect gives to CONNECTION_ID() (tried on both).
pub fn own_id_edits(sql: &[u8], lexing: &Lexing, id: u32) -> Vec<Edit> {
    let mut walk = Walk::new(sql, Own::Id(id));
    for statement in statements(sql, lexing) {
        // Definitions outlive the session, and the bodies of programs hold semicolons.
        if statement.first().is_some_and(|first| matches!(first.keyword, Keyword::Create | Keyword::Alter)) {
            break;
        }
        if !asks_by_servers_ids(sql, &statement) {
            walk.statement(&statement);
        }
    }
    walk.edits
}

/// What the statement before has counted, for a text that asks on another connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts {
    /// ROW_COUNT().
    pub row_count: i64,
    /// FOUND_ROWS().
    pub found_rows: i64,
}

/// Replaces ROW_COUNT() and FOUND_ROWS() in the first statement by these: those behind it ask about the one in front of them. `None` where
/// a call stands in a way that is not replaced. `IF(1,5,ROW_COUNT())` is what gives the type, and FOUND_ROWS() the warning, of the call
/// itself (tried on both dialects; a cast would not do on MariaDB).
pub fn count_edits(sql: &[u8], lexing: &Lexing, counts: Counts) -> Option<Vec<Edit>> {
    let mut walk = Walk::new(sql, Own::Counts(counts));
    let statement = statements(sql, lexing).next()?;
    let defines = |first: &Seen| matches!(first.keyword, Keyword::Create | Keyword::Alter);
    if statement.first().is_none_or(defines) {
        return None;
    }
    walk.statement(&statement);
    (!walk.missed && !walk.edits.is_empty()).then_some(walk.edits)
}

/// What takes the place of calls.
#[derive(Clone, Copy)]
enum Own {
    Id(u32),
    Counts(Counts),
}

impl Own {
    /// The text in place of a call of this function.
    fn in_place_of(self, name: &[u8]) -> Option<String> {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        match self {
            Self::Id(id) if is("CONNECTION_ID") => Some(format!("CAST({id} AS UNSIGNED)")),
            Self::Counts(counts) if is("ROW_COUNT") => {
                Some(format!("IF(1,{},ROW_COUNT())", counts.row_count))
            }
            Self::Counts(counts) if is("FOUND_ROWS") => {
                Some(format!("IF(1,{},FOUND_ROWS())", counts.found_rows))
            }
            _ => None,
        }
    }
}

/// What is known inside one pair of parentheses.
#[derive(Clone, Copy, Default)]
struct Frame {
    /// The item of a select list that is being read: where it begins.
    item: Option<usize>,
    /// Something in it was replaced.
    touched: bool,
    /// Something in the parentheses was.
    inside: bool,
}

struct Walk<'a> {
    sql: &'a [u8],
    own: Own,
    edits: Vec<Edit>,
    /// A call was not replaced.
    missed: bool,
    /// The last one is the innermost; never empty.
    frames: Vec<Frame>,
}

impl<'a> Walk<'a> {
    fn new(sql: &'a [u8], own: Own) -> Self {
        Self { sql, own, edits: Vec::new(), missed: false, frames: vec![Frame::default()] }
    }

    fn statement(&mut self, statement: &[Seen]) {
        self.frames = vec![Frame::default()];
        for (at, seen) in statement.iter().enumerate() {
            match seen.token.kind {
                Kind::Punct(b'(') => self.frames.push(Frame::default()),
                Kind::Punct(b')') => {
                    self.end_item(statement, at);
                    self.close();
                    self.replace_call(statement, at);
                }
                Kind::Punct(b',') if self.end_item(statement, at) => self.begin_item(at + 1),
                Kind::SystemVariable => self.replace_variable(statement, at),
                Kind::Word if seen.keyword == Keyword::Select => self.begin_item(at + 1),
                Kind::Word if is_modifier(seen.token.text(self.sql)) && self.begins_here(at) => {
                    self.begin_item(at + 1);
                }
                Kind::Word if ends_list(seen.token.text(self.sql)) => {
                    self.end_item(statement, at);
                }
                _ => {}
            }
        }
        self.end_item(statement, statement.len());
    }

    fn frame(&mut self) -> Option<&mut Frame> {
        self.frames.last_mut()
    }

    fn begin_item(&mut self, at: usize) {
        if let Some(frame) = self.frame() {
            *frame = Frame { item: Some(at), touched: false, ..*frame };
        }
    }

    /// A parenthesis closes: what was replaced in it was replaced in what it stands in.
    fn close(&mut self) {
        if self.frames.len() > 1
            && let Some(Frame { inside: true, .. }) = self.frames.pop()
        {
            self.touch();
        }
    }

    fn touch(&mut self) {
        if let Some(frame) = self.frame() {
            *frame = Frame { touched: true, inside: true, ..*frame };
        }
    }

    fn begins_here(&mut self, at: usize) -> bool {
        self.frame().is_some_and(|frame| frame.item == Some(at))
    }

    /// An item of a select list ends before the token `stop`: one in which something was replaced keeps its name. Whether
    /// one was being read.
    fn end_item(&mut self, statement: &[Seen], stop: usize) -> bool {
        let Some(frame) = self.frames.last_mut() else { return false };
        let Frame { item: Some(start), touched, inside } = *frame else { return false };
        *frame = Frame { inside, ..Frame::default() };
        let item = statement.get(start..stop).unwrap_or_default();
        if touched && let Some(label) = label(self.sql, item) {
            let end = item.last().map_or(0, |last| last.token.end);
            self.edits.push(Edit { span: end..end, text: [b" AS `", label, b"`"].concat() });
        }
        true
    }

    /// `CONNECTION_ID()` or its like, whose closing parenthesis is the token `close`.
    fn replace_call(&mut self, statement: &[Seen], close: usize) {
        let Some([rest @ .., name, open]) = statement.get(..close) else { return };
        let called = name.token.kind == Kind::Word
            && open.token.kind == Kind::Punct(b'(')
            && !rest.last().is_some_and(|before| before.token.kind == Kind::Punct(b'.'));
        let Some(own) = self.own.in_place_of(name.token.text(self.sql)).filter(|_| called) else { return };
        let span = name.token.start..statement[close].token.end;
        // Between the marks of a versioned comment only one half might be code.
        let gap = self.sql.get(name.token.end..span.end).unwrap_or_default();
        if gap.iter().all(|byte| byte.is_ascii_whitespace() || matches!(byte, b'(' | b')')) {
            self.replace(span, own);
        } else {
            self.missed = true;
        }
    }

    fn replace_variable(&mut self, statement: &[Seen], at: usize) {
        let token = statement[at].token;
        let (scope, name) = split_variable(token.text(self.sql));
        let is_set = statement.first().is_some_and(|first| first.keyword == Keyword::Set);
        let before = at.checked_sub(1).and_then(|before| statement.get(before));
        let assigned = is_set
            && before.is_some_and(|before| {
                before.keyword == Keyword::Set || before.token.kind == Kind::Punct(b',')
            });
        let global = scope.eq_ignore_ascii_case(b"global");
        if let Own::Id(id) = self.own
            && name.eq_ignore_ascii_case(b"pseudo_thread_id")
            && !assigned
            && !global
        {
            // A BIGINT UNSIGNED that may be NULL, as the servers have it.
            self.replace(token.start..token.end, format!("NULLIF({id}|0,0)"));
        }
    }

    fn replace(&mut self, span: Range<usize>, text: String) {
        self.edits.push(Edit { span, text: text.into_bytes() });
        self.touch();
    }
}

/// What the servers call a column without an alias: the text of its expression. `None` where it has an alias, or may have one, or
/// where the text is not plain enough to be told.
fn label<'a>(sql: &'a [u8], item: &[Seen]) -> Option<&'a [u8]> {
    let [.., last] = item else { return None };
    let before = item.len().checked_sub(2).and_then(|at| item.get(at));
    let operator = |seen: &Seen| match seen.token.kind {
        Kind::Operator => true,
        Kind::Word => is_operator(seen.token.text(sql)),
        Kind::Punct(byte) => byte != b')',
        _ => false,
    };
    let is_alias_less = match last.token.kind {
        Kind::Punct(b')') | Kind::Integer | Kind::Decimal | Kind::Float | Kind::Hex | Kind::Bit => true,
        Kind::UserVariable | Kind::SystemVariable | Kind::Placeholder => true,
        Kind::Word | Kind::Name | Kind::QuotedName | Kind::String => before.is_some_and(operator),
        _ => false,
    };
    let text = sql.get(item.first()?.token.start..last.token.end)?;
    let has = |mark: &[u8]| memchr::memmem::find(text, mark).is_some();
    let plain = text.len() <= LABEL_MAX
        && text.iter().all(|byte| (b' '..=b'~').contains(byte) && !matches!(byte, b'`' | b'\\' | b'#'))
        && !has(b"/*")
        && !has(b"*/")
        && !has(b"--");
    (is_alias_less && plain).then_some(text)
}

/// Words behind which an operand stands.
fn is_operator(word: &[u8]) -> bool {
    const OPERATORS: [&[u8]; 11] =
        [b"AND", b"OR", b"XOR", b"NOT", b"IS", b"LIKE", b"REGEXP", b"RLIKE", b"DIV", b"MOD", b"BETWEEN"];
    OPERATORS.iter().any(|operator| operator.eq_ignore_ascii_case(word))
}

fn is_modifier(word: &[u8]) -> bool {
    BEFORE_LIST.iter().any(|modifier| modifier.eq_ignore_ascii_case(word))
}

/// Reserved words that can only follow a select list.
fn ends_list(word: &[u8]) -> bool {
    const ENDS: [&[u8]; 14] = [
        b"FROM",
        b"INTO",
        b"WHERE",
        b"GROUP",
        b"HAVING",
        b"ORDER",
        b"LIMIT",
        b"UNION",
        b"EXCEPT",
        b"INTERSECT",
        b"FOR",
        b"LOCK",
        b"PROCEDURE",
        b"ON",
    ];
    ENDS.iter().any(|end| end.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::super::splice::{LOOKED_THROUGH_MAX, splice};
    use super::super::tests::MYSQL;
    use super::*;

    fn own(sql: &str) -> String {
        let edits = own_id_edits(sql.as_bytes(), &MYSQL, 7);
        String::from_utf8(splice(sql.as_bytes(), &edits)).unwrap()
    }

    #[test]
    fn an_own_id_takes_the_place_of_the_call_and_the_column_keeps_its_name() {
        for (sql, spliced) in [
            ("SELECT CONNECTION_ID(), 1", "SELECT CAST(7 AS UNSIGNED) AS `CONNECTION_ID()`, 1"),
            (
                "SELECT DISTINCT connection_id ( ) FROM t",
                "SELECT DISTINCT CAST(7 AS UNSIGNED) AS `connection_id ( )` FROM t",
            ),
            (
                "SELECT 1, f(CONNECTION_ID(), 2)+x",
                "SELECT 1, f(CAST(7 AS UNSIGNED), 2)+x AS `f(CONNECTION_ID(), 2)+x`",
            ),
            (
                "SELECT CONNECTION_ID() id, CONNECTION_ID() AS `b`",
                "SELECT CAST(7 AS UNSIGNED) id, CAST(7 AS UNSIGNED) AS `b`",
            ),
            ("SELECT CONNECTION_ID() 'id'", "SELECT CAST(7 AS UNSIGNED) 'id'"),
            (
                "SELECT a FROM t WHERE id = CONNECTION_ID() ORDER BY CONNECTION_ID()",
                "SELECT a FROM t WHERE id = CAST(7 AS UNSIGNED) ORDER BY CAST(7 AS UNSIGNED)",
            ),
            (
                "SELECT * FROM (SELECT CONNECTION_ID()) d",
                "SELECT * FROM (SELECT CAST(7 AS UNSIGNED) AS `CONNECTION_ID()`) d",
            ),
            (
                "SELECT (SELECT CONNECTION_ID())",
                "SELECT (SELECT CAST(7 AS UNSIGNED) AS `CONNECTION_ID()`) AS `(SELECT CONNECTION_ID())`",
            ),
            (
                "SELECT CONNECTION_ID() INTO @a; SELECT 2",
                "SELECT CAST(7 AS UNSIGNED) AS `CONNECTION_ID()` INTO @a; SELECT 2",
            ),
            (
                "SELECT 1 UNION SELECT CONNECTION_ID()",
                "SELECT 1 UNION SELECT CAST(7 AS UNSIGNED) AS `CONNECTION_ID()`",
            ),
            (
                "INSERT INTO t VALUES (CONNECTION_ID(), '`')",
                "INSERT INTO t VALUES (CAST(7 AS UNSIGNED), '`')",
            ),
            ("SET @a = CONNECTION_ID()", "SET @a = CAST(7 AS UNSIGNED)"),
            ("CALL p(CONNECTION_ID())", "CALL p(CAST(7 AS UNSIGNED))"),
            (
                "SELECT /*!50000 CONNECTION_ID() */",
                "SELECT /*!50000 CAST(7 AS UNSIGNED) AS `CONNECTION_ID()` */",
            ),
            ("SELECT CONNECTION_ID() /* x */ + 1", "SELECT CAST(7 AS UNSIGNED) /* x */ + 1"),
            (
                "SELECT CASE CONNECTION_ID() WHEN 1 THEN 2 END",
                "SELECT CASE CAST(7 AS UNSIGNED) WHEN 1 THEN 2 END",
            ),
            (
                "SELECT CONNECTION_ID() LIKE '7'",
                "SELECT CAST(7 AS UNSIGNED) LIKE '7' AS `CONNECTION_ID() LIKE '7'`",
            ),
            ("SELECT @@pseudo_thread_id", "SELECT NULLIF(7|0,0) AS `@@pseudo_thread_id`"),
            (
                "SELECT 1 = @@session.pseudo_thread_id",
                "SELECT 1 = NULLIF(7|0,0) AS `1 = @@session.pseudo_thread_id`",
            ),
        ] {
            assert_eq!(own(sql), spliced);
        }
    }

    #[test]
    fn counts_take_the_place_of_the_first_statements_calls() {
        let told = |sql: &str| {
            let edits = count_edits(sql.as_bytes(), &MYSQL, Counts { row_count: -1, found_rows: 5 })?;
            Some(String::from_utf8(splice(sql.as_bytes(), &edits)).unwrap())
        };
        for (sql, spliced) in [
            ("SELECT ROW_COUNT()+0", "SELECT IF(1,-1,ROW_COUNT())+0 AS `ROW_COUNT()+0`"),
            ("SET @n = found_rows()", "SET @n = IF(1,5,FOUND_ROWS())"),
            (
                "INSERT INTO t SELECT ROW_COUNT(), FOUND_ROWS() n; SELECT ROW_COUNT()",
                "INSERT INTO t SELECT IF(1,-1,ROW_COUNT()) AS `ROW_COUNT()`, IF(1,5,FOUND_ROWS()) n; SELECT ROW_COUNT()",
            ),
        ] {
            assert_eq!(told(sql).as_deref(), Some(spliced));
        }
        for sql in [
            "SELECT 1",
            "SELECT ROW_COUNT(/*! */)+0, ROW_COUNT()",
            "CREATE VIEW v AS SELECT ROW_COUNT()",
            "DELETE FROM t; SELECT ROW_COUNT()",
        ] {
            assert_eq!(told(sql), None, "{sql}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_surely_stays() {
        for sql in [
            "SELECT 'CONNECTION_ID()', `CONNECTION_ID`()",
            "SELECT db.CONNECTION_ID()",
            "SELECT CONNECTION_ID(/*! */)",
            "SELECT CONNECTION_ID(1), CONNECTION_ID",
            "CREATE VIEW v AS SELECT CONNECTION_ID()",
            "CREATE PROCEDURE p() BEGIN SELECT 1; SELECT CONNECTION_ID(); END",
            "SELECT IS_USED_LOCK('a') = CONNECTION_ID()",
            "SELECT sys.ps_thread_id(CONNECTION_ID())",
            "SET @@pseudo_thread_id = 5, @@session.pseudo_thread_id = 6",
        ] {
            assert_eq!(own(sql), sql);
        }
        let long = format!("SELECT CONNECTION_ID(), '{}'", "x".repeat(LOOKED_THROUGH_MAX));
        assert_eq!(own(&long), long);
    }
}
