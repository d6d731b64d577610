//! DECIMAL, exact: sums and quotients of numbers with up to 65 digits.
//!
//! Owns: a sign, a magnitude of 384 bits, a scale. Does not know: columns. Invariant: nothing is rounded but by
//! `divide`, `average`, `over` and `rounded`; what does not fit is an error.

use std::cmp::Ordering;

use super::error::Error;

const LIMBS: usize = 6;
/// Digits that a DECIMAL can have.
const DIGITS_MAX: usize = 65;
/// The largest power of ten that fits a limb, and its exponent.
const CHUNK: u64 = 10_000_000_000_000_000_000;
const CHUNK_DIGITS: usize = 19;

/// Digits in a word of the servers' own decimals.
const WORD: usize = 9;

impl From<i128> for Decimal {
    fn from(value: i128) -> Self {
        let magnitude = value.unsigned_abs();
        let mut limbs = [0; LIMBS];
        (limbs[0], limbs[1]) = (magnitude as u64, (magnitude >> 64) as u64); // the two halves
        Self { negative: value < 0, magnitude: limbs, scale: 0 }
    }
}

/// A decimal number: `± magnitude / 10^scale`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Decimal {
    negative: bool,
    /// Least significant limb first.
    magnitude: [u64; LIMBS],
    scale: usize,
}

