//! The tables of information_schema that tell of tables, in both dialects.
//!
//! Owns: the list. Invariant: a table that is not listed is read as the home's server has it.

/// A table of information_schema.
#[derive(PartialEq, Eq, Debug)]
pub struct Listing {
    /// Its name, in capitals.
    pub name: &'static str,
    /// The column with the schema.
    pub schema: &'static str,
    /// The column with the table's name; none where its rows are not of tables, or tell only the constraint's name.
    pub table: Option<&'static str>,
    /// Which rows there are of a sharded table.
    pub rows: Rows,
}

/// Which rows of shards are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rows {
    /// Those of all shards; rows with the same values in these columns become one.
    All(&'static [&'static str]),
    /// Those of the first shard: they are the same on all.
    First,
    /// None: only what home has of shards' schemas is left out.
    None,
}

macro_rules! listings {
    ($($name:literal $schema:literal $table:expr, $rows:expr;)*) => {
        const LISTINGS: &[Listing] = &[$(Listing { name: $name, schema: $schema, table: $table, rows: $rows }),*];
    };
}

listings! {
    "TABLES" "TABLE_SCHEMA" Some("TABLE_NAME"), Rows::All(&["TABLE_NAME"]);
    "PARTITIONS" "TABLE_SCHEMA" Some("TABLE_NAME"), Rows::All(&["TABLE_NAME", "PARTITION_NAME", "SUBPARTITION_NAME"]);
    "COLUMNS" "TABLE_SCHEMA" Some("TABLE_NAME"), Rows::First;
    "STATISTICS" "TABLE_SCHEMA" Some("TABLE_NAME"), Rows::First;
    "KEY_COLUMN_USAGE" "TABLE_SCHEMA" Some("TABLE_NAME"), Rows::First;
    "TABLE_CONSTRAINTS" "TABLE_SCHEMA" Some("TABLE_NAME"), Rows::First;
    "REFERENTIAL_CONSTRAINTS" "CONSTRAINT_SCHEMA" Some("TABLE_NAME"), Rows::First;
    "CHECK_CONSTRAINTS" "CONSTRAINT_SCHEMA" None, Rows::First;
    "TRIGGERS" "EVENT_OBJECT_SCHEMA" Some("EVENT_OBJECT_TABLE"), Rows::First;
    "COLUMN_STATISTICS" "SCHEMA_NAME" Some("TABLE_NAME"), Rows::First;
    "TABLES_EXTENSIONS" "TABLE_SCHEMA" Some("TABLE_NAME"), Rows::First;
    "COLUMNS_EXTENSIONS" "TABLE_SCHEMA" Some("TABLE_NAME"), Rows::First;
    "TABLE_CONSTRAINTS_EXTENSIONS" "CONSTRAINT_SCHEMA" Some("TABLE_NAME"), Rows::First;
    "ST_GEOMETRY_COLUMNS" "TABLE_SCHEMA" Some("TABLE_NAME"), Rows::First;
    "SCHEMATA" "SCHEMA_NAME" None, Rows::None;
    "SCHEMATA_EXTENSIONS" "SCHEMA_NAME" None, Rows::None;
    "VIEWS" "TABLE_SCHEMA" None, Rows::None;
    "ROUTINES" "ROUTINE_SCHEMA" None, Rows::None;
    "PARAMETERS" "SPECIFIC_SCHEMA" None, Rows::None;
    "EVENTS" "EVENT_SCHEMA" None, Rows::None;
}

/// The one of that name, whatever its case.
pub(super) fn find(name: &[u8]) -> Option<&'static Listing> {
    LISTINGS.iter().find(|listing| name.eq_ignore_ascii_case(listing.name.as_bytes()))
}

/// The one of that name in capitals.
pub(super) fn named(name: &'static str) -> &'static Listing {
    LISTINGS.iter().find(|listing| listing.name == name).unwrap_or(&LISTINGS[0])
}
