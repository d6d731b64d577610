//! Values that Tidegate makes for the rows of a file.
//!
//! Owns: of which column, and where that stands in a row. Does not know: the values. Invariant: a value can stand in a row as it is, whatever
//! marks its fields.

use super::{Column, Reader, Target, place_of};
use crate::generate::Sequence;
use crate::plan::sharded::refusal::{Refusal, shown};
use crate::shard::{Generate, GenerateBy};
use crate::sql::file::Format;

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

impl Reader<'_> {
    /// What Tidegate makes of the rows.
    pub(super) fn makes(
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
}
