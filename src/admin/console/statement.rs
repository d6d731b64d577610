//! The console's statements: SHOW, SELECT from one table, KILL, RELOAD, orders about servers, and what clients send without being asked.

use super::Verb;
use super::expression::{Condition, Operand};
use super::tokens::{Token, Tokens};
use crate::config::WEIGHTS;

/// Tokens of one statement.
const TOKENS_MAX: usize = 2000;

/// A statement.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Statement {
    Select(Select),
    Kill {
        id: u64,
        query_only: bool,
    },
    Use(String),
    /// Read the rules again.
    Reload,
    /// The journal of definitions.
    Definitions,
    /// Give up a definition that is not on all of its shards.
    Abandon(u64),
    /// Make this server the primary.
    SwitchOver(String),
    /// Something is to be done about a server.
    Order {
        server: String,
        /// For a server that is added.
        weight: Option<u32>,
        verb: Verb,
        /// The same.
        cluster: Option<String>,
    },
    /// What changes a session that the console does not have: answered by OK.
    Nothing,
}

/// A query of one table, or of none.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Select {
    pub items: Vec<Item>,
    pub from: Option<Source>,
    pub condition: Option<Condition>,
    /// LIKE of a SHOW: on the first column.
    pub like: Option<String>,
    pub order: Vec<(Operand, Descending)>,
    /// Rows to leave out, rows to show.
    pub limit: Option<(u64, u64)>,
}

/// Whether the largest come first.
pub(super) type Descending = bool;

/// What a query shows.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Item {
    All,
    /// A value, under this name.
    One(Operand, String),
}

/// Where a query's rows come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// A table of a database; of the console's own where none is named.
    Table { database: Option<String>, name: String },
    /// SHOW of something that is no table here, by its words: `TABLES`, `ENGINES`.
    Listing { what: &'static str, of: Option<String> },
}

/// SHOWs that are tables of the console.
const TABLES: [&str; 6] = ["SERVERS", "POOLS", "SESSIONS", "PINS", "DIGESTS", "VARIABLES"];

/// SHOWs by which clients find out what there is.
const LISTINGS: [&str; 19] = [
    "DATABASES",
    "SCHEMAS",
    "STATUS",
    "PROCESSLIST",
    "WARNINGS",
    "ERRORS",
    "ENGINES",
    "CHARSET",
    "COLLATION",
    "PLUGINS",
    "PRIVILEGES",
    "GRANTS",
    "TRIGGERS",
    "EVENTS",
    "INDEX",
    "INDEXES",
    "KEYS",
    "TABLES",
    "COLUMNS",
];

/// What changes nothing here.
const NOTHING: [&str; 7] = ["SET", "BEGIN", "START", "COMMIT", "ROLLBACK", "DO", "FLUSH"];

impl Statement {
    /// Reads a statement; `None` where it is none that the console knows.
    pub fn parse(sql: &str) -> Option<Self> {
        let mut tokens = Tokens::of(sql);
        if tokens.len() > TOKENS_MAX {
            return None;
        }
        let statement = Self::first(&mut tokens)?;
        tokens.is_done().then_some(statement)
    }

    fn first(tokens: &mut Tokens) -> Option<Self> {
        if tokens.words(&["SHOW", "DEFINITIONS"]) {
            return Some(Self::Definitions);
        }
        if tokens.words(&["ABANDON", "DEFINITION"]) {
            return tokens.number().map(Self::Abandon);
        }
        if tokens.words(&["SHOW"]) {
            return Select::show(tokens).map(Self::Select);
        }
        if tokens.words(&["SELECT"]) {
            return Select::parse(tokens).map(Self::Select);
        }
        if tokens.word_of(&["DESCRIBE", "DESC", "EXPLAIN"]).is_some() {
            let (_, name) = table_name(tokens)?;
            let from = Some(Source::Listing { what: "COLUMNS", of: Some(name) });
            return Some(Self::Select(Select { items: vec![Item::All], from, ..Select::default() }));
        }
        if tokens.words(&["KILL"]) {
            let query_only = tokens.word_of(&["QUERY", "CONNECTION"]) == Some("QUERY");
            return Some(Self::Kill { id: tokens.number()?, query_only });
        }
        if tokens.words(&["RELOAD"]) {
            return Some(Self::Reload);
        }
        if tokens.words(&["SWITCHOVER", "TO"]) {
            return match tokens.next() {
                Some(Token::Text(server) | Token::Quoted(server)) => Some(Self::SwitchOver(server)),
                _ => None,
            };
        }
        if let Some(first) = tokens.word_of(&["ALTER", "ADD", "DROP"]) {
            return Self::order(first, tokens);
        }
        if tokens.words(&["USE"]) {
            return tokens.name().map(Self::Use);
        }
        if tokens.word_of(&NOTHING).is_some() {
            while tokens.next().is_some() {}
            return Some(Self::Nothing);
        }
        tokens.is_done().then_some(Self::Nothing)
    }
}

