//! Names of a shard's schema and tables in the words of servers' errors, put back to those that the client knows.
//!
//! Does not know: which shard, and why. Invariant: only where a message of this number has the name, never in what it quotes of rows or of the
//! statement; a message that has another form passes as it came.

use super::names::Names;
use crate::wire::err::ErrPacket;

impl Names {
    /// The error in the client's names; `None` where it has no other.
    pub fn of_error(&self, error: &ErrPacket) -> Option<ErrPacket> {
        let message = self.of_message(error.code, &error.message)?;
        Some(ErrPacket { message, ..error.clone() })
    }

    /// The same of the message of an error or warning with this number.
    pub fn of_message(&self, code: u16, message: &[u8]) -> Option<Vec<u8>> {
        let named = match code {
            // Access denied to database, unknown database: it is the last word.
            1044 | 1049 => {
                let known = [b"'", &self.schema.1[..], b"'"].concat();
                let before = message.strip_suffix(&[b"'", &self.schema.0[..], b"'"].concat()[..])?;
                [before, &known].concat()
            }
            // FUNCTION, PROCEDURE schema.name does not exist.
            1305 => {
                let kind: &[u8] =
                    [&b"FUNCTION "[..], b"PROCEDURE "].into_iter().find(|kind| message.starts_with(kind))?;
                let name = message[kind.len()..].strip_prefix(&self.schema.0[..])?;
                [kind, &self.schema.1, Some(name).filter(|name| name.starts_with(b"."))?].concat()
            }
            // Tables that are not there, are no views, or are known already; columns that are not; tables that are referenced.
            1051 | 1054 | 1146 | 1347 | 1356 | 4092 => self.in_quotes(message),
            1142 | 1143 | 1370 | 1451 | 1452 | 1701 | 4025 => self.in_ticks(message),
            // An expression that is out of range: with no text of the statement's in it.
            1690 if message.iter().filter(|byte| **byte == b'\'').count() == 2 => self.in_ticks(message),
            // MariaDB: a value of rows, and behind it the column.
            1292 | 1366 => {
                let at = rfind(message, b" for column `")?;
                let (value, column) = message.split_at(at);
                if column.contains(&b'\'') {
                    return None; // within the value
                }
                [value, &self.in_ticks(column)].concat()
            }
            // MySQL: a value of rows, and behind it the key.
            1062 => {
                let at = rfind(message, b" for key '")? + b" for key '".len();
                let (value, key) = message.split_at(at);
                let table = key.get(..key.iter().position(|byte| *byte == b'.')?)?;
                let rest = &key[table.len()..];
                if rest.iter().filter(|byte| **byte == b'\'').count() != 1 {
                    return None;
                }
                [value, self.of_client(table), rest].concat()
            }
            _ => return None,
        };
        (named != message).then_some(named)
    }

    /// `'schema.table'`, also several with commas between them, and `'schema.table.column'`.
    fn in_quotes(&self, message: &[u8]) -> Vec<u8> {
        let first = self.each(message, (b"'", b"."), b"'.,");
        self.each(&first, (b",", b"."), b"'.,")
    }

    /// `` `schema`.`table` ``, and `` REFERENCES `table` ``.
    fn in_ticks(&self, message: &[u8]) -> Vec<u8> {
        let message = self.each(message, (b"`", b"`.`"), b"`");
        let Some(at) = rfind(&message, b" REFERENCES `").filter(|_| !self.tables.is_empty()) else {
            return message;
        };
        let (before, name) = message.split_at(at + b" REFERENCES `".len());
        let end = name.iter().position(|byte| *byte == b'`').unwrap_or(name.len());
        [before, self.of_client(&name[..end]), &name[end..]].concat()
    }

    /// Puts the client's names where the schema stands between these, and a table behind it up to one of `ends`.
    fn each(&self, message: &[u8], (before, between): (&[u8], &[u8]), ends: &[u8]) -> Vec<u8> {
        let there = [before, &self.schema.0, between].concat();
        let known = [before, &self.schema.1, between].concat();
        let (mut out, mut rest) = (Vec::with_capacity(message.len()), message);
        while let Some(at) = memchr::memmem::find(rest, &there) {
            let behind = &rest[at + there.len()..];
            let end = behind.iter().position(|byte| ends.contains(byte)).unwrap_or(behind.len());
            out.extend_from_slice(&rest[..at]);
            out.extend_from_slice(&known);
            out.extend_from_slice(self.of_client(&behind[..end]));
            rest = &behind[end..];
        }
        out.extend_from_slice(rest);
        out
    }
}

