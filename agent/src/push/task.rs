//! The loops that send what is queued for one endpoint.
//!
//! One loop sends in order, oldest first: one request at a time, or, as long as all goes well, several of the same snapshot,
//! see `burst.rs`. Where the receiver takes samples in any order a second loop sends the newest beside it, so that live data
//! does not wait behind a backlog.

mod aside;

mod burst;

mod clock;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use xprober_config::agent::RemoteWrite;

use super::attempt::Sender;
use super::report::Reporter;
use super::suspicion::Suspicion;
use super::{Answer, FailureReason, MAX_BACKOFF, MIN_BACKOFF, PushError, PushStatus, Verdict};
use crate::backoff::Backoff;
use crate::queue::{DropReason, QueueHandle, RequestId, SealedRequest};
use crate::random;
use aside::AsideRequests;
use clock::Ahead;

/// How long a look past a request waits for the next one, which is mostly at hand. It must not wait for one that is still to be
/// made: a receiver that came back meanwhile would take that one, and the first would be out of order.
const NEXT_PATIENCE: Duration = Duration::from_millis(20);

/// A request that waits for its time is looked at this often: the clock may be set forward again.
const CLOCK_PAUSE: Duration = Duration::from_secs(1);

/// How requests are sent to one endpoint.
#[derive(Debug)]
pub struct Pushing {
    settings: RemoteWrite,
    lanes: Vec<(End, Sender)>,
    /// How long pushing may go on after the shutdown began.
    pub drain_timeout: Duration,
    /// First and longest waiting time after failures, see [`MIN_BACKOFF`] and [`MAX_BACKOFF`].
    pub backoff: Backoff,
}

/// Which end of the queue a loop takes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Oldest,
    Newest,
}

impl Pushing {
    /// Prepares to send with the usual back-off; connects to nothing.
    ///
    /// # Errors
    ///
    /// When a file with a secret or certificate cannot be read or used.
    pub fn new(settings: &RemoteWrite, version: &str, drain_timeout: Duration) -> Result<Self, PushError> {
        let mut lanes = vec![(End::Oldest, Sender::new(settings, version)?)];
        if settings.out_of_order {
            lanes.push((End::Newest, Sender::new(settings, version)?));
        }
        Ok(Self {
            settings: settings.clone(),
            lanes,
            drain_timeout,
            backoff: Backoff::new(MIN_BACKOFF, MAX_BACKOFF),
        })
    }
}

/// Sends what is queued until the queue is closed and empty or the drain time, which starts when `shutdown` is cancelled, is
/// over. What is left stays in the queue.
pub async fn run(pushing: Pushing, queue: QueueHandle, status: watch::Sender<PushStatus>, shutdown: CancellationToken) {
    let Pushing {
        settings,
        lanes,
        drain_timeout,
        backoff,
    } = pushing;
    let reporter = Reporter::new(&settings, status);
    let lanes = lanes.into_iter().map(|(end, sender)| {
        queue.set_max_age(sender.max_age());
        Lane {
            end,
            sender,
            queue: &queue,
            reporter: &reporter,
            backoff: backoff.clone(),
            suspicion: Suspicion::default(),
            aside: AsideRequests::default(),
            attempts: Attempts::default(),
            window: 1,
        }
    });
    let lanes = join_all(lanes.map(|lane| lane.push_all(&shutdown)));
    let overdue = async {
        shutdown.cancelled().await;
        tokio::time::sleep(drain_timeout).await;
    };
    tokio::select! {
        _ = lanes => {}
        () = overdue => {
            let left = queue.status();
            warn!(endpoint = %settings.name, requests = left.requests, samples = left.samples, "drain time is over");
        }
    }
}

/// One loop.
struct Lane<'a> {
    end: End,
    sender: Sender,
    queue: &'a QueueHandle,
    reporter: &'a Reporter,
    backoff: Backoff,
    suspicion: Suspicion,
    aside: AsideRequests,
    attempts: Attempts,
    /// Requests on their way together at most: 1 after a failure and at the start, twice as many after each snapshot that was
    /// taken as a whole.
    window: usize,
}

