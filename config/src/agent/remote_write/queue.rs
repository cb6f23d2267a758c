//! `queue:` of an endpoint: what may wait for it, and for how long.

use std::time::Duration;

use crate::limits::LONGEST;
use crate::reader::Mapping;
use crate::value::{self, InvalidValue, Parsed, duration_within, quote};

/// About a day of 1,000 targets.
const MAX_BYTES: u64 = 1 << 30;
const MAX_AGE: Duration = Duration::from_hours(24);
/// One request of 2,000 samples takes about 53 kB.
const SMALLEST_BYTES: u64 = 64 << 10;

/// What may wait for an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueBounds {
    /// Bytes of sealed requests.
    pub max_bytes: u64,
    /// Age of a request, also of one that always fails.
    pub max_age: Duration,
}

pub(super) fn read(mut mapping: Mapping<'_>) -> QueueBounds {
    let bounds = QueueBounds {
        max_bytes: mapping.take("max_bytes").read(size).unwrap_or(MAX_BYTES),
        max_age: mapping
            .take("max_age")
            .read(duration_within(Duration::from_secs(1), 365 * LONGEST))
            .unwrap_or(MAX_AGE),
    };
    mapping.finish();
    bounds
}

fn size(text: &str) -> Parsed<u64> {
    let size = value::byte_size(text)?;
    if size >= SMALLEST_BYTES {
        return Ok(size);
    }
    Err(InvalidValue::new(format!(
        "{} is too small: use at least {}KiB",
        quote(text),
        SMALLEST_BYTES >> 10
    )))
}
