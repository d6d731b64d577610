//! What a statement makes, or ends, on its connection: temporary tables, locks, handlers and their kin, by name.
//!
//! Owns: the forms of the statements that do so, in both dialects. Does not know: whether they succeed.
//! Invariant: what is not surely understood is [`Effect::Untold`], so that nothing is taken to have ended that has not.

use super::lexer::Kind;
use super::model::Lexing;
use super::phrase::{Phrase, lower, tokens};
use super::scan::split_variable;

/// A lock that a statement takes for its connection, by what gives it back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LockKind {
    /// LOCK TABLES: UNLOCK TABLES, or the start of a transaction.
    Tables,
    /// FLUSH TABLES … WITH READ LOCK or FOR EXPORT: UNLOCK TABLES.
    Flush,
    /// LOCK INSTANCE FOR BACKUP: UNLOCK INSTANCE.
    Instance,
    /// MariaDB's BACKUP LOCK: BACKUP UNLOCK.
    Backup,
    /// MariaDB's BACKUP STAGE START: BACKUP STAGE END.
    Stage,
}

/// One thing that a statement does to its connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// CREATE TEMPORARY TABLE; the schema where it is written, and the name.
    Created(Option<Vec<u8>>, Vec<u8>),
    /// DROP TABLE, of a temporary or another table.
    Dropped(Option<Vec<u8>>, Vec<u8>),
    /// ALTER TABLE … RENAME, RENAME TABLE: temporary tables may have other names now.
    Renamed,
    /// HANDLER … OPEN, under this name.
    Opened(Vec<u8>),
    /// HANDLER … CLOSE.
    Closed(Vec<u8>),
    /// PREPARE; names in lower case.
    Prepared(Vec<u8>),
    /// DEALLOCATE PREPARE.
    Deallocated(Vec<u8>),
    /// A lock is taken.
    Locked(LockKind),
    /// A lock is given back.
    Unlocked(LockKind),
    /// XA START.
    XaBegun,
    /// XA COMMIT, XA ROLLBACK.
    XaEnded,
    /// GET_LOCK of this literal, as it is written.
    UserLock(Vec<u8>),
    /// GET_LOCK of the statement's parameter at this place.
    UserLockParameter(usize),
    /// RELEASE_ALL_LOCKS.
    UserLocksReleased,
    /// SET of a variable that binds the connection; true: back to what it is by itself.
    Bound(Vec<u8>, bool),
    /// SET ROLE with this text behind it.
    Role(Vec<u8>),
    /// Something of the kind that cannot be told from the text.
    Untold,
}

/// What the one statement of a packet does; [`Effect::Untold`] for several.
pub fn effects(sql: &[u8], lexing: &Lexing) -> Vec<Effect> {
    let tokens = tokens(sql, lexing);
    let end = tokens.iter().position(|token| token.kind == Kind::Punct(b';')).unwrap_or(tokens.len());
    if tokens[end..].iter().any(|token| token.kind != Kind::Punct(b';')) {
        return vec![Effect::Untold];
    }
    let mut words = Phrase { sql, tokens: &tokens[..end] };
    let found = match &*words.word().to_ascii_lowercase() {
        b"create" => created(words),
        b"drop" if words.take(b"prepare") => words.name().map(|name| vec![Effect::Deallocated(lower(name))]),
        b"drop" => dropped(words),
        b"rename" => Some(vec![Effect::Renamed]),
        b"alter" => {
            let renames = words.tokens.iter().any(|token| token.text(sql).eq_ignore_ascii_case(b"rename"));
            Some(if renames { vec![Effect::Renamed] } else { vec![] })
        }
        b"deallocate" => {
            words.take(b"prepare");
            words.name().map(|name| vec![Effect::Deallocated(lower(name))])
        }
        b"prepare" => words.name().map(|name| vec![Effect::Prepared(lower(name))]),
        b"execute" => Some(vec![]), // what its text does is the session's to know
        b"handler" => handler(words),
        b"lock" if words.take(b"instance") => Some(vec![Effect::Locked(LockKind::Instance)]),
        b"lock" => Some(vec![Effect::Locked(LockKind::Tables)]),
        b"unlock" if words.take(b"instance") => Some(vec![Effect::Unlocked(LockKind::Instance)]),
        b"unlock" => Some(vec![Effect::Unlocked(LockKind::Tables), Effect::Unlocked(LockKind::Flush)]),
        b"begin" | b"start" => Some(vec![Effect::Unlocked(LockKind::Tables)]),
        b"backup" => backup(words),
        b"flush" => Some(vec![Effect::Locked(LockKind::Flush)]),
        b"xa" => xa(words),
        b"set" => set(words),
        _ => user_locks(words),
    };
    found.unwrap_or_else(|| vec![Effect::Untold])
}

