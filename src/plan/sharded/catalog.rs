//! What planning asks of the rules: which tables are sharded, by which columns, together with which others.
//!
//! Owns: look-ups by name. Does not know: placement, servers. Invariant: names are compared byte by byte; one that differs in case only is
//! told, because whether servers take the two for one depends on them.

/// Which database of the rules, by its place.
pub type DatabaseIx = usize;

/// The databases with rules.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Catalog {
    /// In the order of the rules.
    pub databases: Vec<Database>,
}

/// A database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Database {
    /// Its name.
    pub name: Vec<u8>,
    /// Keyspaces' names.
    pub keyspaces: Vec<String>,
    /// The tables that are listed.
    pub tables: Vec<(Vec<u8>, Listed)>,
    /// Reads without a key run on all shards.
    pub scatter_reads: bool,
    /// Writes without a key run on all shards.
    pub scatter_writes: bool,
}

/// A table that the rules list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Listed {
    /// Its rows are spread.
    Sharded {
        /// The keyspace, by its place.
        keyspace: usize,
        /// The key's columns.
        key: Vec<String>,
    },
    /// Every shard has all of its rows.
    Reference,
}

/// What a name means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meaning<'a> {
    /// A table at home, or of a database without rules.
    Home,
    /// A listed table.
    Listed(DatabaseIx, &'a Listed),
    /// It differs from a listed table in its case.
    OtherCase,
}

impl Catalog {
    /// The database of that name.
    pub fn database(&self, name: &[u8]) -> Option<(DatabaseIx, &Database)> {
        self.databases.iter().enumerate().find(|(_, database)| database.name == name)
    }

    /// What a table's name means.
    pub fn table(&self, schema: Option<&[u8]>, table: &[u8]) -> Meaning<'_> {
        let Some(schema) = schema else { return Meaning::Home };
        let mut other_case = false;
        for (at, database) in self.databases.iter().enumerate() {
            if !database.name.eq_ignore_ascii_case(schema) {
                continue;
            }
            for (name, listed) in &database.tables {
                if database.name == schema && name == table {
                    return Meaning::Listed(at, listed);
                }
                other_case |= name.eq_ignore_ascii_case(table);
            }
        }
        if other_case { Meaning::OtherCase } else { Meaning::Home }
    }

    /// Whether a listed table of any database has this name, whatever its case.
    pub fn lists(&self, table: &[u8]) -> bool {
        let tables = self.databases.iter().flat_map(|database| &database.tables);
        tables.into_iter().any(|(name, _)| name.eq_ignore_ascii_case(table))
    }
}
