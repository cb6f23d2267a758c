//! From groups of samples to the requests of one endpoint.

use std::collections::BTreeMap;
use std::time::Instant;

use tracing::error;

use super::compress::Compressor;
use super::extra::ExtraLabels;
use super::{Histograms, Protocol, v1, v2};
use crate::queue::SealedRequest;
use crate::samples::sample::{Sample, SampleValue, Samples};

/// Receivers refuse bodies above 32 MiB (decoded); half of it leaves room for proxies that are stricter.
const MAX_BODY_BYTES: usize = 16 << 20;

/// How the requests of an endpoint are spelt.
#[derive(Debug, Clone)]
pub struct EncoderSettings {
    /// Message and compression.
    pub protocol: Protocol,
    /// Form of the histograms; native ones exist only where the ledger counts them.
    pub histograms: Histograms,
    /// Labels beside those of a series; where both have one, that of the series stays.
    pub labels: BTreeMap<String, String>,
    /// Most samples in one request, at least one.
    pub max_samples: usize,
}

/// Cuts samples into requests of at most so many, keeping a group in one request where it fits in one. One request is open
/// at a time, and all use the same memory.
#[derive(Debug)]
pub struct Encoder {
    protocol: Protocol,
    histograms: Histograms,
    extra: ExtraLabels,
    max_samples: u64,
    open: Open,
    compressor: Compressor,
    /// Room for the labels of a series with the endpoint's own.
    labels: Vec<u8>,
}

impl Encoder {
    /// Starts with an empty request.
    #[must_use]
    pub fn new(settings: &EncoderSettings) -> Self {
        Self {
            protocol: settings.protocol,
            histograms: settings.histograms,
            extra: ExtraLabels::new(&settings.labels),
            max_samples: u64::try_from(settings.max_samples.max(1)).unwrap_or(u64::MAX),
            open: Open::new(settings.protocol),
            compressor: Compressor::default(),
            labels: Vec::new(),
        }
    }

    /// Takes the samples of a group; gives each request that is full to `full`, sealed at `now`.
    pub fn append(&mut self, group: &Samples, now: Instant, mut full: impl FnMut(SealedRequest)) {
        let histograms = self.histograms;
        let size = match histograms {
            Histograms::Classic => group.len() - group.native(),
            Histograms::Native => group.len() - group.classic(),
            Histograms::Both => group.len(),
        };
        if self.open.samples + size as u64 > self.max_samples {
            self.finish(now, &mut full);
        }
        for sample in group.iter().filter(|sample| is_wanted(histograms, &sample.value)) {
            if self.open.samples >= self.max_samples || self.open.len() > MAX_BODY_BYTES {
                self.finish(now, &mut full);
            }
            let labels = self.extra.add(sample.labels, &mut self.labels);
            self.open.put(&Sample { labels, ..sample });
        }
    }

    /// Gives the request that is open to `last`, if it holds anything.
    pub fn finish(&mut self, now: Instant, last: impl FnOnce(SealedRequest)) {
        if self.open.samples > 0 {
            match self.open.seal(&mut self.compressor, now) {
                Ok(request) => last(request),
                // Not for a message of this size, unless there is no memory left.
                Err(error) => {
                    let samples = self.open.samples;
                    error!(samples, error = %crate::chain(&error), "request could not be compressed, samples are lost");
                }
            }
        }
        self.open.restart(self.protocol);
    }

    /// How many samples of a group the endpoint is sent.
    #[must_use]
    pub fn takes(&self, group: &Samples) -> usize {
        let wanted = |sample: &Sample<'_>| is_wanted(self.histograms, &sample.value);
        group.iter().filter(wanted).count()
    }

    /// The protocol of the next request that begins.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Spells requests in another protocol from the next one on; the one that is open stays what it is.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        if self.open.samples == 0 {
            self.open.restart(protocol);
        }
    }
}

const fn is_wanted(histograms: Histograms, value: &SampleValue<'_>) -> bool {
    match value {
        SampleValue::Number(_) => true,
        SampleValue::Classic(_) => histograms.has_classic(),
        SampleValue::Native(_) => histograms.has_native(),
    }
}

/// A request that is not sealed yet.
#[derive(Debug)]
pub(super) struct Open {
    protocol: Protocol,
    /// The message, for the protocols of Remote-Write 1.0.
    v1: Vec<u8>,
    /// The message, for Remote-Write 2.0.
    v2: v2::Writer,
    samples: u64,
    min_timestamp: i64,
    max_timestamp: i64,
}

impl Open {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            v1: Vec::new(),
            v2: v2::Writer::default(),
            samples: 0,
            min_timestamp: i64::MAX,
            max_timestamp: i64::MIN,
        }
    }

    /// Makes room for the next request and keeps the memory.
    fn restart(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        self.v1.clear();
        self.v2.clear();
        (self.samples, self.min_timestamp, self.max_timestamp) = (0, i64::MAX, i64::MIN);
    }

    pub(super) fn put(&mut self, sample: &Sample<'_>) {
        match self.protocol {
            Protocol::V1Snappy | Protocol::V1Zstd => v1::put(&mut self.v1, sample),
            Protocol::V2Snappy => self.v2.put(sample),
        }
        self.samples += 1;
        self.min_timestamp = self.min_timestamp.min(sample.timestamp);
        self.max_timestamp = self.max_timestamp.max(sample.timestamp);
    }

    fn len(&self) -> usize {
        match self.protocol {
            Protocol::V1Snappy | Protocol::V1Zstd => self.v1.len(),
            Protocol::V2Snappy => self.v2.len(),
        }
    }

    pub(super) fn seal(
        &mut self,
        compressor: &mut Compressor,
        sealed_at: Instant,
    ) -> Result<SealedRequest, super::compress::CompressionError> {
        let message = match self.protocol {
            Protocol::V1Snappy | Protocol::V1Zstd => self.v1.as_slice(),
            Protocol::V2Snappy => self.v2.request(),
        };
        Ok(SealedRequest {
            bytes: compressor.compress(self.protocol, message)?,
            protocol: self.protocol,
            samples: self.samples,
            min_timestamp: self.min_timestamp,
            max_timestamp: self.max_timestamp,
            sealed_at,
        })
    }
}

#[cfg(test)]
mod tests;
