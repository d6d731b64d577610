//! An expression with all the parentheses that its tree implies: what servers are asked, to prove that they read it as we do.
//!
//! Owns: the text. Does not know: servers; a scenario compares their answers to both texts.
//! Invariant: tokens stand in their order; only parentheses are added.

use sqlparser::parser::Parser;

use super::dialect::Ours;
use super::expression::Climb;
use super::text::{At, Text};
use super::tree::Expr;
use super::{Modes, RECURSION_MAX, bounds, feed};
use crate::sql::Lexing;

/// An expression without queries inside, every operand in parentheses; `None` when it is not understood.
pub fn bracketed(expression: &[u8], lexing: &Lexing, modes: Modes) -> Option<Vec<u8>> {
    let text = Text::new(expression, lexing);
    bounds(&text, None).ok()?;
    let tokens = feed::feed(&text, 0, None);
    let ours = Ours::new(text, None, modes.pipes_as_concat, modes.high_not_precedence);
    let mut parser =
        Parser::new(&ours).with_recursion_limit(RECURSION_MAX).with_tokens_with_locations(tokens);
    let mut climb = Climb { ours: &ours, parser: &mut parser };
    let tree = climb.expression().ok()?;
    climb.at().is_none().then(|| {
        let mut out = Vec::new();
        write(&ours.text, &tree, &mut out);
        out
    })
}

fn write(text: &Text, expr: &Expr, out: &mut Vec<u8>) {
    let mut at = expr.first;
    let mut children: Vec<&Expr> = expr.children().collect();
    children.sort_by_key(|child| child.first);
    for child in children {
        tokens(text, at, child.first, out);
        out.push(b'(');
        write(text, child, out);
        out.push(b')');
        at = child.end;
    }
    tokens(text, at, expr.end, out);
}

fn tokens(text: &Text, first: At, end: At, out: &mut Vec<u8>) {
    for at in first..end {
        // A function's name and its parenthesis stay together.
        let stays = text.is(at, b'(') || text.is(at, b'.') || at > 0 && text.is(at - 1, b'.');
        if !stays {
            out.push(b' ');
        }
        out.extend_from_slice(text.bytes(at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::tests::MYSQL;

    #[track_caller]
    fn check(expression: &str, expected: &str) {
        let found = bracketed(expression.as_bytes(), &MYSQL, Modes::default());
        let found = found.map(|found| String::from_utf8(found).unwrap().replace(' ', ""));
        assert_eq!(found.as_deref(), Some(&*expected.replace(' ', "")), "{expression}");
    }

    #[test]
    fn operators_bind_as_servers_bind_them() {
        check("id=5 && a=1", "((id)=(5)) && ((a)=(1))");
        check("a=1 OR b=2 AND c=3", "((a)=(1)) OR (((b)=(2)) AND ((c)=(3)))");
        check("a || b XOR c && d", "(a) || ((b) XOR ((c) && (d)))");
        check("NOT a = b", "NOT ((a) = (b))");
        check("! a = b", "(! (a)) = (b)");
        check("NOT a IN (1) AND b", "(NOT ((a) IN ((1)))) AND (b)");
        check("BINARY x = 'y' AND id = 5", "((BINARY (x)) = ('y')) AND ((id) = (5))");
        check("a LIKE BINARY 'x' AND id = 5", "((a) LIKE (BINARY ('x'))) AND ((id) = (5))");
        check("a = b ^ c | d", "(a) = (((b) ^ (c)) | (d))");
        check("a BETWEEN 1 AND 2 AND b", "((a) BETWEEN (1) AND (2)) AND (b)");
        check("a = b BETWEEN 1 AND 2", "(a) = ((b) BETWEEN (1) AND (2))");
        check("a <=> b IS NULL", "((a) <=> (b)) IS NULL");
        check("a = b = c", "(a) = (b) = (c)");
        check("a - b + c * d DIV e MOD f", "(a) - (b) + ((c) * (d) DIV (e) MOD (f))");
        check("- a ^ b", "(- (a)) ^ (b)");
        check("@x := a = 1 OR b", "@x := (((a) = (1)) OR (b))");
        check("a + INTERVAL b + 1 DAY > c", "((a) + (INTERVAL ((b) + (1)) DAY)) > (c)");
        check("a COLLATE utf8mb4_bin = b", "((a) COLLATE utf8mb4_bin) = (b)");
        check("j -> '$.a' = 1 AND b", "(((j) -> '$.a') = (1)) AND (b)");
        check("CASE a WHEN 1 THEN 2 ELSE 3 END = 4", "(CASE (a) WHEN (1) THEN (2) ELSE (3) END) = (4)");
    }

    #[test]
    fn what_is_not_understood_is_nothing() {
        for expression in [
            "a = NOT b",
            "a AND",
            "(a",
            "a b",
            "a IN ()",
            "",
            "a IS 5",
            "SELECT",
            "a..b",
            "1 +* 2",
            "a IN (1) + 2",
            "a LIKE b IN (c)",
            "a LIKE b | c",
            "a IS TRUE = b",
        ] {
            assert_eq!(bracketed(expression.as_bytes(), &MYSQL, Modes::default()), None, "{expression}");
        }
    }
}
