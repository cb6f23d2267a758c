//! How a remote-write request is spelt: which message, which compression.

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
}
