//! Why a statement on sharded tables is not carried out: one table of reasons, each with a stable name and a way out.
//!
//! Owns: names, codes, help. Does not know: how a reason is found. Invariant: a name never changes its meaning: it is a metric's label
//! and a heading of docs/sql-coverage.md.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $help:literal;)*) => {
        /// Why a statement is refused.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stable name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What would make the statement run.
            pub fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }
        }
    };
}

reasons! {
    /// The parser does not understand it.
    NotParsed = "not-parsed", "write it in a simpler form, or run it on each shard";
    /// Too many tokens.
    TooLong = "too-long", "split it into several statements";
    /// Parentheses, joins or queries nested too deeply.
    TooDeep = "too-deep", "split it into several statements";
    /// More than one statement in the packet.
    SeveralStatements = "several-statements", "send each statement by itself";
    /// A definition of a listed table that Tidegate does not carry out.
    Definition = "definition", "run it on each shard";
    /// A definition changes the key's column such that it contradicts the rules.
    KeyColumn = "key-column", "keep the column as the rules have it, or make a new keyspace and copy the rows";
    /// A foreign key to rows that may be in another shard.
    ForeignKey = "foreign-key", "let the sharding key be a part of the foreign key, on both sides";
    /// CREATE TABLE … SELECT of a listed table.
    CreateSelect = "create-select", "create the table, then insert the rows";
    /// CREATE or DROP TEMPORARY TABLE with a listed name, or from a listed table.
    TemporaryTable = "temporary-table", "give the temporary table another name, and name its columns";
    /// RENAME to or from a name of which the rules do not say the same.
    Rename = "rename", "list both names in the rules, in one keyspace and with one key, and rename one after the other by RENAME TABLE";
    /// A view over sharded tables that the rules do not list, or whose rows are not each one shard's under its key.
    View = "view", "list the view with its key in the rules, and let it select rows of one keyspace with that key";
    /// A trigger on a listed table.
    Trigger = "trigger", "create it on each shard, where it runs";
    /// A stored routine or an event that names a listed table.
    Routine = "routine", "let the client send its statements one by one";
    /// What describes a sharded table in a way that one shard cannot, as its names are others there.
    Description = "description", "ask a shard directly";
    /// LOCK TABLES, HANDLER, FLUSH of a sharded table.
    TableLock = "table-lock", "use SELECT … FOR UPDATE with the key in a transaction";
    /// LOAD DATA that is not of a file of the client's with rows that are told apart; LOAD XML.
    Load = "load", "use LOAD DATA LOCAL INFILE with the columns' names and fields that end by a character, or INSERT with several rows";
    /// A statement of another kind that names a sharded table.
    Statement = "statement", "use SELECT, INSERT, UPDATE or DELETE";
    /// PREPARE of a text that names a sharded table, or of a text that is not known.
    TextPrepared = "text-prepared", "let the driver prepare the statement";
    /// INTO OUTFILE, INTO DUMPFILE.
    IntoFile = "into-file", "fetch the rows and write the file at the client";
    /// A name differs from a table of the rules in its case only.
    NameCase = "name-case", "write the table's name as the rules do";
    /// A name with characters beyond ASCII, in another character set than UTF-8.
    NameCharset = "name-charset", "connect with utf8mb4";
    /// A common table expression has the name of a sharded table, and which one is meant is in doubt.
    NameShadowed = "name-shadowed", "give the common table expression another name";
    /// Tables of two databases of the rules.
    TwoDatabases = "two-databases", "query one database at a time";
    /// Tables of two keyspaces.
    TwoKeyspaces = "two-keyspaces", "query one keyspace at a time, or make one table a reference table";
    /// Sharded tables together with tables at home.
    HomeAndSharded = "home-and-sharded", "query them one after the other, or make the table at home a reference table";
    /// Databases whose homes are on two clusters.
    HomesApart = "homes-apart", "query them one after the other, with USE in front where the statement names no database";
    /// A write to a reference table, together with other tables or such that its copies could differ.
    ReferenceWrite = "reference-write", "write it by itself, with literals, and without LIMIT";
    /// A read without a key, where the rules refuse it.
    ReadWithoutKey = "read-without-key", "add the key to the condition, or set without_key.read to scatter";
    /// A write without a key, where the rules refuse it.
    WriteWithoutKey = "write-without-key", "add the key to the condition, or set without_key.write to scatter";
    /// Tables that are not joined by their keys.
    NotJoinedByKey = "not-joined-by-key", "join the tables by their keys, or give each table's key in the condition";
    /// The keys of one statement lie in different shards.
    KeysApart = "keys-apart", "query one key at a time";
    /// A key's value has no shard.
    NoMatch = "no-match", "use a key that the rules place";
    /// A key's value that cannot be placed without asking a server.
    DoubtfulKey = "doubtful-key", "give the key as a literal or parameter of its column's type";
    /// INSERT without a value for the key.
    MissingKey = "missing-key", "name the key's column and give its value";
    /// INSERT without a list of columns, where no shard can be asked for them: in `tests:` of the rules.
    ColumnsUnknown = "columns-unknown", "name the columns after the table";
    /// The key's value is an expression.
    KeyNotConstant = "key-not-constant", "give the key as a literal or a parameter";
    /// A value that Tidegate makes, where it is absent, is an expression or comes from a query.
    GeneratedUnclear = "generated-unclear", "give the value as a literal or a parameter, or leave the column out";
    /// The key's value is NULL.
    NullKey = "null-key", "give the key a value";
    /// A row that has not as many values as there are columns.
    ColumnCount = "column-count", "give each row a value for each column";
    /// UPDATE or ON DUPLICATE KEY UPDATE that sets the key.
    ChangesKey = "changes-key", "delete the row and insert it with the new key";
    /// UPDATE or DELETE with LIMIT that would run on several shards.
    LimitAcrossShards = "limit-across-shards", "add the key to the condition";
    /// UPDATE or DELETE of several tables that would run on several shards.
    TablesAcrossShards = "tables-across-shards", "add the key to the condition";
    /// RETURNING across shards.
    ReturningAcrossShards = "returning-across-shards", "add the key to the condition";
    /// INSERT … SELECT whose rows are not known to stay in one shard.
    InsertSelect = "insert-select", "select by one key and insert that key as a literal, or fetch the rows and insert them";
    /// GROUP BY across shards that is not merged: expressions WITH ROLLUP, `*`, a name with two meanings.
    GroupAcrossShards = "group-across-shards", "group by columns, positions or the key, or add the key to the condition";
    /// DISTINCT across shards of `*`, of groups, or sorted by what is not selected.
    DistinctAcrossShards = "distinct-across-shards", "name the columns, sort by them, or add the key to the condition";
    /// Aggregates across shards that are not merged.
    AggregateAcrossShards = "aggregate-across-shards", "ask for the aggregates alone, group by the key, or add the key to the condition";
    /// HAVING across shards with more than comparisons of aggregates and numbers.
    HavingAcrossShards = "having-across-shards", "compare aggregates with numbers, group by the key, or add the key to the condition";
    /// Window functions across shards whose PARTITION BY has not the key.
    WindowAcrossShards = "window-across-shards", "name the key in each PARTITION BY, or add it to the condition";
    /// ORDER BY across shards by what differs each time, or by a name with two meanings.
    OrderAcrossShards = "order-across-shards", "sort by columns, qualified where several tables or aliases have the name, or add the key to the condition";
    /// LIMIT across shards that is not a number or parameter.
    LimitNotConstant = "limit-not-constant", "give LIMIT and OFFSET as literals or parameters";
    /// FOR UPDATE or FOR SHARE across shards.
    LockingAcrossShards = "locking-across-shards", "add the key to the condition";
    /// UNION across shards of other parts than sharded rows; EXCEPT and INTERSECT without the key in one place of all parts.
    UnionAcrossShards = "union-across-shards", "add the key to the condition of each part, or ask for the parts one after the other";
    /// A query inside another, or an outer join, that would have to see several shards.
    SubqueryAcrossShards = "subquery-across-shards", "tie it to the outer query by the key, or add the key to the condition";
    /// A derived table or common table expression across shards.
    DerivedAcrossShards = "derived-across-shards", "add the key to the condition inside it";
    /// An outer join that keeps rows which every shard has.
    OuterJoinAcrossShards = "outer-join-across-shards", "let the sharded table be on the side that is kept, or add the key to the condition";
    /// A function whose answer or effect belongs to one server.
    ServerFunction = "server-function", "call the function in a statement of its own";
    /// A function across shards that may be a stored one.
    UnknownFunction = "unknown-function-across-shards", "add the key to the condition";
    /// User variables are assigned, or FOUND_ROWS() prepared, across shards.
    StateAcrossShards = "state-across-shards", "add the key to the condition";
    /// ANALYZE of a change, which carries it out, that would run on several shards.
    ExplainAcrossShards = "explain-across-shards", "use EXPLAIN, or add the key to the condition";
    /// `||` or NOT under a sql_mode that gives it another meaning.
    SqlMode = "sql-mode", "write CONCAT() or OR instead of ||, and parentheses around NOT";
    /// A stored function of the database is called by its qualified name.
    QualifiedFunction = "qualified-function", "call the function without the database's name";
}

