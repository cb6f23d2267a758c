//! The loop that sends what is queued, one request at a time.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::client::Client;
use super::{Answer, MAX_BACKOFF, MIN_BACKOFF, PushCounters, Verdict, verdict};
use crate::backoff::Backoff;
use crate::queue::{DropReason, QueueHandle, RequestId, SealedRequest};
use crate::samples::series::MAX_AHEAD_MILLIS;

/// Repeats of one kind of log line come no more often.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// How requests are sent.
#[derive(Debug, Clone)]
pub struct Pushing {
    /// The endpoint.
    pub client: Client,
    /// How long pushing may go on after the shutdown began.
    pub drain_timeout: Duration,
    /// First and longest waiting time after failures, see [`MIN_BACKOFF`] and [`MAX_BACKOFF`].
    pub backoff: Backoff,
}

impl Pushing {
    /// Sends with the usual back-off.
    #[must_use]
    pub fn new(client: Client, drain_timeout: Duration) -> Self {
        Self {
            client,
            drain_timeout,
            backoff: Backoff::new(MIN_BACKOFF, MAX_BACKOFF),
        }
    }
}

/// Sends what is queued, oldest first, until the queue is closed and empty or the drain time, which starts when
/// `shutdown` is cancelled, is over. What is left stays in the queue.
pub async fn run(
    pushing: Pushing,
    queue: QueueHandle,
    counters: watch::Sender<PushCounters>,
    shutdown: CancellationToken,
) {
    let drain_timeout = pushing.drain_timeout;
    let mut pusher = Pusher {
        pushing,
        queue: queue.clone(),
        counters,
        refused: LogLimit::default(),
        failing: LogLimit::default(),
        failing_since: None,
    };
    let overdue = async {
        shutdown.cancelled().await;
        tokio::time::sleep(drain_timeout).await;
    };
    tokio::select! {
        () = pusher.push_all(&shutdown) => {}
        () = overdue => {
            let left = queue.status();
            warn!(requests = left.requests, samples = left.samples, "drain time is over, samples are lost");
        }
    }
}

struct Pusher {
    pushing: Pushing,
    queue: QueueHandle,
    counters: watch::Sender<PushCounters>,
    refused: LogLimit,
    failing: LogLimit,
    failing_since: Option<Instant>,
}

impl Pusher {
    async fn push_all(&mut self, shutdown: &CancellationToken) {
        let mut attempts = Attempts::default();
        while let Some((id, request)) = self.queue.lease().await {
            if ahead_of_clock(&request) {
                warn!(
                    samples = request.samples,
                    "samples from a clock that was set back since are dropped"
                );
                self.queue.discard(id, DropReason::Clock);
                continue;
            }
            let answer = self.pushing.client.send(&request, attempts.next(id)).await;
            let verdict = verdict(&answer);
            self.counters
                .send_modify(|counters| counters.count(verdict, request.samples));
            match verdict {
                Verdict::Done => {
                    self.queue.ack(id);
                    self.recovered();
                }
                Verdict::Drop(reason) => {
                    self.queue.discard(id, reason);
                    self.log_refused(&answer, request.samples);
                    // The receiver lives and answers; the next request is another matter.
                    self.pushing.backoff.reset();
                }
                Verdict::Retry { after } => {
                    self.queue.release(id);
                    let pause = self.pushing.backoff.next(random());
                    let pause = after.unwrap_or(pause);
                    self.log_failing(&answer, pause);
                    rest(pause, shutdown).await;
                }
            }
        }
    }

    fn recovered(&mut self) {
        self.pushing.backoff.reset();
        self.failing = LogLimit::default();
        if let Some(since) = self.failing_since.take() {
            let outage = since.elapsed();
            info!(after = ?outage, requests = self.queue.status().requests, "remote write works again");
        }
    }

    fn log_failing(&mut self, answer: &Answer, pause: Duration) {
        let now = Instant::now();
        self.failing_since.get_or_insert(now);
        if let Some(more) = self.failing.allow(now) {
            let queued = self.queue.status().samples;
            let why = describe(answer);
            warn!(
                error = why,
                ?pause,
                queued,
                repeats = more,
                "remote write failed, trying again"
            );
        }
    }

    fn log_refused(&mut self, answer: &Answer, samples: u64) {
        if let Some(more) = self.refused.allow(Instant::now()) {
            let why = describe(answer);
            warn!(
                error = why,
                samples,
                repeats = more,
                "remote write was refused, samples are lost"
            );
        }
    }
}

/// Waits; the first word of a shutdown ends the wait, so that the drain starts with an attempt.
async fn rest(pause: Duration, shutdown: &CancellationToken) {
    let draining = shutdown.is_cancelled();
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = shutdown.cancelled(), if !draining => {}
    }
}

fn describe(answer: &Answer) -> String {
    match answer {
        Answer::Response { status, body, .. } => format!("status {status}: {body}"),
        Answer::Failed(why) => why.clone(),
    }
}

fn ahead_of_clock(request: &SealedRequest) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    request.max_timestamp.saturating_sub(now) > MAX_AHEAD_MILLIS
}

/// Uniform in 0..1; the keys of a new hasher are random, and a back-off needs no better.
fn random() -> f64 {
    f64::from(u32::try_from(RandomState::new().hash_one(()) >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

/// Numbers the attempts of the request at the head of the queue.
#[derive(Debug, Default)]
struct Attempts {
    of: Option<RequestId>,
    made: u64,
}

impl Attempts {
    /// Answers the number of the attempt that is about to be made, 0 for the first.
    fn next(&mut self, id: RequestId) -> u64 {
        if self.of != Some(id) {
            *self = Self { of: Some(id), made: 0 };
        }
        self.made += 1;
        self.made - 1
    }
}

/// Lets one line per [`LOG_INTERVAL`] pass.
#[derive(Debug, Default)]
struct LogLimit {
    last: Option<Instant>,
    suppressed: u64,
}

impl LogLimit {
    /// Answers how many lines were held back since the last one, or `None` when this one is to be held back too.
    fn allow(&mut self, now: Instant) -> Option<u64> {
        if self
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < LOG_INTERVAL)
        {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests;