impl Statement {
    /// `ALTER SERVER 'a' DRAIN | RESUME | WEIGHT n | RESET`, `ADD SERVER 'a' [TO 'cluster'] [WEIGHT n]`, `DROP SERVER 'a'`.
    fn order(first: &str, tokens: &mut Tokens) -> Option<Self> {
        if !tokens.words(&["SERVER"]) {
            return None;
        }
        let (Some(Token::Text(server)) | Some(Token::Quoted(server))) = tokens.next() else { return None };
        let (mut weight, mut cluster) = (None, None);
        let verb = match first {
            "ADD" => {
                if tokens.words(&["TO"]) {
                    let (Some(Token::Text(name)) | Some(Token::Quoted(name))) = tokens.next() else {
                        return None;
                    };
                    cluster = Some(name);
                }
                if tokens.words(&["WEIGHT"]) {
                    weight = Some(weight_of(tokens)?);
                }
                Verb::Add
            }
            "DROP" => Verb::Drop,
            _ => match tokens.word_of(&["DRAIN", "RESUME", "WEIGHT", "RESET"])? {
                "DRAIN" => Verb::Drain,
                "RESUME" => Verb::Resume,
                "WEIGHT" => Verb::Weight(weight_of(tokens)?),
                _ => Verb::Reset,
            },
        };
        Some(Self::Order { server, weight, verb, cluster })
    }
}

fn weight_of(tokens: &mut Tokens) -> Option<u32> {
    let weight = tokens.number()?;
    u32::try_from(weight).ok().filter(|_| WEIGHTS.contains(&weight))
}

impl Select {
    /// The columns that it names, also in its condition and its order.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let shown = self.items.iter().filter_map(|item| match item {
            Item::One(operand, _) => Some(operand),
            Item::All => None,
        });
        let mut operands: Vec<&Operand> = shown.collect();
        if let Some(condition) = &self.condition {
            condition.operands(&mut operands);
        }
        operands.extend(self.order.iter().map(|(operand, _)| operand));
        operands.into_iter().filter_map(|operand| match operand {
            Operand::Column(name) => Some(&**name),
            _ => None,
        })
    }

    /// After SHOW: `[FULL] DIGESTS [FROM x] [LIKE 'a' | WHERE …] [ORDER BY …] [LIMIT n]`.
    fn show(tokens: &mut Tokens) -> Option<Self> {
        let full = tokens.word_of(&["FULL", "EXTENDED"]).is_some();
        tokens.word_of(&["GLOBAL", "SESSION", "LOCAL"]);
        if tokens.words(&["COUNT"]) {
            let whole = tokens.mark("(") && tokens.mark("*") && tokens.mark(")");
            tokens.word_of(&["WARNINGS", "ERRORS"]).filter(|_| whole)?;
            let item = Item::One(Operand::Literal(0u64.into()), "@@session.warning_count".to_owned());
            return Some(Self { items: vec![item], ..Self::default() });
        }
        let from = if let Some(name) = tokens.word_of(&TABLES) {
            Source::Table { database: None, name: name.to_ascii_lowercase() }
        } else if tokens.words(&["CHARACTER", "SET"]) {
            Source::Listing { what: "CHARSET", of: None }
        } else if tokens.words(&["STORAGE", "ENGINES"]) {
            Source::Listing { what: "ENGINES", of: None }
        } else if tokens.words(&["TABLE", "STATUS"]) {
            Source::Listing { what: "TABLE STATUS", of: origin(tokens)? }
        } else if tokens.words(&["PROCEDURE", "STATUS"]) || tokens.words(&["FUNCTION", "STATUS"]) {
            Source::Listing { what: "ROUTINES", of: None }
        } else if tokens.words(&["FIELDS"]) {
            Source::Listing { what: if full { "FULL COLUMNS" } else { "COLUMNS" }, of: origin(tokens)? }
        } else {
            let what = match tokens.word_of(&LISTINGS)? {
                "TABLES" if full => "FULL TABLES",
                "COLUMNS" if full => "FULL COLUMNS",
                what => what,
            };
            let of = match what {
                "GRANTS" if tokens.words(&["FOR"]) => {
                    while tokens.next().is_some() {} // whoever asks has the same rights
                    None
                }
                _ => origin(tokens)?,
            };
            Source::Listing { what, of }
        };
        let mut select = Self { items: vec![Item::All], from: Some(from), ..Self::default() };
        if tokens.words(&["LIKE"]) {
            let Some(Token::Text(pattern)) = tokens.next() else { return None };
            select.like = Some(pattern);
        }
        select.tail(tokens)?;
        Some(select)
    }

    /// After SELECT.
    fn parse(tokens: &mut Tokens) -> Option<Self> {
        let mut select = Self::default();
        loop {
            select.items.push(item(tokens)?);
            if !tokens.mark(",") {
                break;
            }
        }
        if tokens.words(&["FROM"]) && !tokens.words(&["DUAL"]) {
            let (database, name) = table_name(tokens)?;
            select.from = Some(Source::Table { database, name });
            let as_given = tokens.words(&["AS"]);
            if as_given || !is_clause(tokens) {
                tokens.name().or((!as_given).then(String::new))?; // an alias: there is only one table
            }
        }
        select.tail(tokens)?;
        Some(select)
    }

    /// WHERE, ORDER BY, LIMIT.
    fn tail(&mut self, tokens: &mut Tokens) -> Option<()> {
        if tokens.words(&["WHERE"]) {
            self.condition = Some(Condition::parse(tokens)?);
        }
        if tokens.words(&["ORDER", "BY"]) {
            loop {
                let operand = Operand::parse(tokens)?;
                let descending = tokens.word_of(&["ASC", "DESC"]) == Some("DESC");
                self.order.push((operand, descending));
                if !tokens.mark(",") {
                    break;
                }
            }
        }
        if tokens.words(&["LIMIT"]) {
            let first = tokens.number()?;
            self.limit = Some(if tokens.mark(",") {
                (first, tokens.number()?)
            } else if tokens.words(&["OFFSET"]) {
                (tokens.number()?, first)
            } else {
                (0, first)
            });
        }
        Some(())
    }
}

