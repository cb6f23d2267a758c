//! From the samples of a snapshot to the sealed requests of one endpoint.

use std::collections::BTreeMap;
use std::time::Instant;

use tracing::error;
use xprober_config::agent::remote_write::HistogramForm;

use super::Protocol;
use crate::queue::SealedRequest;
use crate::samples::batch::{Batch, Cutter, Sealer};
use crate::samples::series::Samples;

/// How the requests of an endpoint are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderSettings {
    /// Spelling of the first requests.
    pub protocol: Protocol,
    /// Form of histograms.
    pub histograms: HistogramForm,
    /// Labels that every series gets.
    pub labels: BTreeMap<String, String>,
    /// Most samples in one request.
    pub max_samples: usize,
}

/// Cuts, spells and seals the samples for one endpoint.
#[derive(Debug)]
pub struct Encoder {
    settings: EncoderSettings,
    cutter: Cutter,
    sealer: Sealer,
}

impl Encoder {
    /// Starts with an empty request.
    #[must_use]
    pub fn new(settings: EncoderSettings) -> Self {
        Self {
            cutter: Cutter::new(settings.max_samples),
            sealer: Sealer::default(),
            settings,
        }
    }

    /// Changes the spelling of the requests to come.
    pub const fn set_protocol(&mut self, protocol: Protocol) {
        self.settings.protocol = protocol;
    }

    /// Takes the samples of a group; shows each request that is full to `full`.
    pub fn append(&mut self, group: &Samples, mut full: impl FnMut(SealedRequest)) {
        let sealer = &mut self.sealer;
        self.cutter.append(group, |batch| seal(sealer, batch, &mut full));
    }

    /// Shows the request that is open to `last`, if it holds anything.
    pub fn finish(&mut self, mut last: impl FnMut(SealedRequest)) {
        let sealer = &mut self.sealer;
        self.cutter.finish(|batch| seal(sealer, batch, &mut last));
    }
}

fn seal(sealer: &mut Sealer, batch: &Batch, to: &mut impl FnMut(SealedRequest)) {
    match sealer.seal(batch, Instant::now()) {
        Ok(request) => to(request),
        Err(error) => error!(samples = batch.samples, %error, "batch could not be compressed"),
    }
}
