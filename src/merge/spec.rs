//! What a plan says of a merge.
//!
//! Owns: the vocabulary. Does not know: types of columns, which only the shards' definitions tell.
//! Invariant: places count from 0 and are those of the shards' rows, hidden columns included, unless said otherwise.

/// How several shards' rows become one result. The default passes all rows on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Spec {
    /// How each shard's rows come.
    pub arrival: Arrival,
    /// Levels of groups, of which the shards send more than count (MariaDB's WITH ROLLUP).
    pub levels: Vec<Level>,
    /// Which rows become one.
    pub combine: Combine,
    /// Which of the combined rows are in the result: HAVING. Places are those of the combined rows.
    pub having: Option<Condition>,
    /// The result's order where it is not that of arrival: all rows are kept until the last has come. Places are those of
    /// the combined rows.
    pub order: Vec<Key>,
    /// So many columns at the end of the combined rows are not for the client.
    pub hidden: usize,
    /// Columns of the combined rows that a server computes, when all rows have come.
    pub finished: Vec<Finished>,
    /// The result's columns belong to no table, though the shards' do: a UNION's, around which columns were added.
    pub anonymous: bool,
    /// Which of the result's rows the client gets.
    pub limit: Limit,
}

/// The order in which each shard sends its rows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Arrival {
    /// Any; rows are taken as they come.
    #[default]
    Any,
    /// By these keys on every shard; the least row of all shards is taken next.
    Sorted(Vec<Key>),
}

/// Which rows become one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Combine {
    /// None.
    #[default]
    Rows,
    /// Those that agree in the keys: DISTINCT. The first stays.
    Distinct(Vec<Key>),
    /// Those of a group.
    Groups(Groups),
}

/// GROUP BY and aggregates. Each shard sends one row for each of its groups, or several that are finer (where an
/// aggregate is DISTINCT or ordered).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Groups {
    /// What the rows of a group agree in; none: all rows are one group.
    pub keys: Vec<Key>,
    /// The combined rows' columns.
    pub outputs: Vec<Output>,
    /// There is a row even where no shard sends any: aggregates without GROUP BY.
    pub always: bool,
}

/// What tells rows of one level of groups from those of others, for one column of GROUP BY. Places are those of the shards' rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Level {
    /// Of the column.
    pub value: usize,
    /// NULL where the row is a sum over the column; then its value must be NULL.
    pub sum: usize,
    /// NULL where the row is no group of the column's values. A row where only this one is NULL does not count.
    pub whole: usize,
}

/// A column of a group's row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Output {
    /// The shards' column that gives its definition, and its values unless `fold` names others. A shard computes the very
    /// expression that the client asked for, so that name and type are the server's own.
    pub place: usize,
    /// How a group's values become one.
    pub fold: Fold,
}

/// How the values of a group become one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fold {
    /// The first that is not NULL: group columns, ANY_VALUE, what depends on the group columns.
    Any,
    /// COUNT: they add up.
    Count,
    /// SUM.
    Sum,
    /// SUM of values that have more digits than their type tells: the same with all of them at this place (MariaDB).
    SumOf(usize),
    /// AVG, out of SUM and COUNT of the same values.
    Average {
        /// Place of the shards' SUM.
        sum: usize,
        /// Place of the shards' COUNT.
        count: usize,
    },
    /// MIN: the value whose key is least. The key's own direction is of no effect.
    Least(Key),
    /// MAX.
    Greatest(Key),
    /// BIT_AND, of integers or of equally long bytes.
    BitAnd,
    /// BIT_OR.
    BitOr,
    /// BIT_XOR.
    BitXor,
    /// COUNT(DISTINCT …): rows whose keys are new in the group, and none of them NULL.
    CountDistinct(Vec<Key>),
    /// SUM(DISTINCT …).
    SumDistinct(Distinct),
    /// AVG(DISTINCT …).
    AverageDistinct(Distinct),
    /// GROUP_CONCAT.
    Concat(Concat),
    /// Arithmetic over other outputs of the group. The shards compute it as well, for its definition.
    Expression(Expression),
    /// JSON_ARRAYAGG.
    JsonArray {
        /// Between two elements: a comma, and in MySQL a space.
        separator: Vec<u8>,
        /// MariaDB's `group_concat_max_len`; MySQL has no such bound.
        length_max: Option<Length>,
    },
    /// JSON_OBJECTAGG.
    JsonObject {
        /// MySQL: by the keys' lengths, then by their bytes, and of equal ones the last stays. MariaDB keeps all as they come.
        sorted: bool,
    },
    /// STDDEV, VARIANCE and their kin.
    Deviation(Deviation),
    /// Another output, which is an average, with all digits that a server computes with.
    Whole(usize),
    /// None: a server computes it in the end, of other outputs ([`Spec::finished`]).
    Finished,
}

/// A column that a server computes of a combined row's other columns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finished {
    /// Its place among the outputs.
    pub place: usize,
    /// The expression.
    pub words: Vec<Word>,
    /// Outputs may be texts: nothing in it depends on their collations.
    pub texts: bool,
    /// Outputs must all be exact, or all DOUBLE: what is computed of them as one is not what it is as the other.
    pub alike: bool,
}

/// A part of an expression.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Word {
    /// SQL.
    Sql(Vec<u8>),
    /// The value of an output.
    Output(usize),
    /// That of an output which has more digits than its type tells ([`Fold::Whole`]).
    Whole(usize),
}

