//! The user variables that a statement names.
//!
//! Owns: when two spellings are one variable. Does not know: values. Invariant: a name that is given out is printable
//! ASCII in lower case, without quotes of any kind, so that it can be written between backticks everywhere.

use super::lexer::{Kind, Lexer, Token};
use super::model::{LexCharset, Lexing};
use super::phrase::{code, tokens};
use super::scan::unquoted;

/// Longest name of a user variable, in bytes of plain ASCII.
const NAME_MAX: usize = 64;

/// The names of the user variables in a packet, each once, in lower case; `None` where one of them is written in a way
/// that cannot be compared here, as names beyond ASCII, which the servers compare by a collation.
pub fn user_variables(sql: &[u8], lexing: &Lexing) -> Option<Vec<Vec<u8>>> {
    collect(sql, lexing, false)
}

/// Those of them whose value the packet's statements may read: all but the targets of SET and GET DIAGNOSTICS.
pub fn user_variables_read(sql: &[u8], lexing: &Lexing) -> Option<Vec<Vec<u8>>> {
    collect(sql, lexing, true)
}

fn collect(sql: &[u8], lexing: &Lexing, read_only: bool) -> Option<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    let mut tokens = code(sql, lexing).peekable();
    let (mut depth, mut opens_item) = (0u32, true);
    while let Some(token) = tokens.next() {
        let opened = std::mem::replace(&mut opens_item, false);
        match token.kind {
            Kind::Punct(b'(') => depth += 1,
            Kind::Punct(b')') => depth = depth.saturating_sub(1),
            Kind::Punct(b',' | b';') => opens_item = depth == 0,
            // SET @a = …, GET DIAGNOSTICS @a = …, GET DIAGNOSTICS CONDITION 1 @a = …
            Kind::Word | Kind::Integer => opens_item = depth == 0,
            Kind::UserVariable => {
                let assigned =
                    tokens.peek().is_some_and(|next| matches!(next.kind, Kind::Assign | Kind::Punct(b'=')));
                if read_only && opened && assigned && depth == 0 {
                    continue;
                }
                let name = name_of(token.text(sql))?;
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            _ => {}
        }
    }
    Some(names)
}

/// Those that a packet with one statement, GET DIAGNOSTICS, gives the row count.
pub fn row_count_targets(sql: &[u8], lexing: &Lexing) -> Vec<Vec<u8>> {
    let target = |item: &[Token]| match item {
        [target, equals, what] if what.text(sql).eq_ignore_ascii_case(b"row_count") => {
            let assigns = (target.kind, equals.kind) == (Kind::UserVariable, Kind::Punct(b'='));
            assigns.then(|| name_of(target.text(sql))).flatten()
        }
        _ => None,
    };
    tokens(sql, lexing).windows(3).filter_map(target).collect()
}

fn name_of(token: &[u8]) -> Option<Vec<u8>> {
    let name = match token.strip_prefix(b"@")? {
        [b'\'', inner @ .., b'\''] => inner,
        name => unquoted(name),
    };
    let plain = |byte: &u8| (b' '..=b'~').contains(byte) && !matches!(byte, b'`' | b'\'' | b'"' | b'\\');
    (!name.is_empty() && name.len() <= NAME_MAX && name.iter().all(plain)).then(|| name.to_ascii_lowercase())
}

/// A text that PREPARE or EXECUTE IMMEDIATE names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PreparedText {
    /// Written in the statement; without its quotes.
    Literal(Vec<u8>),
    /// The value of this user variable.
    Variable(Vec<u8>),
}

/// What the one statement of a packet does with a prepared text; names in lower case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TextCommand {
    /// PREPARE name FROM text.
    Prepare(Vec<u8>, PreparedText),
    /// EXECUTE name [USING …].
    Execute(Vec<u8>),
    /// DEALLOCATE PREPARE, DROP PREPARE.
    Deallocate(Vec<u8>),
}

