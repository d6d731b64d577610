//! What a definition's tables are at a site: by which it is told whether the site has the definition.
//!
//! Owns: the question, and what of its answer is the same at every site. Does not know: what a definition does. Invariant: two sites whose
//! tables are alike give the same text but for what only one of them has; what grows by itself (AUTO_INCREMENT) is not looked at.

use tokio::time::{Duration, timeout};
use twox_hash::XxHash3_64;

use crate::backend::connection::Connection;
use crate::plan::sharded::{Leaves, Needs, Target};
use crate::session::Problem;
use crate::session::spread::bracket::LOST;
use crate::sql::quoted;
use crate::wire::buffer::Buffer;
use crate::wire::err::ErrPacket;

/// Time for one answer: another's definition may be in the way.
const LIMIT: Duration = Duration::from_secs(30);
/// "Table … doesn't exist".
const NO_TABLE: u16 = 1146;

/// Where a definition's tables are at a site.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::session) struct Place {
    /// The schema.
    pub schema: String,
    /// What tables' names have at their end.
    pub suffix: String,
    /// The tables whose names have that, as clients know them.
    pub tables: Vec<String>,
}

/// The tables as they are: a fingerprint of each one's definition; `None` where there is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::session) struct Look(Vec<Option<u64>>);

impl Look {
    /// As the journal has it.
    pub fn text(&self) -> String {
        let one = |table: &Option<u64>| table.map_or("-".to_owned(), |print| format!("{print:016x}"));
        self.0.iter().map(one).collect::<Vec<_>>().join(",")
    }

    /// From the journal.
    pub fn parse(text: &str) -> Option<Self> {
        let one = |word: &str| match word {
            "-" => Some(None),
            print => u64::from_str_radix(print, 16).ok().map(Some),
        };
        text.split(',').map(one).collect::<Option<Vec<_>>>().map(Self)
    }

    /// Why a definition cannot run where the tables are so, as a server says it.
    pub fn refuses(&self, targets: &[Target], database: &str, site: &str) -> Option<ErrPacket> {
        let dropped = targets.iter().any(|target| target.leaves == Leaves::Absent);
        let mut tables = self.0.iter().zip(targets);
        tables.find_map(|(print, Target { table, needs, .. })| match (needs, print) {
            (Needs::Present, None) if dropped => Some(ErrPacket::new(
                1051,
                b"42S02",
                format!("Unknown table '{database}.{table}' (at {site}; nothing was done anywhere)"),
            )),
            (Needs::Present, None) => Some(ErrPacket::new(
                NO_TABLE,
                b"42S02",
                format!("Table '{database}.{table}' doesn't exist (at {site}; nothing was done anywhere)"),
            )),
            (Needs::Absent, Some(_)) => Some(ErrPacket::new(
                1050,
                b"42S01",
                format!("Table '{table}' already exists (at {site}; nothing was done anywhere)"),
            )),
            _ => None,
        })
    }

    /// Whether the definition has been carried out where the tables are so and were `had`. `model`: as they are where it has. `None`: something
    /// else has happened.
    pub fn has(&self, targets: &[Target], had: Option<&Self>, model: Option<&Self>) -> Option<bool> {
        if had == Some(self) {
            return Some(false);
        }
        let meets = |at: usize, target: &Target| {
            let now = self.0.get(at).copied().flatten();
            let there = model.and_then(|model| model.0.get(at).copied().flatten());
            match target.leaves {
                Leaves::Absent => now.is_none(),
                Leaves::Present | Leaves::Changed => {
                    now.is_some() && there.is_none_or(|there| now == Some(there))
                }
            }
        };
        let met = targets.iter().enumerate().all(|(at, target)| meets(at, target));
        match (met, had) {
            // Without a word of what it was, only another site tells what a change makes of it.
            (true, None) if model.is_none() => None,
            (true, _) => Some(true),
            (false, None) => Some(false),
            (false, Some(_)) => None,
        }
    }
}

/// Asks for the tables at a place.
///
/// # Errors
/// The server's, or the connection is lost, and marked as broken then.
pub(in crate::session) async fn look(
    connection: &mut Connection,
    targets: &[Target],
    place: &Place,
    buffer: &mut Buffer,
) -> Result<Look, Problem> {
    let mut prints = Vec::with_capacity(targets.len());
    for Target { table, .. } in targets {
        let name = format!("{table}{}", place.suffix);
        let [schema, name] = [&place.schema, &name].map(|name| quoted(name.as_bytes(), b'`'));
        let sql = [b"SHOW CREATE TABLE ", &schema[..], b".", &name].concat();
        let asked = timeout(LIMIT, connection.run(&sql, buffer)).await;
        let Ok(Ok(answer)) = asked else {
            connection.broken = true;
            return Err(LOST);
        };
        connection.warned |= answer.error.is_some();
        prints.push(match answer.error {
            Some(error) if error.code == NO_TABLE => None,
            Some(error) => return Err(Problem::Server(error)),
            None => {
                let text = answer.rows.first().and_then(|row| row.get(1)?.as_deref());
                Some(XxHash3_64::oneshot(alike(text.unwrap_or_default(), place).as_bytes()))
            }
        });
    }
    Ok(Look(prints))
}

