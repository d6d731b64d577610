//! LOAD DATA LOCAL INFILE into a sharded table, or a reference table.
//!
//! Owns: the statement's parts in their order, and which fields of a row are its key. Does not know: the file, how it is written (`written`), what
//! SET computes (`assigned`), what is made for a row (`made`). Invariant: what a server could read in another
//! way than is known here is refused; every row can be given to a server by itself, as it stands in the file.

mod assigned;
mod made;
mod written;

pub use self::made::LoadMakes;
use super::edits::{Edit, NameEdit, Piece};
use super::parse::text::{At, Text};
use super::planned::Planned;
use super::planner::{Meaning, Planner};
use super::refusal::{Reason, Refusal, shown};
use super::route::Request;
use super::unlisted::Unlisted;
use super::values::Arguments;
use crate::shard::{Database, Table};
use crate::sql::file::Format;
use crate::sql::lexer::Kind;
use crate::sql::{self, quoted};

/// A file of the client's whose rows go to their shards, or to all copies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Load {
    /// The database, by its logical name.
    pub database: String,
    /// The keyspace, by its place in the database; `None` for a reference table.
    pub keyspace: Option<usize>,
    /// The columns of the key; none of a reference table.
    pub key: Vec<String>,
    /// The places of the key's columns among the fields of a row.
    pub places: Vec<usize>,
    /// Fields of a row that have a column.
    pub fields: usize,
    /// How the file is written.
    pub format: Format,
    /// Lines in front of the first row.
    pub skip: u64,
    /// The character set that the statement names.
    pub charset: Option<String>,
    /// What Tidegate makes of its rows.
    pub makes: Option<LoadMakes>,
    /// The token behind which a character set is named.
    behind_table: At,
    /// What becomes of the text for a shard, in the order of the text: names, and that no lines are passed over.
    pub edits: Vec<NameEdit>,
}

impl Load {
    /// What names the file's character set in the text, where that does not.
    pub fn naming_charset(&self, name: &str) -> NameEdit {
        let clause = Piece::Text(format!(" CHARACTER SET {name}").into());
        NameEdit { token: self.behind_table, edit: Edit::After(vec![clause]) }
    }
}

/// Whether a statement is one that is planned here.
pub(super) fn is_load(text: &Text) -> bool {
    text.is_word(0, b"LOAD") && text.is_word(1, b"DATA")
}

/// Plans it; `mentions` are the tokens that may name listed tables.
pub(super) fn plan(
    text: &Text,
    planner: &Planner,
    request: &Request<'_>,
    mentions: &[At],
) -> Result<Planned, Refusal> {
    let mut literals = Vec::new();
    sql::shape(request.sql, request.lexing, 0, &mut literals);
    let Request { sql, lexing, charset, .. } = *request;
    let arguments = Arguments { sql, lexing, literals: &literals, parameters: &[], charset };
    let table = mentions.first().map(|at| shown(&text.name(*at))).unwrap_or_default();
    Reader { text, planner, database: request.database, arguments, at: 2, table }.read()
}

struct Reader<'a> {
    text: &'a Text,
    planner: &'a Planner,
    database: Option<&'a [u8]>,
    arguments: Arguments<'a>,
    at: At,
    /// For people.
    table: String,
}

/// A column's token, and its name; none of a user variable.
type Column = (At, Vec<u8>);

/// The table, and where it stands.
struct Target<'a> {
    database: &'a Database,
    table: &'a Table,
    name: String,
    edits: Vec<NameEdit>,
}

fn place_of(columns: &[Column], column: &str) -> Option<usize> {
    columns.iter().position(|(_, name)| name.eq_ignore_ascii_case(column.as_bytes()))
}

impl<'a> Reader<'a> {
    fn read(mut self) -> Result<Planned, Refusal> {
        self.word_of(&[b"LOW_PRIORITY", b"CONCURRENT"]);
        if !self.word(b"LOCAL") {
            return self.refuse("A file of a server's own is loaded into {}");
        }
        if !self.word(b"INFILE") || self.text.kind(self.at) != Kind::String {
            return self.not_parsed();
        }
        self.at += 1;
        self.word_of(&[b"REPLACE", b"IGNORE"]);
        if !(self.word(b"INTO") && self.word(b"TABLE")) {
            return self.not_parsed();
        }
        let Some(mut into) = self.table()? else {
            // What has a listed name is a column, or a word such as LINES, where nothing is read.
            let reads = (self.at..self.text.len()).any(|at| self.text.is_word(at, b"SELECT"));
            return if reads { self.not_parsed() } else { Ok(Planned::Home) };
        };
        let behind_table = self.at - 1;
        if self.text.is_word(self.at, b"PARTITION") {
            return self.refuse("A file is loaded into partitions of {}");
        }
        let charset = self.charset()?;
        let format = self.format()?;
        let mut edits = std::mem::take(&mut into.edits);
        let skip = self.ignored(&mut edits)?;
        let behind_format = self.at - 1;
        let columns = self.columns()?;
        let set = self.assigned(into.table)?;
        let Some(columns) = columns else {
            let keyspace = if let Table::Sharded { keyspace, .. } = into.table { *keyspace } else { 0 };
            let unlisted = Unlisted::behind(into.database, keyspace, into.name, behind_format);
            return Ok(Planned::Unlisted(Box::new(unlisted)));
        };
        let makes = self.makes(&into, &columns, &format)?;
        if let Some(LoadMakes { column, place: None, .. }) = &makes {
            let name = [quoted(column.as_bytes(), b'`'), b",".to_vec()].concat();
            let first = columns.first().map_or(0, |(token, _)| token.saturating_sub(1));
            let name = String::from_utf8_lossy(&name).into_owned();
            edits.push(NameEdit { token: first, edit: Edit::After(vec![Piece::Text(name.into())]) });
        }
        let (keyspace, key) = match into.table {
            Table::Sharded { keyspace, key, .. } => (Some(*keyspace), &key[..]),
            Table::Reference { .. } => (None, &[][..]),
        };
        let place = |column: &String| {
            let made = makes.as_ref().is_some_and(|makes| makes.column.eq_ignore_ascii_case(column));
            place_of(&columns, column).or(made.then_some(columns.len())) // behind all fields where it is none of them
        };
        let own = makes.as_ref().map(|makes| &makes.column);
        let is_set = |column: &&String| set.iter().any(|set| set.eq_ignore_ascii_case(column.as_bytes()));
        if let Some(column) = key.iter().chain(own).find(is_set) {
            let column = shown(column.as_bytes());
            return self.refuse(&format!(
                "A file is loaded into {{}} with SET of {column}, by which its rows are told apart"
            ));
        }
        let Some(places) = key.iter().map(place).collect::<Option<Vec<_>>>() else {
            let what = format!("Rows of a file for {} have no key", self.table);
            return Err(Refusal::new(Reason::MissingKey, what));
        };
        Ok(Planned::Load(Box::new(Load {
            database: into.database.name.clone(),
            keyspace,
            key: key.to_vec(),
            places,
            fields: columns.len(),
            format,
            skip,
            charset,
            makes,
            behind_table,
            edits,
        })))
    }

