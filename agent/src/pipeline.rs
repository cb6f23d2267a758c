//! From events to the time-series database: ledger, samples, queue and push as one part.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::info;
use xprober_config::agent::AgentSettings;
use xprober_proto::{AgentId, Region};

use crate::plan::PlanStatus;
use crate::push::client::Client;
use crate::push::task::Pushing;
use crate::push::{self, PushCounters, PushError};
use crate::queue::{Bounds, DropReason, QueueHandle};
use crate::samples::task::Sampling;
use crate::samples::{self, Event};

/// The `job` label of everything that an agent pushes.
const JOB: &str = "xprober";

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
    sampling: Sampling,
    pushing: Pushing,
    queue: QueueHandle,
    plan: watch::Receiver<PlanStatus>,
    events: mpsc::Receiver<Event>,
}

impl Pipeline {
    /// Checks what can be checked before the first probe leaves, and connects to nothing.
    ///
    /// # Errors
    ///
    /// When the certificate authorities for an https endpoint cannot be loaded.
    pub fn build(
        settings: &AgentSettings,
        source: Source,
        plan: watch::Receiver<PlanStatus>,
        events: mpsc::Receiver<Event>,
    ) -> Result<Self, PushError> {
        let Source {
            region,
            agent_id,
            version,
        } = source;
        let remote_write = &settings.remote_write;
        let client = Client::new(remote_write, version)?;
        let sampling = Sampling {
            common: [JOB.to_owned(), agent_id.to_string(), region.to_string()],
            version,
            interval: settings.push.interval,
            max_samples_per_request: settings.push.max_samples_per_request,
            detail: settings.detail,
            close_timeout: settings.drain_timeout / 2,
        };
        let bounds = Bounds {
            max_bytes: remote_write.queue_max_bytes,
            max_age: remote_write.queue_max_age,
        };
        Ok(Self {
            sampling,
            pushing: Pushing::new(client, settings.drain_timeout),
            queue: QueueHandle::new(bounds),
            plan,
            events,
        })
    }

    /// Runs until `shutdown` is cancelled and the event channel is closed, then takes the last snapshot, ends every
    /// series with a stale marker and pushes what is queued for at most the drain timeout, counted from `shutdown`.
    ///
    /// A channel that does not close is given up after half of that time.
    pub async fn run(self, shutdown: CancellationToken) -> Totals {
        let queue = self.queue;
        let (counters, push) = watch::channel(PushCounters::default());
        let sampling = samples::task::run(
            self.sampling,
            self.events,
            self.plan,
            push.clone(),
            queue.clone(),
            shutdown.clone(),
        );
        let pushing = push::task::run(self.pushing, queue.clone(), counters, shutdown);
        let (sealed, ()) = tokio::join!(sampling, pushing);

        let left = queue.status();
        let pushed = push.borrow().pushed;
        let dropped = DropReason::ALL.map(|reason| (reason.as_str(), left.dropped.get(reason)));
        let totals = Totals {
            sealed: sealed.samples,
            stale_markers: sealed.stale_markers,
            pushed,
            dropped: dropped.into_iter().filter(|(_, samples)| *samples > 0).collect(),
            left: left.samples,
        };
        info!(sealed = totals.sealed, pushed, left = totals.left, dropped = ?totals.dropped, "pushing ended");
        totals
    }
}

#[cfg(test)]
mod tests;
