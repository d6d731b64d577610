//! What is asked of shards about their tables, and a derived table with the answers in the place of one of information_schema.
//!
//! Owns: the SQL of both, and how rows of several shards become those of one table. Does not know: servers. Invariant: no byte of an answer
//! stands in the text but as hexadecimal digits, a number or a time.

use std::collections::BTreeSet;

use super::Read;
use super::list::{Listing, Rows};
use crate::ids::ClusterId;
use crate::shard::{Database, Rules, Shard, Table};
use crate::sql::{Dialect, ServerVersion};

/// Tables that one question is about: its answer has a bound.
const TABLES_ASKED: usize = 48;

/// A column of a table of information_schema.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as information_schema writes types.
    pub kind: String,
}

/// A row of an answer: hexadecimal digits, or NULL.
pub type Answered = Vec<Option<Vec<u8>>>;

/// What is known for one of the tables that a statement reads.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Told {
    /// Its columns, those that are read; none where all are, and no shard is asked.
    pub columns: Vec<Column>,
    /// Rows of the sharded tables, under the client's names.
    rows: Vec<Vec<Option<Vec<u8>>>>,
}

/// A question to one cluster, about tables of one database.
#[derive(Clone, Debug)]
pub struct Piece<'a> {
    /// Whom to ask.
    pub cluster: ClusterId,
    database: &'a Database,
    of: Of<'a>,
}

/// What of a database is asked for.
#[derive(Clone, Debug)]
enum Of<'a> {
    /// These tables of a shard, by their names in the rules.
    Shard(&'a Shard, Vec<&'a str>),
    /// All that no rule places: its home is on another cluster than the one which answers.
    Home,
}

impl Read {
    /// Those of a listing's columns that are read.
    pub fn of(&self, all: &[Column]) -> Vec<Column> {
        let is_read = |column: &&Column| {
            let needed = self
                .columns
                .as_ref()
                .is_none_or(|columns| columns.iter().any(|name| column.name.eq_ignore_ascii_case(name)));
            needed || self.is_key(&column.name)
        };
        all.iter().filter(is_read).cloned().collect()
    }

    /// Whether rows are told apart, left out, or computed by the column.
    fn is_key(&self, column: &str) -> bool {
        let keys = if let Rows::All(keys) = self.listing.rows { keys } else { &[] };
        let averages = self.columns.iter().flatten().any(|name| name == "avg_row_length");
        keys.contains(&column)
            || column == self.listing.schema
            || column == "TABLE_NAME"
            || averages && ["TABLE_ROWS", "DATA_LENGTH"].contains(&column)
    }

