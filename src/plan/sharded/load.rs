//! LOAD DATA LOCAL INFILE into a sharded table, or a reference table.
//!
//! Owns: how the file is read, and which of its fields are a row's key. Does not know: the file. Invariant: what a server could read in another
//! way than is known here is refused; every row can be given to a server by itself, as it stands in the file.

use super::copies::VARYING;
use super::edits::{Edit, NameEdit, Piece};
use super::keys::KeySource;
use super::parse::text::{At, Text};
use super::planned::Planned;
use super::planner::{Meaning, Planner};
use super::refusal::{Reason, Refusal, shown};
use super::route::Request;
use super::unlisted::Unlisted;
use super::values::{Arguments, Read};
use crate::generate::Sequence;
use crate::shard::{Database, Generate, GenerateBy, Table};
use crate::sql::file::Format;
use crate::sql::lexer::Kind;
use crate::sql::{self, Uses, quoted};

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

/// A column of a file's rows of which Tidegate makes values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadMakes {
    /// How they are made.
    pub by: GenerateBy,
    /// Whose they are.
    pub sequence: Sequence,
    /// The column.
    pub column: String,
    /// Its place among the fields of a row; `None` where the statement does not list it: it is the first one for a shard.
    pub place: Option<usize>,
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

/// Functions whose value is another one for every row, wherever it is.
const BY_ROW: &[&[u8]] = &[b"RAND", b"RANDOM_BYTES", b"SYSDATE", b"SYS_GUID", b"UUID"];

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

    /// What Tidegate makes of the rows.
    fn makes(
        &self,
        into: &Target<'_>,
        columns: &[Column],
        format: &Format,
    ) -> Result<Option<LoadMakes>, Refusal> {
        let Some(Generate { column, by }) = into.table.generate() else { return Ok(None) };
        let is_in_value = match by {
            GenerateBy::Snowflake | GenerateBy::Segment => u8::is_ascii_digit,
            GenerateBy::UuidV7 => |byte: &u8| byte.is_ascii_hexdigit() || *byte == b'-',
            GenerateBy::UuidV7Binary => {
                let column = shown(column.as_bytes());
                return self.refuse(&format!("A file is loaded into {{}}, whose {column} is made of bytes"));
            }
        };
        let Format { field_end, line_end, enclosed, escaped, .. } = format;
        let mut marks = field_end.iter().chain(line_end).chain(enclosed).chain(escaped);
        if marks.any(is_in_value) {
            let column = shown(column.as_bytes());
            let what = format!(
                "Fields of a file for {{}} are marked by what its {column}, which Tidegate makes, is made of"
            );
            return self.refuse(&what);
        }
        let sequence = Sequence { database: into.database.name.clone(), table: into.name.clone() };
        let (column, by) = (column.clone(), *by);
        Ok(Some(LoadMakes { by, sequence, place: place_of(columns, &column), column }))
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

    /// What a string stands for, or a number in hexadecimal digits.
    fn string(&self) -> Result<Vec<u8>, Refusal> {
        let source = KeySource::of_tokens(self.text, self.at..self.at + 1);
        match source.map(|source| self.arguments.read(source)) {
            Some(Read::Text(bytes, _)) if self.text.kind(self.at) == Kind::String => Ok(bytes.into_owned()),
            Some(Read::Bytes(bytes)) => Ok(bytes),
            _ => self.not_parsed(),
        }
    }

    /// The string behind `words`, where they stand here.
    fn mark(&mut self, words: [&[u8]; 2]) -> Result<Option<Vec<u8>>, Refusal> {
        if !(self.text.is_word(self.at, words[0]) && self.text.is_word(self.at + 1, words[1])) {
            return Ok(None);
        }
        self.at += 2;
        let mark = self.string()?;
        self.at += 1;
        if !mark.is_ascii() {
            return self.refuse("The fields or lines of a file for {} are marked by characters beyond ASCII");
        }
        Ok(Some(mark))
    }

    /// The byte behind such words; `None` inside for none at all.
    fn byte(&mut self, words: [&[u8]; 2]) -> Result<Option<Option<u8>>, Refusal> {
        let Some(mark) = self.mark(words)? else { return Ok(None) };
        match mark[..] {
            [] => Ok(Some(None)),
            [byte] => Ok(Some(Some(byte))),
            _ => self.refuse("ENCLOSED BY or ESCAPED BY of a file for {} is more than one character"),
        }
    }

    fn format(&mut self) -> Result<Format, Refusal> {
        // Where backslashes escape nothing, they do not in files either, unless the statement says so.
        let usual = (!self.arguments.lexing.no_backslash_escapes).then_some(b'\\');
        let mut format = Format {
            field_end: b"\t".to_vec(),
            line_end: b"\n".to_vec(),
            line_start: Vec::new(),
            enclosed: None,
            escaped: usual,
        };
        if self.word_of(&[b"FIELDS", b"COLUMNS"]) {
            let before = self.at;
            loop {
                if let Some(mark) = self.mark([b"TERMINATED", b"BY"])? {
                    format.field_end = mark;
                } else if let Some(byte) = self.byte([b"ESCAPED", b"BY"])? {
                    format.escaped = byte;
                } else {
                    let optionally = self.text.is_word(self.at, b"OPTIONALLY");
                    self.at += u32::from(optionally);
                    match self.byte([b"ENCLOSED", b"BY"])? {
                        Some(byte) => format.enclosed = byte,
                        None if optionally || self.at == before => return self.not_parsed(),
                        None => break,
                    }
                }
            }
        }
        if self.word(b"LINES") {
            let before = self.at;
            loop {
                if let Some(mark) = self.mark([b"TERMINATED", b"BY"])? {
                    format.line_end = mark;
                } else if let Some(mark) = self.mark([b"STARTING", b"BY"])? {
                    format.line_start = mark;
                } else if self.at == before {
                    return self.not_parsed();
                } else {
                    break;
                }
            }
        }
        if format.field_end.is_empty() || format.line_end.is_empty() {
            return self.refuse("A file for {} has rows of fixed widths: FIELDS or LINES TERMINATED BY ''");
        }
        if format.field_end == format.line_end {
            return self.refuse("The fields of a file for {} end as its lines do");
        }
        Ok(format)
    }

    /// IGNORE … LINES: none of a shard's.
    fn ignored(&mut self, edits: &mut Vec<NameEdit>) -> Result<u64, Refusal> {
        if !self.word(b"IGNORE") {
            return Ok(0);
        }
        let count = std::str::from_utf8(self.text.bytes(self.at)).ok().and_then(|digits| digits.parse().ok());
        let Some(count) = count.filter(|_| self.text.kind(self.at) == Kind::Integer) else {
            return self.not_parsed();
        };
        edits.push(NameEdit { token: self.at, edit: Edit::Text(b"0".to_vec()) });
        self.at += 1;
        if self.word_of(&[b"LINES", b"ROWS"]) { Ok(count) } else { self.not_parsed() }
    }

    /// SET, up to the end: the columns that it gives values.
    fn assigned(&mut self, table: &Table) -> Result<Vec<Vec<u8>>, Refusal> {
        if self.at < self.text.len() && !self.text.is_word(self.at, b"SET") {
            return self.not_parsed();
        }
        let behind = self.at + 1;
        let (mut columns, mut depth, mut begins) = (Vec::new(), 0u32, true);
        for at in behind..self.text.len() {
            if begins {
                if !self.text.is_name(at) || !self.text.is(at + 1, b'=') {
                    return self.refuse("A file is loaded into {} with SET of what is no plain column");
                }
                columns.push(self.text.name(at).into_owned());
            }
            match self.text.kind(at) {
                Kind::Punct(b'(') => depth += 1,
                Kind::Punct(b')') => depth = depth.saturating_sub(1),
                Kind::Punct(b'.') => {
                    return self.refuse("A file is loaded into {} with SET and qualified names");
                }
                Kind::Assign => {
                    return self.refuse("A file is loaded into {} with SET that gives variables values");
                }
                Kind::Word if self.text.is_one_of(at, &[b"SELECT", b"TABLE", b"VALUES", b"WITH"]) => {
                    return self.refuse("A file is loaded into {} with SET and a subquery");
                }
                _ => {}
            }
            begins = depth == 0 && self.text.is(at, b',');
        }
        if begins && self.at < self.text.len() {
            return self.not_parsed();
        }
        self.values_of_set(behind, table)?;
        self.at = self.text.len();
        Ok(columns)
    }

    /// What SET computes is the same at every shard, and on every copy.
    fn values_of_set(&self, behind: At, table: &Table) -> Result<(), Refusal> {
        let mut probe = b"SELECT".to_vec();
        for at in behind..self.text.len() {
            probe.push(b' ');
            probe.extend_from_slice(self.text.bytes(at));
        }
        let uses = sql::recognise(&probe, self.arguments.lexing).uses;
        if behind < self.text.len() && !uses.difference(Uses::USER_VARIABLE_READ).is_empty() {
            return self.refuse(
                "A file is loaded into {} with SET by a function that is not known, or of one server",
            );
        }
        let names = |at: &At| self.text.is(at + 1, b'(') || self.text.is_reserved(*at);
        let varies = |at: &At| self.text.is_one_of(*at, VARYING) && names(at);
        let differs = |at: &At| varies(at) && !self.text.is_one_of(*at, BY_ROW);
        let is_copied = matches!(table, Table::Reference { .. });
        match (behind..self.text.len()).find(|at| if is_copied { varies(at) } else { differs(at) }) {
            None => Ok(()),
            Some(at) => {
                let function = shown(self.text.bytes(at));
                self.refuse(&format!(
                    "A file is loaded into {{}} with SET by {function}, which differs from server to server"
                ))
            }
        }
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
