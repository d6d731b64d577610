//! GROUP_CONCAT's text.

use super::error::Error;
use super::meter::Meter;
use super::spec::Concat;

/// Longest character: a shard that cuts its part may stop so much short of the bound, less one.
const CHARACTER_MAX: usize = 4;

/// Appends a value so many times. A result beyond the bound is an error: where the servers would cut it depends on the
/// character set of the expression, which is not known here.
pub(super) fn append(
    text: &mut Option<Vec<u8>>,
    concat: &Concat,
    value: &[u8],
    times: u64,
    length_max: usize,
    meter: &mut Meter,
) -> Result<(), Error> {
    // Without counts of values, what a shard sends is a text that it has joined itself, and may have cut.
    let cut = if concat.times.is_none() { CHARACTER_MAX } else { 0 };
    // Nothing joined by nothing stays nothing, however often.
    let times = if value.len() + concat.separator.len() == 0 { times.min(1) } else { times };
    for _ in 0..times {
        let before = text.as_ref().map(|text| text.len() + concat.separator.len());
        let length = before.unwrap_or(0) + value.len();
        let whole = |length: usize| before.is_none() || length + cut <= length_max;
        if !whole(value.len()) || !whole(before.unwrap_or(0)) || length > length_max {
            return Err(Error::ConcatTooLong(length_max));
        }
        let text = text.get_or_insert_default();
        meter.take(length - text.len())?;
        if before.is_some() {
            text.extend_from_slice(&concat.separator);
        }
        text.extend_from_slice(value);
    }
    Ok(())
}
