//! What planning gives: where a statement runs, what becomes of its text, how the shards' answers are one.
//!
//! Owns: the shapes. Does not know: values of literals and parameters: a plan is kept for all statements of one shape and used with
//! the values of each. Invariant: places are numbers of tokens, literals and parameters, never bytes.

use std::ops::Range;

use super::dictionary::Dictionary;
use super::edits::NameEdit;
use super::keys::{KeySource, Narrow};
use super::load::Load;
use super::makes::Makes;
use super::parse::text::At;
use super::refusal::Refusal;
use super::unlisted::Unlisted;
use crate::ids::ClusterId;
use crate::merge::Spec;
use crate::shard::{Database, Shard};

/// The plan of one shape of statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Planned {
    /// It names no sharded table: it runs at home, untouched.
    Home,
    /// The same, of another database than the default one: at the home on this cluster.
    HomeOf(ClusterId),
    /// It runs on shards.
    Routed(Box<Routed>),
    /// It reads the servers' data dictionary: home answers, for the shards too.
    Dictionary(Box<Dictionary>),
    /// Tidegate makes values for its rows, where they have none; with them it is planned again.
    Makes(Box<Makes>),
    /// Its rows go in without a list of columns, which a shard is asked for; with it it is planned again.
    Unlisted(Box<Unlisted>),
    /// It changes all copies of a reference table: at home, and on every shard of the database.
    Copies(Box<Copies>),
    /// It defines tables on all of their shards.
    Definition(Box<Definition>),
    /// It looks after tables, wherever they are.
    Upkeep(Box<Upkeep>),
    /// Rows of a file that the client sends go to their shards, or to all copies.
    Load(Box<Load>),
    /// It does not run.
    Refused(Refusal),
}

impl Planned {
    /// How many rows, keys and edits it has: what its memory grows with.
    pub fn weight(&self) -> usize {
        let routed = match self {
            Self::Routed(routed) => routed,
            Self::Copies(copies) => return copies.edits.len(),
            Self::Definition(definition) => return definition.edits.len(),
            Self::Upkeep(upkeep) => return upkeep.tables.len(),
            Self::Load(load) => return load.edits.len(),
            Self::Dictionary(dictionary) => return dictionary.weight(),
            Self::Makes(makes) => {
                let otherwise = makes.otherwise.as_ref().map_or(0, |otherwise| otherwise.weight());
                return makes.rows() + otherwise;
            }
            Self::Home | Self::HomeOf(_) | Self::Unlisted(_) | Self::Refused(_) => return 0,
        };
        let sites = match &routed.sites {
            Sites::Rows(rows) => rows.len(),
            Sites::Spread { narrow, .. } => narrow.weight(),
            Sites::Together { narrows, .. } => narrows.iter().map(Narrow::weight).sum(),
            Sites::First => 0,
        };
        sites + routed.edits.len()
    }
}

/// A statement that runs on shards of one keyspace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Routed {
    /// The database, by its logical name.
    pub database: String,
    /// The keyspace, by its place in the database.
    pub keyspace: usize,
    /// What kind of statement it is.
    pub verb: Verb,
    /// Which shards.
    pub sites: Sites,
    /// What is done when there are several, or why nothing is.
    pub many: Result<Merge, Refusal>,
    /// Names to be replaced for a shard, in the order of the text.
    pub edits: Vec<NameEdit>,
    /// INSERT IGNORE: the columns of the key. Where the server stores another value than it was given, the row is in the wrong shard.
    pub ignores: Vec<String>,
}

/// A change of all copies of a reference table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copies {
    /// The database, by its logical name.
    pub database: String,
    /// What kind of statement it is.
    pub verb: Verb,
    /// Names to be replaced for a shard, in the order of the text.
    pub edits: Vec<NameEdit>,
}

/// A definition of tables: of one keyspace on all of its shards, or of reference tables on all copies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Definition {
    /// The database, by its logical name.
    pub database: String,
    /// The keyspace, by its place in the database; `None` for reference tables.
    pub keyspace: Option<usize>,
    /// What it does, in words.
    pub verb: &'static str,
    /// The tables that it makes, changes or removes.
    pub targets: Vec<Target>,
    /// It leaves definitions as they are, and does no harm a second time.
    pub again: bool,
    /// Names to be replaced for a shard, in the order of the text.
    pub edits: Vec<NameEdit>,
}

impl Definition {
    /// Whether it is carried out at home, and on which shards besides.
    pub fn sites<'a>(&self, database: &'a Database) -> (bool, Vec<&'a Shard>) {
        match self.keyspace {
            Some(at) => {
                (false, database.keyspaces.get(at).map(|own| own.shards.iter().collect()).unwrap_or_default())
            }
            None => (true, database.copies()),
        }
    }
}

/// ANALYZE, CHECK, OPTIMIZE, REPAIR or CHECKSUM TABLE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upkeep {
    /// The database, by its logical name.
    pub database: String,
    /// What it does, in a word.
    pub verb: String,
    /// The tables, in the order of the text.
    pub tables: Vec<Tended>,
    /// The tokens in front of the first table.
    pub head: Range<At>,
    /// Those behind the last one, which are said of all.
    pub tail: Range<At>,
}