/// CREATE [OR REPLACE] TEMPORARY TABLE [IF NOT EXISTS] name.
fn created(mut words: Phrase<'_>) -> Option<Vec<Effect>> {
    if words.take(b"or") {
        words.word();
    }
    if !words.take(b"temporary") {
        return Some(vec![]);
    }
    if !words.take(b"table") {
        return None;
    }
    if words.take(b"if") {
        words.word();
        words.word();
    }
    let (schema, name) = words.table()?;
    Some(vec![Effect::Created(schema, name)])
}

/// DROP [TEMPORARY] TABLE [IF EXISTS] name, …
fn dropped(mut words: Phrase<'_>) -> Option<Vec<Effect>> {
    let temporary = words.take(b"temporary");
    if !words.take(b"table") && !words.take(b"tables") {
        return (!temporary).then(Vec::new);
    }
    if words.take(b"if") {
        words.word();
    }
    let mut effects = Vec::new();
    loop {
        let (schema, name) = words.table()?;
        effects.push(Effect::Dropped(schema, name));
        if !words.take(b",") {
            return Some(effects);
        }
    }
}

/// HANDLER table OPEN [[AS] alias], HANDLER alias CLOSE.
fn handler(mut words: Phrase<'_>) -> Option<Vec<Effect>> {
    let (_, table) = words.table()?;
    if words.take(b"open") {
        words.take(b"as");
        let alias = words.name().map_or(table, <[u8]>::to_vec);
        return Some(vec![Effect::Opened(alias)]);
    }
    Some(if words.take(b"close") { vec![Effect::Closed(table)] } else { vec![] })
}

fn backup(mut words: Phrase<'_>) -> Option<Vec<Effect>> {
    match &*lower(words.word()) {
        b"lock" => Some(vec![Effect::Locked(LockKind::Backup)]),
        b"unlock" => Some(vec![Effect::Unlocked(LockKind::Backup)]),
        b"stage" if words.take(b"end") => Some(vec![Effect::Unlocked(LockKind::Stage)]),
        b"stage" => Some(vec![Effect::Locked(LockKind::Stage)]),
        _ => None,
    }
}

fn xa(mut words: Phrase<'_>) -> Option<Vec<Effect>> {
    match &*lower(words.word()) {
        b"start" | b"begin" => Some(vec![Effect::XaBegun]),
        b"commit" | b"rollback" => Some(vec![Effect::XaEnded]),
        b"end" | b"prepare" | b"recover" => Some(vec![]),
        _ => None,
    }
}

/// SET ROLE, or assignments of which some bind the connection.
fn set(mut words: Phrase<'_>) -> Option<Vec<Effect>> {
    if words.take(b"role") {
        let first = words.tokens.first()?.start;
        let last = words.tokens.last()?.end;
        return Some(vec![Effect::Role(words.sql.get(first..last)?.to_vec())]);
    }
    let mut effects = Vec::new();
    while !words.tokens.is_empty() {
        let item = words.tokens.iter().position(|token| token.kind == Kind::Punct(b','));
        let mut rest = Phrase { tokens: &words.tokens[..item.unwrap_or(words.tokens.len())], ..words };
        words.tokens = item.map_or(&[], |at| &words.tokens[at + 1..]);
        let _scope = rest.take(b"session") || rest.take(b"local");
        let name = lower(split_variable(rest.word()).1);
        if !rest.take(b"=") && !rest.take(b":=") {
            return None;
        }
        let value = lower(rest.word());
        if !super::set::binds(&name) {
            continue;
        }
        let restored = match (&*name, &*value) {
            _ if !rest.tokens.is_empty() => false,
            (_, b"default") | (b"timestamp", b"0") => true,
            (b"sql_log_bin", b"1" | b"on" | b"true") | (b"sql_log_off", b"0" | b"off" | b"false") => true,
            _ => false,
        };
        effects.push(Effect::Bound(name, restored));
    }
    Some(effects)
}

