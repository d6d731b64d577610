//! A table of words built at compile time and searched without regard to ASCII case.
//!
//! Owns: hashing and probing. Does not know: what the words mean (a `u16` of the owner's choice).
//! Invariant: `get` does not allocate and compares the word's bytes once or twice at most in practice.

/// One word and its owner's value; an empty text is a free slot.
#[derive(Clone, Copy)]
struct Slot {
    text: &'static [u8],
    value: u16,
}

/// Open addressing with linear probing; `SLOTS` is a power of two, at most half of it filled.
pub(super) struct WordTable<const SLOTS: usize> {
    slots: [Slot; SLOTS],
    filled: usize,
}

/// Longer words are in no table; checked before anything else.
const LONGEST: usize = 40;

impl<const SLOTS: usize> WordTable<SLOTS> {
    pub(super) const fn new() -> Self {
        assert!(SLOTS.is_power_of_two());
        Self { slots: [Slot { text: b"", value: 0 }; SLOTS], filled: 0 }
    }

    /// Adds every word of a list that is separated by white space, in upper case.
    pub(super) const fn with_words(mut self, list: &'static str, value: u16) -> Self {
        let mut rest = list.as_bytes();
        while let [first, after @ ..] = rest {
            if first.is_ascii_whitespace() {
                rest = after;
                continue;
            }
            let mut length = 0;
            while length < rest.len() && !rest[length].is_ascii_whitespace() {
                length += 1;
            }
            let (word, after) = rest.split_at(length);
            self = self.with(word, value);
            rest = after;
        }
        self
    }

    /// Adds one word, or joins (bitwise or) the value to that of a word already there.
    pub(super) const fn with(mut self, word: &'static [u8], value: u16) -> Self {
        assert!(!word.is_empty() && word.len() <= LONGEST);
        let mut at = self.start(word);
        while !self.slots[at].text.is_empty() {
            if same(self.slots[at].text, word) {
                self.slots[at].value |= value;
                return self;
            }
            at = (at + 1) % SLOTS;
        }
        self.slots[at] = Slot { text: word, value };
        self.filled += 1;
        assert!(self.filled * 2 <= SLOTS);
        self
    }

    /// The word's canonical (upper case) text and value.
    #[inline]
    pub(super) fn get(&self, word: &[u8]) -> Option<(&'static [u8], u16)> {
        if word.is_empty() || word.len() > LONGEST {
            return None;
        }
        let mut at = self.start(word);
        loop {
            let slot = &self.slots[at];
            if slot.text.is_empty() {
                return None;
            }
            if slot.text.len() == word.len() && slot.text.eq_ignore_ascii_case(word) {
                return Some((slot.text, slot.value));
            }
            at = (at + 1) % SLOTS;
        }
    }

    const fn start(&self, word: &[u8]) -> usize {
        (hash(word) >> 40) as usize % SLOTS
    }
}

/// Mixes the word's length and its first and last eight bytes, case folded; enough for keywords.
const fn hash(word: &[u8]) -> u64 {
    const FOLD: u64 = 0x2020_2020_2020_2020;
    let (head, tail) = match word.len() {
        0..=3 => (word[0] as u64 | (word[word.len() / 2] as u64) << 8, word[word.len() - 1] as u64),
        4..=7 => (four(word, 0), four(word, word.len() - 4)),
        length => {
            (four(word, 0) | four(word, 4) << 32, four(word, length - 8) | four(word, length - 4) << 32)
        }
    };
    let mixed = (head | FOLD).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (tail | FOLD).rotate_left(29);
    (mixed ^ word.len() as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93)
}

const fn four(word: &[u8], at: usize) -> u64 {
    u32::from_le_bytes([word[at], word[at + 1], word[at + 2], word[at + 3]]) as u64
}

const fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    static TABLE: WordTable<16> =
        WordTable::new().with_words("A SELECT  SQL_CALC_FOUND_ROWS\n IF", 1).with_words("IF END", 4);

    #[test]
    fn words_are_found_in_any_case() {
        assert_eq!(TABLE.get(b"select"), Some((&b"SELECT"[..], 1)));
        assert_eq!(TABLE.get(b"SqL_cAlC_fOuNd_rOwS").map(|found| found.1), Some(1));
        assert_eq!(TABLE.get(b"a").map(|found| found.1), Some(1));
    }

    #[test]
    fn values_of_a_word_that_is_added_twice_are_joined() {
        assert_eq!(TABLE.get(b"If").map(|found| found.1), Some(5));
    }

    #[test]
    fn other_bytes_are_not_found() {
        for word in [&b""[..], b"selec", b"selects", b"SQL?CALC_FOUND_ROWS", b"\xff", &[b'a'; 5000]] {
            assert_eq!(TABLE.get(word), None, "{word:?}");
        }
    }
}