fn rfind(message: &[u8], words: &[u8]) -> Option<usize> {
    memchr::memmem::rfind(message, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: u16, message: &str) -> String {
        let names = Names {
            schema: (b"shop_0".to_vec(), b"shop".to_vec()),
            tables: vec![(b"orders_3".to_vec(), b"orders".to_vec())],
        };
        let named = names.of_message(code, message.as_bytes());
        String::from_utf8(named.unwrap_or_else(|| message.into())).expect("as it came in")
    }

    /// As MySQL 9.7.4 and MariaDB 10.11.19 have said them.
    #[test]
    fn errors_have_the_names_of_the_client() {
        for (code, message, wanted) in [
            (1146, "Table 'shop_0.nope' doesn't exist", "Table 'shop.nope' doesn't exist"),
            (1146, "Table 'shop_0.orders_3' doesn't exist", "Table 'shop.orders' doesn't exist"),
            (1051, "Unknown table 'shop_0.a,shop_0.orders_3'", "Unknown table 'shop.a,shop.orders'"),
            (
                1054,
                "Unknown column 'shop_0.orders_3.x' in 'SELECT'",
                "Unknown column 'shop.orders.x' in 'SELECT'",
            ),
            (1347, "'shop_0.customers' is not VIEW", "'shop.customers' is not VIEW"),
            (4092, "Unknown VIEW: 'shop_0.v'", "Unknown VIEW: 'shop.v'"),
            (1305, "FUNCTION shop_0.f does not exist", "FUNCTION shop.f does not exist"),
            (1049, "Unknown database 'shop_0'", "Unknown database 'shop'"),
            (
                1044,
                "Access denied for user 'shop_0'@'%' to database 'shop_0'",
                "Access denied for user 'shop_0'@'%' to database 'shop'",
            ),
            (
                1142,
                "SELECT command denied to user 'a'@'b' for table `shop_0`.`orders_3`",
                "SELECT command denied to user 'a'@'b' for table `shop`.`orders`",
            ),
            (
                1452,
                "Cannot add or update a child row: a foreign key constraint fails (`shop_0`.`o`, CONSTRAINT `c` FOREIGN KEY (`c`) REFERENCES `orders_3` (`id`))",
                "Cannot add or update a child row: a foreign key constraint fails (`shop`.`o`, CONSTRAINT `c` FOREIGN KEY (`c`) REFERENCES `orders` (`id`))",
            ),
            (
                4025,
                "CONSTRAINT `c` failed for `shop_0`.`orders_3`",
                "CONSTRAINT `c` failed for `shop`.`orders`",
            ),
            (
                1366,
                "Incorrect integer value: 'x' for column `shop_0`.`orders_3`.`s` at row 1",
                "Incorrect integer value: 'x' for column `shop`.`orders`.`s` at row 1",
            ),
            (
                1690,
                "BIGINT value is out of range in '(`shop_0`.`orders_3`.`s` + 1)'",
                "BIGINT value is out of range in '(`shop`.`orders`.`s` + 1)'",
            ),
            (
                1062,
                "Duplicate entry '1' for key 'orders_3.PRIMARY'",
                "Duplicate entry '1' for key 'orders.PRIMARY'",
            ),
        ] {
            assert_eq!(told(code, message), wanted);
        }
    }

    #[test]
    fn what_a_message_quotes_stays() {
        for (code, message) in [
            (1062, "Duplicate entry 'shop_0.x' for key 'customers.PRIMARY'"),
            (1062, "Duplicate entry ''shop_0.orders_3' for key 'orders_3.a'' for key 'customers.PRIMARY'"),
            (1062, "Duplicate entry '1' for key 'PRIMARY'"),
            (1366, "Incorrect integer value: ' for column `shop_0`.`o`' for column 's' at row 1"),
            (1690, "BIGINT value is out of range in '(`shop_0`.`o`.`s` + '`shop_0`.`x`')'"),
            (1146, "Table 'shop_01.nope' doesn't exist"),
            (1146, "Table 'blog.nope' doesn't exist"),
            (1305, "SAVEPOINT shop_0.a does not exist"),
            (1049, "Unknown database 'shop_01'"),
            (1406, "Data too long for column 'shop_0.a' at row 1"),
        ] {
            assert_eq!(told(code, message), message);
        }
    }
}
