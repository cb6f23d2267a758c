//! Remote write as the lab itself speaks and reads it: messages in, bytes and headers out, and back.
//!
//! [`message`] holds the messages, [`send`] posts them to a receiver. Nothing here is shared with the agent.

pub mod message;

use std::collections::BTreeMap;

use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use hyper::{HeaderMap, Method};
use prost::Message as _;

use self::message::{RequestV2, WriteRequest};
use crate::error::LabError;
use crate::fetch::{self, Fetched};

/// Bits of the not-a-number that ends a series.
pub const STALE_MARKER: u64 = 0x7ff0_0000_0000_0002;

/// Largest body that is read, decompressed.
const MAX_BODY_BYTES: usize = 64 << 20;

/// How a request is spelt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Spelling {
    /// Remote-Write 1.0 in a snappy block.
    V1Snappy,
    /// Remote-Write 1.0 compressed by zstd.
    V1Zstd,
    /// Remote-Write 2.0 in a snappy block.
    V2Snappy,
}

impl Spelling {
    /// The headers that the specifications demand.
    #[must_use]
    pub const fn headers(self) -> [(&'static str, &'static str); 3] {
        let (compression, kind, version) = match self {
            Self::V1Snappy => ("snappy", "application/x-protobuf", "0.1.0"),
            Self::V1Zstd => ("zstd", "application/x-protobuf", "0.1.0"),
            Self::V2Snappy => (
                "snappy",
                "application/x-protobuf;proto=io.prometheus.write.v2.Request",
                "2.0.0",
            ),
        };
        [
            ("content-encoding", compression),
            ("content-type", kind),
            ("x-prometheus-remote-write-version", version),
        ]
    }

    /// Recognises the spelling by a request's headers; the text says what is wrong with them.
    ///
    /// # Errors
    /// When they fit none.
    pub fn of(headers: &HeaderMap) -> Result<Self, String> {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let is_second = text(CONTENT_TYPE).contains("io.prometheus.write.v2.Request");
        match (text(CONTENT_ENCODING), is_second) {
            ("snappy", false) => Ok(Self::V1Snappy),
            ("zstd", false) => Ok(Self::V1Zstd),
            ("snappy", true) => Ok(Self::V2Snappy),
            (other, _) => Err(format!(
                "content-encoding {other:?}, content-type {:?}",
                text(CONTENT_TYPE)
            )),
        }
    }

    /// Writes a request.
    ///
    /// # Errors
    /// [`LabError::Io`] when it cannot be compressed.
    pub fn encode(self, request: &WriteRequest) -> Result<Vec<u8>, LabError> {
        let plain = match self {
            Self::V1Snappy | Self::V1Zstd => request.encode_to_vec(),
            Self::V2Snappy => RequestV2::from(request).encode_to_vec(),
        };
        let doing = || LabError::io("compressing a remote-write request");
        match self {
            Self::V1Snappy | Self::V2Snappy => snap::raw::Encoder::new()
                .compress_vec(&plain)
                .map_err(|error| doing()(error.into())),
            Self::V1Zstd => zstd::bulk::compress(&plain, 1).map_err(doing()),
        }
    }

    /// Reads a request; the text says why it cannot be read.
    ///
    /// # Errors
    /// When the bytes are damaged or larger than 64 MiB, which no receiver takes.
    pub fn decode(self, bytes: &[u8]) -> Result<WriteRequest, String> {
        let plain = self.decompress(bytes)?;
        match self {
            Self::V1Snappy | Self::V1Zstd => WriteRequest::decode(plain.as_slice()).map_err(|error| error.to_string()),
            Self::V2Snappy => RequestV2::decode(plain.as_slice())
                .map_err(|error| error.to_string())?
                .resolve(),
        }
    }

    /// Reads the message in a request, whatever it holds.
    ///
    /// # Errors
    /// As [`Spelling::decode`].
    pub fn decompress(self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            Self::V1Snappy | Self::V2Snappy => {
                let size = snap::raw::decompress_len(bytes).map_err(|error| error.to_string())?;
                if size > MAX_BODY_BYTES {
                    return Err(format!("{size} bytes"));
                }
                snap::raw::Decoder::new()
                    .decompress_vec(bytes)
                    .map_err(|error| error.to_string())
            }
            Self::V1Zstd => zstd::bulk::decompress(bytes, MAX_BODY_BYTES).map_err(|error| error.to_string()),
        }
    }
}

/// Posts a request to a receiver.
///
/// # Errors
/// [`LabError::Io`] when it cannot be compressed, [`LabError::Http`] when no answer came.
pub async fn send(
    url: &str,
    spelling: Spelling,
    request: &WriteRequest,
    limit: std::time::Duration,
) -> Result<Fetched, LabError> {
    let body = spelling.encode(request)?;
    let headers: BTreeMap<_, _> = spelling.headers().into();
    fetch::send(Method::POST, url, &headers, body, limit).await
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::message::{Label, Sample, TimeSeries};
    use super::*;

    #[test]
    fn every_spelling_is_recognised_and_reads_what_it_wrote() {
        let request = WriteRequest {
            timeseries: vec![TimeSeries {
                labels: vec![Label {
                    name: "__name__".to_owned(),
                    value: "up".to_owned(),
                }],
                samples: vec![Sample {
                    value: 2.0,
                    timestamp: 9,
                }],
                histograms: Vec::new(),
            }],
        };
        for spelling in [Spelling::V1Snappy, Spelling::V1Zstd, Spelling::V2Snappy] {
            let headers = spelling
                .headers()
                .into_iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            assert_eq!(Spelling::of(&headers.collect()), Ok(spelling));
            let bytes = spelling.encode(&request).unwrap();
            assert_eq!(spelling.decode(&bytes).as_ref(), Ok(&request), "{spelling:?}");
            assert!(spelling.decode(&bytes[..bytes.len() - 1]).is_err(), "{spelling:?}");
        }
        assert!(Spelling::of(&HeaderMap::new()).is_err());
    }
}
