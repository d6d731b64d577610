//! What several sites tell of tables, told as one server would: pure.
//!
//! Owns: which rows are about which table, messages that several sites give, sums. Does not know: who is asked, how (`upkeep`). Invariant: a
//! table is told of once, under the client's name; what only some of its sites say names these; OK is said where all of them are.

use super::Share;
use crate::wire::frame::{lenenc_string, put_lenenc_string};

/// NULL in a row of text.
const NULL: u8 = 0xfb;
const STATUS: &[u8] = b"status";
/// States of a table with which nothing is wrong.
const WELL: [&[u8]; 2] = [b"OK", b"Table is already up to date"];

/// Tables on several sites that are looked after.
#[derive(Debug)]
pub(in crate::session) struct Tended {
    /// What each site is asked.
    pub shares: Vec<Share>,
    /// The same sites.
    pub places: Vec<Place>,
    /// The statement's tables as the client is told of them; `None` for those of which home tells.
    pub shown: Vec<Option<Vec<u8>>>,
    /// Checksums are added up.
    pub sums: bool,
}

/// A site, and which tables it has.
#[derive(Debug)]
pub(in crate::session) struct Place {
    /// By people.
    pub called: String,
    /// Which of the statement's.
    pub tables: Vec<usize>,
    /// What they are called there, and by the client.
    pub names: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Place {
    /// A message with the client's names.
    fn told(&self, message: &[u8]) -> Vec<u8> {
        let mut message = message.to_vec();
        for (there, known) in self.names.iter().filter(|(there, known)| there != known) {
            for (there, known) in [quoted(there, known), ticked(there, known)] {
                let places: Vec<_> = memchr::memmem::find_iter(&message, &there).collect();
                for at in places.into_iter().rev() {
                    message.splice(at..at + there.len(), known.iter().copied());
                }
            }
        }
        message
    }
}

/// `'schema.table'`, of both.
fn quoted(there: &[u8], known: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let of = |name: &[u8]| [b"'", name, b"'"].concat();
    (of(there), of(known))
}

/// `` `schema`.`table` ``, of both.
fn ticked(there: &[u8], known: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let of = |name: &[u8]| {
        let dot = name.iter().position(|byte| *byte == b'.').unwrap_or(name.len());
        [b"`", &name[..dot], b"`.`", name.get(dot + 1..).unwrap_or_default(), b"`"].concat()
    };
    (of(there), of(known))
}

/// A row: the table as its site calls it, and what is told of it.
#[derive(Debug)]
struct Row {
    site: usize,
    name: Vec<u8>,
    /// Operation, kind and text of a message; a checksum alone. `None` for NULL.
    told: Vec<Option<Vec<u8>>>,
}

/// What all sites have told.
#[derive(Debug, Default)]
pub(in crate::session) struct Answers {
    rows: Vec<Row>,
    /// Level, code and message, and who has told.
    warnings: Vec<(usize, [Vec<u8>; 3])>,
}

impl Answers {
    /// A row of a site; `None` where it is malformed.
    pub fn take(&mut self, site: usize, row: &[u8]) -> Option<()> {
        let (name, rest) = lenenc_string(row)?;
        self.rows.push(Row { site, name: name.to_vec(), told: cells(rest)? });
        Some(())
    }

    /// A warning of a site; `None` where it is malformed.
    pub fn warn(&mut self, site: usize, row: &[u8]) -> Option<()> {
        let row = <[_; 3]>::try_from(cells(row)?).ok()?;
        self.warnings.push((site, row.map(Option::unwrap_or_default)));
        Some(())
    }

    /// The rows about a table, site by site: a site tells of its tables in the order of the statement.
    fn about<'a>(&'a self, tended: &'a Tended, table: usize) -> impl Iterator<Item = (usize, Vec<&'a Row>)> {
        tended.places.iter().enumerate().filter_map(move |(site, place)| {
            let turn = place.tables.iter().position(|own| *own == table)?;
            let own: Vec<_> = self.rows.iter().filter(|row| row.site == site).collect();
            let group = own.chunk_by(|one, next| one.name == next.name).nth(turn);
            Some((site, group.map(<[_]>::to_vec).unwrap_or_default()))
        })
    }

    /// What the client is told a table is called.
    fn name(&self, tended: &Tended, table: usize) -> Vec<u8> {
        let shown = tended.shown.get(table).cloned().flatten();
        let own = || self.about(tended, table).find_map(|(_, rows)| Some(rows.first()?.name.clone()));
        shown.or_else(own).unwrap_or_default()
    }