impl Reason {
    /// The error's code and SQLSTATE: ER_NOT_SUPPORTED_YET, or what a server would say.
    pub fn code(self) -> (u16, &'static str) {
        match self {
            Self::NullKey => (1048, "23000"),     // ER_BAD_NULL_ERROR
            Self::ColumnCount => (1136, "21S01"), // ER_WRONG_VALUE_COUNT_ON_ROW
            Self::NoMatch => (1526, "HY000"),     // ER_NO_PARTITION_FOR_GIVEN_VALUE
            _ => (1235, "42000"),                 // ER_NOT_SUPPORTED_YET
        }
    }
}

/// A refusal, as the client reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The reason.
    pub reason: Reason,
    /// What happened, naming tables and keys; no values.
    pub what: String,
}

impl Refusal {
    /// A refusal for a reason.
    pub fn new(reason: Reason, what: impl Into<String>) -> Self {
        Self { reason, what: what.into() }
    }
}

impl fmt::Display for Refusal {
    /// The whole message: what happened, the reason's name, the way out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.what, self.reason.name(), self.reason.help())
    }
}

/// A name in a message: readable, whatever its bytes.
pub(super) fn shown(name: &[u8]) -> String {
    const SHOWN_MAX: usize = 64;
    String::from_utf8_lossy(name).chars().take(SHOWN_MAX).collect()
}