/// What SHOW CREATE TABLE says, without what differs from site to site.
fn alike(text: &[u8], place: &Place) -> String {
    let mut text = String::from_utf8_lossy(text).into_owned();
    if let Some(start) = text.rfind(" AUTO_INCREMENT=") {
        let digits = start + " AUTO_INCREMENT=".len();
        let end =
            text[digits..].find(|digit: char| !digit.is_ascii_digit()).map_or(text.len(), |end| digits + end);
        if text[..start].ends_with(|before: char| before != '\n') && text[..start].contains("\n)") {
            text.replace_range(start..end, "");
        }
    }
    for quote in ['`', '"'] {
        text = text.replace(&format!("{quote}{}{quote}.", place.schema), "");
        if place.suffix.is_empty() {
            continue;
        }
        // An index may have the name of the constraint that it was made for.
        for name in constraints(&text, &place.suffix, quote).into_iter().chain(place.tables.iter().cloned()) {
            text = text
                .replace(&format!("{quote}{name}{}{quote}", place.suffix), &format!("{quote}{name}{quote}"));
            for mark in ["_ibfk_", "_chk_"] {
                text = text.replace(
                    &format!("{quote}{name}{}{mark}", place.suffix),
                    &format!("{quote}{name}{mark}"),
                );
            }
        }
    }
    text
}

/// The names of constraints that have the suffix, without it.
fn constraints(text: &str, suffix: &str, quote: char) -> Vec<String> {
    let begin = format!("CONSTRAINT {quote}");
    let names = text.split(&*begin).skip(1).filter_map(|rest| rest.split(quote).next());
    names.filter_map(|name| name.strip_suffix(suffix)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(suffix: &str) -> Place {
        let tables = ["orders", "customers"].map(String::from).into();
        Place { schema: "shop_0".into(), suffix: suffix.into(), tables }
    }

    fn target(needs: Needs, leaves: Leaves) -> Target {
        Target { table: "t".into(), needs, leaves }
    }

    #[test]
    fn tables_that_are_alike_read_alike() {
        let of = |suffix: &str, next: u32| {
            format!(
                "CREATE TABLE `orders{suffix}` (\n  `id` int NOT NULL AUTO_INCREMENT,\n  `line_00` int,\n  `line_01` int,\n  KEY `own{suffix}` (`c`),\n  \
                 CONSTRAINT `orders{suffix}_ibfk_1` FOREIGN KEY (`c`) REFERENCES `customers{suffix}` (`id`),\n  CONSTRAINT `own{suffix}` FOREIGN KEY (`c`) \
                 REFERENCES `customers{suffix}` (`id`)\n) ENGINE=InnoDB AUTO_INCREMENT={next} DEFAULT CHARSET=utf8mb4"
            )
        };
        let one = alike(of("_00", 5).as_bytes(), &place("_00"));
        assert_eq!(one, alike(of("_01", 77).as_bytes(), &place("_01")));
        assert_eq!(one, alike(of("", 1).as_bytes(), &place("")));
        assert!(!one.contains("AUTO_INCREMENT="), "{one}");
        assert_ne!(one, alike(of("", 1).replace("int", "bigint").as_bytes(), &place("")));
    }

    #[test]
    fn it_is_told_whether_a_site_has_a_definition() {
        let look = |prints: &[Option<u64>]| Look(prints.to_vec());
        let (old, new, other) = (look(&[Some(1)]), look(&[Some(2)]), look(&[Some(3)]));
        let none = look(&[None]);
        let altered = [target(Needs::Present, Leaves::Changed)];
        assert_eq!(old.has(&altered, Some(&old), Some(&new)), Some(false));
        assert_eq!(new.has(&altered, Some(&old), Some(&new)), Some(true));
        assert_eq!(new.has(&altered, Some(&old), None), Some(true));
        assert_eq!(other.has(&altered, Some(&old), Some(&new)), None, "neither of both");
        assert_eq!(none.has(&altered, Some(&old), Some(&new)), None, "it is gone");
        let dropped = [target(Needs::Present, Leaves::Absent)];
        assert_eq!(none.has(&dropped, Some(&old), None), Some(true));
        assert_eq!(old.has(&dropped, Some(&old), Some(&none)), Some(false));
        let made = [target(Needs::Absent, Leaves::Present)];
        assert_eq!(new.has(&made, Some(&none), None), Some(true));
        assert_eq!(new.has(&made, Some(&none), Some(&other)), None);
        assert_eq!(Look::parse(&look(&[None, Some(17)]).text()), Some(look(&[None, Some(17)])));
    }
}
