//! DECIMAL as bytes that keep its order: a sign, the number of digits before the point, the digits.
//!
//! Owns: that encoding. Does not know: scales; `1.50` and `1.5` are one. Invariant: any length of digits up to 255 before the point.

/// Behind the last digit: less than any.
const END: u8 = 0;

/// Appends the encoding of a number as servers send it; `None` where it is none.
pub(super) fn put(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let point = memchr::memchr(b'.', digits).unwrap_or(digits.len());
    let (whole, fraction) = (&digits[..point], digits.get(point + 1..).unwrap_or_default());
    if whole.len() + fraction.len() == 0 || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return None;
    }
    let leading = whole.iter().position(|digit| *digit != b'0').unwrap_or(whole.len());
    let whole = &whole[leading..];
    let trailing = fraction.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
    let fraction = &fraction[..trailing];
    let negative = negative && !(whole.is_empty() && fraction.is_empty());
    let from = out.len();
    out.push(1);
    out.push(u8::try_from(whole.len()).ok()?);
    out.extend_from_slice(whole);
    out.extend_from_slice(fraction);
    out.push(END);
    if negative {
        out[from..].iter_mut().for_each(|byte| *byte = !*byte);
        out[from] = 0;
    }
    Some(())
}