    /// The rows of CHECKSUM TABLE: a table's checksum is the sum of its rows', on whatever site they are; NULL where a site tells none.
    pub fn sums(&self, tended: &Tended) -> Vec<Vec<u8>> {
        let row = |table: usize| {
            let sum = self.about(tended, table).try_fold(0u32, |sum, (_, rows)| {
                let cell = rows.first()?.told.first()?.as_deref()?;
                let own: u64 = std::str::from_utf8(cell).ok()?.parse().ok()?;
                Some(sum.wrapping_add(u32::try_from(own & u64::from(u32::MAX)).ok()?))
            });
            let mut out = Vec::new();
            put_lenenc_string(&mut out, &self.name(tended, table));
            match sum {
                Some(sum) => put_lenenc_string(&mut out, sum.to_string().as_bytes()),
                None => out.push(NULL),
            }
            out
        };
        (0..tended.shown.len()).map(row).collect()
    }

    /// The rows of the others.
    pub fn messages(&self, tended: &Tended) -> Vec<Vec<u8>> {
        (0..tended.shown.len()).flat_map(|table| self.messages_of(tended, table)).collect()
    }

    fn messages_of(&self, tended: &Tended, table: usize) -> Vec<Vec<u8>> {
        let sites: Vec<_> = self.about(tended, table).collect();
        // Each message with those that give it; in the end what each site says last, which is how it is there.
        let (mut before, mut last): (Vec<Message>, Vec<Message>) = (Vec::new(), Vec::new());
        for (site, rows) in &sites {
            for (at, row) in rows.iter().enumerate() {
                let list = if at + 1 == rows.len() { &mut last } else { &mut before };
                let Some(place) = tended.places.get(*site) else { continue };
                let mut told = row.told.clone();
                if let Some(Some(text)) = told.get_mut(2) {
                    *text = place.told(text);
                }
                match list.iter_mut().find(|(known, _)| *known == told) {
                    Some((_, given)) if given.contains(site) => {}
                    Some((_, given)) => given.push(*site),
                    None => list.push((told, vec![*site])),
                }
            }
        }
        let states = last.len();
        let is_well = |(told, _): &Message| {
            told.get(1).is_some_and(|kind| kind.as_deref() == Some(STATUS))
                && told.get(2).is_some_and(|text| text.as_deref().is_some_and(|text| WELL.contains(&text)))
        };
        if last.iter().all(is_well) && states > 1 {
            last.truncate(1);
            if let Some((told, given)) = last.first_mut() {
                *given = sites.iter().map(|(site, _)| *site).collect();
                told[2] = Some(b"OK".to_vec());
            }
        } else if states > 1 {
            last.retain(|message| !is_well(message));
        }
        let name = self.name(tended, table);
        let row = |(told, given): Message| {
            let mut out = Vec::new();
            put_lenenc_string(&mut out, &name);
            let at = if given.len() < sites.len() { at(tended, &given) } else { String::new() };
            let text = told.len().saturating_sub(1);
            for (column, cell) in told.into_iter().enumerate() {
                match cell {
                    Some(cell) if column == text => {
                        put_lenenc_string(&mut out, &[&cell[..], at.as_bytes()].concat());
                    }
                    Some(cell) => put_lenenc_string(&mut out, &cell),
                    None => out.push(NULL),
                }
            }
            out
        };
        before.into_iter().chain(last).map(row).collect()
    }

    /// The rows of SHOW WARNINGS: what all sites of a table say is said once.
    pub fn warnings(&self, tended: &Tended) -> Vec<Vec<u8>> {
        let mut known: Vec<([Vec<u8>; 3], Vec<usize>)> = Vec::new();
        for (site, [level, code, message]) in &self.warnings {
            let message =
                tended.places.get(*site).map_or_else(|| message.clone(), |place| place.told(message));
            let told = [level.clone(), code.clone(), message];
            match known.iter_mut().find(|(own, _)| *own == told) {
                Some((_, sites)) => sites.push(*site),
                None => known.push((told, vec![*site])),
            }
        }
        let about = |message: &[u8]| {
            let names = |table: &usize| {
                let (name, _) = quoted(&self.name(tended, *table), b"");
                memchr::memmem::find(message, &name).is_some()
            };
            (0..tended.shown.len()).find(names)
        };
        known.sort_by_key(|(told, _)| about(&told[2]).unwrap_or(usize::MAX));
        let row = |(told, given): ([Vec<u8>; 3], Vec<usize>)| {
            let has =
                |table: usize| tended.places.iter().filter(|place| place.tables.contains(&table)).count();
            let all = about(&told[2]).map_or(tended.places.len(), has);
            let at = if given.len() < all { at(tended, &given) } else { String::new() };
            let [level, code, message] = told;
            let mut out = Vec::new();
            for cell in [level, code, [&message[..], at.as_bytes()].concat()] {
                put_lenenc_string(&mut out, &cell);
            }
            out
        };
        known.into_iter().map(row).collect()
    }
}

/// What is told of a table, and by which sites.
type Message = (Vec<Option<Vec<u8>>>, Vec<usize>);

/// Who says so, in words.
fn at(tended: &Tended, sites: &[usize]) -> String {
    let names = sites.iter().filter_map(|site| Some(&*tended.places.get(*site)?.called));
    format!(" (at {})", names.collect::<Vec<_>>().join(", "))
}

