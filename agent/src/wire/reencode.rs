//! A request that waits, spelt in the protocol that its endpoint speaks now.

use super::compress::{CompressionError, Compressor, decompress};
use super::encoder::Open;
use super::field::Malformed;
use super::metadata::Directory;
use super::{Protocol, v1, v2};
use crate::queue::SealedRequest;
use crate::samples::sample::Sample;

/// Why a request cannot be spelt in another protocol: its bytes are damaged. Another attempt ends in the same way.
#[derive(Debug, thiserror::Error)]
pub enum ReencodeError {
    /// It cannot be read or written.
    #[error("the request cannot be spelt in another protocol")]
    Compression(#[from] CompressionError),
    /// What was compressed is no message of ours.
    #[error("the request cannot be spelt in another protocol")]
    Malformed(#[from] Malformed),
    /// It holds another number of samples than it says.
    #[error("the request says {said} samples and holds {found}")]
    Samples {
        /// What the request says.
        said: u64,
        /// What is in it.
        found: u64,
    },
}

/// Spells a request in another protocol: the same series, samples and timestamps in the same order, always the same bytes
/// for the same request, so that a replay stays one. What a series says is found in the catalogue; the start of its
/// counting exists in Remote-Write 2.0 only and is lost on the way from there.
///
/// # Errors
///
/// When the bytes of the request are not what they were.
pub fn reencode(request: &SealedRequest, protocol: Protocol) -> Result<SealedRequest, ReencodeError> {
    if request.protocol == protocol {
        return Ok(request.clone());
    }
    let message = decompress(request.protocol, &request.bytes)?;
    let mut open = Open::new(protocol);
    let directory = Directory::new();
    let put = |sample: &Sample<'_>| {
        open.put(&Sample {
            metric: directory.find(sample.labels),
            ..*sample
        });
    };
    let found = match request.protocol {
        Protocol::V1Snappy | Protocol::V1Zstd => v1::read(&message, put)?,
        Protocol::V2Snappy => v2::read(&message, put)?,
    };
    if found != request.samples {
        return Err(ReencodeError::Samples {
            said: request.samples,
            found,
        });
    }
    let sealed = open.seal(&mut Compressor::default(), request.sealed_at)?;
    // What the request says about its times is what its queue goes by.
    Ok(SealedRequest {
        min_timestamp: request.min_timestamp,
        max_timestamp: request.max_timestamp,
        ..sealed
    })
}

#[cfg(test)]
mod tests;
