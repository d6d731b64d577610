//! What there is to browse: the console's tables, and as much of a server's dictionary as shows them to clients.

use super::table::{Kind, Table, Value};

/// The database whose tables are what the console shows.
pub(super) const OWN: &str = "tidegate";
/// The dictionary.
pub(super) const DICTIONARY: &str = "information_schema";
/// The console's tables.
pub(super) const TABLES: [&str; 6] = ["digests", "pins", "pools", "servers", "sessions", "variables"];

/// Listings that are empty here, with the columns that servers give them (the first ones, which clients read).
const EMPTY: &[(&str, &[&str])] = &[
    ("WARNINGS", &["Level", "Code", "Message"]),
    ("ERRORS", &["Level", "Code", "Message"]),
    ("PLUGINS", &["Name", "Status", "Type", "Library", "License"]),
    ("PRIVILEGES", &["Privilege", "Context", "Comment"]),
    ("TRIGGERS", &["Trigger", "Event", "Table", "Statement", "Timing"]),
    ("EVENTS", &["Db", "Name", "Definer", "Time zone", "Type"]),
    ("ROUTINES", &["Db", "Name", "Type", "Definer", "Modified", "Created"]),
    ("INDEX", &["Table", "Non_unique", "Key_name", "Seq_in_index", "Column_name"]),
];

/// SHOW DATABASES.
pub(super) fn databases() -> Table {
    one_column("Database", [DICTIONARY, OWN])
}

/// SHOW FULL TABLES.
pub(super) fn tables(database: &str) -> Table {
    let mut table = Table::of_texts(&["Tables_in_tidegate", "Table_type"]);
    if database.eq_ignore_ascii_case(OWN) {
        table.rows.extend(TABLES.map(|name| vec![name.into(), "SYSTEM VIEW".into()]));
    }
    table
}

/// SHOW TABLE STATUS.
pub(super) fn table_status() -> Table {
    let columns = [
        "Name",
        "Engine",
        "Version",
        "Row_format",
        "Rows",
        "Avg_row_length",
        "Data_length",
        "Max_data_length",
        "Index_length",
        "Data_free",
        "Auto_increment",
        "Create_time",
        "Update_time",
        "Check_time",
        "Collation",
        "Checksum",
        "Create_options",
        "Comment",
    ];
    let mut table = Table::of_texts(&columns);
    for name in TABLES {
        let mut row = vec![Value::Null; columns.len()];
        row[0] = name.into();
        row[columns.len() - 1] = "VIEW".into();
        table.rows.push(row);
    }
    table
}

/// SHOW COLUMNS of a table; FULL has three more, which servers put in between and after.
pub(super) fn columns_of(table: &Table, full: bool) -> Table {
    let mut shown = Table::of_texts(if full {
        &["Field", "Type", "Collation", "Null", "Key", "Default", "Extra", "Privileges", "Comment"]
    } else {
        &["Field", "Type", "Null", "Key", "Default", "Extra"]
    });
    for column in &table.columns {
        let mut row = vec![column.name.clone().into_owned().into(), type_of(column.kind).into()];
        if full {
            let is_text = column.kind == Kind::Text;
            row.push(Value::text_or_null(is_text.then_some("utf8mb4_general_ci")));
        }
        row.extend(["YES".into(), "".into(), Value::Null, "".into()]);
        row.extend(["select", ""].into_iter().filter(|_| full).map(Value::from));
        shown.rows.push(row);
    }
    shown
}

