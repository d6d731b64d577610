//! Reading fields of a packet one after another, with every length checked.
//!
//! Owns: the protocol's primitive types (MySQL manual, "Protocol::Integer" and "Protocol::String").
//! Does not know: which packet it reads. Invariant: a short or malformed packet gives `None`, never a panic.

/// What is left to read of a packet's payload.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// Starts at the first byte of `payload`.
    pub fn new(payload: &'a [u8]) -> Self {
        Self(payload)
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes are left.
    pub fn rest_length(&self) -> usize {
        self.0.len()
    }

    /// Everything that is left; `string<EOF>`.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// The next `length` bytes; `string<fix>`.
    pub fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length)?;
        self.0 = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    /// `int<1>`.
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// `int<2>`.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// `int<4>`.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// `int<8>`.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// `int<lenenc>`; `None` also for the markers of NULL (0xfb) and ERR (0xff), which are no lengths.
    pub fn lenenc_int(&mut self) -> Option<u64> {
        match self.u8()? {
            byte @ 0..=0xfa => Some(u64::from(byte)),
            0xfc => self.u16().map(u64::from),
            0xfd => self.array::<3>().map(|[a, b, c]| u64::from(u32::from_le_bytes([a, b, c, 0]))),
            0xfe => self.u64(),
            0xfb | 0xff => None,
        }
    }

    /// `string<lenenc>`.
    pub fn lenenc_bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.lenenc_int()?).ok()?;
        self.bytes(length)
    }

    /// `string<NUL>`, without its NUL.
    pub fn nul_terminated(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(0, self.0)?;
        let text = self.bytes(end)?;
        self.u8()?;
        Some(text)
    }

    /// `string<NUL>` whose NUL is missing where the packet ends: old servers and some clients send it so.
    pub fn nul_terminated_or_rest(&mut self) -> &'a [u8] {
        match self.nul_terminated() {
            Some(text) => text,
            None => self.rest(),
        }
    }
}

/// Appends `int<lenenc>`.
pub fn put_lenenc_int(buffer: &mut Vec<u8>, value: u64) {
    let bytes = value.to_le_bytes();
    match value {
        0..=0xfa => buffer.push(bytes[0]),
        0xfb..=0xffff => {
            buffer.push(0xfc);
            buffer.extend_from_slice(&bytes[..2]);
        }
        0x1_0000..=0xff_ffff => {
            buffer.push(0xfd);
            buffer.extend_from_slice(&bytes[..3]);
        }
        _ => {
            buffer.push(0xfe);
            buffer.extend_from_slice(&bytes);
        }
    }
}

/// Appends `string<lenenc>`.
pub fn put_lenenc_bytes(buffer: &mut Vec<u8>, text: &[u8]) {
    put_lenenc_int(buffer, text.len() as u64);
    buffer.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_encoded_integers_survive_a_round_trip() {
        for value in [0, 0xfa, 0xfb, 0xffff, 0x1_0000, 0xff_ffff, 0x100_0000, u64::MAX] {
            let mut buffer = Vec::new();
            put_lenenc_int(&mut buffer, value);
            let mut cursor = Cursor::new(&buffer);
            assert_eq!(cursor.lenenc_int(), Some(value));
            assert!(cursor.is_empty());
        }
    }

    #[test]
    fn short_input_is_none() {
        assert_eq!(Cursor::new(&[]).u8(), None);
        assert_eq!(Cursor::new(&[1]).u16(), None);
        assert_eq!(Cursor::new(&[0xfd, 1, 2]).lenenc_int(), None);
        assert_eq!(Cursor::new(&[0xfb]).lenenc_int(), None);
        assert_eq!(Cursor::new(&[5, b'a']).lenenc_bytes(), None);
        assert_eq!(Cursor::new(&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).lenenc_bytes(), None);
        assert_eq!(Cursor::new(b"abc").nul_terminated(), None);
        assert_eq!(Cursor::new(b"abc").nul_terminated_or_rest(), b"abc");
        assert_eq!(Cursor::new(b"a\0bc").nul_terminated_or_rest(), b"a");
    }
}
