//! HTTP probes: what is counted per target.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::held::Held;
use crate::probe::{HttpReason, HttpResult, Stage};

/// Counters of one HTTP target and its last probe.
#[derive(Debug, Clone)]
pub struct HttpLedger {
    probes: u64,
    failures: BTreeMap<(Stage, HttpReason), u64>,
    open: Option<Box<HttpResult>>,
    closed: Held<Box<HttpResult>>,
}

impl HttpLedger {
    pub(super) fn new(interval: Duration, timeout: Duration) -> Self {
        Self {
            probes: 0,
            failures: BTreeMap::new(),
            open: None,
            closed: Held::new(interval, timeout),
        }
    }

    pub(super) fn retime(&mut self, interval: Duration, timeout: Duration) {
        self.closed.retime(interval, timeout);
    }

    pub(super) fn record(&mut self, result: &HttpResult) {
        self.probes += 1;
        if let Some(failure) = result.failure {
            *self.failures.entry((failure.stage, failure.reason)).or_default() += 1;
        }
        self.open = Some(Box::new(result.clone()));
    }

    pub(super) fn close_window(&mut self, now: Instant) {
        let reading = self.open.take();
        self.closed.close(reading, now);
    }

    /// Probes that ended.
    #[must_use]
    pub const fn probes(&self) -> u64 {
        self.probes
    }

    /// Failed probes by stage and reason; what never happened is not listed.
    #[must_use]
    pub const fn failures(&self) -> &BTreeMap<(Stage, HttpReason), u64> {
        &self.failures
    }

    /// The last probe; `None` before the first and when the last is too old.
    #[must_use]
    pub fn last(&self) -> Option<&HttpResult> {
        self.closed.get().map(Box::as_ref)
    }
}