/// The command in a packet with a single one; `None` for others, and for names that may be written in other ways than in upper and lower case.
pub fn text_command(sql: &[u8], lexing: &Lexing) -> Option<TextCommand> {
    let mut tokens = code(sql, lexing).peekable();
    let verb = tokens.next()?.text(sql).to_ascii_lowercase();
    if matches!(&*verb, b"deallocate" | b"drop") && !tokens.next()?.text(sql).eq_ignore_ascii_case(b"prepare")
    {
        return None;
    }
    let token = tokens.next()?;
    let name = unquoted(token.text(sql));
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
    let is_name = matches!(token.kind, Kind::Word | Kind::Name | Kind::QuotedName);
    if !is_name || name.is_empty() || name.len() > NAME_MAX || !name.iter().all(plain) {
        return None;
    }
    let name = name.to_ascii_lowercase();
    match &*verb {
        b"prepare" => match &mut prepared_texts(sql, lexing)?[..] {
            [text] => Some(TextCommand::Prepare(name, text.clone())),
            _ => None,
        },
        b"execute" if !name.eq_ignore_ascii_case(b"immediate") => Some(TextCommand::Execute(name)),
        b"deallocate" | b"drop" => {
            tokens.all(|token| token.kind == Kind::Punct(b';')).then_some(TextCommand::Deallocate(name))
        }
        _ => None,
    }
}

/// The texts that the statements of a packet may prepare: what follows FROM or IMMEDIATE. `None` where it is an
/// expression, or a literal in which a backslash may be half of a character.
pub fn prepared_texts(sql: &[u8], lexing: &Lexing) -> Option<Vec<PreparedText>> {
    let mut texts = Vec::new();
    let mut tokens = code(sql, lexing).peekable();
    while let Some(token) = tokens.next() {
        let opens =
            [&b"from"[..], b"immediate"].iter().any(|word| token.text(sql).eq_ignore_ascii_case(word));
        if token.kind != Kind::Word || !opens {
            continue;
        }
        let text = tokens.next()?;
        texts.push(match text.kind {
            Kind::String => PreparedText::Literal(unescaped(text.text(sql), lexing)?),
            Kind::UserVariable => PreparedText::Variable(name_of(text.text(sql))?),
            _ => return None,
        });
        let ends =
            |token: &Token| token.kind == Kind::Punct(b';') || token.text(sql).eq_ignore_ascii_case(b"using");
        if tokens.peek().is_some_and(|token| !ends(token)) {
            return None;
        }
    }
    Some(texts)
}

/// The text that a literal stands for; white space for what else is escaped.
fn unescaped(quoted: &[u8], lexing: &Lexing) -> Option<Vec<u8>> {
    let (&quote, rest) = quoted.split_first()?;
    let mut inner = rest.strip_suffix(&[quote])?;
    let escapes = !lexing.no_backslash_escapes;
    if escapes && lexing.charset != LexCharset::AsciiSafe && inner.contains(&b'\\') {
        return None;
    }
    let mut text = Vec::with_capacity(inner.len());
    while let Some((&byte, after)) = inner.split_first() {
        inner = after;
        let escaped = byte == b'\\' && escapes;
        match inner.split_first() {
            Some((&next, after)) if escaped || byte == quote => {
                inner = after;
                text.push(if escaped && b"0bnrtZ".contains(&next) { b' ' } else { next });
            }
            _ => text.push(byte),
        }
    }
    Some(text)
}

/// Whether a packet with statements about prepared texts may run one.
pub fn executes_text(sql: &[u8], lexing: &Lexing) -> bool {
    let executes =
        |token: Token| token.kind == Kind::Word && token.text(sql).eq_ignore_ascii_case(b"execute");
    Lexer::new(sql, lexing).any(executes)
}

#[cfg(test)]
mod tests {
    use super::super::tests::MYSQL;
    use super::*;

    fn names(sql: &str) -> Option<Vec<String>> {
        let names = user_variables(sql.as_bytes(), &MYSQL)?;
        Some(names.into_iter().map(|name| String::from_utf8(name).unwrap()).collect())
    }

    #[test]
    fn each_variable_is_named_once_however_it_is_written() {
        let sql = "SELECT @a, @`B b`, @'a', @\"c\", @A := 1, @@session.x /* @no */, '@no' /*!50000 , @d */";
        assert_eq!(names(sql).unwrap(), ["a", "b b", "c", "d"]);
        assert_eq!(names("SELECT 1").unwrap(), [""; 0]);
    }

