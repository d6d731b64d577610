//! Which calls make one value of many rows.
//!
//! Owns: the list. Does not know: how values of several shards become one (`whole`). Invariant: it has all of both dialects' aggregates.

use super::super::parse::text::Text;
use super::super::parse::tree::{Call, Expr, ExprKind};

/// Functions that make one value of many rows.
const AGGREGATES: &[&[u8]] = &[
    b"ANY_VALUE",
    b"AVG",
    b"BIT_AND",
    b"BIT_OR",
    b"BIT_XOR",
    b"COUNT",
    b"GROUP_CONCAT",
    b"GROUPING",
    b"JSON_ARRAYAGG",
    b"JSON_OBJECTAGG",
    b"MAX",
    b"MEDIAN",
    b"MIN",
    b"PERCENTILE_CONT",
    b"PERCENTILE_DISC",
    b"STD",
    b"STDDEV",
    b"STDDEV_POP",
    b"STDDEV_SAMP",
    b"ST_COLLECT",
    b"SUM",
    b"VARIANCE",
    b"VAR_POP",
    b"VAR_SAMP",
];

/// Whether the call is one.
pub(super) fn is_aggregate(text: &Text, call: &Call) -> bool {
    let name = text.name(call.name.last());
    AGGREGATES.iter().any(|aggregate| aggregate.eq_ignore_ascii_case(&name))
}

/// Whether DISTINCT makes no difference to it.
pub(super) fn is_extreme(text: &Text, call: &Call) -> bool {
    let name = text.name(call.name.last());
    [&b"MIN"[..], b"MAX", b"BIT_AND", b"BIT_OR"].iter().any(|own| own.eq_ignore_ascii_case(&name))
}

/// Whether one stands in the expression, those inside other queries left out.
pub(super) fn has_aggregate(text: &Text, expr: &Expr) -> bool {
    let own = matches!(&expr.kind, ExprKind::Call(call) if is_aggregate(text, call));
    own || expr.children().any(|child| has_aggregate(text, child))
}

/// Whether an average stands in the expression: a server computes with more digits of it than it shows.
pub(super) fn has_average(text: &Text, expr: &Expr) -> bool {
    let own = matches!(&expr.kind, ExprKind::Call(call) if is_average(text, call));
    own || expr.children().any(|child| has_average(text, child))
}

/// Whether the call is AVG.
pub(super) fn is_average(text: &Text, call: &Call) -> bool {
    text.name(call.name.last()).eq_ignore_ascii_case(b"AVG")
}