/// A table that is looked after.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tended {
    /// Its name in the text.
    pub name: Range<At>,
    /// The database that it is in for the client; empty where none is known.
    pub schema: Vec<u8>,
    /// Its own name for the client.
    pub table: Vec<u8>,
    /// Where it is.
    pub place: Where,
}

/// Where a table is that is looked after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Where {
    /// At home, as no rule names it.
    Home,
    /// At home, and on all shards.
    Copies,
    /// On the shards of this keyspace.
    Shards(usize),
}

/// A site at which tables are looked after.
#[derive(Clone, Debug)]
pub struct UpkeepSite<'a> {
    /// The shard; `None` for home.
    pub shard: Option<&'a Shard>,
    /// Which of the statement's tables it has.
    pub tables: Vec<usize>,
}

/// A table that a definition is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Its logical name.
    pub table: String,
    /// Whether it must be there before.
    pub needs: Needs,
    /// What becomes of it.
    pub leaves: Leaves,
}

/// What a definition makes of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leaves {
    /// It is there.
    Present,
    /// It is not.
    Absent,
    /// It is another one, most often.
    Changed,
}

/// Whether a table must be there before a definition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needs {
    /// It must.
    Present,
    /// It must not.
    Absent,
    /// The statement says what to do in either case.
    Either,
}

/// Kinds of statements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// SELECT and its kin.
    Select,
    /// INSERT.
    Insert,
    /// REPLACE.
    Replace,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// EXPLAIN of one of these.
    Explain,
    /// SHOW or DESCRIBE of a table.
    Describe,
}

impl Verb {
    /// Whether it changes rows.
    pub fn writes(self) -> bool {
        !matches!(self, Self::Select | Self::Explain | Self::Describe)
    }
}

/// Which shards a statement runs on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sites {
    /// Those that may have such keys; none means any one, which answers that there are no rows.
    Spread {
        /// The keys.
        narrow: Narrow,
        /// Keys that the statement gives to rows: each must be in the one shard where it runs.
        given: Vec<Vec<KeySource>>,
    },
    /// The one shard that has all of these, each by itself: tables that the keys do not join.
    Together {
        /// The keys of each.
        narrows: Vec<Narrow>,
        /// As in `Spread`.
        given: Vec<Vec<KeySource>>,
    },
    /// Any one, which is the first: what is asked is the same on all.
    First,
    /// The shard of each row that is inserted.
    Rows(Vec<InsertedRow>),
}

/// A row of VALUES.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InsertedRow {
    /// Its tokens, parentheses included. Between two rows of one INSERT is one comma.
    pub tokens: Range<At>,
    /// Its key.
    pub key: Vec<KeySource>,
}

/// How the answers of several shards become one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Merge {
    /// Rows become one result.
    Rows(Box<Merged>),
    /// Affected rows are added up.
    Affected,
}

/// How rows of several shards become one result, and what else these are asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Merged {
    /// What is done with the rows. In its places a star of the select list counts as one column; a number in it is a place in
    /// `numbers`, and a string between texts that begins with a digit one in `texts`; it has no LIMIT.
    pub spec: Spec,
    /// Columns of the shards' rows, a star as one.
    pub width: usize,
    /// The place of the last star: what stands behind it is counted from the end.
    pub star: Option<usize>,
    /// What becomes of the text besides names.
    pub edits: Vec<NameEdit>,
    /// Where the numbers come from that rows are computed or compared with.
    pub numbers: Vec<KeySource>,
    /// Where the strings come from that stand between texts which are joined.
    pub texts: Vec<KeySource>,
    /// Columns of groups that a server computes in the end: their places, and their expressions, whose aggregates are places of a group's row.
    pub finished: Vec<Finishing>,
    /// Literals that must be the same, by how many of them stand before each.
    pub alike: Vec<(u32, u32)>,
    /// LIMIT.
    pub limit: Option<Cut>,
}

/// A column of groups that a server computes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finishing {
    /// Its place.
    pub place: usize,
    /// Its expression.
    pub parts: Vec<Term>,
    /// Texts may be in it, for nothing depends on their collations.
    pub texts: bool,
    /// Its numbers are all exact, or all DOUBLE.
    pub alike: bool,
}

/// A part of such an expression.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Term {
    /// Tokens of the statement.
    Tokens(Range<At>),
    /// Words of our own.
    Text(&'static str),
    /// A column of a group's row.
    Output(usize),
    /// One that has more digits than its type tells.
    Whole(usize),
}

/// LIMIT across shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// How many rows.
    pub count: Operand,
    /// How many are left out before.
    pub offset: Option<Operand>,
    /// Each shard needs to give as many rows only as count and offset together; otherwise it gives all.
    pub pushed: bool,
}

/// A number that LIMIT gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operand {
    /// Its token.
    pub token: At,
    /// Where its value comes from.
    pub source: KeySource,
}
