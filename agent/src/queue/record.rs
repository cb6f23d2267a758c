//! One request as it stands in a segment file.
//!
//! ```text
//!   0   4 bytes  "xpqR"
//!   4   4 bytes  length of the body
//!   8   4 bytes  CRC-32C of the body
//!  12   4 bytes  protocol: 1 rw1, 2 rw1 with zstd, 3 rw2
//!  16   8 bytes  number of the record
//!  24   8 bytes  samples in it
//!  32   8 bytes  oldest timestamp, milliseconds since the Unix epoch
//!  40   8 bytes  newest timestamp, milliseconds since the Unix epoch
//!  48   8 bytes  when it was sealed by the wall clock, milliseconds since the Unix epoch
//!  56   4 bytes  CRC-32C of the place (segment and offset, 8 bytes each) and of all that stands before
//!  60   ...      body
//! ```
//!
//! Numbers are little-endian. The header has a checksum of its own, so that a damaged body costs that request alone and its
//! samples can be counted. The checksum covers where the record stands: bytes that look like a record because they are a
//! copy of one, in a body or in a file that was patched together, are none.

use bytes::{Buf as _, BufMut as _, TryGetError};

use crate::wire::Protocol;

/// Bytes before the body.
pub(super) const HEADER_BYTES: usize = 60;
/// What every record begins with.
pub(super) const MARKER: &[u8; 4] = b"xpqR";
/// No record has a larger number: a thousand a second need more than a hundred million years for it.
pub(super) const MAX_ID: u64 = 1 << 62;

const CRC_BYTES: usize = 4;

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Number of the first record of the segment.
    pub(super) segment: u64,
    /// Bytes before the record.
    pub(super) offset: u64,
}

/// What is known of a request without its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: u64,
    pub(super) protocol: Protocol,
    pub(super) samples: u64,
    pub(super) min_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) sealed_at_millis: i64,
    pub(super) body_bytes: u32,
    pub(super) body_crc: u32,
}

impl Header {
    pub(super) fn encode(&self, place: Place) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.put_slice(MARKER);
        bytes.put_u32_le(self.body_bytes);
        bytes.put_u32_le(self.body_crc);
        bytes.put_u32_le(code(self.protocol));
        bytes.put_u64_le(self.id);
        bytes.put_u64_le(self.samples);
        bytes.put_i64_le(self.min_timestamp);
        bytes.put_i64_le(self.max_timestamp);
        bytes.put_i64_le(self.sealed_at_millis);
        let crc = checksum(place, &bytes);
        bytes.put_u32_le(crc);
        bytes
    }

    /// Reads the header of the record that stands at `place`, from its first byte on; `None` when none stands there.
    pub(super) fn decode(bytes: &[u8], place: Place) -> Option<Self> {
        let (content, crc) = bytes.get(..HEADER_BYTES)?.split_last_chunk::<CRC_BYTES>()?;
        if !content.starts_with(MARKER) || checksum(place, content) != u32::from_le_bytes(*crc) {
            return None;
        }
        Self::read(content).ok().flatten().filter(|header| header.id < MAX_ID)
    }

    fn read(content: &[u8]) -> Result<Option<Self>, TryGetError> {
        let mut rest = content.get(MARKER.len()..).unwrap_or_default();
        let body_bytes = rest.try_get_u32_le()?;
        let body_crc = rest.try_get_u32_le()?;
        let Some(protocol) = protocol(rest.try_get_u32_le()?) else {
            return Ok(None);
        };
        Ok(Some(Self {
            body_bytes,
            body_crc,
            protocol,
            id: rest.try_get_u64_le()?,
            samples: rest.try_get_u64_le()?,
            min_timestamp: rest.try_get_i64_le()?,
            max_timestamp: rest.try_get_i64_le()?,
            sealed_at_millis: rest.try_get_i64_le()?,
        }))
    }

    /// Tells whether `body` is the one that was written behind this header.
    pub(super) fn owns(&self, body: &[u8]) -> bool {
        u32::try_from(body.len()) == Ok(self.body_bytes) && crc32c::crc32c(body) == self.body_crc
    }
}

fn checksum(place: Place, content: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&place.segment.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &place.offset.to_le_bytes());
    crc32c::crc32c_append(crc, content)
}

const fn code(protocol: Protocol) -> u32 {
    match protocol {
        Protocol::V1Snappy => 1,
        Protocol::V1Zstd => 2,
        Protocol::V2Snappy => 3,
    }
}

fn protocol(number: u32) -> Option<Protocol> {
    Protocol::ALL.into_iter().find(|protocol| code(*protocol) == number)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in super::super) fn header() -> impl Strategy<Value = Header> {
        let protocol = prop::sample::select(Protocol::ALL.to_vec());
        let numbers = (0..MAX_ID, any::<u64>(), any::<u32>(), any::<u32>());
        (protocol, numbers, any::<[i64; 3]>()).prop_map(|(protocol, numbers, times)| Header {
            id: numbers.0,
            protocol,
            samples: numbers.1,
            min_timestamp: times[0],
            max_timestamp: times[1],
            sealed_at_millis: times[2],
            body_bytes: numbers.2,
            body_crc: numbers.3,
        })
    }

    proptest! {
        #[test]
        fn a_header_is_read_as_it_was_written_and_only_where_it_was_written(
            header in header(), segment in any::<u64>(), offset in any::<u64>(), bit in 0..HEADER_BYTES * 8,
        ) {
            let place = Place { segment, offset };
            let mut bytes = header.encode(place);
            prop_assert_eq!(bytes.len(), HEADER_BYTES);
            prop_assert_eq!(Header::decode(&bytes, place), Some(header));
            let elsewhere = Place { offset: offset ^ 1, ..place };
            prop_assert_eq!(Header::decode(&bytes, elsewhere), None);
            let elsewhere = Place { segment: segment ^ 1, ..place };
            prop_assert_eq!(Header::decode(&bytes, elsewhere), None);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Header::decode(&bytes, place), None);
            prop_assert_eq!(Header::decode(&bytes[..bit / 8], place), None);
        }
    }

    #[test]
    fn a_header_stands_as_the_page_says() {
        let header = Header {
            id: 7,
            protocol: Protocol::V2Snappy,
            samples: 2000,
            min_timestamp: -1,
            max_timestamp: 1,
            sealed_at_millis: 256,
            body_bytes: 5,
            body_crc: crc32c::crc32c(b"hello"),
        };
        let bytes = header.encode(Place { segment: 7, offset: 16 });
        let written = bytes
            .iter()
            .fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        let expected = concat!(
            "78707152050000004cbb719a03000000",
            "0700000000000000d007000000000000",
            "ffffffffffffffff0100000000000000",
            "0001000000000000f3b0c4d7",
        );
        assert_eq!(written, expected);
    }
}
