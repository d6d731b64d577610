//! SHOW: which forms tell of the data dictionary, of this one server, of the statement before.
//!
//! Owns: the second words of SHOW. Invariant: a form that is not listed is about one server.

use super::keywords::Keyword;
use super::lexer::Kind;
use super::model::{Class, Uses};
use super::scan::Scan;

/// The class of `SHOW …`, from its second word on.
pub(super) fn class(scan: &mut Scan<'_>) -> Class {
    let mut item = scan.next();
    while let Some(modifier) = item
        && matches!(modifier.keyword, Keyword::Full | Keyword::Extended)
    {
        item = scan.next();
    }
    let Some(subject) = item else {
        scan.uses |= Uses::DOUBT;
        return Class::Other;
    };
    match subject.keyword {
        Keyword::Tables | Keyword::Columns | Keyword::Fields | Keyword::Triggers | Keyword::Events => {
            Class::Show
        }
        Keyword::Index | Keyword::Indexes | Keyword::Keys => Class::Show,
        Keyword::Databases | Keyword::Schemas | Keyword::Collation | Keyword::Charset => Class::Show,
        Keyword::Character | Keyword::Char if scan.next_keyword() == Keyword::Set => Class::Show,
        Keyword::Table | Keyword::Library if scan.next_keyword() == Keyword::Status => Class::Show,
        Keyword::Procedure | Keyword::Function | Keyword::Package => Class::Show,
        Keyword::Privileges => Class::Show,
        Keyword::Create | Keyword::Grants => about_accounts(scan),
        Keyword::Warnings | Keyword::Errors => diagnostics(scan),
        Keyword::Count => diagnostics(scan),
        Keyword::Session | Keyword::Local if scan.next_keyword() == Keyword::Status => measures(scan),
        _ if is_profile(subject.token.text(scan.sql)) => measures(scan),
        _ if subject.token.kind == Kind::Word => Class::ShowServer,
        _ => {
            scan.uses |= Uses::DOUBT;
            Class::Other
        }
    }
}

fn diagnostics(scan: &mut Scan<'_>) -> Class {
    scan.uses |= Uses::DIAGNOSTICS;
    Class::Diagnostics
}

fn measures(scan: &mut Scan<'_>) -> Class {
    scan.uses |= Uses::MEASURES;
    Class::ShowServer
}

fn is_profile(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"profile") || word.eq_ignore_ascii_case(b"profiles")
}

/// SHOW CREATE …, SHOW GRANTS: `user@host` in them is no variable.
fn about_accounts(scan: &mut Scan<'_>) -> Class {
    let before = scan.uses;
    scan.drain();
    if !before.contains(Uses::USER_VARIABLE_READ) {
        scan.uses.remove(Uses::USER_VARIABLE_READ);
    }
    Class::Show
}
