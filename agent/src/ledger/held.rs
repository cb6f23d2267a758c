//! The last reading of a target that is probed less often than samples are pushed.

use std::time::{Duration, Instant};

/// Shows a reading until the next one, but never for longer than three intervals: when probing stops, the last healthy
/// value must not stand for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held<T> {
    reading: Option<(T, Instant)>,
    limit: Duration,
}

impl<T> Held<T> {
    pub(super) fn new(interval: Duration, timeout: Duration) -> Self {
        let mut held = Self {
            reading: None,
            limit: Duration::ZERO,
        };
        held.retime(interval, timeout);
        held
    }

    pub(super) fn retime(&mut self, interval: Duration, timeout: Duration) {
        // One interval until the next probe, one for its timeout, one for a tick that was skipped.
        self.limit = interval.max(timeout).saturating_mul(3);
    }

    pub(super) fn close(&mut self, reading: Option<T>, now: Instant) {
        if let Some(reading) = reading {
            self.reading = Some((reading, now));
        } else if let Some((_, since)) = &self.reading
            && now.saturating_duration_since(*since) > self.limit
        {
            self.reading = None;
        }
    }

    pub(super) const fn get(&self) -> Option<&T> {
        match &self.reading {
            Some((reading, _)) => Some(reading),
            None => None,
        }
    }
}
