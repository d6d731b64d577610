//! Why rows could not be merged.

/// A merge that cannot go on. Nothing of it is a guess: what has been given out until then is right.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// A row or a value is not what the column definitions say.
    #[error("a shard sent a row that does not fit its columns")]
    Malformed,
    /// The specification names a column that the shards' rows do not have.
    #[error("the merge names column {0}, which the shards' rows do not have")]
    NoColumn(usize),
    /// A column cannot be compared as it is sent; what would help is named.
    #[error("column {} of the shards' rows cannot be compared across shards: {needs}", .place + 1)]
    Incomparable {
        /// The column's place in the shards' rows.
        place: usize,
        /// What would make it comparable.
        needs: Needs,
    },
    /// A column's values cannot be folded in the way asked for.
    #[error("the values of column {0} cannot be combined across shards")]
    Unfoldable(usize),
    /// The specification compares with a literal that is no number.
    #[error("the merge compares with something that is no number")]
    NoNumber,
    /// A shard's rows do not come in the order that they were asked for, as it is understood here.
    #[error("shard {0} sent its rows in an order other than the merge's")]
    Unsorted(usize),
    /// A shard's columns are of other types than the first one's.
    #[error("shard {0} has other column definitions than the first: its tables differ")]
    Differing(usize),
    /// A shard that was not asked for a row has sent one.
    #[error("shard {0} sent a row out of turn")]
    OutOfTurn(usize),
    /// More would have to be kept than the bound allows.
    #[error(
        "merging the shards' rows needs more than the {0} bytes that one statement may keep (limits.merge_memory)"
    )]
    Memory(usize),
    /// The same for all merges together.
    #[error(
        "merging the shards' rows needs more than is left of the {0} bytes that all statements may keep (limits.merge_memory_total)"
    )]
    CommonMemory(usize),
    /// A sum has more digits than a DECIMAL can have.
    #[error("a sum across shards has more digits than DECIMAL holds")]
    Overflow,
    /// GROUP_CONCAT's result is longer than the session allows.
    #[error("GROUP_CONCAT across shards is longer than group_concat_max_len ({0} bytes)")]
    ConcatTooLong(usize),
}

impl Error {
    /// The code and SQLSTATE that MySQL has for it, or comes closest with.
    pub fn mysql_code(&self) -> (u16, &'static [u8; 5]) {
        match self {
            // ER_NOT_SUPPORTED_YET
            Self::NoColumn(_) | Self::Incomparable { .. } | Self::Unfoldable(_) | Self::NoNumber => {
                (1235, b"42000")
            }
            Self::Memory(_) | Self::CommonMemory(_) => (1038, b"HY001"), // ER_OUT_OF_SORTMEMORY
            Self::Overflow => (1690, b"22003"),                          // ER_DATA_OUT_OF_RANGE
            Self::ConcatTooLong(_) => (1260, b"HY000"),                  // ER_CUT_VALUE_GROUP_CONCAT
            // ER_UNKNOWN_ERROR
            Self::Malformed | Self::Unsorted(_) | Self::Differing(_) | Self::OutOfTurn(_) => (1105, b"HY000"),
        }
    }
}

/// What a column lacks to be compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needs {
    /// Its `WEIGHT_STRING` as a hidden column: text sorts by its collation.
    Weight,
    /// Its number (`column + 0`) as a hidden column: ENUM and SET sort by it, and FLOAT is rounded in text.
    Number,
    /// Nothing would help.
    Nothing,
}

impl std::fmt::Display for Needs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Weight => {
                "it is text whose weight is not asked for; sort or group by an expression without parameters"
            }
            Self::Number => {
                "its type is sorted by a number that is not asked for; sort or group by the column + 0"
            }
            Self::Nothing => "its type has no order that is known here; sort or group by CAST(… AS CHAR)",
        })
    }
}