fn is_clause(tokens: &Tokens) -> bool {
    let clauses = ["WHERE", "ORDER", "LIMIT"];
    matches!(tokens.peek(), Some(Token::Word(word)) if clauses.iter().any(|c| word.eq_ignore_ascii_case(c)))
}

fn item(tokens: &mut Tokens) -> Option<Item> {
    if tokens.mark("*") {
        return Some(Item::All);
    }
    let from = tokens.place();
    // `t.*`
    if let Some(_table) = tokens.name() {
        if tokens.mark(".") && tokens.mark("*") {
            return Some(Item::All);
        }
        tokens.back_to(from);
    }
    let operand = Operand::parse(tokens)?;
    let mut name = match &operand {
        Operand::Column(name) => name.clone(),
        Operand::Literal(super::table::Value::Text(text)) => text.clone(),
        _ => tokens.text_since(from),
    };
    let as_given = tokens.words(&["AS"]);
    let next_is_alias = match tokens.peek() {
        Some(Token::Word(word)) => {
            as_given || !["FROM", "LIMIT", "ORDER", "WHERE"].contains(&&*word.to_ascii_uppercase())
        }
        Some(Token::Quoted(_)) => true,
        Some(Token::Text(_)) => as_given,
        _ => false,
    };
    if next_is_alias {
        name = match tokens.next()? {
            Token::Word(alias) | Token::Quoted(alias) | Token::Text(alias) => alias,
            _ => return None,
        };
    }
    Some(Item::One(operand, name))
}

/// `FROM x [FROM y]` of a SHOW, also written IN; gives the first name's last part.
fn origin(tokens: &mut Tokens) -> Option<Option<String>> {
    let mut first = None;
    while tokens.word_of(&["FROM", "IN"]).is_some() {
        let (_, name) = table_name(tokens)?;
        first.get_or_insert(name);
    }
    Some(first)
}

