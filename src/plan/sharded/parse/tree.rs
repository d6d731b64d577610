//! The tree that planning reads: queries and expressions, with places as token numbers.
//!
//! Owns: the shapes. Does not know: names' meaning, keys. Invariant: `AND` and `OR` are lists, so a long chain is no deep tree; what
//! has no shape of its own is `Other`, with all its parts as children, and never a key.

use super::text::At;

/// An expression and the tokens that it covers, parentheses around it included.
#[derive(Clone, PartialEq, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Its first token.
    pub first: At,
    /// The token after its last one.
    pub end: At,
}

/// What an expression is.
#[derive(Clone, PartialEq, Debug)]
pub enum ExprKind {
    /// A column, perhaps qualified.
    Column(Path),
    /// A literal that stands alone: its token, and whether a minus stands before it.
    Literal {
        /// The number or the string.
        at: At,
        /// `-` before it.
        negative: bool,
        /// The type in front of it: `DATE '…'`, `TIMESTAMP '…'`.
        typed: Option<At>,
    },
    /// `?`.
    Parameter(At),
    /// NULL.
    Null,
    /// DEFAULT.
    Default,
    /// `(a, b)`, `ROW(a, b)`.
    Row(Vec<Expr>),
    /// Operands of AND.
    And(Vec<Expr>),
    /// Operands of OR.
    Or(Vec<Expr>),
    /// `a = b` and its kin.
    Compare(Comparison, Box<(Expr, Expr)>),
    /// `a IN (b, c)`: `a` first.
    In {
        /// NOT IN.
        negated: bool,
        /// The subject, then the list.
        operands: Vec<Expr>,
    },
    /// `a IN (SELECT …)`.
    InQuery {
        /// NOT IN.
        negated: bool,
        /// What is looked for.
        subject: Box<Expr>,
        /// Where.
        query: Box<Query>,
    },
    /// `a BETWEEN b AND c`.
    Between {
        /// NOT BETWEEN.
        negated: bool,
        /// `a`, `b`, `c`.
        operands: Box<[Expr; 3]>,
    },
    /// `(SELECT …)`.
    Query(Box<Query>),
    /// `EXISTS (SELECT …)`.
    Exists(Box<Query>),
    /// A function's call.
    Call(Call),
    /// Everything else.
    Other(Vec<Expr>),
}

/// How two values are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    /// `=`.
    Equal,
    /// `<=>`.
    NullSafe,
    /// `<`.
    Less,
    /// `<=`.
    LessOrEqual,
    /// `>`.
    Greater,
    /// `>=`.
    GreaterOrEqual,
    /// `<>`, `!=`.
    NotEqual,
}

/// A function's call.
#[derive(Clone, PartialEq, Debug)]
pub struct Call {
    /// The name, perhaps with a schema.
    pub name: Path,
    /// DISTINCT stands before the arguments.
    pub distinct: bool,
    /// `*` is the argument.
    pub star: bool,
    /// OVER follows: a window function.
    pub over: bool,
    /// All expressions inside the parentheses and inside OVER.
    pub arguments: Vec<Expr>,
}

/// One to three names with dots between them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path {
    parts: [At; 3],
    length: u8,
}

impl Path {
    /// A path; `None` for no name or more than three.
    pub fn new(names: &[At]) -> Option<Self> {
        let mut parts = [0; 3];
        parts.get_mut(..names.len()).filter(|_| !names.is_empty())?.copy_from_slice(names);
        Some(Self { parts, length: u8::try_from(names.len()).ok()? })
    }

