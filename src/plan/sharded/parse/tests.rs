//! Trees of single expressions and statements.
