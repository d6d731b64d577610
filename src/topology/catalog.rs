//! The tables, columns and indexes that a cluster has, asked once: for `tidegate check --connect`.
//!
//! Owns: the questions to `information_schema`, and which server of a cluster is asked. Does not know: what the rules want of a table.
//! Invariant: one cluster takes no longer than [`LIMIT`], whatever its servers do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Params, Row, Value};
use tokio::time::timeout;

use crate::config::{Cluster, Secret, Server};

use super::probe::Target;
use super::resolve::{Resolve, System};
use super::rights;

/// Time for one cluster.
const LIMIT: Duration = Duration::from_secs(30);
/// Time to get a connection to one server.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Names of tables in one question.
const NAMES_MAX: usize = 500;

/// What a cluster has, by schema and table.
pub type Catalog = BTreeMap<(String, String), Definition>;

/// What a table is made of.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Definition {
    /// In the table's order.
    pub columns: Vec<Column>,
    /// By their names.
    pub indexes: BTreeMap<String, Index>,
}

/// A column.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as a server writes it, such as `bigint unsigned`, without the width for display of integers.
    pub of_type: String,
    /// Of a text.
    pub collation: Option<String>,
    /// Digits behind the point of a DECIMAL, or behind the second's of a time.
    pub scale: Option<u64>,
    /// Whether it can be NULL.
    pub is_nullable: bool,
    /// Its default as a server writes it.
    pub default: Option<String>,
    /// What else there is: `auto_increment`, `VIRTUAL GENERATED`, …
    pub extra: String,
}

/// An index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Index {
    /// Whether it has each value once.
    pub is_unique: bool,
    /// Its columns in their order, without expressions.
    pub columns: Vec<String>,
}

/// What is wanted of a cluster: tables by schema.
pub type Wanted = BTreeMap<String, BTreeSet<String>>;

/// Asks a server of the cluster for tables, the one that can be written to where there is one.
///
/// # Errors
/// Why no server has answered, in words, with the server's address.
pub async fn read(
    cluster: &Cluster,
    user: &str,
    password: &Secret,
    wanted: &Wanted,
) -> Result<Catalog, String> {
    let asking = async {
        let mut connection = connect(cluster, user, password).await?;
        let found = ask(&mut connection, wanted).await.map_err(|error| error.to_string());
        drop(connection.disconnect().await);
        found
    };
    timeout(LIMIT, asking).await.unwrap_or_else(|_| Err(format!("no answer within {LIMIT:?}")))
}

/// What the account of the monitor lacks of the privileges by which generated ids are granted (`grants`), on the server that can be
/// written to. Nothing is said of an account that has roles.
///
/// # Errors
/// As above.
pub async fn lacks(
    cluster: &Cluster,
    user: &str,
    password: &Secret,
    tables: &[&str],
) -> Result<Vec<&'static str>, String> {
    let asking = async {
        let mut connection = connect(cluster, user, password).await?;
        let found = grants(&mut connection, tables).await.map_err(|error| error.to_string());
        drop(connection.disconnect().await);
        found
    };
    timeout(LIMIT, asking).await.unwrap_or_else(|_| Err(format!("no answer within {LIMIT:?}")))
}

async fn grants(connection: &mut Conn, tables: &[&str]) -> mysql_async::Result<Vec<&'static str>> {
    let grants: Vec<String> = connection.query("SHOW GRANTS").await?;
    if rights::by_roles(&grants) {
        return Ok(Vec::new());
    }
    let mut missing = Vec::new();
    for table in tables {
        let there = "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'tidegate' AND TABLE_NAME = ?";
        let there: Option<u64> = connection.exec_first(there, (table,)).await?;
        let create: &[&str] = if there == Some(1) { &[] } else { &["CREATE"] };
        missing.extend(rights::missing(&grants, table, &["SELECT", "INSERT", "UPDATE"]));
        missing.extend(rights::missing(&grants, table, create));
    }
    missing.sort_unstable();
    missing.dedup();
    Ok(missing)
}

/// A connection to the server that can be written to; else to the first that answers.
async fn connect(cluster: &Cluster, user: &str, password: &Secret) -> Result<Conn, String> {
    let (mut any, mut errors) = (None, Vec::new());
    for server in &cluster.servers {
        match timeout(CONNECT_LIMIT, open(cluster, server, user, password)).await {
            Ok(Ok((connection, true))) => return Ok(connection),
            Ok(Ok((connection, false))) => any = any.or(Some(connection)),
            Ok(Err(error)) => errors.push(format!("{}:{}: {error}", server.host, server.port)),
            Err(_) => {
                errors.push(format!("{}:{}: no answer within {CONNECT_LIMIT:?}", server.host, server.port))
            }
        }
    }
    any.ok_or_else(|| errors.join("; "))
}