impl Decimal {
    /// Reads what servers send: an optional sign, digits, at most one point.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (negative, digits) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        let mut number = Self { negative, ..Self::default() };
        let (mut point, mut seen) = (false, false);
        // Digits are gathered in one limb, as many as it holds.
        let (mut gathered, mut factor) = (0, 1);
        for byte in digits {
            match byte {
                b'.' if !point => point = true,
                b'0'..=b'9' => {
                    if factor == CHUNK {
                        number.times_plus(factor, gathered).ok()?;
                        (gathered, factor) = (0, 1);
                    }
                    gathered = gathered * 10 + u64::from(byte - b'0');
                    factor *= 10;
                    number.scale += usize::from(point);
                    seen = true;
                }
                _ => return None,
            }
        }
        number.times_plus(factor, gathered).ok()?;
        seen.then_some(number)
    }

    /// Whether this number is less than the other, equal, or greater.
    pub fn compare(self, other: Self) -> Result<Ordering, Error> {
        let scale = self.scale.max(other.scale);
        let signed = |mut number: Self| {
            number.rescale_up(scale)?;
            Ok((number.negative && number.magnitude != [0; LIMBS], number.magnitude))
        };
        let ((left_negative, left), (right_negative, right)) = (signed(self)?, signed(other)?);
        let magnitudes = left.iter().rev().cmp(right.iter().rev());
        Ok(match (left_negative, right_negative) {
            (false, false) => magnitudes,
            (true, true) => magnitudes.reverse(),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        })
    }

    /// One times the other.
    pub fn times(self, other: Self) -> Result<Self, Error> {
        let mut magnitude = [0u64; LIMBS];
        for (at, limb) in self.magnitude.iter().enumerate() {
            let mut carry = 0u128;
            for (place, factor) in other.magnitude.iter().enumerate() {
                carry += u128::from(*limb) * u128::from(*factor);
                match magnitude.get_mut(at + place) {
                    Some(sum) => {
                        carry += u128::from(*sum);
                        *sum = carry as u64; // the low half
                    }
                    None if carry != 0 => return Err(Error::Overflow),
                    None => {}
                }
                carry >>= 64;
            }
            if carry != 0 {
                return Err(Error::Overflow);
            }
        }
        let negative = self.negative != other.negative;
        let product = Self { negative, magnitude, scale: self.scale + other.scale };
        if product.digits() > DIGITS_MAX { Err(Error::Overflow) } else { Ok(product) }
    }

    /// One divided by the other, with `scale` digits behind the point; `more` of them are the quotient's, which the dividend has not by its
    /// type. `None` for a division by zero.
    pub fn over(mut self, other: Self, scale: usize, more: usize) -> Result<Option<Self>, Error> {
        if other.magnitude == [0; LIMBS] {
            return Ok(None);
        }
        // The digits that the servers compute, and of these as many as rounding needs.
        let computed = words((words(self.scale) + words(other.scale)).max(self.scale + other.scale + more));
        let kept = computed.min(scale + 1);
        self.rescale_up(kept + other.scale)?;
        while self.scale > kept + other.scale {
            self.divide_small(10);
            self.scale -= 1;
        }
        let negative = self.negative != other.negative;
        let magnitude = quotient(self.magnitude, other.magnitude)?;
        Self { negative, magnitude, scale: kept }.rounded(scale).map(Some)
    }

    /// An average of so many values, as the servers compute with it: with all digits that they have of it, the rest cut off.
    pub fn average(mut self, count: u64, scale: usize) -> Result<Self, Error> {
        if count == 0 {
            return Err(Error::Malformed);
        }
        self.rescale_up(words(scale))?;
        self.divide_small(count);
        Ok(self)
    }

    /// With no more than `scale` digits behind the point, rounded half away from zero.
    pub fn rounded(mut self, scale: usize) -> Result<Self, Error> {
        let mut last = 0;
        while self.scale > scale {
            last = self.divide_small(10);
            self.scale -= 1;
        }
        self.times_plus(1, u64::from(last >= 5))?;
        Ok(self)
    }

    /// The contrary.
    pub fn negated(self) -> Self {
        Self { negative: !self.negative, ..self }
    }

    /// The number as an integer; `None` where it is none, or too large.
    pub fn integer(self) -> Option<i128> {
        let [low, high, rest @ ..] = self.magnitude;
        let magnitude = i128::try_from(u128::from(high) << 64 | u128::from(low)).ok()?;
        let integer = self.scale == 0 && rest == [0; LIMBS - 2];
        integer.then_some(if self.negative { -magnitude } else { magnitude })
    }

    /// Digits behind the point.
    pub fn scale(self) -> usize {
        self.scale
    }

    /// Both together.
    pub fn plus(mut self, mut other: Self) -> Result<Self, Error> {
        let scale = self.scale.max(other.scale);
        self.rescale_up(scale)?;
        other.rescale_up(scale)?;
        if self.negative == other.negative {
            let mut carry = false;
            for (limb, more) in self.magnitude.iter_mut().zip(other.magnitude) {
                let (sum, over) = limb.overflowing_add(more);
                let (sum, again) = sum.overflowing_add(u64::from(carry));
                (*limb, carry) = (sum, over || again);
            }
            if carry || self.digits() > DIGITS_MAX {
                return Err(Error::Overflow);
            }
            return Ok(self);
        }
        let (mut larger, smaller) = match self.magnitude.iter().rev().cmp(other.magnitude.iter().rev()) {
            Ordering::Less => (other, self),
            _ => (self, other),
        };
        let mut borrow = false;
        for (limb, less) in larger.magnitude.iter_mut().zip(smaller.magnitude) {
            let (rest, under) = limb.overflowing_sub(less);
            let (rest, again) = rest.overflowing_sub(u64::from(borrow));
            (*limb, borrow) = (rest, under || again);
        }
        Ok(larger)
    }

    /// Divided by a count, with at least `scale` digits behind the point, as the servers do it: they compute digits nine by
    /// nine and cut the rest off, then round half away from zero if there are more digits than they need.
    pub fn divide(mut self, count: u64, scale: usize) -> Result<Self, Error> {
        if count == 0 {
            return Err(Error::Malformed);
        }
        self.rescale_up(scale)?;
        let remainder = self.divide_small(count);
        let rounds = !self.scale.is_multiple_of(WORD);
        if rounds && remainder >= count - remainder {
            self.times_plus(1, 1)?;
        }
        Ok(self)
    }

    /// Appends the number with at least `scale` digits behind the point.
    pub fn write(mut self, scale: usize, out: &mut Vec<u8>) -> Result<(), Error> {
        self.rescale_up(scale)?;
        let mut digits = [b'0'; LIMBS * (CHUNK_DIGITS + 1)];
        let (mut at, mut first) = (digits.len(), digits.len());
        while self.magnitude != [0; LIMBS] {
            let mut chunk = self.divide_small(CHUNK);
            for digit in digits[..at].iter_mut().rev().take(CHUNK_DIGITS) {
                *digit = b'0' + (chunk % 10) as u8; // one digit
                chunk /= 10;
            }
            at = at.saturating_sub(CHUNK_DIGITS);
        }
        if let Some(leading) = digits.iter().position(|digit| *digit != b'0') {
            first = leading;
            // Zero has no sign.
            if self.negative {
                out.push(b'-');
            }
        }
        let point = digits.len().checked_sub(self.scale).ok_or(Error::Overflow)?;
        let (whole, fraction) = digits.split_at(point);
        out.extend_from_slice(&whole[first.min(point.saturating_sub(1))..]);
        if !fraction.is_empty() {
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
        Ok(())
    }

    fn digits(&self) -> usize {
        let (mut rest, mut digits) = (*self, 0);
        while rest.magnitude[1..].iter().any(|limb| *limb != 0) {
            rest.divide_small(CHUNK);
            digits += CHUNK_DIGITS;
        }
        digits + rest.magnitude[0].checked_ilog10().map_or(0, |log| log as usize + 1)
    }

    fn rescale_up(&mut self, scale: usize) -> Result<(), Error> {
        while self.scale < scale {
            let step = (scale - self.scale).min(CHUNK_DIGITS);
            let factor = (0..step).fold(1, |factor: u64, _| factor.wrapping_mul(10));
            self.times_plus(factor, 0)?;
            self.scale += step;
        }
        Ok(())
    }

    /// `magnitude * factor + more`.
    fn times_plus(&mut self, factor: u64, more: u64) -> Result<(), Error> {
        let mut carry = u128::from(more);
        for limb in &mut self.magnitude {
            carry += u128::from(*limb) * u128::from(factor);
            *limb = carry as u64; // the low half
            carry >>= 64;
        }
        if carry == 0 { Ok(()) } else { Err(Error::Overflow) }
    }

    /// Divides the magnitude; gives the remainder.
    fn divide_small(&mut self, divisor: u64) -> u64 {
        let mut rest = 0u128;
        for limb in self.magnitude.iter_mut().rev() {
            let part = rest << 64 | u128::from(*limb);
            *limb = (part / u128::from(divisor)) as u64; // the remainder before was less than the divisor
            rest = part % u128::from(divisor);
        }
        rest as u64
    }
}

/// Digits of as many whole words as so many need.
fn words(digits: usize) -> usize {
    digits.next_multiple_of(WORD)
}

/// Long division, bit by bit.
fn quotient(dividend: [u64; LIMBS], divisor: [u64; LIMBS]) -> Result<[u64; LIMBS], Error> {
    let (mut quotient, mut rest) = ([0u64; LIMBS], [0u64; LIMBS]);
    for bit in (0..LIMBS * 64).rev() {
        let mut carry = dividend[bit / 64] >> (bit % 64) & 1;
        for limb in &mut rest {
            (*limb, carry) = (*limb << 1 | carry, *limb >> 63);
        }
        if carry != 0 {
            return Err(Error::Overflow);
        }
        if rest.iter().rev().ge(divisor.iter().rev()) {
            let mut borrow = false;
            for (limb, less) in rest.iter_mut().zip(divisor) {
                let (left, under) = limb.overflowing_sub(less);
                let (left, again) = left.overflowing_sub(u64::from(borrow));
                (*limb, borrow) = (left, under || again);
            }
            quotient[bit / 64] |= 1 << (bit % 64);
        }
    }
    Ok(quotient)
}