/// GET_LOCK('literal', …) and RELEASE_ALL_LOCKS() anywhere in a statement.
fn user_locks(mut words: Phrase<'_>) -> Option<Vec<Effect>> {
    let mut effects = Vec::new();
    let mut parameters = 0;
    while !words.tokens.is_empty() {
        parameters += usize::from(words.peek().is_some_and(|(kind, _)| kind == Kind::Placeholder));
        let word = lower(words.word());
        if !words.peek().is_some_and(|(kind, _)| kind == Kind::Punct(b'(')) {
            continue;
        }
        match &*word {
            b"get_lock" => {
                words.word();
                let (kind, text) = words.peek()?;
                words.word();
                if !words.peek().is_some_and(|(kind, _)| kind == Kind::Punct(b',')) {
                    return None;
                }
                effects.push(match kind {
                    Kind::String => Effect::UserLock(text.to_vec()),
                    Kind::Placeholder => Effect::UserLockParameter(parameters),
                    _ => return None,
                });
                parameters += usize::from(kind == Kind::Placeholder);
            }
            b"release_all_locks" => effects.push(Effect::UserLocksReleased),
            _ if word.starts_with(b"service_") || word.starts_with(b"version_tokens_") => return None,
            _ => {}
        }
    }
    Some(effects)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MARIADB, MYSQL};
    use super::*;

    fn of(sql: &str) -> Vec<Effect> {
        effects(sql.as_bytes(), &MYSQL)
    }

    fn text(text: &str) -> Vec<u8> {
        text.into()
    }

    #[test]
    fn temporary_tables_come_and_go_by_name() {
        let created = |schema: Option<&str>, name| vec![Effect::Created(schema.map(text), text(name))];
        assert_eq!(of("CREATE TEMPORARY TABLE a (x INT)"), created(None, "a"));
        assert_eq!(
            of("create temporary table if not exists `b`.`C d` AS SELECT 1;"),
            created(Some("b"), "C d")
        );
        let maria = effects(b"CREATE OR REPLACE TEMPORARY TABLE t LIKE u", &MARIADB);
        assert_eq!(maria, created(None, "t"));
        assert_eq!(
            of("DROP TEMPORARY TABLE IF EXISTS a, b.c CASCADE"),
            [Effect::Dropped(None, text("a")), Effect::Dropped(Some(text("b")), text("c"))]
        );
        assert_eq!(of("CREATE TABLE t (a INT)"), []);
        assert_eq!(of("DROP VIEW v"), []);
        assert_eq!(effects(b"CREATE TEMPORARY SEQUENCE s", &MARIADB), [Effect::Untold]);
    }

    #[test]
    fn handlers_and_texts_have_names() {
        assert_eq!(of("HANDLER t OPEN"), [Effect::Opened(text("t"))]);
        assert_eq!(of("HANDLER s.t OPEN AS u"), [Effect::Opened(text("u"))]);
        assert_eq!(of("HANDLER u READ FIRST"), []);
        assert_eq!(of("HANDLER u CLOSE"), [Effect::Closed(text("u"))]);
        assert_eq!(of("PREPARE P FROM 'x'"), [Effect::Prepared(text("p"))]);
        assert_eq!(of("EXECUTE p"), []);
        assert_eq!(of("DROP PREPARE p"), of("DEALLOCATE PREPARE P"));
    }

    #[test]
    fn locks_are_told_by_what_gives_them_back() {
        use LockKind as L;
        assert_eq!(of("LOCK TABLES t READ"), [Effect::Locked(L::Tables)]);
        assert_eq!(of("LOCK INSTANCE FOR BACKUP"), [Effect::Locked(L::Instance)]);
        assert_eq!(of("FLUSH TABLES t WITH READ LOCK"), [Effect::Locked(L::Flush)]);
        assert_eq!(of("UNLOCK TABLES"), [Effect::Unlocked(L::Tables), Effect::Unlocked(L::Flush)]);
        assert_eq!(of("UNLOCK INSTANCE"), [Effect::Unlocked(L::Instance)]);
        assert_eq!(of("START TRANSACTION"), [Effect::Unlocked(L::Tables)]);
        assert_eq!(effects(b"BACKUP STAGE END", &MARIADB), [Effect::Unlocked(L::Stage)]);
    }

    #[test]
    fn user_locks_have_the_names_that_are_written() {
        assert_eq!(of("SELECT GET_LOCK('a', 1), RELEASE_LOCK('b')"), [Effect::UserLock(text("'a'"))]);
        assert_eq!(of("DO RELEASE_ALL_LOCKS()"), [Effect::UserLocksReleased]);
        assert_eq!(
            of("SELECT ?, GET_LOCK(?, ?), GET_LOCK(?, 0), GET_LOCK('a', ?)"),
            [Effect::UserLockParameter(1), Effect::UserLockParameter(3), Effect::UserLock(text("'a'"))]
        );
        for sql in
            ["SELECT GET_LOCK(? + 1, 1)", "SELECT GET_LOCK('a' 'b', 1)", "SELECT GET_LOCK(CONCAT('a'), 1)"]
        {
            assert_eq!(of(sql), [Effect::Untold], "{sql}");
        }
    }

    #[test]
    fn settings_bind_until_they_are_taken_back() {
        let bound = |name, back| Effect::Bound(text(name), back);
        assert_eq!(of("SET SESSION sql_log_bin = 0"), [bound("sql_log_bin", false)]);
        assert_eq!(of("SET @@session.SQL_LOG_BIN = ON"), [bound("sql_log_bin", true)]);
        assert_eq!(of("SET timestamp = DEFAULT, a = 1 + 1"), [bound("timestamp", true)]);
        assert_eq!(of("SET timestamp = 1 + 1, @a = 2"), [bound("timestamp", false)]);
        assert_eq!(of("SET ROLE 'a', `b`"), [Effect::Role(text("'a', `b`"))]);
    }

    #[test]
    fn several_statements_are_not_told() {
        assert_eq!(of("SELECT 1; DROP TABLE t"), [Effect::Untold]);
        assert_eq!(of(""), []);
        assert_eq!(of("XA START 'a'"), [Effect::XaBegun]);
        assert_eq!(of("XA ROLLBACK 'a'"), [Effect::XaEnded]);
    }
}
