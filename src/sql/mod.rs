//! The lexer pass: what a statement is, by its bytes, before any parser.
//!
//! Owns: class, uses, hints, digest, literals' spans, named tables, for the languages of MySQL and MariaDB.
//! Does not know: sessions, servers, rules. Invariant: never panics, never allocates in `recognise`,
//! linear in the statement's length; in doubt the answer is the one that sends the statement to the primary.

mod definitions;
mod digest;
mod effects;
pub mod file;
mod functions;
mod keywords;
pub mod lexer;
mod model;
mod outline;
mod own;
mod own_id;
mod phrase;
mod question;
mod recognise;
mod reduce;
mod scan;
mod set;
mod shape;
mod show;
mod splice;
mod tableless;
mod tables;
mod transaction;
mod unreported;
mod variables;
mod words;

#[cfg(test)]
pub(crate) mod tests;

pub use definitions::{changes_accounts, defines_no_table, tables_created};
pub use digest::{DIGEST_TEXT_MAX, digest, digest_text};
pub use effects::{Effect, LockKind, effects};
pub use functions::{is_built_in, pure_functions};
pub use keywords::is_reserved;
pub use model::*;
pub use outline::*;
pub use own::{Own, own_statement};
pub use own_id::{BEFORE_LIST, Counts, count_edits, own_id_edits};
pub use phrase::first_word;
pub use question::{BareQuestion, Question, bare_question, parse_kill, shows_warnings};
pub use recognise::recognise;
pub use scan::{is_system_schema, quoted};
pub use shape::shape;
pub use splice::{Edit, ListedTable, listed_tables, shows_processlist, splice};
pub use tableless::uses_no_table;
pub use transaction::{
    Ending, SavepointVerb, ending, is_bare_end, loads, may_switch_autocommit_on, releases, savepoint,
};
pub use unreported::{global_variables, set_for_statement, unscoped_variables, used_database};
pub use variables::{
    PreparedText, TextCommand, executes_text, prepared_texts, row_count_targets, text_command,
    user_variables, user_variables_read,
};
