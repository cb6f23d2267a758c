//! A file of records: its name, its beginning, and what can be read of it after whatever happened to it.
//!
//! `00000000000000000042.seg` begins with record 42:
//!
//! ```text
//!   8 bytes  "xpqsegmt"
//!   4 bytes  version of the format, 1
//!   4 bytes  CRC-32C of the twelve bytes before
//!   ...      records, see [`super::record`], their numbers ascending
//! ```

use bytes::BufMut as _;

use super::record::{HEADER_BYTES, Header, MARKER, MAX_ID, Place};

/// Bytes before the first record.
pub(super) const BEGINNING_BYTES: usize = 16;

const MAGIC: &[u8; 8] = b"xpqsegmt";
const VERSION: u32 = 1;
const EXTENSION: &str = ".seg";
const DIGITS: usize = 20;

/// Names the file that begins with record `first`.
pub(super) fn name(first: u64) -> String {
    format!("{first:0DIGITS$}{EXTENSION}")
}

/// Reads a file name; `None` when it is not one of a segment.
pub(super) fn first_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(EXTENSION)?;
    let plain = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|first| plain && *first < MAX_ID)
}

/// What a segment file begins with.
pub(super) fn beginning() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BEGINNING_BYTES);
    bytes.put_slice(MAGIC);
    bytes.put_u32_le(VERSION);
    let crc = crc32c::crc32c(&bytes);
    bytes.put_u32_le(crc);
    bytes
}

/// The file was written by a version of the agent whose format we do not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("written in format {0}, this agent knows format {VERSION}")]
pub(super) struct UnknownVersion(u32);

/// What is left of a segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Whole records with the bytes before each, in order.
    pub(super) records: Vec<(u64, Header)>,
    /// Headers of records whose bodies are damaged or cut off.
    pub(super) damaged: Vec<Header>,
    /// Bytes that belong to no whole record.
    pub(super) lost_bytes: u64,
    /// Bytes up to the end of the last whole record; behind them stands nothing worth keeping.
    pub(super) end: u64,
}

/// Finds every whole record of the segment that begins with record `first` and ends below record `limit`.
///
/// Damage costs the records that it touches: behind a damaged body the next record stands where the header says, behind a
/// damaged header it is searched by its marker, and its checksum says that it was written there.
pub(super) fn scan(first: u64, limit: u64, content: &[u8]) -> Result<Scan, UnknownVersion> {
    if let Some(version) = version(content).filter(|version| *version != VERSION) {
        return Err(UnknownVersion(version));
    }
    let mut scan = Scan::default();
    let mut next_id = first;
    let mut offset = BEGINNING_BYTES;
    while let Some((at, header)) = find(first, next_id..limit, content, offset) {
        scan.lost_bytes += (at - offset) as u64;
        next_id = header.id + 1;
        let body = at + HEADER_BYTES;
        let end = usize::try_from(header.body_bytes).map_or(usize::MAX, |length| body.saturating_add(length));
        if content.get(body..end).is_some_and(|body| header.owns(body)) {
            scan.records.push((at as u64, header));
            scan.end = end as u64;
        } else {
            scan.damaged.push(header);
            scan.lost_bytes += (end.min(content.len()) - at) as u64;
        }
        offset = end.min(content.len());
    }
    scan.lost_bytes += content.len().saturating_sub(offset) as u64;
    Ok(scan)
}

/// Answers the version that a beginning tells, if it is whole.
fn version(content: &[u8]) -> Option<u32> {
    let (content, crc) = content.get(..BEGINNING_BYTES)?.split_last_chunk::<4>()?;
    let (magic, version) = content.split_last_chunk::<4>()?;
    let whole = magic == MAGIC && crc32c::crc32c(content) == u32::from_le_bytes(*crc);
    whole.then(|| u32::from_le_bytes(*version))
}

/// Answers the first header at or behind `from`, and where it stands.
fn find(segment: u64, ids: std::ops::Range<u64>, content: &[u8], from: usize) -> Option<(usize, Header)> {
    let rest = content.get(from..)?;
    let candidates = rest
        .windows(MARKER.len())
        .enumerate()
        .filter(|(_, bytes)| *bytes == MARKER);
    candidates.map(|(index, _)| from + index).find_map(|at| {
        let place = Place {
            segment,
            offset: at as u64,
        };
        let header = Header::decode(content.get(at..)?, place)?;
        ids.contains(&header.id).then_some((at, header))
    })
}

#[cfg(test)]
mod tests;
