//! The compression of each protocol.

use bytes::Bytes;
use zstd::bulk;

use super::Protocol;

/// Bytes and nanoseconds per sample on a request of ours, by level: -1 takes 8.2 and 44, 1 7.9 and 50, 3 8.2 and 61, 5 7.9
/// and 376, 9 7.2 and 606.
const ZSTD_LEVEL: i32 = 1;

/// Largest message that is read back, 64 MiB: four times what is ever written.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// Why a message could not be compressed or read back.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    /// The snappy block is wrong, or the message larger than snappy allows.
    #[error("snappy")]
    Snappy(#[source] snap::Error),
    /// The zstd frame is wrong, or there is no memory for its tables.
    #[error("zstd")]
    Zstd(#[source] std::io::Error),
    /// The message would be larger than any that is written.
    #[error("a message of {0} bytes is larger than any of ours")]
    TooLarge(usize),
}

/// Compresses messages; keeps its tables and room.
pub(super) struct Compressor {
    snappy: snap::raw::Encoder,
    /// Built when it is needed: its tables take 1 MB.
    zstd: Option<bulk::Compressor<'static>>,
    /// As large as the largest message could become; what it did become is a small part of that.
    room: Vec<u8>,
}

impl Default for Compressor {
    fn default() -> Self {
        Self {
            snappy: snap::raw::Encoder::new(),
            zstd: None,
            room: Vec::new(),
        }
    }
}

impl Compressor {
    /// Compresses one message into memory of its own, no larger than needed: it may wait in the queue for long.
    pub(super) fn compress(&mut self, protocol: Protocol, message: &[u8]) -> Result<Bytes, CompressionError> {
        let most = match protocol {
            Protocol::V1Snappy | Protocol::V2Snappy => snap::raw::max_compress_len(message.len()),
            Protocol::V1Zstd => zstd::zstd_safe::compress_bound(message.len()),
        };
        if self.room.len() < most {
            self.room.resize(most, 0);
        }
        let room = self.room.as_mut_slice();
        let bytes = match protocol {
            Protocol::V1Snappy | Protocol::V2Snappy => {
                self.snappy.compress(message, room).map_err(CompressionError::Snappy)?
            }
            Protocol::V1Zstd => {
                let zstd = match &mut self.zstd {
                    Some(zstd) => zstd,
                    none => none.insert(bulk::Compressor::new(ZSTD_LEVEL).map_err(CompressionError::Zstd)?),
                };
                zstd.compress_to_buffer(message, room).map_err(CompressionError::Zstd)?
            }
        };
        Ok(Bytes::copy_from_slice(&room[..bytes]))
    }
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Compressor").finish_non_exhaustive()
    }
}

/// Reads a message back.
pub(super) fn decompress(protocol: Protocol, bytes: &[u8]) -> Result<Vec<u8>, CompressionError> {
    match protocol {
        Protocol::V1Snappy | Protocol::V2Snappy => {
            let length = snap::raw::decompress_len(bytes).map_err(CompressionError::Snappy)?;
            if length > MAX_MESSAGE_BYTES {
                return Err(CompressionError::TooLarge(length));
            }
            snap::raw::Decoder::new()
                .decompress_vec(bytes)
                .map_err(CompressionError::Snappy)
        }
        Protocol::V1Zstd => {
            let length = bulk::Decompressor::upper_bound(bytes).unwrap_or(MAX_MESSAGE_BYTES);
            if length > MAX_MESSAGE_BYTES {
                return Err(CompressionError::TooLarge(length));
            }
            bulk::decompress(bytes, length).map_err(CompressionError::Zstd)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_request_is_what_the_compressor_makes_of_it() {
        for protocol in Protocol::ALL {
            let message: &[u8] = if protocol == Protocol::V2Snappy { b"\x22\0" } else { b"" };
            let request = protocol.empty_request();
            assert_eq!(decompress(protocol, &request).unwrap(), message);
            assert_eq!(
                Compressor::default().compress(protocol, message).unwrap(),
                request,
                "{protocol:?}"
            );
        }
    }

    #[test]
    fn compressed_bytes_take_no_more_memory_than_they_need() {
        for protocol in Protocol::ALL {
            let message = b"0123456789abcdef".repeat(1000);
            let compressed = Compressor::default().compress(protocol, &message).unwrap();
            let bytes = compressed.len();
            assert_eq!(compressed.try_into_mut().map(|bytes| bytes.capacity()).unwrap(), bytes);
            assert!(bytes * 4 < message.len(), "{bytes} of {}", message.len());
        }
    }

    #[test]
    fn a_message_that_says_it_is_huge_is_not_believed() {
        // 4 GiB less one, as a varint; a frame that says its content is 2^40 bytes.
        let snappy = decompress(Protocol::V1Snappy, b"\xff\xff\xff\xff\x0f\0");
        let zstd = decompress(Protocol::V1Zstd, b"\x28\xb5\x2f\xfd\xe0\0\0\0\0\0\x01\0\0\x01\0\0");
        for error in [snappy, zstd] {
            assert!(matches!(error, Err(CompressionError::TooLarge(_))), "{error:?}");
        }
    }
}