impl Lane<'_> {
    async fn push_all(mut self, shutdown: &CancellationToken) {
        loop {
            if self.aside.is_due(Instant::now()) {
                self.try_aside().await;
                continue;
            }
            let due = self.aside.due();
            let leased = tokio::select! {
                leased = lease(self.queue, self.end) => leased,
                () = sleep_until(due), if due.is_some() => continue,
            };
            let Some((id, request)) = leased else { break };
            let pause = if self.window == 1 {
                self.handle(id, request).await
            } else {
                self.burst(id, request).await
            };
            if let Some(pause) = pause {
                rest(pause, shutdown).await;
            }
        }
        self.end_aside().await;
    }

    /// Makes one attempt at a leased request; answers how long to wait after it.
    async fn handle(&mut self, id: RequestId, request: SealedRequest) -> Option<Duration> {
        match clock::ahead(&request) {
            Ahead::Not => {}
            Ahead::Some(ahead) => {
                self.reporter.ahead_of_clock(request.samples, ahead, true);
                self.queue.release(id);
                return Some(CLOCK_PAUSE);
            }
            Ahead::TooFar(ahead) => {
                self.reporter.ahead_of_clock(request.samples, ahead, false);
                self.queue.discard(id, DropReason::Clock);
                return None;
            }
        }
        let number = self.attempts.next(id);
        let (answer, verdict) = self.attempt(&request, number).await;
        let Verdict::Retry { after } = verdict else {
            self.suspicion.clear();
            // The receiver lives and answers; the next request is another matter.
            self.backoff.reset();
            self.window = self.window.max(2);
            self.attempts.forget(id);
            self.finish(id, &request, &answer, verdict);
            return None;
        };
        self.window = 1;
        if answer.reason() == Some(FailureReason::ServerError) {
            if self.suspicion.failed_on(id) && self.look_past(id).await {
                self.reporter.set_aside(&answer, request.samples);
                let again = Instant::now() + self.backoff.longest();
                self.aside.add(id, request, number, again);
                self.bound_aside();
                self.suspicion.clear();
                self.backoff.reset();
                self.attempts.forget(id);
                return None;
            }
        } else {
            self.suspicion.clear();
        }
        self.queue.release(id);
        let pause = self.backoff.next(random::unit());
        let pause = after.unwrap_or(pause);
        self.reporter.failing(&answer, pause, self.queue.status().samples);
        Some(pause)
    }

    /// Tries the request behind `id` once; tells whether the receiver took or judged it, so that `id` alone is to blame.
    ///
    /// It follows the failure at once, so that a receiver that comes back is not mistaken for one that fails on `id` only.
    async fn look_past(&mut self, id: RequestId) -> bool {
        self.queue.set_aside(id);
        let Ok(Some((next, request))) = tokio::time::timeout(NEXT_PATIENCE, lease(self.queue, self.end)).await else {
            self.queue.release(id);
            return false;
        };
        if clock::ahead(&request) == Ahead::Not {
            let (answer, verdict) = self.attempt(&request, 0).await;
            if let Verdict::Done | Verdict::Partly { .. } | Verdict::Drop(_) = verdict {
                self.finish(next, &request, &answer, verdict);
                let judged = answer.reason().is_none_or(FailureReason::is_about_data);
                if !judged {
                    self.queue.release(id);
                }
                return judged;
            }
        }
        self.queue.release(next);
        self.queue.release(id);
        false
    }

    async fn attempt(&mut self, request: &SealedRequest, number: u64) -> (Answer, Verdict) {
        self.sender.attempt(request, number, self.queue, self.reporter).await
    }

    /// Ends the life of a request that is not to be sent again.
    fn finish(&self, id: RequestId, request: &SealedRequest, answer: &Answer, verdict: Verdict) {
        match verdict {
            Verdict::Done => {
                self.queue.ack(id);
                self.reporter.recovered(self.queue.status().requests);
            }
            Verdict::Partly { written } => {
                self.queue.ack(id);
                self.reporter.refused(answer, request.samples.saturating_sub(written));
            }
            Verdict::Drop(reason) => {
                self.queue.discard(id, reason);
                self.reporter.refused(answer, request.samples);
            }
            Verdict::Retry { .. } | Verdict::Respell => self.queue.release(id),
        }
    }
}

async fn lease(queue: &QueueHandle, end: End) -> Option<(RequestId, SealedRequest)> {
    match end {
        End::Oldest => queue.lease().await,
        End::Newest => queue.lease_newest().await,
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
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

/// Numbers the attempts of the requests that failed.
#[derive(Debug, Default)]
struct Attempts(BTreeMap<RequestId, u64>);

/// Requests whose attempts are remembered: more than are ever tried again, and those that the queue gave up meanwhile.
const MAX_REMEMBERED: usize = 4 * burst::MAX_IN_FLIGHT;

impl Attempts {
    /// Answers the number of the attempt that is about to be made, 0 for the first.
    fn next(&mut self, id: RequestId) -> u64 {
        let made = self.0.entry(id).or_default();
        let number = *made;
        *made += 1;
        while self.0.len() > MAX_REMEMBERED {
            self.0.pop_first();
        }
        number
    }

    /// Forgets a request that is not sent again.
    fn forget(&mut self, id: RequestId) {
        self.0.remove(&id);
    }
}

#[cfg(test)]
pub(super) mod tests;
