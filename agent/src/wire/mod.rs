//! How a remote-write request is spelt: which message, which compression.

pub mod encoder;

pub mod reencode;

pub use encoder::{Encoder, EncoderSettings};
pub use reencode::{ReencodeError, reencode};

/// Spelling of a request; a sealed request keeps the one it was sealed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// `prometheus.WriteRequest` (Remote-Write 1.0) in a snappy block: the only one that every receiver stores.
    V1Snappy,
    /// The same message compressed by zstd, for `VictoriaMetrics` from 1.112 on.
    V1Zstd,
    /// `io.prometheus.write.v2.Request` (Remote-Write 2.0) in a snappy block, for Prometheus from 3.0 on.
    V2Snappy,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Self; 3] = [Self::V1Snappy, Self::V1Zstd, Self::V2Snappy];

    /// Spells the protocol as in the log and in labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1Snappy => "rw1",
            Self::V1Zstd => "rw1_zstd",
            Self::V2Snappy => "rw2",
        }
    }

    /// The `Content-Type` of a request.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::V1Snappy | Self::V1Zstd => "application/x-protobuf",
            Self::V2Snappy => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        }
    }

    /// The `Content-Encoding` of a request.
    #[must_use]
    pub const fn content_encoding(self) -> &'static str {
        match self {
            Self::V1Snappy | Self::V2Snappy => "snappy",
            Self::V1Zstd => "zstd",
        }
    }

    /// The `X-Prometheus-Remote-Write-Version` of a request.
    #[must_use]
    pub const fn version(self) -> &'static str {
        match self {
            Self::V1Snappy | Self::V1Zstd => "0.1.0",
            Self::V2Snappy => "2.0.0",
        }
    }
}
