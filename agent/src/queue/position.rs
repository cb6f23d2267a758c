//! What has been done with the records: the content of the file `position`.
//!
//! ```text
//!   8 bytes  "xpqposit"
//!   4 bytes  version of the format, 1
//!   4 bytes  number of ranges
//!   8 bytes  every record below this number is done
//!  16 bytes  per range: first number that is done, number behind the last one
//!   4 bytes  CRC-32C of all that stands before
//! ```
//!
//! Numbers are little-endian. A file that does not read like this is as good as none: then nothing counts as done, and
//! what is left in the segments is sent once more, byte for byte.

use std::ops::Range;

use bytes::{Buf as _, BufMut as _, TryGetError};

use super::ids::Ids;
use super::record::MAX_ID;

/// Name of the file in the folder of the queue.
pub(super) const NAME: &str = "position";

const MAGIC: &[u8; 8] = b"xpqposit";
const VERSION: u32 = 1;
const CRC_BYTES: usize = 4;

/// The records that are done: arrived, refused or given up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Position {
    below: u64,
    beyond: Ids,
}

impl Position {
    /// Everything below a number is done and nothing else.
    pub(super) fn new(below: u64) -> Self {
        Self {
            below,
            beyond: Ids::default(),
        }
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        id < self.below || self.beyond.contains(id)
    }

    pub(super) fn insert_range(&mut self, range: Range<u64>) {
        self.beyond.insert_range(range.start.max(self.below)..range.end);
        let first = self.beyond.ranges().next();
        if let Some(first) = first.filter(|first| first.start <= self.below) {
            self.below = first.end;
            self.beyond.remove_first();
        }
    }

    /// The smallest number such that neither it nor any larger one is done.
    pub(super) fn end(&self) -> u64 {
        self.beyond.end().unwrap_or(self.below)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let ranges = self.beyond.ranges();
        let mut bytes = Vec::with_capacity(MAGIC.len() + 16 + 16 * ranges.len() + CRC_BYTES);
        bytes.put_slice(MAGIC);
        bytes.put_u32_le(VERSION);
        // More ranges than fit do not fit the memory either; the reader would take the file for damaged, which is safe.
        bytes.put_u32_le(u32::try_from(ranges.len()).unwrap_or(u32::MAX));
        bytes.put_u64_le(self.below);
        for range in ranges {
            bytes.put_u64_le(range.start);
            bytes.put_u64_le(range.end);
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.put_u32_le(crc);
        bytes
    }

    /// Reads a file; `None` when a single bit of it is not as it was written.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, crc) = bytes.split_last_chunk::<CRC_BYTES>()?;
        if crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
            return None;
        }
        Self::read(content).ok().flatten()
    }

    fn read(mut content: &[u8]) -> Result<Option<Self>, TryGetError> {
        let mut magic = [0; MAGIC.len()];
        content.try_copy_to_slice(&mut magic)?;
        if magic != *MAGIC || content.try_get_u32_le()? != VERSION {
            return Ok(None);
        }
        let ranges = content.try_get_u32_le()?;
        let mut position = Self::new(content.try_get_u64_le()?);
        for _ in 0..ranges {
            let range = content.try_get_u64_le()?..content.try_get_u64_le()?;
            position.insert_range(range);
        }
        Ok((content.is_empty() && position.end() <= MAX_ID).then_some(position))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn position() -> impl Strategy<Value = Position> {
        (0u64..50, prop::collection::vec((0u64..200, 0u64..5), 0..12)).prop_map(|(below, ranges)| {
            let mut position = Position::new(below);
            for (start, length) in ranges {
                position.insert_range(start..start + length);
            }
            position
        })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_and_no_other_file_is(position in position(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let bytes = position.encode();
            prop_assert_eq!(Position::decode(&bytes), Some(position));
            prop_assert_eq!(Position::decode(&bytes[..at.index(bytes.len())]), None);
            let mut flipped = bytes;
            let at = at.index(flipped.len());
            flipped[at] ^= 1 << bit;
            prop_assert_eq!(Position::decode(&flipped), None);
        }

        #[test]
        fn what_follows_the_done_without_a_gap_is_not_kept_as_a_range(order in Just((0u64..30).collect::<Vec<_>>()).prop_shuffle()) {
            let mut position = Position::default();
            for id in order {
                prop_assert!(!position.contains(id));
                position.insert_range(id..id + 1);
                prop_assert!(position.contains(id));
            }
            prop_assert_eq!(position, Position::new(30));
        }
    }
}
