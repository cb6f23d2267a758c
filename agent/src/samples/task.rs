//! The loop that counts events and says at every interval what was counted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant as Deadline, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use xprober_config::agent::Detail;

use super::series::SeriesSet;
use super::{AgentState, EngineCounters, Event, snapshot};
use crate::ledger::Ledger;
use crate::plan::PlanStatus;
use crate::push::PushCounters;
use crate::queue::{QueueHandle, SealedRequest};
use crate::wire::{Encoder, EncoderSettings, Histograms, Protocol};

/// Events taken from the channel at once.
const EVENTS_AT_ONCE: usize = 256;

/// How samples are made.
#[derive(Debug, Clone)]
pub struct Sampling {
    /// Values of the labels that every series carries, see [`super::catalogue::COMMON_LABELS`].
    pub common: [String; 3],
    /// Software version.
    pub version: &'static str,
    /// Time between two snapshots.
    pub interval: Duration,
    /// Most samples in one request.
    pub max_samples_per_request: usize,
    /// How much is said per target.
    pub detail: Detail,
    /// How long the event channel may stay open after the shutdown began.
    pub close_timeout: Duration,
}

/// What was put into the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Samples, stale markers among them.
    pub samples: u64,
    /// Stale markers.
    pub stale_markers: u64,
}

/// Counts events and takes a snapshot at every interval until `shutdown` is cancelled and the event channel is closed;
/// then takes the last one, ends every series and closes the queue.
pub async fn run(
    sampling: Sampling,
    mut events: mpsc::Receiver<Event>,
    plan: watch::Receiver<PlanStatus>,
    push: watch::Receiver<PushCounters>,
    queue: QueueHandle,
    shutdown: CancellationToken,
) -> Sealed {
    let mut sampler = Sampler::new(sampling, plan, push, queue);
    let interval = sampler.sampling.interval;
    let mut ticks = tokio::time::interval_at(Deadline::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let close_timeout = sampler.sampling.close_timeout;
    let overdue = async {
        shutdown.cancelled().await;
        tokio::time::sleep(close_timeout).await;
    };
    tokio::pin!(overdue);

    let mut open = true;
    let mut received = Vec::with_capacity(EVENTS_AT_ONCE);
    while open || !shutdown.is_cancelled() {
        // Ticks first: a flood of events must not hold up the snapshot that counts it.
        tokio::select! {
            biased;
            () = &mut overdue => {
                warn!("probes did not end in time, their last results are lost");
                break;
            }
            _ = ticks.tick() => sampler.sample().await,
            count = events.recv_many(&mut received, EVENTS_AT_ONCE), if open => {
                open = count > 0;
                received.drain(..).for_each(|event| sampler.count(event));
            }
            () = shutdown.cancelled(), if !open => {}
        }
    }
    sampler.finish().await
}

struct Sampler {
    sampling: Sampling,
    plan: watch::Receiver<PlanStatus>,
    push: watch::Receiver<PushCounters>,
    ledger: Ledger,
    series: SeriesSet,
    encoder: Encoder,
    outlet: Outlet,
    max_lateness: Duration,
    skipped_ticks: u64,
    engine: EngineCounters,
}

/// Puts requests into the queue and counts them.
struct Outlet {
    queue: QueueHandle,
    sealed: Sealed,
}

impl Sampler {
    fn new(
        sampling: Sampling,
        plan: watch::Receiver<PlanStatus>,
        push: watch::Receiver<PushCounters>,
        queue: QueueHandle,
    ) -> Self {
        Self {
            plan,
            push,
            ledger: Ledger::default(),
            series: SeriesSet::new(sampling.common.clone(), unix_millis()),
            encoder: Encoder::new(&EncoderSettings {
                protocol: Protocol::V1Snappy,
                histograms: Histograms::Classic,
                labels: BTreeMap::new(),
                max_samples: sampling.max_samples_per_request,
            }),
            outlet: Outlet {
                queue,
                sealed: Sealed::default(),
            },
            sampling,
            max_lateness: Duration::ZERO,
            skipped_ticks: 0,
            engine: EngineCounters::default(),
        }
    }

    fn count(&mut self, event: Event) {
        match event {
            Event::Change(change) => self.ledger.apply(&change),
            Event::Echoes(results) => results.iter().for_each(|result| self.ledger.record_echo(result)),
            Event::Http(result) => self.ledger.record_http(&result),
            Event::Missed { target, ticks } => self.ledger.record_missed(&target, ticks),
            Event::Engine(counters) => self.engine.add(counters),
            Event::Lateness { skipped, max_lateness } => {
                self.skipped_ticks += skipped;
                self.max_lateness = self.max_lateness.max(max_lateness);
            }
        }
    }

    async fn sample(&mut self) {
        let now = Instant::now();
        self.ledger.close_window(now);
        let agent = self.state();
        self.series.begin(unix_millis());
        for group in snapshot(&self.ledger, &agent, self.sampling.detail, now) {
            let samples = self.series.stamp(&group);
            let mut sealed = false;
            self.encoder.append(samples, now, |request| {
                self.outlet.push(request);
                sealed = true;
            });
            if sealed {
                // A large snapshot must not hold up those who share the thread.
                tokio::task::yield_now().await;
            }
        }
        self.end_snapshot(now);
    }

    /// Takes the last snapshot, then ends every series.
    async fn finish(mut self) -> Sealed {
        self.sample().await;
        self.series.begin(unix_millis());
        self.end_snapshot(Instant::now());
        self.outlet.queue.close();
        debug!(samples = self.outlet.sealed.samples, "last snapshot sealed");
        self.outlet.sealed
    }

    fn end_snapshot(&mut self, now: Instant) {
        self.series.end(|ended| {
            self.outlet.sealed.stale_markers += ended.len() as u64;
            self.encoder.append(ended, now, |request| self.outlet.push(request));
        });
        self.encoder.finish(now, |request| self.outlet.push(request));
    }

    fn state(&mut self) -> AgentState {
        AgentState {
            version: self.sampling.version,
            plan: self.plan.borrow().clone(),
            max_lateness: std::mem::take(&mut self.max_lateness),
            skipped_ticks: self.skipped_ticks,
            engine: self.engine,
            queue: self.outlet.queue.status(),
            sealed: self.outlet.sealed.samples,
            stale_markers: self.outlet.sealed.stale_markers,
            push: *self.push.borrow(),
        }
    }
}

impl Outlet {
    fn push(&mut self, request: SealedRequest) {
        self.sealed.samples += request.samples;
        self.queue.push(request);
    }
}

/// The wall clock; only samples are stamped with it.
fn unix_millis() -> i64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_epoch.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
