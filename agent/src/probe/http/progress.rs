//! What a probe found out so far.

use std::sync::Arc;
use std::time::Instant;

use url::{Host, Url};
use xprober_proto::Target;

use super::trust::NotAfter;
use super::{HttpFailure, HttpReason, Stage, StageClock};
use crate::probe::HttpResult;

/// What is known of a probe so far; it outlives the work when the deadline ends that.
pub(super) struct Progress {
    started: Instant,
    pub(super) clock: StageClock,
    failure: Option<HttpFailure>,
    pub(super) status: Option<u16>,
    pub(super) body_bytes: u64,
    pub(super) redirects: u32,
    pub(super) not_after: Arc<NotAfter>,
}

impl Progress {
    pub(super) fn start(now: Instant) -> Self {
        Self {
            started: now,
            clock: StageClock::start(now),
            failure: None,
            status: None,
            body_bytes: 0,
            redirects: 0,
            not_after: Arc::default(),
        }
    }

    /// Notes the first failure; what follows from it does not replace it.
    pub(super) fn fail(&mut self, failure: Option<HttpFailure>) {
        self.failure = self.failure.or(failure);
    }

    /// Begins the connect; an address literal took no resolution at all.
    pub(super) fn begin_connect(&mut self, url: &Url) {
        let literal = !matches!(url.host(), Some(Host::Domain(_)));
        let now = if literal { self.clock.since() } else { Instant::now() };
        self.clock.begin(Stage::Connect, now);
    }

    pub(super) fn finish(mut self, target: Arc<Target>, ended: Result<(), HttpReason>, now: Instant) -> HttpResult {
        let stage = self.clock.stage();
        self.fail(ended.err().map(|reason| HttpFailure { stage, reason }));
        HttpResult {
            target,
            stages: self.clock.finish(now),
            duration: now.saturating_duration_since(self.started),
            failure: self.failure,
            status: self.status,
            body_bytes: self.body_bytes,
            redirects: self.redirects,
            tls_not_after: self.not_after.get(),
        }
    }
}
