//! SHOW of a database: the same as a query of information_schema, with SHOW's names for its columns.
//!
//! Owns: which forms there are, their columns in both dialects, their order. Does not know: rows. Invariant: LIKE and WHERE stay the client's
//! own tokens.

use super::compose::string;
use super::list::{self, Listing};
use crate::plan::sharded::parse::text::{At, Text};
use crate::plan::sharded::planner::Planner;
use crate::sql::lexer::Kind;
use crate::sql::{Dialect, quoted};

/// SHOW of what is in a database, or of all databases.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Show {
    what: What,
    /// The database; empty for all.
    database: Vec<u8>,
    filter: Filter,
    dialect: Dialect,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    Tables { full: bool },
    Status,
    Triggers,
    Databases,
}

/// Which rows are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Filter {
    None,
    /// The token of the pattern.
    Like(At),
    /// The first token of the condition.
    Where(At),
}

/// Columns: in information_schema, and in SHOW's answer.
type Columns = &'static [(&'static str, &'static str)];

const STATUS: Columns = &[
    ("TABLE_NAME", "Name"),
    ("ENGINE", "Engine"),
    ("VERSION", "Version"),
    ("ROW_FORMAT", "Row_format"),
    ("TABLE_ROWS", "Rows"),
    ("AVG_ROW_LENGTH", "Avg_row_length"),
    ("DATA_LENGTH", "Data_length"),
    ("MAX_DATA_LENGTH", "Max_data_length"),
    ("INDEX_LENGTH", "Index_length"),
    ("DATA_FREE", "Data_free"),
    ("AUTO_INCREMENT", "Auto_increment"),
    ("CREATE_TIME", "Create_time"),
    ("UPDATE_TIME", "Update_time"),
    ("CHECK_TIME", "Check_time"),
    ("TABLE_COLLATION", "Collation"),
    ("CHECKSUM", "Checksum"),
    ("CREATE_OPTIONS", "Create_options"),
    ("TABLE_COMMENT", "Comment"),
];

/// What MariaDB has besides.
const STATUS_OF_MARIADB: Columns = &[("MAX_INDEX_LENGTH", "Max_index_length"), ("TEMPORARY", "Temporary")];

const TRIGGERS: Columns = &[
    ("TRIGGER_NAME", "Trigger"),
    ("EVENT_MANIPULATION", "Event"),
    ("EVENT_OBJECT_TABLE", "Table"),
    ("ACTION_STATEMENT", "Statement"),
    ("ACTION_TIMING", "Timing"),
    ("CREATED", "Created"),
    ("SQL_MODE", "sql_mode"),
    ("DEFINER", "Definer"),
    ("CHARACTER_SET_CLIENT", "character_set_client"),
    ("COLLATION_CONNECTION", "collation_connection"),
    ("DATABASE_COLLATION", "Database Collation"),
];

/// Which database is shown; `None` for statements of other kinds and for databases without rules.
pub(super) fn read(text: &Text, planner: &Planner, database: Option<&[u8]>) -> Option<Show> {
    if !text.is_word(0, b"SHOW") {
        return None;
    }
    let (mut at, mut full) = (1, false);
    while text.is_one_of(at, &[b"FULL", b"EXTENDED"]) {
        full |= text.is_word(at, b"FULL");
        at += 1;
    }
    let (what, mut at) = match () {
        () if text.is_word(at, b"TABLES") => (What::Tables { full }, at + 1),
        () if at > 1 => return None,
        () if text.is_word(1, b"TABLE") && text.is_word(2, b"STATUS") => (What::Status, 3),
        () if text.is_word(1, b"TRIGGERS") => (What::Triggers, 2),
        () if text.is_one_of(1, &[b"DATABASES", b"SCHEMAS"]) => (What::Databases, 2),
        () => return None,
    };
    let mut shown = database.map(<[u8]>::to_vec);
    if what != What::Databases && text.is_one_of(at, &[b"FROM", b"IN"]) && text.is_name(at + 1) {
        shown = Some(text.name(at + 1).into_owned());
        at += 2;
    }
    let end = (at..text.len()).find(|at| text.is(*at, b';')).unwrap_or(text.len());
    let filter = match () {
        () if at == end => Filter::None,
        () if text.is_word(at, b"LIKE") && at + 2 == end && text.kind(at + 1) == Kind::String => {
            Filter::Like(at + 1)
        }
        () if text.is_word(at, b"WHERE") && at + 1 < end => Filter::Where(at + 1),
        () => return None, // a server says what is wrong
    };
    let shown = match what {
        What::Databases => Vec::new(),
        _ => shown.filter(|name| planner.has_rules_for(name))?,
    };
    Some(Show { what, database: shown, filter, dialect: text.dialect() })
}