    /// The questions by which the rows of all sharded tables, and of databases whose home is elsewhere, become known.
    pub fn pieces<'a>(&self, rules: &'a Rules) -> Vec<Piece<'a>> {
        let mut pieces = Vec::new();
        for database in rules.databases.values() {
            for (place, keyspace) in database.keyspaces.iter().enumerate() {
                let of_keyspace =
                    |table: &&Table| matches!(table, Table::Sharded { keyspace, .. } if *keyspace == place);
                let tables = database.tables.iter().filter(|(_, table)| of_keyspace(table));
                let tables: Vec<_> = tables.map(|(name, _)| &**name).collect();
                let count = match self.listing.rows {
                    Rows::All(_) => keyspace.shards.len(),
                    Rows::First => 1,
                    Rows::None => 0,
                };
                for shard in keyspace.shards.iter().take(count) {
                    pieces.extend(tables.chunks(TABLES_ASKED).map(|tables| Piece {
                        cluster: shard.cluster,
                        database,
                        of: Of::Shard(shard, tables.to_vec()),
                    }));
                }
            }
        }
        let home = |database: &'a Database| Piece { cluster: database.home.cluster, database, of: Of::Home };
        pieces.extend(rules.moved().map(home));
        pieces
    }

    /// The question's text.
    pub fn question(&self, piece: &Piece<'_>, columns: &[Column]) -> String {
        let Listing { name, schema, .. } = self.listing;
        let shown: Vec<_> =
            columns.iter().map(|column| format!("HEX(CONVERT(o.`{}` USING utf8mb4))", column.name)).collect();
        let condition = match &piece.of {
            Of::Shard(shard, tables) => {
                let physical = tables.iter().map(|table| text(shard.physical(table).as_bytes()));
                let own = text(shard.schema.as_bytes());
                let tables = self.of_tables(columns, &own, &Vec::from_iter(physical).join(","));
                format!("o.`{schema}`={own} AND {tables}")
            }
            Of::Home => {
                let own = text(piece.database.home.schema.as_bytes());
                match self.not_at_home(piece.database, columns) {
                    Some(others) => format!("o.`{schema}`={own} AND NOT ({others})"),
                    None => format!("o.`{schema}`={own}"),
                }
            }
        };
        format!("SELECT {} FROM information_schema.`{name}` AS o WHERE {condition}", shown.join(","))
    }

    /// The condition on rows of these tables.
    fn of_tables(&self, columns: &[Column], schema: &str, tables: &str) -> String {
        match self.table(columns) {
            Some(column) => format!("o.`{column}` IN ({tables})"),
            None => {
                let constraints = constraints_of(schema, tables);
                format!("o.`CONSTRAINT_NAME` IN ({constraints})")
            }
        }
    }

    /// The column with the table's name; MySQL's CHECK_CONSTRAINTS has none.
    fn table(&self, columns: &[Column]) -> Option<&'static str> {
        let own = self.listing.table;
        own.or_else(|| columns.iter().any(|column| column.name == "TABLE_NAME").then_some("TABLE_NAME"))
    }

    /// Rows of an answer, under the client's names, are added to what is known; `None` where the answer is not what was asked for.
    pub fn take(&self, told: &mut Told, piece: &Piece<'_>, answer: Vec<Answered>) -> Option<()> {
        let columns = &told.columns;
        let keys = if let Rows::All(keys) = self.listing.rows { keys } else { &[] };
        let is_key: Vec<_> = columns.iter().map(|column| keys.contains(&&*column.name)).collect();
        for row in answer {
            if row.len() != columns.len() {
                return None;
            }
            let mut fresh = Vec::with_capacity(row.len());
            for (column, value) in columns.iter().zip(row) {
                let value = match value {
                    Some(digits) => Some(piece.renamed(&column.name, bytes_of(&digits)?)),
                    None => None,
                };
                fresh.push(value);
            }
            let same = |known: &&mut Vec<Option<Vec<u8>>>| {
                !keys.is_empty()
                    && is_key.iter().enumerate().all(|(at, key)| !key || known.get(at) == fresh.get(at))
            };
            // Rows of other databases come later, so that the newest ones are looked at alone.
            match told.rows.iter_mut().filter(|known| piece.is_of(columns, known)).find(same) {
                Some(known) => add(columns, known, fresh),
                None => told.rows.push(fresh),
            }
        }
        Some(())
    }

    /// The table with the sharded tables' rows, and without what home has of shards, as a derived one.
    pub(super) fn derived(&self, told: &Told, rules: &Rules, server: ServerVersion) -> Vec<u8> {
        let shown: Vec<_> = told.columns.iter().map(|column| format!("o.`{}`", column.name)).collect();
        let shown = if shown.is_empty() { "o.*".to_owned() } else { shown.join(",") };
        let mut out = format!("(SELECT {shown} FROM information_schema.`{}` AS o", self.listing.name);
        let left_out = self.left_out(rules, &told.columns);
        if !left_out.is_empty() {
            out += &format!(" WHERE NOT ({})", left_out.join(" OR "));
        }
        let lists_rows = match server.dialect {
            Dialect::MySql => server.number >= 80_019,
            Dialect::MariaDb => server.number >= 100_303,
        };
        for (at, row) in told.rows.iter().enumerate() {
            let row = averaged(&told.columns, row);
            let values: Vec<_> =
                told.columns.iter().zip(&row).map(|(column, value)| column.expression(value)).collect();
            let values = values.join(",");
            out += &match (lists_rows, at, server.dialect) {
                (false, ..) => format!(" UNION ALL SELECT {values}"),
                (true, 0, Dialect::MySql) => format!(" UNION ALL VALUES ROW({values})"),
                (true, _, Dialect::MySql) => format!(",ROW({values})"),
                (true, 0, Dialect::MariaDb) => format!(" UNION ALL VALUES ({values})"),
                (true, _, Dialect::MariaDb) => format!(",({values})"),
            };
        }
        out.push(')');
        out.into_bytes()
    }

    /// Conditions on rows that the default cluster has of shards, of tables that are sharded, or of databases whose home is elsewhere.
    fn left_out(&self, rules: &Rules, columns: &[Column]) -> Vec<String> {
        let Listing { schema, .. } = self.listing;
        let here = |database: &&Database| database.home.cluster == rules.home;
        let homes: BTreeSet<_> =
            rules.databases.values().filter(here).map(|own| own.home.schema.as_bytes()).collect();
        let shards = rules.databases.values().flat_map(|database| &database.keyspaces);
        let shards = shards.flat_map(|keyspace| &keyspace.shards);
        let shards = shards.filter(|shard| shard.cluster == rules.home).map(|shard| shard.schema.as_bytes());
        let elsewhere = shards.chain(rules.moved().map(|database| database.name.as_bytes()));
        let schemas: BTreeSet<_> = elsewhere.filter(|name| !homes.contains(name)).map(text).collect();
        let of_home = |database: &Database| {
            let own = text(database.home.schema.as_bytes());
            Some(format!("o.`{schema}`={own} AND {}", self.not_at_home(database, columns)?))
        };
        let mut out: Vec<_> = rules.databases.values().filter(here).filter_map(of_home).collect();
        if !schemas.is_empty() {
            out.push(format!("o.`{schema}` IN ({})", Vec::from_iter(schemas).join(",")));
        }
        out
    }

    /// The condition on rows that a database's home has under names of sharded tables, or of shards' own.
    fn not_at_home(&self, database: &Database, columns: &[Column]) -> Option<String> {
        let mut names = BTreeSet::new();
        for (place, keyspace) in database.keyspaces.iter().enumerate() {
            let at_home = |shard: &&Shard| {
                shard.cluster == database.home.cluster && shard.schema == database.home.schema
            };
            for shard in keyspace.shards.iter().filter(at_home) {
                for (name, table) in &database.tables {
                    let is_here = match table {
                        Table::Sharded { keyspace, .. } => *keyspace == place,
                        Table::Reference { .. } => shard.suffix.is_some(),
                    };
                    if is_here {
                        names.insert(text(shard.physical(name).as_bytes()));
                    }
                }
            }
        }
        let sharded = database.tables.iter().filter(|(_, table)| matches!(table, Table::Sharded { .. }));
        names.extend(sharded.map(|(name, _)| text(name.as_bytes())));
        if self.listing.rows == Rows::None || names.is_empty() {
            return None;
        }
        let own = text(database.home.schema.as_bytes());
        Some(self.of_tables(columns, &own, &Vec::from_iter(names).join(",")))
    }
}

