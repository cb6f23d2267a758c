//! Requests that were set aside because the receiver fails on them and takes others.

use std::collections::VecDeque;
use std::time::Instant;

use super::super::suspicion::MAX_ASIDE;
use super::super::{FailureReason, Verdict};
use super::Lane;
use crate::queue::{DropReason, RequestId, SealedRequest};

#[derive(Debug)]
struct Aside {
    id: RequestId,
    request: SealedRequest,
    attempts: u64,
    due: Instant,
}

/// In the order in which they are tried again. Each keeps its lease, so the queue neither offers nor drops it.
#[derive(Debug, Default)]
pub(super) struct AsideRequests {
    requests: VecDeque<Aside>,
}

impl AsideRequests {
    /// Adds one that was tried so often and is tried again then.
    pub(super) fn add(&mut self, id: RequestId, request: SealedRequest, attempts: u64, due: Instant) {
        self.requests.push_back(Aside {
            id,
            request,
            attempts,
            due,
        });
    }

    /// When the next one is tried.
    pub(super) fn due(&self) -> Option<Instant> {
        self.requests.front().map(|aside| aside.due)
    }

    /// Tells whether one is to be tried now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due().is_some_and(|due| due <= now)
    }
}

impl Lane<'_> {
    /// Tries the one whose time has come, unless the receiver takes nothing at all; what grew too old is given up.
    pub(super) async fn try_aside(&mut self) {
        let Some(aside) = self.aside.requests.pop_front() else {
            return;
        };
        if self.is_too_old(&aside.request) {
            self.queue.discard(aside.id, DropReason::Expired);
            return;
        }
        let again = Instant::now() + self.backoff.longest();
        if self.reporter.is_failing() {
            self.aside.add(aside.id, aside.request, aside.attempts, again);
            return;
        }
        let attempts = aside.attempts + 1;
        let (answer, verdict) = self.attempt(&aside.request, attempts).await;
        match verdict {
            Verdict::Retry { .. } => {
                self.reporter.set_aside(&answer, aside.request.samples);
                self.aside.add(aside.id, aside.request, attempts, again);
            }
            Verdict::Done | Verdict::Partly { .. } | Verdict::Drop(_) | Verdict::Respell => {
                self.finish(aside.id, &aside.request, &answer, verdict);
            }
        }
    }

    fn is_too_old(&self, request: &SealedRequest) -> bool {
        request.sealed_at.elapsed() > self.sender.max_age()
    }

    /// Gives up the oldest where too many are set aside: such a receiver fails on a kind of data, for good.
    pub(super) fn bound_aside(&mut self) {
        while self.aside.requests.len() > MAX_ASIDE
            && let Some(oldest) = self.aside.requests.pop_front()
        {
            self.queue.discard(oldest.id, DropReason::Rejected);
        }
    }

    /// Tries each once more at the end; what is left goes back into the queue.
    pub(super) async fn end_aside(mut self) {
        while let Some(aside) = self.aside.requests.pop_front() {
            if self.is_too_old(&aside.request) {
                self.queue.discard(aside.id, DropReason::Expired);
                continue;
            }
            let (answer, verdict) = self.attempt(&aside.request, aside.attempts + 1).await;
            self.finish(aside.id, &aside.request, &answer, verdict);
            let away = answer
                .reason()
                .is_some_and(|reason| reason != FailureReason::ServerError);
            if away && matches!(verdict, Verdict::Retry { .. }) {
                break;
            }
        }
        for aside in self.aside.requests {
            self.queue.release(aside.id);
        }
    }
}