impl Show {
    /// What it reads.
    pub fn listing(&self) -> &'static Listing {
        list::named(match self.what {
            What::Tables { .. } | What::Status => "TABLES",
            What::Triggers => "TRIGGERS",
            What::Databases => "SCHEMATA",
        })
    }

    /// The columns that it reads, in lower case.
    pub fn columns(&self) -> Option<Vec<String>> {
        let own = self.shown("").into_iter().map(|(column, _)| column.to_ascii_lowercase());
        let besides = ["table_schema", "table_name", "event_object_schema", "action_order", "schema_name"];
        Some(own.chain(besides.map(str::to_owned)).collect())
    }

    /// Columns there and here. `pattern` is that of LIKE, as servers put it into a column's name.
    fn shown(&self, pattern: &str) -> Vec<(&'static str, String)> {
        let pairs = |columns: Columns| {
            columns.iter().map(|(there, here)| (*there, (*here).to_owned())).collect::<Vec<_>>()
        };
        let pattern = if pattern.is_empty() { String::new() } else { format!(" ({pattern})") };
        match self.what {
            What::Tables { full } => {
                let database = String::from_utf8_lossy(&self.database);
                let mut columns = vec![("TABLE_NAME", format!("Tables_in_{database}{pattern}"))];
                columns.extend(full.then(|| ("TABLE_TYPE", "Table_type".to_owned())));
                columns
            }
            What::Status if self.dialect == Dialect::MariaDb => {
                pairs(STATUS).into_iter().chain(pairs(STATUS_OF_MARIADB)).collect()
            }
            What::Status => pairs(STATUS),
            What::Triggers => pairs(TRIGGERS),
            What::Databases => vec![("SCHEMA_NAME", format!("Database{pattern}"))],
        }
    }

    /// The query, of a table that has the rows.
    pub fn text(&self, text: &Text, derived: &[u8]) -> Vec<u8> {
        let pattern = match self.filter {
            Filter::Like(at) => inner(text.bytes(at)),
            _ => String::new(),
        };
        let columns = self.shown(&pattern);
        let mut out = b"SELECT ".to_vec();
        for (at, (there, here)) in columns.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            out.extend_from_slice(format!("{comma}`{there}` AS ").as_bytes());
            out.extend(quoted(here.as_bytes(), b'`'));
        }
        out.extend_from_slice(b" FROM ");
        out.extend_from_slice(derived);
        out.extend_from_slice(b" AS `of`");
        let listing = self.listing();
        // Patterns and orders are of tables' names.
        let of = listing.table.unwrap_or(listing.schema);
        if !self.database.is_empty() {
            out.extend_from_slice(format!(" WHERE `{}` = ", listing.schema).as_bytes());
            out.extend(string(&self.database));
        }
        let order = match self.what {
            What::Triggers => " ORDER BY `EVENT_OBJECT_TABLE`, `ACTION_TIMING`, `ACTION_ORDER`".to_owned(),
            _ => format!(" ORDER BY `{of}`"),
        };
        match self.filter {
            Filter::None => out.extend_from_slice(order.as_bytes()),
            Filter::Like(at) => {
                let and = if self.database.is_empty() { "WHERE" } else { "AND" };
                out.extend_from_slice(format!(" {and} `{of}` LIKE ").as_bytes());
                out.extend_from_slice(text.bytes(at));
                out.extend_from_slice(order.as_bytes());
            }
            Filter::Where(from) => {
                let mut whole = b"SELECT * FROM (".to_vec();
                whole.extend(out);
                whole.extend_from_slice(order.as_bytes());
                // Without it a server may drop the order of what is inside.
                whole.extend_from_slice(b" LIMIT 18446744073709551615) AS `shown` WHERE ");
                for at in from..text.len() {
                    whole.extend_from_slice(text.bytes(at));
                    whole.push(b' ');
                }
                return whole;
            }
        }
        out
    }
}

/// What stands between a string's quotes.
fn inner(literal: &[u8]) -> String {
    match literal {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => String::from_utf8_lossy(inner).into_owned(),
        _ => String::new(),
    }
}
