//! How a remote-write request is spelt: samples in, sealed requests out; one [`Encoder`] per endpoint.
//!
//! ```text
//!                  +-- Encoder ---------------------------------------------------+
//!   Samples -----> | histogram form -> ExtraLabels -> v1 or v2 message -> compress | --> SealedRequest
//!   (one group)    +--------------------------------------------------------------+          |
//!                                                                          reencode <--------+ the endpoint speaks
//!                                                                                              another protocol now
//! ```
//!
//! The labels of a sample come as they stand in a Remote-Write 1.0 message, which makes that message a matter of copying.
//! The 2.0 message compares them with those of the sample before, because neighbours share nearly all.

mod field;

mod label;

mod extra;

mod symbols;

mod v1;

mod v2;

mod metadata;

mod compress;

pub mod encoder;

pub mod reencode;

pub use encoder::{Encoder, EncoderSettings};
pub use reencode::{ReencodeError, reencode};

use bytes::Bytes;
use xprober_config::agent::remote_write::HistogramForm;

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

    /// The `Content-Type` header.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::V1Snappy | Self::V1Zstd => "application/x-protobuf",
            Self::V2Snappy => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        }
    }

    /// The `Content-Encoding` header.
    #[must_use]
    pub const fn content_encoding(self) -> &'static str {
        match self {
            Self::V1Snappy | Self::V2Snappy => "snappy",
            Self::V1Zstd => "zstd",
        }
    }

    /// The `X-Prometheus-Remote-Write-Version` header.
    #[must_use]
    pub const fn version_header(self) -> &'static str {
        match self {
            Self::V1Snappy | Self::V1Zstd => "0.1.0",
            Self::V2Snappy => "2.0.0",
        }
    }

    /// A request without a series: it shows whether a receiver understands the protocol.
    #[must_use]
    pub const fn empty_request(self) -> Bytes {
        Bytes::from_static(match self {
            // The length 0 and nothing.
            Self::V1Snappy => b"\0",
            // A frame whose only block is raw, the last one, and empty (RFC 8878, section 3.1.1).
            Self::V1Zstd => b"\x28\xb5\x2f\xfd\x20\x00\x01\x00\x00",
            // Two bytes, as a literal: the table of symbols with its one empty text.
            Self::V2Snappy => b"\x02\x04\x22\x00",
        })
    }
}

/// Which form of a histogram an endpoint is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Histograms {
    /// Buckets with `le`, sum and count: the only one that every receiver understands.
    #[default]
    Classic,
    /// One native series with exponential buckets.
    Native,
    /// Both.
    Both,
}

impl From<HistogramForm> for Histograms {
    /// Takes what the configuration says.
    fn from(form: HistogramForm) -> Self {
        match form {
            HistogramForm::Classic => Self::Classic,
            HistogramForm::Native => Self::Native,
            HistogramForm::Both => Self::Both,
        }
    }
}

impl Histograms {
    /// Tells whether native histograms are sent, so that their buckets have to be counted.
    #[must_use]
    pub const fn has_native(self) -> bool {
        match self {
            Self::Classic => false,
            Self::Native | Self::Both => true,
        }
    }

    const fn has_classic(self) -> bool {
        match self {
            Self::Native => false,
            Self::Classic | Self::Both => true,
        }
    }
}