    #[test]
    fn commands_about_texts_are_told_by_name() {
        let command = |sql: &str| text_command(sql.as_bytes(), &MYSQL);
        let literal = PreparedText::Literal(b"SELECT 1".to_vec());
        assert_eq!(
            command("prepare `P` from 'SELECT 1'"),
            Some(TextCommand::Prepare(b"p".to_vec(), literal))
        );
        assert_eq!(command("EXECUTE p1 USING @a"), Some(TextCommand::Execute(b"p1".to_vec())));
        for sql in ["DEALLOCATE PREPARE p", "/* a */ drop prepare P;"] {
            assert_eq!(command(sql), Some(TextCommand::Deallocate(b"p".to_vec())));
        }
        for sql in
            ["EXECUTE IMMEDIATE 'SELECT 1'", "DROP TABLE p", "PREPARE ä FROM 'x'", "SELECT 1", "EXECUTE"]
        {
            assert_eq!(command(sql), None, "{sql}");
        }
    }

    #[test]
    fn texts_to_prepare_are_found_where_they_are_no_expressions() {
        let texts = |sql: &str| prepared_texts(sql.as_bytes(), &MYSQL);
        let literal = PreparedText::Literal(b"SELECT @a".to_vec());
        for sql in ["PREPARE p FROM 'SELECT @a'; EXECUTE p", "EXECUTE IMMEDIATE 'SELECT @a' USING @b"] {
            assert_eq!(texts(sql).unwrap(), std::slice::from_ref(&literal));
        }
        assert_eq!(texts("PREPARE p FROM @Text").unwrap(), [PreparedText::Variable(b"text".to_vec())]);
        assert_eq!(texts("EXECUTE IMMEDIATE CONCAT('a', 'b')"), None);
        assert_eq!(texts("EXECUTE IMMEDIATE 'a' 'b'"), None);
        assert_eq!(texts("DEALLOCATE PREPARE p").unwrap(), []);
        let quotes = PreparedText::Literal(b"SELECT 'a' , 'b'".to_vec());
        for sql in ["PREPARE p FROM 'SELECT \\'a\\'\\n, ''b'''", "PREPARE p FROM \"SELECT 'a' , 'b'\""] {
            assert_eq!(texts(sql).unwrap(), std::slice::from_ref(&quotes), "{sql}");
        }
        let executes = |sql: &str| executes_text(sql.as_bytes(), &MYSQL);
        assert!(executes("PREPARE p FROM 'x'; execute p") && !executes("PREPARE p FROM 'EXECUTE q'"));
    }

    #[test]
    fn targets_are_told_from_what_is_read() {
        let read = |sql: &str| user_variables_read(sql.as_bytes(), &MYSQL).unwrap().concat();
        assert_eq!(read("SET @a = 1, @b := ROW_COUNT()"), b"");
        assert_eq!(read("SET @a = @b + f(1, @c = 2), @d = @e = 1"), b"bce");
        assert_eq!(read("GET DIAGNOSTICS CONDITION 1 @a = MYSQL_ERRNO, @b = MESSAGE_TEXT"), b"");
        assert_eq!(read("GET DIAGNOSTICS CONDITION @c @a = MYSQL_ERRNO"), b"ca");
    }

    #[test]
    fn what_gets_the_row_count_is_told() {
        let targets = |sql: &str| row_count_targets(sql.as_bytes(), &MYSQL).join(&b' ');
        assert_eq!(
            targets("GET DIAGNOSTICS @a = NUMBER, @`B c` = /* x */ Row_Count, @d=ROW_COUNT"),
            b"b c d"
        );
        assert_eq!(targets("GET CURRENT DIAGNOSTICS CONDITION 1 @row_count = MESSAGE_TEXT"), b"");
        assert_eq!(targets("GET DIAGNOSTICS row_count = ROW_COUNT"), b"");
    }

    #[test]
    fn names_that_only_a_collation_can_compare_are_not_told() {
        assert_eq!(names("SET @é = 1"), None);
        assert_eq!(names("SET @`a``b` = 1"), None);
    }
}
