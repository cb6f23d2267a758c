//! What the log hears of a queue's disk.

use std::io;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::Trouble;
use super::store::ReadError;

/// Lines about lost requests come no more often.
const INTERVAL: Duration = Duration::from_mins(1);

/// The lines about one queue; all name its endpoint and its folder.
pub(super) struct DiskLog {
    endpoint: String,
    folder: String,
    losses: Losses,
}

/// Requests that the disk did not give back, since the log told of it last.
#[derive(Default)]
struct Losses {
    requests: u64,
    samples: u64,
    told_at: Option<Instant>,
}

impl DiskLog {
    pub(super) fn new(endpoint: impl Into<String>, folder: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            folder: folder.into(),
            losses: Losses::default(),
        }
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(super) fn inherited(&self, requests: usize, samples: u64) {
        let Self { endpoint, folder, .. } = self;
        info!(
            endpoint,
            folder, requests, samples, "an earlier run left requests in the queue"
        );
    }

    pub(super) fn unusable(&self, error: &io::Error) {
        self.warn(error, "the queue's folder cannot be used, requests wait in memory");
    }

    pub(super) fn usable_again(&self) {
        let Self { endpoint, folder, .. } = self;
        info!(endpoint, folder, "the queue's folder can be used again");
    }

    pub(super) fn unreadable(&self, error: &io::Error) {
        self.warn(
            error,
            "the queue's disk cannot be read, what it holds waits until it can",
        );
    }

    /// One request more is lost; one line at once, then one a minute.
    pub(super) fn lost(&mut self, samples: u64, error: &ReadError) {
        self.losses.requests += 1;
        self.losses.samples += samples;
        let now = Instant::now();
        let recently = |told: Instant| now.saturating_duration_since(told) < INTERVAL;
        if self.losses.told_at.is_some_and(recently) {
            return;
        }
        let Losses { requests, samples, .. } = std::mem::take(&mut self.losses);
        self.losses.told_at = Some(now);
        let Self { endpoint, folder, .. } = self;
        let error = crate::chain(error);
        warn!(endpoint, folder, requests, samples, error, "queued requests are lost");
    }

    fn warn(&self, error: &io::Error, what: &str) {
        let Self { endpoint, folder, .. } = self;
        let advice = Trouble::of(error).advice();
        warn!(endpoint, folder, %error, advice, "{what}");
    }
}
