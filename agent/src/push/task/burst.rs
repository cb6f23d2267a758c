//! Several requests on their way together.
//!
//! ```text
//!   queue:   [t1 a] [t1 b] [t1 c] [t2 a] [t2 b] ..       requests of the snapshots t1 and t2, oldest first
//!             \______ at once ____/   |
//!                        \            wait until the last of t1 has ended
//!                         +--> all taken: t2    one failed: it alone, after the back-off, then t2
//! ```
//!
//! A series has one sample in a snapshot, so the requests of one snapshot have no series in common, whichever comes first. Those
//! of the next one wait until all of them have ended, which keeps every series in order. Without this a long path would
//! set the pace: 10,000 targets are 35 requests every 5 s, which take 7 s one after the other where an answer takes 200 ms.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::super::attempt::Sender;
use super::super::{Answer, Verdict, verdict};
use super::clock::{self, Ahead};
use super::{End, Lane};
use crate::queue::{QueueHandle, RequestId, SealedRequest};
use crate::random;
use crate::wire::Protocol;

/// Requests on their way together at most: 35 take five round trips, so 10,000 targets keep up where an answer takes a second.
pub(super) const MAX_IN_FLIGHT: usize = 8;

/// A request and what came back.
struct Landed {
    id: RequestId,
    request: SealedRequest,
    protocol: Protocol,
    answer: Answer,
}

impl Lane<'_> {
    /// Sends a leased request and what else there is of its snapshot; ends when all of that was taken, or after the first failure
    /// and those that were under way then. Answers how long to wait.
    pub(super) async fn burst(&mut self, id: RequestId, request: SealedRequest) -> Option<Duration> {
        let is_due = clock::ahead(&request) == Ahead::Not;
        let moment = request.moment().filter(|_| is_due && !self.sender.has_question());
        let Some(moment) = moment else {
            return self.handle(id, request).await;
        };
        self.sender.refresh().await;
        let failed = self.fly(id, request, moment).await;
        self.window = (self.window * 2).min(MAX_IN_FLIGHT);
        self.land(failed).await
    }

    /// Answers those that were not simply taken.
    async fn fly(&mut self, id: RequestId, request: SealedRequest, moment: i64) -> Vec<Landed> {
        let Self {
            end,
            sender,
            queue,
            reporter,
            attempts,
            window,
            ..
        } = self;
        let (mut flying, mut failed) = (FuturesUnordered::new(), Vec::new());
        flying.push(send(sender, id, request, attempts.next(id)));
        loop {
            let has_room = failed.is_empty() && flying.len() < *window;
            let landed = tokio::select! {
                biased;
                (id, request) = lease_more(queue, *end, moment), if has_room => {
                    flying.push(send(sender, id, request, attempts.next(id)));
                    continue;
                }
                landed = flying.next() => landed,
            };
            let Some(landed) = landed else {
                return failed;
            };
            let Landed { id, request, .. } = &landed;
            if verdict(&landed.answer, landed.protocol, request.samples) == Verdict::Done {
                reporter.count(&landed.answer, Verdict::Done, request.samples);
                attempts.forget(*id);
                queue.ack(*id);
            } else {
                failed.push(landed);
            }
        }
    }

    /// Judges failures; who has to be sent again goes back into the queue, and comes first there.
    async fn land(&mut self, failed: Vec<Landed>) -> Option<Duration> {
        let (mut again, mut longest) = (None, None);
        for Landed {
            id,
            request,
            protocol,
            answer,
        } in failed
        {
            let verdict = self.sender.judge(&answer, protocol, request.samples).await;
            self.reporter.count(&answer, verdict, request.samples);
            match verdict {
                Verdict::Retry { after } => {
                    self.window = 1;
                    self.queue.release(id);
                    longest = longest.max(after);
                    again.get_or_insert(answer);
                }
                Verdict::Respell => {
                    self.sender.fall_back(&answer, protocol, self.reporter);
                    self.window = 1;
                    self.queue.release(id);
                }
                Verdict::Done | Verdict::Partly { .. } | Verdict::Drop(_) => {
                    self.attempts.forget(id);
                    self.finish(id, &request, &answer, verdict);
                }
            }
        }
        let answer = again?;
        let pause = self.backoff.next(random::unit());
        let pause = longest.unwrap_or(pause);
        self.reporter.failing(&answer, pause, self.queue.status().samples);
        Some(pause)
    }
}

async fn send(sender: &Sender, id: RequestId, request: SealedRequest, number: u64) -> Landed {
    let (answer, protocol) = sender.send(&request, number).await;
    Landed {
        id,
        request,
        protocol,
        answer,
    }
}

async fn lease_more(queue: &QueueHandle, end: End, moment: i64) -> (RequestId, SealedRequest) {
    match end {
        End::Oldest => queue.lease_more(moment).await,
        End::Newest => queue.lease_more_newest(moment).await,
    }
}