/// A listing that says that there is nothing, or nothing but the usual.
pub(super) fn listing(what: &str) -> Option<Table> {
    let mut table = match what {
        "ENGINES" => Table::of_texts(&["Engine", "Support", "Comment", "Transactions", "XA", "Savepoints"]),
        "CHARSET" => Table::of_texts(&["Charset", "Description", "Default collation", "Maxlen"]),
        "COLLATION" => Table::of_texts(&["Collation", "Charset", "Id", "Default", "Compiled", "Sortlen"]),
        "GRANTS" => Table::of_texts(&["Grants"]),
        "INDEXES" | "KEYS" => return listing("INDEX"),
        _ => {
            let (_, columns) = EMPTY.iter().find(|(name, _)| *name == what)?;
            return Some(Table::of_texts(columns));
        }
    };
    let row: &[&str] = match what {
        "ENGINES" => &["TIDEGATE", "DEFAULT", "What the proxy does now", "NO", "NO", "NO"],
        "CHARSET" => &["utf8mb4", "UTF-8 Unicode", "utf8mb4_general_ci", "4"],
        "COLLATION" => &["utf8mb4_general_ci", "utf8mb4", "45", "Yes", "Yes", "1"],
        _ => &["GRANT SELECT, PROCESS, CONNECTION_ADMIN ON tidegate.*"],
    };
    table.rows.push(row.iter().map(|text| Value::from(*text)).collect());
    Some(table)
}

/// A table of the dictionary. `find` gives the console's own tables, whose columns are listed.
pub(super) fn dictionary(name: &str, find: impl Fn(&str) -> Option<Table>) -> Option<Table> {
    Some(match name.to_ascii_lowercase().as_str() {
        "schemata" => {
            let names = [
                "CATALOG_NAME",
                "SCHEMA_NAME",
                "DEFAULT_CHARACTER_SET_NAME",
                "DEFAULT_COLLATION_NAME",
                "SQL_PATH",
            ];
            let mut table = Table::of_texts(&names);
            table.rows.extend([DICTIONARY, OWN].map(|name| {
                vec!["def".into(), name.into(), "utf8mb4".into(), "utf8mb4_general_ci".into(), Value::Null]
            }));
            table
        }
        "tables" => {
            let names =
                ["TABLE_CATALOG", "TABLE_SCHEMA", "TABLE_NAME", "TABLE_TYPE", "ENGINE", "TABLE_COMMENT"];
            let mut table = Table::of_texts(&names);
            table.rows.extend(TABLES.map(|name| {
                vec!["def".into(), OWN.into(), name.into(), "SYSTEM VIEW".into(), Value::Null, "".into()]
            }));
            table
        }
        "columns" => {
            let mut table = Table::new(&[
                ("TABLE_CATALOG", Kind::Text),
                ("TABLE_SCHEMA", Kind::Text),
                ("TABLE_NAME", Kind::Text),
                ("COLUMN_NAME", Kind::Text),
                ("ORDINAL_POSITION", Kind::Number),
                ("COLUMN_DEFAULT", Kind::Text),
                ("IS_NULLABLE", Kind::Text),
                ("DATA_TYPE", Kind::Text),
                ("COLUMN_TYPE", Kind::Text),
                ("COLUMN_KEY", Kind::Text),
                ("EXTRA", Kind::Text),
                ("COLUMN_COMMENT", Kind::Text),
            ]);
            for name in TABLES {
                for (at, column) in find(name)?.columns.into_iter().enumerate() {
                    let kind = type_of(column.kind);
                    let data = kind.split(['(', ' ']).next().unwrap_or(kind);
                    let mut row: Vec<Value> = vec!["def".into(), OWN.into(), name.into()];
                    row.extend([column.name.into_owned().into(), (at + 1).into(), Value::Null, "YES".into()]);
                    row.extend([data, kind, "", "", ""].map(Value::from));
                    table.rows.push(row);
                }
            }
            table
        }
        "engines" => listing("ENGINES")?,
        "collations" => listing("COLLATION")?,
        "character_sets" => listing("CHARSET")?,
        _ => return None,
    })
}

fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Number => "bigint unsigned",
        Kind::Fraction => "double",
        Kind::Text => "varchar(1024)",
    }
}

fn one_column<const N: usize>(name: &'static str, values: [&str; N]) -> Table {
    let mut table = Table::of_texts(&[name]);
    table.rows.extend(values.map(|value| vec![Value::from(value)]));
    table
}