/// The cells of a row of text.
fn cells(mut row: &[u8]) -> Option<Vec<Option<Vec<u8>>>> {
    let mut cells = Vec::new();
    while let Some((first, rest)) = row.split_first() {
        if *first == NULL {
            (row, ()) = (rest, cells.push(None));
            continue;
        }
        let (cell, rest) = lenenc_string(row)?;
        cells.push(Some(cell.to_vec()));
        row = rest;
    }
    Some(cells)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ClusterId;
    use crate::session::sites::Site;

    /// One table on two shards.
    fn tended(sums: bool) -> Tended {
        let share = || Share { site: Site::home(ClusterId(0)), sql: Vec::new(), source: None };
        let place = |at: usize| {
            let name = format!("shop_{at}.orders").into_bytes();
            Place { called: format!("s{at}"), tables: vec![0], names: vec![(name, b"shop.orders".to_vec())] }
        };
        Tended {
            shares: vec![share(), share()],
            places: vec![place(0), place(1)],
            shown: vec![Some(b"shop.orders".to_vec())],
            sums,
        }
    }

    fn row(cells: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        cells.iter().for_each(|cell| put_lenenc_string(&mut out, cell.as_bytes()));
        out
    }

    fn told(rows: &[&[&[&str]]; 2]) -> Vec<Vec<String>> {
        let mut answers = Answers::default();
        for (site, rows) in rows.iter().enumerate() {
            let name = format!("shop_{site}.orders");
            rows.iter().for_each(|own| answers.take(site, &row(&[&[&*name], *own].concat())).unwrap());
        }
        let texts = |row: Vec<u8>| {
            let texts = cells(&row).unwrap().into_iter().map(Option::unwrap_or_default);
            texts.map(|text| String::from_utf8(text).unwrap()).collect()
        };
        answers.messages(&tended(false)).into_iter().map(texts).collect()
    }

    #[test]
    fn what_all_sites_say_is_said_once() {
        let note: &[&str] = &["optimize", "note", "recreate"];
        let well: &[&str] = &["optimize", "status", "OK"];
        let fresh: &[&str] = &["optimize", "status", "Table is already up to date"];
        let of = |rows: &[&[&str]]| -> Vec<Vec<String>> {
            let whole = |row: &&[&str]| {
                ["shop.orders"].iter().chain(row.iter()).map(|cell| (*cell).to_owned()).collect()
            };
            rows.iter().map(whole).collect()
        };
        assert_eq!(told(&[&[note, well], &[note, well]]), of(&[note, well]));
        assert_eq!(told(&[&[well], &[fresh]]), of(&[well]));
        assert_eq!(told(&[&[fresh], &[fresh]]), of(&[fresh]));
        assert_eq!(told(&[&[note, well], &[well]]), of(&[&["optimize", "note", "recreate (at s0)"], well]));
    }

    #[test]
    fn a_shard_with_an_error_is_named_and_nothing_is_ok() {
        let well: &[&str] = &["check", "status", "OK"];
        let error: &[&str] = &["check", "Error", "Table 'shop_1.orders' doesn't exist"];
        let failed: &[&str] = &["check", "status", "Operation failed"];
        assert_eq!(
            told(&[&[well], &[error, failed]]),
            [
                ["shop.orders", "check", "Error", "Table 'shop.orders' doesn't exist (at s1)"],
                ["shop.orders", "check", "status", "Operation failed (at s1)"],
            ]
        );
    }

    #[test]
    fn checksums_are_added_up_unless_one_is_missing() {
        let mut answers = Answers::default();
        answers.take(0, &row(&["shop_0.orders", "4023851669"])).unwrap();
        answers.take(1, &row(&["shop_1.orders", "3668883906"])).unwrap();
        assert_eq!(answers.sums(&tended(true)), [row(&["shop.orders", "3397768279"])]);
        let mut answers = Answers::default();
        answers.take(0, &row(&["shop_0.orders", "1"])).unwrap();
        answers.take(1, &[&row(&["shop_1.orders"])[..], &[NULL]].concat()).unwrap();
        answers.warn(1, &row(&["Error", "1146", "Table 'shop_1.orders' doesn't exist"])).unwrap();
        assert_eq!(answers.sums(&tended(true)), [[&row(&["shop.orders"])[..], &[NULL]].concat()]);
        let warned = row(&["Error", "1146", "Table 'shop.orders' doesn't exist (at s1)"]);
        assert_eq!(answers.warnings(&tended(true)), [warned]);
    }

    #[test]
    fn malformed_rows_are_refused() {
        let mut answers = Answers::default();
        assert!(answers.take(0, &[]).is_none() && answers.take(0, &[5, b'a']).is_none());
        assert!(answers.warn(0, &row(&["Error"])).is_none());
    }
}