    fn refuse<T>(&self, what: &str) -> Result<T, Refusal> {
        Err(Refusal::new(Reason::Load, what.replace("{}", &self.table)))
    }

    fn not_parsed<T>(&self) -> Result<T, Refusal> {
        let what = format!("A statement that loads a file and names {} is not understood", self.table);
        Err(Refusal::new(Reason::NotParsed, what))
    }

    fn word(&mut self, word: &[u8]) -> bool {
        self.word_of(&[word])
    }

    fn word_of(&mut self, words: &[&[u8]]) -> bool {
        let is = self.text.is_one_of(self.at, words);
        self.at += u32::from(is);
        is
    }

    /// The table's name; `None` where no rule lists it.
    fn table(&mut self) -> Result<Option<Target<'a>>, Refusal> {
        let first = self.at;
        let qualified = self.text.is(first + 1, b'.');
        let token = if qualified { first + 2 } else { first };
        let is_name = matches!(self.text.kind(token), Kind::Word | Kind::Name | Kind::QuotedName);
        if !self.text.is_name(first) || !is_name || self.text.is(token + 1, b'.') {
            return self.not_parsed();
        }
        self.at = token + 1;
        let own = self.text.name(token);
        let schema = if qualified {
            Some(self.text.name(first))
        } else {
            self.database.map(std::borrow::Cow::Borrowed)
        };
        match self.planner.table(schema.as_deref(), &own) {
            Meaning::Home => Ok(None),
            Meaning::OtherCase => {
                let what = format!("{} is written in another case than in the rules", shown(&own));
                Err(Refusal::new(Reason::NameCase, what))
            }
            Meaning::Listed(database, table) => {
                let schema = qualified.then_some(NameEdit { token: first, edit: Edit::Schema });
                let edits = schema.into_iter().chain([NameEdit { token, edit: Edit::Table }]).collect();
                let name = String::from_utf8_lossy(&own).into_owned();
                Ok(Some(Target { database, table, name, edits }))
            }
        }
    }

    fn charset(&mut self) -> Result<Option<String>, Refusal> {
        let named = self.word(b"CHARSET") || self.word(b"CHARACTER") && self.word(b"SET");
        if !named {
            return Ok(None);
        }
        let name = match self.text.kind(self.at) {
            Kind::Word => String::from_utf8_lossy(self.text.bytes(self.at)).into_owned(),
            Kind::String => String::from_utf8_lossy(&self.string()?).into_owned(),
            _ => return self.not_parsed(),
        };
        self.at += 1;
        Ok(Some(name.to_ascii_lowercase()))
    }

    /// The columns in parentheses, by their tokens and names; `None` for no list.
    fn columns(&mut self) -> Result<Option<Vec<Column>>, Refusal> {
        if !self.text.is(self.at, b'(') {
            return Ok(None);
        }
        if self.text.is(self.at + 1, b')') {
            // As if it were not there.
            return self.refuse("A file is loaded into {} with an empty list of columns");
        }
        let mut columns = Vec::new();
        loop {
            let token = self.at + 1;
            let is_variable = self.text.kind(token) == Kind::UserVariable;
            if !is_variable && !self.text.is_name(token) {
                return self.not_parsed();
            }
            let name = if is_variable { Vec::new() } else { self.text.name(token).into_owned() };
            if !is_variable && columns.iter().any(|(_, other): &Column| other.eq_ignore_ascii_case(&name)) {
                return self.refuse("A file for {} has two fields for one column");
            }
            columns.push((token, name));
            self.at = token + 1;
            if self.text.is(self.at, b')') {
                self.at += 1;
                return Ok(Some(columns));
            }
            if !self.text.is(self.at, b',') {
                return self.not_parsed();
            }
        }
    }
}