/// `a` or `a.b`.
fn table_name(tokens: &mut Tokens) -> Option<(Option<String>, String)> {
    let first = tokens.name()?;
    if tokens.mark(".") { Some((Some(first), tokens.name()?)) } else { Some((None, first)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(sql: &str) -> Select {
        match Statement::parse(sql) {
            Some(Statement::Select(select)) => select,
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn orders_about_servers() {
        let added = Some(Statement::Order {
            server: "a".into(),
            weight: Some(1),
            verb: Verb::Add,
            cluster: Some("b".into()),
        });
        let order = |server: &str, weight, verb| {
            Some(Statement::Order { server: server.into(), weight, verb, cluster: None })
        };
        for (sql, expected) in [
            ("RELOAD;", Some(Statement::Reload)),
            ("alter server '10.0.0.1:3306' drain", order("10.0.0.1:3306", None, Verb::Drain)),
            ("ALTER SERVER `db-1` RESUME", order("db-1", None, Verb::Resume)),
            ("ALTER SERVER 'a' WEIGHT 10000", order("a", None, Verb::Weight(10_000))),
            ("ALTER SERVER 'a' RESET", order("a", None, Verb::Reset)),
            ("ADD SERVER 'a'", order("a", None, Verb::Add)),
            ("ADD SERVER 'a' WEIGHT 0", order("a", Some(0), Verb::Add)),
            ("ADD SERVER 'a' TO 'b' WEIGHT 1", added.clone()),
            ("ADD SERVER 'a' TO `b` WEIGHT 1", added),
            ("ADD SERVER 'a' TO b", None),
            ("DROP SERVER 'a'", order("a", None, Verb::Drop)),
            ("ALTER SERVER 'a' WEIGHT 10001", None),
            ("ALTER SERVER 'a' WEIGHT -1", None),
            ("ALTER SERVER 'a'", None),
            ("ALTER SERVER a DRAIN", None),
            ("DROP SERVER 'a' 'b'", None),
            ("DROP TABLE 'a'", None),
        ] {
            assert_eq!(Statement::parse(sql), expected, "{sql}");
        }
    }

    #[test]
    fn the_consoles_own_statements() {
        let digests = select("SHOW DIGESTS LIKE 'SELECT%' ORDER BY total_ms DESC, 1 LIMIT 5;");
        assert_eq!(digests.from, Some(Source::Table { database: None, name: "digests".into() }));
        assert_eq!(digests.like.as_deref(), Some("SELECT%"));
        assert_eq!(digests.limit, Some((0, 5)));
        assert_eq!(
            digests.order.iter().map(|(_, descending)| *descending).collect::<Vec<_>>(),
            [true, false]
        );
        assert!(select("show sessions where `user` = 'app' and state <> 'idle'").condition.is_some());
        assert_eq!(select("SELECT * FROM tidegate.pins p LIMIT 2, 3").limit, Some((2, 3)));
        for (sql, id, query_only) in
            [("KILL 7", 7, false), ("kill query 8;", 8, true), ("KILL CONNECTION 9", 9, false)]
        {
            assert_eq!(Statement::parse(sql), Some(Statement::Kill { id, query_only }), "{sql}");
        }
    }

    #[test]
    fn what_clients_send_by_themselves() {
        for sql in [
            "select @@version_comment limit 1",
            "SELECT DATABASE()",
            "SELECT DATABASE(), USER() LIMIT 1",
            "/* mysql-connector-j */SELECT  @@session.auto_increment_increment AS auto_increment_increment, @@sql_mode AS sql_mode",
            "SELECT CURRENT_USER",
            "SELECT 1",
            "SELECT 'a' AS x, 2 y FROM DUAL",
            "SHOW FULL TABLES FROM `tidegate` LIKE '%'",
            "SHOW FULL COLUMNS FROM `pools` FROM `tidegate`",
            "SHOW SESSION VARIABLES LIKE 'lower_case_%'",
            "SHOW VARIABLES WHERE Variable_name = 'sql_mode' OR Variable_name IN ('a', 'b')",
            "SHOW GLOBAL STATUS",
            "SHOW COUNT(*) WARNINGS",
            "SHOW CHARACTER SET",
            "SHOW TABLE STATUS FROM `tidegate`",
            "SHOW GRANTS FOR CURRENT_USER()",
            "DESC pins",
            "SELECT t.* FROM information_schema.TABLES AS t WHERE t.TABLE_SCHEMA = 'tidegate' ORDER BY t.TABLE_NAME",
        ] {
            select(sql);
        }
        for sql in [
            "SET NAMES utf8mb4",
            "SET autocommit=1",
            "SET @@session.autocommit = OFF",
            "BEGIN",
            "COMMIT",
            "",
            "-- x",
        ] {
            assert_eq!(Statement::parse(sql), Some(Statement::Nothing), "{sql}");
        }
    }

    #[test]
    fn the_rest_is_not_understood() {
        for sql in [
            "SHOW",
            "SHOW NONSENSE",
            "SHOW PINS LIKE",
            "SHOW PINS nonsense",
            "SELECT",
            "SELECT 1,",
            "SELECT * FROM a JOIN b",
            "SELECT * FROM a, b",
            "SELECT 1 UNION SELECT 2",
            "DROP TABLE pins",
            "KILL",
            "KILL x",
            "KILL 1; KILL 2",
            "\u{0}\u{1}",
        ] {
            assert_eq!(Statement::parse(sql), None, "{sql}");
        }
        assert_eq!(Statement::parse(&format!("SELECT 1{}", ",1".repeat(TOKENS_MAX))), None);
    }
}