/// What STDDEV and its kin are made of, all of the same values; sum and variance as DOUBLE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deviation {
    /// Place of the shards' COUNT.
    pub count: usize,
    /// Place of their SUM.
    pub sum: usize,
    /// Place of their VAR_POP.
    pub variance: usize,
    /// Of a sample: divided by one less than there are values.
    pub sample: bool,
    /// The root of it.
    pub root: bool,
}

/// How long a text that is joined may be, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Length {
    /// So long.
    Is(usize),
    /// As the shards say at this place.
    At(usize),
}

/// Arithmetic over a group's aggregates, as the servers compute it with exact numbers and with DOUBLE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expression {
    /// The number of another output, counted among the outputs; no expression.
    Output(usize),
    /// A literal as it is written.
    Number(Vec<u8>),
    /// One and another. A division must be the outermost operation, or the first operand of an outermost `IfNull`: what servers
    /// round a quotient to that they go on with differs.
    Arithmetic(Box<Expression>, Operator, Box<Expression>),
    /// The first, or where it is NULL the second: IFNULL, COALESCE.
    IfNull(Box<Expression>, Box<Expression>),
    /// ROUND.
    Round {
        /// Of this.
        value: Box<Expression>,
        /// To so many digits behind the point, a literal.
        digits: Vec<u8>,
        /// No more than the value has by its type: MySQL.
        clipped: bool,
    },
    /// An operation inside others, rounded to the digits of its type: MySQL.
    Declared(Box<Expression>),
}

/// What is done with two numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // the operators' names
pub enum Operator {
    Plus,
    Minus,
    Times,
    Over,
}

/// The values of an aggregate over distinct ones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Distinct {
    /// Place of the shards' `SUM(DISTINCT …)`, whose rows are so fine that each has one value.
    pub value: usize,
    /// What tells values apart.
    pub key: Key,
}

/// GROUP_CONCAT's arguments. Values are joined as they arrive: an ORDER BY is the arrival's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Concat {
    /// Place of the text to join.
    pub value: usize,
    /// Between two values, in the character set of the result.
    pub separator: Vec<u8>,
    /// With DISTINCT: what tells values apart.
    pub distinct: Option<Vec<Key>>,
    /// Place of a count: so often the value stands in the result, or once with `distinct`. Without, the values are texts that
    /// the shards' own GROUP_CONCAT has joined.
    pub times: Option<usize>,
    /// `group_concat_max_len`: the result is cut here.
    pub length_max: Length,
}

/// What is asked of a combined row: true, false, or NULL, which is not true.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    /// A comparison of numbers; NULL where either is.
    Compare(Operand, Test, Operand),
    /// Whether there is no value.
    IsNull(Operand),
    /// The contrary.
    Not(Box<Condition>),
    /// AND.
    All(Vec<Condition>),
    /// OR.
    Any(Vec<Condition>),
}

impl Condition {
    /// Whether it asks of a column for which `is` holds.
    pub fn asks(&self, is: &impl Fn(usize) -> bool) -> bool {
        let of = |operand: &Operand| matches!(operand, Operand::Column(place) if is(*place));
        match self {
            Self::Compare(left, _, right) => of(left) || of(right),
            Self::IsNull(operand) => of(operand),
            Self::Not(condition) => condition.asks(is),
            Self::All(list) | Self::Any(list) => list.iter().any(|condition| condition.asks(is)),
        }
    }
}

/// One side of a comparison.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operand {
    /// The number at this place.
    Column(usize),
    /// A literal as it is written: an integer, a decimal, or with an exponent a DOUBLE.
    Number(Vec<u8>),
}

/// How two numbers are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // the operators' names
pub enum Test {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A value to compare by. Its column's definition says how; where that is not enough, hidden columns help.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Key {
    /// Place of the value.
    pub place: usize,
    /// From the greatest down.
    pub descending: bool,
    /// For text.
    pub weight: Option<Weight>,
    /// Place of its number: `column + 0` for ENUM and SET, or bytes that sort as it does (MySQL's WEIGHT_STRING of a column);
    /// `column + 0e0` for FLOAT in the text protocol.
    pub number: Option<usize>,
}

/// What text is compared by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Weight {
    /// Place of its `WEIGHT_STRING`.
    pub place: usize,
    /// Whether trailing spaces count.
    pub pad: Pad,
}

/// What a text that ends is continued by when it is compared to a longer one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pad {
    /// Nothing: binary strings and NO PAD collations.
    None,
    /// Spaces, each of this weight: PAD SPACE collations.
    Space(Vec<u8>),
    /// Place of a column that holds a space's weight, or nothing for NO PAD.
    At(usize),
}

/// LIMIT, applied to the result. Shards are asked for `offset + count` rows where their order allows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limit {
    /// Rows to leave out at the start.
    pub offset: u64,
    /// Rows to give.
    pub count: Option<u64>,
}

impl Key {
    /// The value at `place`, ascending, compared by its type alone.
    pub fn at(place: usize) -> Self {
        Self { place, ..Self::default() }
    }

    /// The other way around.
    pub fn descending(self) -> Self {
        Self { descending: !self.descending, ..self }
    }

    /// Text, compared by its `WEIGHT_STRING`.
    pub fn weighed(self, place: usize, pad: Pad) -> Self {
        Self { weight: Some(Weight { place, pad }), ..self }
    }

    /// Compared by the number at `place` where the type has none that is sent.
    pub fn numbered(self, place: usize) -> Self {
        Self { number: Some(place), ..self }
    }
}