    /// The names' tokens.
    pub fn parts(&self) -> &[At] {
        self.parts.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// The last name.
    pub fn last(&self) -> At {
        self.parts().last().copied().unwrap_or_default()
    }

    /// The names before the last one.
    pub fn qualifiers(&self) -> &[At] {
        self.parts().split_last().map_or(&[], |(_, before)| before)
    }
}

/// A query with everything around its SELECTs.
#[derive(Clone, PartialEq, Debug)]
pub struct Query {
    /// WITH RECURSIVE.
    pub recursive: bool,
    /// Common table expressions.
    pub with: Vec<Common>,
    /// What it selects.
    pub body: Body,
    /// ORDER BY.
    pub order: Vec<Order>,
    /// LIMIT.
    pub limit: Option<Limit>,
    /// FOR UPDATE, FOR SHARE, LOCK IN SHARE MODE.
    pub locking: bool,
}

/// A common table expression.
#[derive(Clone, PartialEq, Debug)]
pub struct Common {
    /// Its name.
    pub name: At,
    /// Its query.
    pub query: Query,
}

/// The body of a query.
#[derive(Clone, PartialEq, Debug)]
pub enum Body {
    /// SELECT.
    Select(Box<Select>),
    /// A query in parentheses.
    Query(Box<Query>),
    /// UNION, EXCEPT, INTERSECT.
    Set(Box<Set>),
    /// VALUES ROW(…), …
    Values(Vec<Expr>),
}

/// Two bodies of which one result is made.
#[derive(Clone, PartialEq, Debug)]
pub struct Set {
    /// UNION; otherwise EXCEPT or INTERSECT.
    pub union: bool,
    /// ALL.
    pub all: bool,
    /// What stands before it.
    pub left: Body,
    /// What stands behind it.
    pub right: Body,
}

/// One SELECT.
#[derive(Clone, PartialEq, Debug)]
pub struct Select {
    /// The word.
    pub at: At,
    /// DISTINCT.
    pub distinct: bool,
    /// The select list.
    pub items: Vec<Item>,
    /// FROM, by its commas.
    pub from: Vec<Source>,
    /// WHERE.
    pub filter: Option<Expr>,
    /// GROUP BY.
    pub group: Vec<Expr>,
    /// HAVING.
    pub having: Option<Expr>,
    /// What stands in WINDOW; empty when there is none.
    pub windows: Vec<Expr>,
    /// WITH ROLLUP.
    pub rollup: bool,
    /// WINDOW or WITH ROLLUP is there.
    pub elaborate: bool,
}

/// An item of a select list.
#[derive(Clone, PartialEq, Debug)]
pub enum Item {
    /// `*`.
    Star,
    /// `t.*`, `db.t.*`: the names before the star.
    TableStar(Path),
    /// An expression with its alias.
    Expr(Expr, Alias),
}

/// An alias of a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Alias {
    /// None.
    None,
    /// A name.
    Name(At),
    /// A string.
    Text,
}

/// An item of ORDER BY.
#[derive(Clone, PartialEq, Debug)]
pub struct Order {
    /// What to sort by.
    pub expr: Expr,
    /// DESC.
    pub descending: bool,
}

/// LIMIT.
#[derive(Clone, PartialEq, Debug)]
pub struct Limit {
    /// How many rows.
    pub count: Expr,
    /// How many are left out before.
    pub offset: Option<Expr>,
}

/// What stands in FROM.
#[derive(Clone, PartialEq, Debug)]
pub enum Source {
    /// A table.
    Table {
        /// Its name.
        name: Path,
        /// Its alias.
        alias: Option<At>,
        /// The token after name, PARTITION clause and alias: where an alias could be put.
        end: At,
    },
    /// A query.
    Derived {
        /// It.
        query: Box<Query>,
        /// Its alias.
        alias: Option<At>,
        /// LATERAL.
        lateral: bool,
    },
    /// A join of two.
    Join(Box<Join>),
}

/// A join.
#[derive(Clone, PartialEq, Debug)]
pub struct Join {
    /// Left.
    pub left: Source,
    /// Right.
    pub right: Source,
    /// How.
    pub kind: JoinKind,
    /// ON.
    pub on: Option<Expr>,
    /// USING.
    pub using: Vec<At>,
}

/// How two sides are joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JoinKind {
    /// Rows that match.
    Inner,
    /// All of the left.
    Left,
    /// All of the right.
    Right,
}

impl Expr {
    /// The expressions inside it, those inside other queries left out.
    pub fn children(&self) -> impl Iterator<Item = &Expr> {
        let (list, pair): (&[Expr], Option<(&Expr, &Expr)>) = match &self.kind {
            ExprKind::Row(list) | ExprKind::And(list) | ExprKind::Or(list) | ExprKind::Other(list) => {
                (list, None)
            }
            ExprKind::In { operands, .. } => (operands, None),
            ExprKind::Between { operands, .. } => (&operands[..], None),
            ExprKind::Call(call) => (&call.arguments, None),
            ExprKind::InQuery { subject, .. } => (std::slice::from_ref(&**subject), None),
            ExprKind::Compare(_, sides) => (&[], Some((&sides.0, &sides.1))),
            _ => (&[], None),
        };
        list.iter().chain(pair.into_iter().flat_map(|(one, other)| [one, other]))
    }
}
