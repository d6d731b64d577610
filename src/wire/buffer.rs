//! A byte buffer that is filled at its end and emptied at its start, and the freelist it comes from.
//!
//! Owns: memory for one exchange. Does not know: sockets, packets.
//! Invariant: an idle connection holds no buffer; a core keeps at most a bounded number of spare ones.

use std::cell::RefCell;
use std::rc::Rc;

/// Size of an ordinary buffer.
pub const ORDINARY: usize = 16 * 1024;
/// Size used once a reply has proven to be large.
pub const LARGE: usize = 256 * 1024;
const SPARE_MAX: usize = 64;

/// Bytes between `start` and `end` are filled.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    home: Rc<Freelist>,
}

impl Buffer {
    /// The filled bytes.
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The filled bytes, to be changed in place.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// Where the next bytes are read to; empty when the buffer is full.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.bytes[self.end..]
    }

    /// `length` bytes of `space` have been filled.
    pub fn fill(&mut self, length: usize) {
        self.end = (self.end + length).min(self.bytes.len());
    }

    /// The first `length` filled bytes are done with.
    pub fn consume(&mut self, length: usize) {
        self.start = (self.start + length).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Drops everything behind the first `length` filled bytes.
    pub fn truncate(&mut self, length: usize) {
        self.end = self.end.min(self.start + length);
    }

    /// Makes room so that `length` filled bytes fit from the start on.
    pub fn reserve(&mut self, length: usize) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.bytes.len() < length {
            self.bytes.resize(length, 0);
        }
    }

    /// Appends bytes, growing where needed.
    pub fn extend(&mut self, more: &[u8]) {
        if self.bytes.len() - self.end < more.len() {
            let length = self.filled().len() + more.len();
            self.reserve(length);
        }
        self.bytes[self.end..self.end + more.len()].copy_from_slice(more);
        self.end += more.len();
    }

    /// Puts other bytes in the place of some of the filled ones.
    pub fn replace(&mut self, range: std::ops::Range<usize>, fresh: &[u8]) {
        let (length, stop) = (self.filled().len(), range.start + fresh.len());
        if fresh.len() > range.len() {
            let longer = fresh.len() - range.len();
            if self.bytes.len() - self.end < longer {
                self.reserve(length + longer);
            }
            self.end += longer;
        }
        let filled = self.filled_mut();
        filled.copy_within(range.end..length, stop);
        filled[range.start..stop].copy_from_slice(fresh);
        self.truncate(length - range.len() + fresh.len());
    }

    /// Becomes an ordinary one again, where it is empty and has grown large.
    pub fn shrink(&mut self) {
        if self.start == self.end && self.bytes.len() > LARGE {
            self.bytes = vec![0; ORDINARY];
        }
    }

    /// Bytes that fit in all.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut spare = self.home.spare.borrow_mut();
        if self.bytes.len() == ORDINARY && spare.len() < SPARE_MAX {
            spare.push(std::mem::take(&mut self.bytes));
        }
    }
}

/// Spare buffers of one core.
#[derive(Debug, Default)]
pub struct Freelist {
    spare: RefCell<Vec<Vec<u8>>>,
}

impl Freelist {
    /// An empty buffer of ordinary size.
    pub fn take(self: &Rc<Self>) -> Buffer {
        let bytes = self.spare.borrow_mut().pop().unwrap_or_else(|| vec![0; ORDINARY]);
        Buffer { bytes, start: 0, end: 0, home: Rc::clone(self) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_their_order_through_consume_and_growth() {
        let list = Rc::new(Freelist::default());
        let mut buffer = list.take();
        buffer.extend(&[1; ORDINARY - 1]);
        buffer.consume(ORDINARY - 3);
        buffer.extend(&[2, 3, 4, 5]);
        assert_eq!(buffer.filled(), [1, 1, 2, 3, 4, 5]);
        buffer.extend(&[6; ORDINARY]);
        assert_eq!(buffer.filled().len(), 6 + ORDINARY);
        assert_eq!(buffer.filled()[..7], [1, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn bytes_are_replaced_by_more_and_by_fewer() {
        let list = Rc::new(Freelist::default());
        let mut buffer = list.take();
        buffer.extend(b"-abcd");
        buffer.consume(1);
        buffer.replace(1..3, b"xyz");
        assert_eq!(buffer.filled(), b"axyzd");
        buffer.replace(0..4, b"q");
        assert_eq!(buffer.filled(), b"qd");
        buffer.replace(2..2, &[7; ORDINARY]);
        assert_eq!((&buffer.filled()[..3], buffer.filled().len()), (&b"qd\x07"[..], ORDINARY + 2));
    }

    #[test]
    fn only_ordinary_buffers_go_back() {
        let list = Rc::new(Freelist::default());
        let mut large = list.take();
        large.reserve(LARGE);
        drop(large);
        assert_eq!(list.spare.borrow().len(), 0);
        drop(list.take());
        assert_eq!(list.spare.borrow().len(), 1);
    }
}
