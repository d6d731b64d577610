//! What the servers have told of one statement's parts, as one server tells of the whole.
//!
//! Owns: sums of counts, of those within the words for people, and numbers of rows within messages. Does not know: who was asked.
//! Invariant: words are a server's own, in whatever language it speaks; only numbers in them are replaced.

use std::ops::Range;

use super::part::PartEnd;

/// What one server would have told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Told {
    /// Rows changed.
    pub affected_rows: u64,
    /// The insert id; 0 for none.
    pub insert_id: u64,
    /// Warnings.
    pub warnings: u16,
    /// Words for people.
    pub info: Vec<u8>,
}

/// An INSERT's rows as they were given out.
#[derive(Clone, Debug)]
pub struct Inserted {
    /// How many each part has.
    pub rows: Vec<u64>,
    /// The part with the statement's last row.
    pub last: usize,
    /// INSERT IGNORE.
    pub ignores: bool,
}

/// What servers say of an INSERT of several rows; of one they say nothing.
const OF_ROWS: &[u8] = b"Records: 0  Duplicates: 0  Warnings: 0";

impl Told {
    /// Of all parts; of an INSERT the sum is told in the words for several rows.
    pub fn sum(ends: &[PartEnd], inserted: Option<&Inserted>) -> Self {
        let warnings = ends.iter().map(|end| u32::from(end.warnings)).sum::<u32>();
        let id_of = |inserted: &Inserted| ends.get(inserted.last).map(|end| end.insert_id);
        Self {
            affected_rows: ends.iter().map(|end| end.affected_rows).fold(0, u64::saturating_add),
            insert_id: inserted.and_then(id_of).unwrap_or_default(),
            warnings: u16::try_from(warnings).unwrap_or(u16::MAX),
            info: info(ends, inserted),
        }
    }

    /// What one part has told.
    pub fn of(end: &PartEnd) -> Self {
        let PartEnd { affected_rows, insert_id, warnings, .. } = *end;
        Self { affected_rows, insert_id, warnings, info: end.info.clone() }
    }
}

fn info(ends: &[PartEnd], inserted: Option<&Inserted>) -> Vec<u8> {
    let words = ends.iter().map(|end| &end.info[..]).find(|info| !info.is_empty());
    let Some(words) = words.or(inserted.map(|_| OF_ROWS)) else { return Vec::new() };
    let mut sums = numbers(words).map(|_| 0).collect::<Vec<u64>>();
    for (at, end) in ends.iter().enumerate() {
        let told: Vec<u64> = match inserted {
            Some(inserted) if end.info.is_empty() => of_one_row(end, inserted, at).into(),
            _ => numbers(&end.info).filter_map(|span| number(&end.info, span)).collect(),
        };
        sums.iter_mut().zip(told).for_each(|(sum, number)| *sum = sum.saturating_add(number));
    }
    // Of every statement the last of them; what each part has told may count some twice.
    if let Some(last) = sums.last_mut() {
        *last = ends.iter().map(|end| u64::from(end.warnings)).sum();
    }
    with_numbers(words, &sums)
}

/// Records, duplicates and warnings of a part that was told in no words: as both servers count them.
fn of_one_row(end: &PartEnd, inserted: &Inserted, part: usize) -> [u64; 3] {
    let rows = inserted.rows.get(part).copied().unwrap_or(1);
    let duplicates = match inserted.ignores {
        true => rows.saturating_sub(end.affected_rows),
        // A row that took another's place counts twice, and so does one that was updated.
        false => end.affected_rows.saturating_sub(rows),
    };
    [rows, duplicates, end.warnings.into()]
}

/// Where numbers stand in a text.
fn numbers(text: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + text.get(at..)?.iter().position(u8::is_ascii_digit)?;
        let length = text[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        at = start + length;
        Some(start..at)
    })
}

fn number(text: &[u8], span: Range<usize>) -> Option<u64> {
    std::str::from_utf8(text.get(span)?).ok()?.parse().ok()
}

/// The text with other numbers in the places of its own.
fn with_numbers(text: &[u8], values: &[u64]) -> Vec<u8> {
    let (mut out, mut from) = (Vec::with_capacity(text.len() + 16), 0);
    for (span, value) in numbers(text).zip(values) {
        out.extend_from_slice(&text[from..span.start]);
        out.extend_from_slice(value.to_string().as_bytes());
        from = span.end;
    }
    out.extend_from_slice(&text[from..]);
    out
}

/// What several statements have told that did one statement's work, one after the other, in the same words.
#[derive(Clone, Debug, Default)]
pub struct Summed {
    affected_rows: u64,
    warnings: u64,
    words: Vec<u8>,
    numbers: Vec<u64>,
}

impl Summed {
    /// One more.
    pub fn add(&mut self, end: &PartEnd) {
        self.affected_rows = self.affected_rows.saturating_add(end.affected_rows);
        self.warnings += u64::from(end.warnings);
        if self.words.is_empty() {
            self.words.clone_from(&end.info);
            self.numbers = numbers(&end.info).map(|_| 0).collect();
        }
        let told = numbers(&end.info).filter_map(|span| number(&end.info, span));
        self.numbers.iter_mut().zip(told).for_each(|(sum, number)| *sum = sum.saturating_add(number));
        // Of every statement the last of them; what each has told may count some twice.
        if let Some(last) = self.numbers.last_mut() {
            *last = self.warnings;
        }
    }

