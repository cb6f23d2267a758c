//! Echo and connect probes: what is counted per region and per target.

use std::time::{Duration, Instant};

use super::Held;
use super::histogram::Histogram;
use crate::probe::{EchoResult, Outcome};

/// Counters of one region and probe kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegionLedger {
    outcomes: [u64; Outcome::ALL.len()],
    duplicates: u64,
    rtt: Histogram,
}

impl RegionLedger {
    pub(super) fn record(&mut self, result: &EchoResult) {
        self.outcomes[result.outcome as usize] += 1;
        self.duplicates += u64::from(result.duplicates);
        // A late reply is counted as an outcome; its time would sit beyond the timeout and only blur the distribution.
        if let (Outcome::Ok, Some(rtt)) = (result.outcome, result.rtt) {
            self.rtt.observe(rtt);
        }
    }

    /// Probes that ended in `outcome`.
    #[must_use]
    pub const fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Probes that ended: the sum of all outcomes.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// Further copies of replies.
    #[must_use]
    pub const fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Round-trip times of the `ok` probes.
    #[must_use]
    pub const fn rtt(&self) -> &Histogram {
        &self.rtt
    }
}

/// Probes over one line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LineCounts {
    /// Probes that say something about the line.
    pub probes: u64,
    /// Replies that took longer than the line's budget.
    pub over_budget: u64,
}

impl LineCounts {
    pub(super) fn record(&mut self, result: &EchoResult, budget: Option<Duration>) {
        self.probes += u64::from(result.outcome.judges_network());
        let over = result.outcome.received() && result.rtt.zip(budget).is_some_and(|(rtt, budget)| rtt > budget);
        self.over_budget += u64::from(over);
    }
}

/// Counters of one target and what its last window said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetLedger {
    sent: u64,
    received: u64,
    open: Window,
    last_rtt: Option<Duration>,
    closed: Held<Reading>,
}

/// What a window said about a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Round-trip times; `None` when nothing came back.
    pub rtt: Option<Rtt>,
}

/// Round-trip times of the replies of one window, late ones among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rtt {
    /// The shortest.
    pub min: Duration,
    /// The mean.
    pub avg: Duration,
    /// The longest.
    pub max: Duration,
    /// That of the last reply.
    pub last: Duration,
    /// Mean absolute difference between consecutive replies, the last one of the window before among them; `None` for
    /// the very first reply.
    pub jitter: Option<Duration>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Window {
    /// Probes that say something about the network.
    judged: u32,
    rtts: u32,
    min: Duration,
    max: Duration,
    sum: Duration,
    differences: u32,
    difference_sum: Duration,
}

impl TargetLedger {
    pub(super) fn new(interval: Duration, timeout: Duration) -> Self {
        Self {
            sent: 0,
            received: 0,
            open: Window::default(),
            last_rtt: None,
            closed: Held::new(interval, timeout),
        }
    }

    pub(super) fn retime(&mut self, interval: Duration, timeout: Duration) {
        self.closed.retime(interval, timeout);
    }

    pub(super) fn record(&mut self, result: &EchoResult) {
        self.sent += 1;
        self.open.judged += u32::from(result.outcome.judges_network());
        if !result.outcome.received() {
            return;
        }
        self.received += 1;
        if let Some(rtt) = result.rtt {
            self.open.observe(rtt, self.last_rtt.replace(rtt));
        }
    }

    pub(super) fn close_window(&mut self, now: Instant) {
        let window = std::mem::take(&mut self.open);
        // A window in which only our own faults happened says nothing about the target, like one without a probe.
        let reading = (window.judged > 0).then(|| Reading {
            rtt: self.last_rtt.and_then(|last| window.summary(last)),
        });
        self.closed.close(reading, now);
    }

    /// Probes that ended, whatever their outcome.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Probes that were answered, late answers among them.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// What the last window with a probe in it said; `None` before the first and when the last is too old.
    #[must_use]
    pub const fn reading(&self) -> Option<&Reading> {
        self.closed.get()
    }
}

impl Window {
    fn observe(&mut self, rtt: Duration, previous: Option<Duration>) {
        self.min = if self.rtts == 0 { rtt } else { self.min.min(rtt) };
        self.max = self.max.max(rtt);
        self.sum = self.sum.saturating_add(rtt);
        self.rtts += 1;
        if let Some(previous) = previous {
            self.differences += 1;
            self.difference_sum = self.difference_sum.saturating_add(rtt.abs_diff(previous));
        }
    }

    fn summary(&self, last: Duration) -> Option<Rtt> {
        Some(Rtt {
            min: self.min,
            avg: self.sum.checked_div(self.rtts)?,
            max: self.max,
            last,
            jitter: self.difference_sum.checked_div(self.differences),
        })
    }
}
