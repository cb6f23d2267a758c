//! The loop that counts events and says at every interval what was counted.

use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant as Deadline, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use xprober_config::agent::Detail;

use super::series::{Samples, SeriesSet};
use super::{AgentState, EndpointState, EngineCounters, Event, snapshot};
use crate::ledger::Ledger;
use crate::plan::PlanStatus;
use crate::push::PushStatus;
use crate::queue::QueueHandle;
use crate::wire::Encoder;

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
    /// Whether any endpoint is sent native histograms.
    pub native_histograms: bool,
    /// How much is said per target.
    pub detail: Detail,
    /// How long the event channel may stay open after the shutdown began.
    pub close_timeout: Duration,
}

/// Where samples go: each endpoint spells them in its own way into its own queue.
#[derive(Debug)]
pub struct Outlet {
    /// The endpoint's name.
    pub name: String,
    /// How samples are spelt.
    pub encoder: Encoder,
    /// Where requests wait.
    pub queue: QueueHandle,
    /// What the push says of itself.
    pub push: watch::Receiver<PushStatus>,
    /// What was put into the queue.
    pub sealed: Sealed,
}

/// What was put into a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Samples, stale markers among them.
    pub samples: u64,
    /// Stale markers.
    pub stale_markers: u64,
}

/// Counts events and takes a snapshot at every interval until `shutdown` is cancelled and the event channel is closed;
/// then takes the last one, ends every series and closes the queues. Answers what each outlet sealed.
pub async fn run(
    sampling: Sampling,
    mut events: mpsc::Receiver<Event>,
    plan: watch::Receiver<PlanStatus>,
    outlets: Vec<Outlet>,
    shutdown: CancellationToken,
) -> Vec<Sealed> {
    let mut sampler = Sampler::new(sampling, plan, outlets);
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
    ledger: Ledger,
    series: SeriesSet,
    outlets: Vec<Outlet>,
    max_lateness: Duration,
    skipped_ticks: u64,
    engine: EngineCounters,
}

impl Sampler {
    fn new(sampling: Sampling, plan: watch::Receiver<PlanStatus>, outlets: Vec<Outlet>) -> Self {
        Self {
            plan,
            ledger: if sampling.native_histograms {
                Ledger::with_exponential_buckets()
            } else {
                Ledger::default()
            },
            series: SeriesSet::new(sampling.common.clone(), unix_millis()),
            outlets,
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
        self.outlets.iter_mut().for_each(Outlet::follow_protocol);
        self.series.begin(unix_millis());
        for group in snapshot(&self.ledger, &agent, self.sampling.detail, now) {
            let samples = self.series.stamp(&group);
            let mut sealed = false;
            for outlet in &mut self.outlets {
                sealed |= outlet.append(samples, now);
            }
            if sealed {
                // A large snapshot must not hold up those who share the thread.
                tokio::task::yield_now().await;
            }
        }
        self.end_snapshot(now);
    }

    /// Takes the last snapshot, then ends every series.
    async fn finish(mut self) -> Vec<Sealed> {
        self.sample().await;
        self.series.begin(unix_millis());
        self.end_snapshot(Instant::now());
        self.outlets.into_iter().map(Outlet::close).collect()
    }

    fn end_snapshot(&mut self, now: Instant) {
        let outlets = &mut self.outlets;
        self.series.end(|ended| {
            for outlet in &mut *outlets {
                outlet.sealed.stale_markers += outlet.encoder.takes(ended) as u64;
                outlet.append(ended, now);
            }
        });
        self.outlets.iter_mut().for_each(|outlet| outlet.flush(now));
    }

    fn state(&mut self) -> AgentState {
        AgentState {
            version: self.sampling.version,
            plan: self.plan.borrow().clone(),
            max_lateness: std::mem::take(&mut self.max_lateness),
            skipped_ticks: self.skipped_ticks,
            engine: self.engine,
            endpoints: self.outlets.iter().map(Outlet::state).collect(),
        }
    }
}

impl Outlet {
    /// Spells what is to come as the endpoint takes it now.
    fn follow_protocol(&mut self) {
        self.encoder.set_protocol(self.push.borrow().protocol);
    }

    /// Takes the samples of a group; tells whether a request became full.
    fn append(&mut self, samples: &Samples, now: Instant) -> bool {
        let before = self.sealed.samples;
        let Self {
            encoder, queue, sealed, ..
        } = self;
        encoder.append(samples, now, |request| {
            sealed.samples += request.samples;
            queue.push(request);
        });
        self.sealed.samples > before
    }

    fn flush(&mut self, now: Instant) {
        let Self {
            encoder, queue, sealed, ..
        } = self;
        encoder.finish(now, |request| {
            sealed.samples += request.samples;
            queue.push(request);
        });
        queue.flush();
    }

    fn state(&self) -> EndpointState {
        EndpointState {
            name: self.name.clone(),
            queue: self.queue.status(),
            sealed: self.sealed.samples,
            stale_markers: self.sealed.stale_markers,
            push: *self.push.borrow(),
        }
    }

    fn close(self) -> Sealed {
        self.queue.close();
        debug!(
            endpoint = self.name,
            samples = self.sealed.samples,
            "last snapshot sealed"
        );
        self.sealed
    }
}

/// The wall clock; only samples are stamped with it.
fn unix_millis() -> i64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_epoch.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
