//! From events to the time-series database: ledger, samples, queue and push as one part.

use std::collections::BTreeMap;
use std::path::Path;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use xprober_config::agent::{AgentSettings, RemoteWrite};
use xprober_proto::{AgentId, Region};

use crate::plan::PlanStatus;
use crate::push::task::Pushing;
use crate::push::{self, PushError, PushStatus};
use crate::queue::{Bounds, DropReason, QueueHandle, QueueSettings};
use crate::samples::task::{Outlet, Sampling, Sealed};
use crate::samples::{self, EndpointState, Event};
use crate::wire::{Encoder, EncoderSettings, Histograms, Protocol};

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

/// What became of the samples of a whole run, by endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// By name.
    pub endpoints: BTreeMap<String, EndpointTotals>,
}

/// What became of the samples for one endpoint; `sealed + inherited = pushed + dropped + left`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointTotals {
    /// Samples that were put into the queue, stale markers among them.
    pub sealed: u64,
    /// Stale markers among the sealed samples.
    pub stale_markers: u64,
    /// Samples that an earlier run left in the queue.
    pub inherited: u64,
    /// Samples that the endpoint took.
    pub pushed: u64,
    /// Samples that were given up, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Samples still queued at the end.
    pub left: u64,
    /// Samples among them that no disk holds: they are lost.
    pub unsaved: u64,
}

impl Totals {
    /// Adds up all endpoints.
    #[must_use]
    pub fn sum(&self) -> EndpointTotals {
        let mut sum = EndpointTotals::default();
        for endpoint in self.endpoints.values() {
            sum.sealed += endpoint.sealed;
            sum.stale_markers += endpoint.stale_markers;
            sum.inherited += endpoint.inherited;
            sum.pushed += endpoint.pushed;
            sum.left += endpoint.left;
            sum.unsaved += endpoint.unsaved;
            for (reason, samples) in &endpoint.dropped {
                *sum.dropped.entry(reason).or_default() += samples;
            }
        }
        sum
    }
}

impl EndpointTotals {
    fn of(end: &EndpointState) -> Self {
        let dropped = DropReason::ALL.map(|reason| (reason.as_str(), end.dropped(reason)));
        Self {
            sealed: end.sealed,
            stale_markers: end.stale_markers,
            inherited: end.queue.inherited,
            pushed: end.push.counters.pushed,
            dropped: dropped.into_iter().filter(|(_, samples)| *samples > 0).collect(),
            left: end.queue.samples,
            unsaved: end.queue.unsaved_samples,
        }
    }
}

/// Everything behind the event channel.
#[derive(Debug)]
pub struct Pipeline {
    sampling: Sampling,
    endpoints: Vec<Endpoint>,
    plan: watch::Receiver<PlanStatus>,
    events: mpsc::Receiver<Event>,
}

/// What belongs to one endpoint.
#[derive(Debug)]
struct Endpoint {
    name: String,
    encoder: Encoder,
    pushing: Pushing,
    queue: QueueHandle,
}

impl Endpoint {
    fn new(remote_write: &RemoteWrite, settings: &AgentSettings, version: &str) -> Result<Self, PushError> {
        let encoder = EncoderSettings {
            protocol: Protocol::V1Snappy,
            histograms: remote_write.histograms.into(),
            labels: remote_write.labels.clone(),
            max_samples: settings.push.max_samples_per_request,
        };
        let pushing = Pushing::new(remote_write, version, settings.drain_timeout)?;
        Ok(Self {
            name: remote_write.name.to_string(),
            encoder: Encoder::new(&encoder),
            pushing,
            queue: open_queue(remote_write, settings.queue_directory.as_deref()),
        })
    }
}

fn open_queue(remote_write: &RemoteWrite, directory: Option<&Path>) -> QueueHandle {
    let name = remote_write.name.as_str();
    let bounds = Bounds {
        max_bytes: remote_write.queue.max_bytes,
        max_age: remote_write.queue.max_age,
    };
    let folder = directory.map(|directory| directory.join(name));
    QueueHandle::open(QueueSettings::new(name, bounds, folder))
}

impl Pipeline {
    /// Checks what can be checked before the first probe leaves, and connects to nothing.
    ///
    /// # Errors
    ///
    /// When a file with certificates or secrets cannot be read or used.
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
        let sampling = Sampling {
            common: [JOB.to_owned(), agent_id.to_string(), region.to_string()],
            version,
            interval: settings.push.interval,
            native_histograms: settings
                .remote_write
                .iter()
                .any(|endpoint| Histograms::from(endpoint.histograms).has_native()),
            detail: settings.detail,
            close_timeout: settings.drain_timeout / 2,
        };
        if settings.queue_directory.is_none() {
            info!(
                "what waits for a database is kept in memory, a restart loses it: set queue.directory to keep it on disk"
            );
        }
        let endpoints = settings.remote_write.iter();
        Ok(Self {
            sampling,
            endpoints: endpoints
                .map(|endpoint| Endpoint::new(endpoint, settings, version))
                .collect::<Result<_, _>>()?,
            plan,
            events,
        })
    }

    /// Runs until `shutdown` is cancelled and the event channel is closed, then takes the last snapshot, ends every
    /// series and pushes what is queued for at most the drain timeout, counted from `shutdown`, to all endpoints at once.
    ///
    /// A channel that does not close is given up after half of that time.
    pub async fn run(self, shutdown: CancellationToken) -> Totals {
        let mut pushes = JoinSet::new();
        let mut outlets = Vec::new();
        let mut ends = Vec::new();
        for endpoint in self.endpoints {
            let Endpoint {
                name,
                encoder,
                pushing,
                queue,
            } = endpoint;
            let (status, push) = watch::channel(PushStatus::default());
            ends.push((name.clone(), queue.clone(), push.clone()));
            pushes.spawn(push::task::run(pushing, queue.clone(), status, shutdown.clone()));
            outlets.push(Outlet {
                name,
                encoder,
                queue,
                push,
                sealed: Sealed::default(),
            });
        }
        let sampling = samples::task::run(self.sampling, self.events, self.plan, outlets, shutdown);
        let pushing = async {
            while let Some(ended) = pushes.join_next().await {
                if let Err(error) = ended {
                    error!(%error, "a push task failed");
                }
            }
        };
        let (sealed, ()) = tokio::join!(sampling, pushing);
        let mut totals = Totals::default();
        for ((name, queue, push), sealed) in ends.into_iter().zip(sealed) {
            queue.finish().await;
            let end = EndpointState {
                name: name.clone(),
                queue: queue.status(),
                sealed: sealed.samples,
                stale_markers: sealed.stale_markers,
                push: *push.borrow(),
            };
            let of_endpoint = EndpointTotals::of(&end);
            info!(
                endpoint = name,
                sealed = of_endpoint.sealed,
                inherited = of_endpoint.inherited,
                pushed = of_endpoint.pushed,
                left = of_endpoint.left,
                unsaved = of_endpoint.unsaved,
                dropped = ?of_endpoint.dropped,
                "pushing ended"
            );
            totals.endpoints.insert(name, of_endpoint);
        }
        totals
    }
}

#[cfg(test)]
mod tests;
