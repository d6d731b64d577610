//! Rows of several shards become one result.
//!
//! Owns: merging in order, DISTINCT, groups and their aggregates, LIMIT, hidden columns, in both protocols. Does not
//! know: statements, connections, who waits for what. Invariant: pure (no I/O, no clock); what it gives is what one
//! server with all the rows gives, or an error; what it keeps is bounded: a row per shard, and what it is
//! allowed for groups, distinct values and sorting.
//!
//! ```text
//!  push ─▶ arrival ─▶ combine ─▶ having ─▶ order ─▶ limit ─▶ hidden columns cut ─▶ next
//! ```

mod aggregate;
mod bits;
mod combiner;
mod concat;
mod condition;
mod decimal;
mod decimal_key;
mod deviation;
mod error;
mod expression;
mod finish;
mod groups;
mod heads;
mod json;
mod key;
mod merger;
mod meter;
mod number;
mod real;
mod row;
mod rule;
mod seen;
mod sorter;
mod source;
mod spec;
mod temporal;
#[cfg(test)]
mod tests;
mod work;

pub use error::{Error, Needs};
pub use finish::Finisher;
pub use merger::Merger;
pub use meter::{Budget, Purse};
pub use row::Format;
pub use spec::{
    Arrival, Combine, Concat, Condition, Deviation, Distinct, Expression, Finished, Fold, Groups, Key,
    Length, Level, Limit, Operand, Operator, Output, Pad, Spec, Test, Weight, Word,
};

/// Bounds of a merge, as the session has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Bytes that groups, distinct values, rows to be sorted and the shards' next rows may take together.
    pub memory_max: usize,
    /// `max_sort_length`: so many bytes of text decide the shards' order.
    pub sort_length_max: usize,
}

/// What a merger can do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A row's payload has been appended.
    Row,
    /// A shard's next row, or its end, must be known first.
    Wants(Want),
    /// The result is complete. Rows that shards still have are of no use.
    Done,
}

/// Which shard's row is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Want {
    /// This one's. Others may be told of too, while they are wanted themselves.
    Shard(usize),
    /// That of any shard that has not ended.
    Any,
}
