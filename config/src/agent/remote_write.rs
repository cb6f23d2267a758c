//! `remote_write:`, where samples go and what waits for that.

use std::time::Duration;

use super::RemoteWrite;
use super::file::SHORTEST_TIMEOUT;
use crate::headers;
use crate::limits::LONGEST;
use crate::load::Override;
use crate::reader::Mapping;
use crate::value::{self, InvalidValue, Parsed, duration_within, quote};

const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
const QUEUE_MAX_BYTES: u64 = 64 << 20;
const QUEUE_MAX_AGE: Duration = Duration::from_hours(1);
/// One request of 2,000 samples takes about 53 kB.
const SMALLEST_QUEUE_BYTES: u64 = 64 << 10;

/// Headers that the remote-write protocol or the connection fixes.
const RESERVED_HEADERS: [&str; 7] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "transfer-encoding",
    "user-agent",
    "x-prometheus-remote-write-version",
];

const MISSING_URL: &str = "say where samples go with --remote-write.url or the key remote_write.url, \
                           as in http://prometheus:9090/api/v1/write";

/// Reads the mapping; `None` when there is no place to send samples to, which was told.
pub(super) fn read(mut mapping: Mapping<'_>, url: Option<&Override>) -> Option<RemoteWrite> {
    let url_field = mapping.take("url");
    let url_field = if url.is_some() {
        url_field
    } else {
        url_field.required(MISSING_URL)
    };
    let url = url_field.read_or(url, value::http_url);
    let timeout = mapping
        .take("timeout")
        .read(duration_within(SHORTEST_TIMEOUT, LONGEST))
        .unwrap_or(WRITE_TIMEOUT);
    let ca_file = mapping.take("ca_file").read(value::file_path);
    let headers = headers::read(
        mapping.take("headers"),
        &RESERVED_HEADERS,
        "the remote-write protocol fixes it",
    );
    let (queue_max_bytes, queue_max_age) = read_queue(mapping.take("queue").mapping());
    mapping.finish();
    Some(RemoteWrite {
        url: url?,
        timeout,
        queue_max_bytes,
        queue_max_age,
        ca_file,
        headers,
    })
}

fn read_queue(mut mapping: Mapping<'_>) -> (u64, Duration) {
    let max_bytes = mapping.take("max_bytes").read(queue_size).unwrap_or(QUEUE_MAX_BYTES);
    let max_age = mapping
        .take("max_age")
        .read(duration_within(Duration::from_secs(1), 365 * LONGEST))
        .unwrap_or(QUEUE_MAX_AGE);
    mapping.finish();
    (max_bytes, max_age)
}

fn queue_size(text: &str) -> Parsed<u64> {
    let size = value::byte_size(text)?;
    if size >= SMALLEST_QUEUE_BYTES {
        return Ok(size);
    }
    Err(InvalidValue::new(format!(
        "{} is too small: use at least {}KiB",
        quote(text),
        SMALLEST_QUEUE_BYTES >> 10
    )))
}
