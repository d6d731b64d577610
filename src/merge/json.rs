//! JSON_ARRAYAGG: the shards' arrays joined to one.

use super::error::Error;
use super::meter::Meter;

/// Adds a shard's array, as text; `separator` stands between elements as the dialect writes it.
pub(super) fn append(
    kept: &mut Option<Vec<u8>>,
    array: &[u8],
    separator: &[u8],
    length_max: Option<usize>,
    meter: &mut Meter,
) -> Result<(), Error> {
    let Some(kept) = kept else {
        meter.take(array.len())?;
        *kept = Some(array.to_vec());
        return Ok(());
    };
    // MariaDB cuts an array that is too long, which is no array then: with more behind it nobody knows.
    let too_long = || length_max.map_or(Error::Malformed, Error::ConcatTooLong);
    let elements = array.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).ok_or_else(too_long)?;
    if kept.last() != Some(&b']')
        || length_max.is_some_and(|max| kept.len() + separator.len() + elements.len() > max)
    {
        return Err(too_long());
    }
    meter.take(separator.len() + elements.len())?;
    kept.pop();
    kept.extend_from_slice(separator);
    kept.extend_from_slice(elements);
    kept.push(b']');
    Ok(())
}