    /// As if one had told it.
    pub fn end(&self) -> PartEnd {
        PartEnd {
            affected_rows: self.affected_rows,
            warnings: u16::try_from(self.warnings).unwrap_or(u16::MAX),
            info: with_numbers(&self.words, &self.numbers),
            ..PartEnd::default()
        }
    }
}

/// The message of a part with the number that its row (`… at row 2`) has in the client's statement, whose rows the part has in this order.
/// Of a file they say `Row 2 …`, too.
pub fn at_own_row(message: Vec<u8>, rows: &[usize]) -> Vec<u8> {
    const MARK: &[u8] = b" at row ";
    const ROW: &[u8] = b"Row ";
    let own = |span: Range<usize>| {
        let given = usize::try_from(number(&message, span)?).ok()?;
        Some((rows.get(given.checked_sub(1)?)? + 1).to_string().into_bytes())
    };
    let digits = |from: usize| {
        let rest = message.get(from..).unwrap_or_default();
        from..from + rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    if message.starts_with(ROW) {
        let span = digits(ROW.len());
        let end = span.end;
        return match own(span) {
            Some(row) => [ROW, &row, message.get(end..).unwrap_or_default()].concat(),
            None => message,
        };
    }
    let Some(at) = memchr::memmem::rfind(&message, MARK) else { return message };
    match own(at + MARK.len()..message.len()) {
        Some(row) => [&message[..at + MARK.len()], &row].concat(),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(affected_rows: u64, warnings: u16, info: &str) -> PartEnd {
        PartEnd { affected_rows, warnings, info: info.as_bytes().to_vec(), ..PartEnd::default() }
    }

    fn told(ends: &[PartEnd], inserted: Option<&Inserted>) -> (u64, String) {
        let told = Told::sum(ends, inserted);
        (told.affected_rows, String::from_utf8(told.info).unwrap())
    }

    #[test]
    fn counts_within_words_are_added_up() {
        let ends = [
            end(1, 0, "Rows matched: 2  Changed: 1  Warnings: 0"),
            end(9, 3, "Rows matched: 12  Changed: 9  Warnings: 3"),
        ];
        assert_eq!(told(&ends, None), (10, "Rows matched: 14  Changed: 10  Warnings: 3".into()));
        assert_eq!(told(&[end(1, 0, ""), end(2, 0, "")], None), (3, String::new()));
    }

    #[test]
    fn a_part_of_one_row_is_counted_though_its_server_says_nothing() {
        let rows = |rows: &[u64], ignores| Inserted { rows: rows.to_vec(), last: 0, ignores };
        let german = end(3, 0, "Datensätze: 2  Duplikate: 1  Warnungen: 0");
        for (ends, inserted, expected) in [
            (
                vec![end(1, 0, ""), end(1, 0, "")],
                rows(&[1, 1], false),
                (2, "Records: 2  Duplicates: 0  Warnings: 0"),
            ),
            // REPLACE of one row that is there.
            (
                vec![end(2, 0, ""), german],
                rows(&[1, 2], false),
                (5, "Datensätze: 3  Duplikate: 2  Warnungen: 0"),
            ),
            (
                vec![end(0, 1, ""), end(1, 0, "")],
                rows(&[1, 1], true),
                (1, "Records: 2  Duplicates: 1  Warnings: 1"),
            ),
            (
                vec![end(0, 0, ""), end(1, 0, "")],
                rows(&[1, 1], false),
                (1, "Records: 2  Duplicates: 0  Warnings: 0"),
            ),
        ] {
            assert_eq!(told(&ends, Some(&inserted)), (expected.0, expected.1.to_owned()));
        }
    }

    #[test]
    fn the_id_is_that_of_the_last_row() {
        let ends = [PartEnd { insert_id: 7, ..end(1, 0, "") }, PartEnd { insert_id: 9, ..end(1, 0, "") }];
        let inserted = Inserted { rows: vec![1, 1], last: 0, ignores: false };
        assert_eq!(Told::sum(&ends, Some(&inserted)).insert_id, 7);
        assert_eq!(Told::sum(&ends, None).insert_id, 0);
    }

    #[test]
    fn a_row_is_numbered_as_the_client_has_it() {
        for (message, expected) in [
            ("Data too long for column 'name' at row 2", "Data too long for column 'name' at row 6"),
            ("Data too long for column 'name' at row 3", "Data too long for column 'name' at row 3"),
            ("Bad value ' at row 1' somewhere", "Bad value ' at row 1' somewhere"),
            ("at row 0", "at row 0"),
            ("Row 2 doesn't contain data for all columns", "Row 6 doesn't contain data for all columns"),
            ("Row 3 was truncated", "Row 3 was truncated"),
            ("Row x", "Row x"),
        ] {
            let message = at_own_row(message.as_bytes().to_vec(), &[3, 5]);
            assert_eq!(String::from_utf8(message).unwrap(), expected);
        }
    }
    #[test]
    fn parts_of_a_file_are_added_up() {
        let mut summed = Summed::default();
        assert_eq!(summed.end().info, b"");
        let told = |records, deleted, warnings| {
            format!("Records: {records}  Deleted: {deleted}  Skipped: 1  Warnings: {warnings}")
        };
        summed.add(&end(2, 3, &told(3, 0, 3)));
        (0..70).for_each(|_| summed.add(&end(1000, 1000, &told(1000, 1, 1000))));
        let end = summed.end();
        assert_eq!((end.affected_rows, end.warnings), (70_002, u16::MAX));
        assert_eq!(
            String::from_utf8(end.info).unwrap(),
            told(70_003, 70, 70_003).replace("Skipped: 1", "Skipped: 71")
        );
    }
}