/// A connection, and whether the server can be written to.
async fn open(
    cluster: &Cluster,
    server: &Server,
    user: &str,
    password: &Secret,
) -> Result<(Conn, bool), String> {
    let addresses = System.resolve(&server.host, server.port).await.map_err(|error| error.to_string())?;
    let address = addresses.first().ok_or("the name has no address")?;
    let target = Target::new(server, *address, &cluster.tls, user, password);
    let (mut connection, _) = target.connect().await.map_err(|error| error.to_string())?;
    let read_only = connection.query_first::<u8, _>("SELECT @@global.read_only").await;
    Ok((connection, read_only.map_err(|error| error.to_string())? == Some(0)))
}

async fn ask(connection: &mut Conn, wanted: &Wanted) -> mysql_async::Result<Catalog> {
    let mut catalog = Catalog::new();
    for (schema, tables) in wanted {
        let tables: Vec<_> = tables.iter().collect();
        for tables in tables.chunks(NAMES_MAX) {
            columns(connection, schema, tables, &mut catalog).await?;
            indexes(connection, schema, tables, &mut catalog).await?;
        }
    }
    Ok(catalog)
}

async fn columns(
    connection: &mut Conn,
    schema: &str,
    tables: &[&String],
    catalog: &mut Catalog,
) -> mysql_async::Result<()> {
    let what = "TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, COLLATION_NAME, COALESCE(NUMERIC_SCALE, DATETIME_PRECISION), \
                IS_NULLABLE, COLUMN_DEFAULT, EXTRA FROM information_schema.COLUMNS";
    let rows = select(connection, what, schema, tables, "ORDINAL_POSITION").await?;
    for row in rows {
        let [table, name, of_type, collation, scale, nullable, default, extra] = texts(row);
        let column = Column {
            name: name.unwrap_or_default(),
            of_type: without_width(&of_type.unwrap_or_default()),
            collation,
            scale: scale.and_then(|scale| scale.parse().ok()),
            is_nullable: nullable.as_deref() == Some("YES"),
            default,
            extra: extra.unwrap_or_default(),
        };
        let key = (schema.to_owned(), table.unwrap_or_default());
        catalog.entry(key).or_default().columns.push(column);
    }
    Ok(())
}

async fn indexes(
    connection: &mut Conn,
    schema: &str,
    tables: &[&String],
    catalog: &mut Catalog,
) -> mysql_async::Result<()> {
    let what = "TABLE_NAME, INDEX_NAME, NON_UNIQUE, COLUMN_NAME FROM information_schema.STATISTICS";
    for row in select(connection, what, schema, tables, "INDEX_NAME, SEQ_IN_INDEX").await? {
        let [table, name, non_unique, column] = texts(row);
        let definition = catalog.entry((schema.to_owned(), table.unwrap_or_default())).or_default();
        let is_unique = non_unique.as_deref() == Some("0");
        let index = definition.indexes.entry(name.unwrap_or_default());
        index.or_insert(Index { is_unique, columns: Vec::new() }).columns.extend(column);
    }
    Ok(())
}

async fn select(
    connection: &mut Conn,
    what: &str,
    schema: &str,
    tables: &[&String],
    order: &str,
) -> mysql_async::Result<Vec<Row>> {
    let marks = vec!["?"; tables.len()].join(", ");
    let sql = format!(
        "SELECT {what} WHERE TABLE_SCHEMA = ? AND TABLE_NAME IN ({marks}) ORDER BY TABLE_NAME, {order}"
    );
    let values = std::iter::once(schema).chain(tables.iter().map(|table| table.as_str()));
    connection.exec(sql, Params::Positional(values.map(Value::from).collect())).await
}

/// The row's values as texts.
fn texts<const COLUMNS: usize>(row: Row) -> [Option<String>; COLUMNS] {
    let mut values = row.unwrap_raw().into_iter();
    std::array::from_fn(|_| match values.next().flatten()? {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Value::Int(number) => Some(number.to_string()),
        Value::UInt(number) => Some(number.to_string()),
        other => Some(other.as_sql(true)),
    })
}

/// An integer's type without the width that some servers write: `int(11) unsigned` is `int unsigned`.
fn without_width(of_type: &str) -> String {
    match of_type.split_once('(').map(|(name, rest)| (name, rest.split_once(')'))) {
        Some((name, Some((_, rest)))) if name.ends_with("int") => format!("{name}{rest}"),
        _ => of_type.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_width_for_display_is_no_part_of_a_type() {
        for (written, of_type) in [
            ("int(11)", "int"),
            ("bigint(20) unsigned", "bigint unsigned"),
            ("decimal(10,2)", "decimal(10,2)"),
            ("enum('a(','b')", "enum('a(','b')"),
            ("int", "int"),
        ] {
            assert_eq!(without_width(written), of_type);
        }
    }
}