impl Piece<'_> {
    /// A value under the client's names.
    fn renamed(&self, column: &str, value: Vec<u8>) -> Vec<u8> {
        let Of::Shard(shard, _) = &self.of else { return value };
        if column.ends_with("_SCHEMA") || column == "SCHEMA_NAME" {
            return match value == shard.schema.as_bytes() {
                true => self.database.name.clone().into_bytes(),
                false => value,
            };
        }
        let Some(suffix) = shard.suffix.as_deref().filter(|suffix| !suffix.is_empty()) else {
            return value;
        };
        let logical = |value: &[u8]| {
            let name =
                value.strip_suffix(suffix.as_bytes()).and_then(|name| std::str::from_utf8(name).ok())?;
            self.database.tables.contains_key(name).then(|| name.as_bytes().to_vec())
        };
        match column {
            "TABLE_NAME" | "REFERENCED_TABLE_NAME" | "EVENT_OBJECT_TABLE" => logical(&value).unwrap_or(value),
            // As servers name them after their tables.
            "CONSTRAINT_NAME" | "UNIQUE_CONSTRAINT_NAME" => {
                let own = ["_ibfk_", "_chk_"].iter().find_map(|mark| {
                    let at = memchr::memmem::find(&value, mark.as_bytes())?;
                    Some([logical(value.get(..at)?)?, value.get(at..)?.to_vec()].concat())
                });
                own.unwrap_or(value)
            }
            _ => value,
        }
    }

    /// Whether a row is of this database.
    fn is_of(&self, columns: &[Column], row: &[Option<Vec<u8>>]) -> bool {
        columns.iter().zip(row).any(|(column, value)| {
            column.name.ends_with("_SCHEMA") && value.as_deref() == Some(self.database.name.as_bytes())
        })
    }
}

impl Column {
    /// From a row of the columns of a table, with name and type.
    pub fn of(row: &[Option<Vec<u8>>]) -> Option<Self> {
        let [name, kind] = row else { return None };
        let text = |digits: &Option<Vec<u8>>| String::from_utf8(bytes_of(digits.as_deref()?)?).ok();
        let name = text(name)?;
        let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        // As MySQL writes them, where a server has other ones.
        plain.then(|| Some(Self { name: name.to_ascii_uppercase(), kind: text(kind)? }))?
    }

    /// A value of its type, as it is written in SQL.
    fn expression(&self, value: &Option<Vec<u8>>) -> String {
        let kind = self.kind.to_ascii_lowercase();
        let Some(value) = value else {
            // MariaDB takes a NULL alone for a number with a sign, and the whole column with it.
            let unsigned = kind.contains("int") && kind.contains("unsigned");
            return if unsigned { "CAST(NULL AS UNSIGNED)".to_owned() } else { "NULL".to_owned() };
        };
        let plain = std::str::from_utf8(value).unwrap_or_default();
        let is_of = |allowed: &str| {
            !plain.is_empty()
                && plain.bytes().all(|byte| byte.is_ascii_digit() || allowed.as_bytes().contains(&byte))
        };
        match () {
            () if kind.contains("int") && is_of("-") => match kind.contains("unsigned") {
                true => format!("CAST({plain} AS UNSIGNED)"),
                false => plain.to_owned(),
            },
            () if (kind.starts_with("datetime") || kind.starts_with("timestamp")) && is_of("-: .") => {
                format!("TIMESTAMP'{plain}'")
            }
            () if kind == "json" => format!("CAST({} AS JSON)", hex(value)),
            () => hex(value),
        }
    }
}

/// A row of one shard's table is added to that of another's.
fn add(columns: &[Column], known: &mut [Option<Vec<u8>>], fresh: Vec<Option<Vec<u8>>>) {
    for ((column, known), fresh) in columns.iter().zip(known).zip(fresh) {
        let Some(fresh) = fresh else { continue };
        let Some(own) = known else {
            *known = Some(fresh);
            continue;
        };
        match &*column.name {
            "TABLE_ROWS" | "DATA_LENGTH" | "INDEX_LENGTH" | "DATA_FREE" => {
                *own = number(own).saturating_add(number(&fresh)).to_string().into_bytes();
            }
            "AUTO_INCREMENT" if number(&fresh) > number(own) => *own = fresh,
            "UPDATE_TIME" | "CHECK_TIME" if fresh > *own => *own = fresh,
            "CREATE_TIME" if fresh < *own => *own = fresh,
            _ => {}
        }
    }
}

/// The row with the average length of all shards' rows.
fn averaged(columns: &[Column], row: &[Option<Vec<u8>>]) -> Vec<Option<Vec<u8>>> {
    let mut row = row.to_vec();
    let at = |name: &str| columns.iter().position(|column| column.name == name);
    let of = |name: &str| row.get(at(name)?)?.as_deref().map(number);
    if let (Some(rows @ 1..), Some(length), Some(average)) =
        (of("TABLE_ROWS"), of("DATA_LENGTH"), at("AVG_ROW_LENGTH"))
        && let Some(value) = row.get_mut(average)
    {
        *value = Some((length / rows).to_string().into_bytes());
    }
    row
}

fn number(digits: &[u8]) -> u64 {
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or_default()
}

/// The names of constraints of these tables.
fn constraints_of(schema: &str, tables: &str) -> String {
    format!(
        "SELECT c.CONSTRAINT_NAME FROM information_schema.TABLE_CONSTRAINTS AS c WHERE c.TABLE_SCHEMA={schema} AND c.TABLE_NAME IN ({tables})"
    )
}

/// A name of the rules as a string.
pub(super) fn string(name: &[u8]) -> Vec<u8> {
    text(name).into_bytes()
}

pub(super) fn text(name: &[u8]) -> String {
    let plain = name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'-'));
    if plain { format!("'{}'", String::from_utf8_lossy(name)) } else { hex(name) }
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("_utf8mb4 X'{digits}'")
}

/// The bytes that hexadecimal digits stand for. Between these stand zero bytes where the connection has a character set with wide characters.
pub(super) fn bytes_of(digits: &[u8]) -> Option<Vec<u8>> {
    let digits: Vec<u8> = digits.iter().copied().filter(|byte| *byte != 0).collect();
    let (pairs, rest) = digits.as_chunks::<2>();
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}
