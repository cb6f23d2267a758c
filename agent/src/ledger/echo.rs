//! Echo and connect probes: what is counted per region and per target.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use xprober_proto::{ProbeSpec, Target};

use super::held::Held;
use super::histogram::Histogram;
use super::jitter::Jitter;
use crate::probe::{EchoResult, Outcome, Reason};

/// Counters of one region and probe kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegionLedger {
    outcomes: [u64; Outcome::ALL.len()],
    reasons: BTreeMap<(Outcome, Reason), u64>,
    duplicates: u64,
    rtt: Histogram,
}

impl RegionLedger {
    /// Starts to count; `rtt` says which buckets are counted.
    pub(super) fn new(rtt: Histogram) -> Self {
        Self { rtt, ..Self::default() }
    }

    pub(super) fn record(&mut self, result: &EchoResult) {
        self.count(result.outcome, result.reason, 1);
        self.duplicates += u64::from(result.duplicates);
        // A late reply is counted as an outcome; its time would sit beyond the timeout and only blur the distribution.
        if let (Outcome::Ok, Some(rtt)) = (result.outcome, result.rtt) {
            self.rtt.observe(rtt);
        }
    }

    pub(super) fn count(&mut self, outcome: Outcome, reason: Option<Reason>, probes: u64) {
        self.outcomes[outcome as usize] += probes;
        if let Some(reason) = reason {
            *self.reasons.entry((outcome, reason)).or_default() += probes;
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

    /// Probes whose outcome has a reason; what never happened is not listed.
    #[must_use]
    pub const fn reasons(&self) -> &BTreeMap<(Outcome, Reason), u64> {
        &self.reasons
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
    shows_ttl: bool,
    open: Window,
    jitter: Jitter,
    closed: Held<Reading>,
}

/// What a window said about a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Round-trip times; `None` when nothing came back.
    pub rtt: Option<Rtt>,
    /// TTL or hop limit of the last reply, for a target that asks for it.
    pub reply_ttl: Option<u8>,
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
    /// The estimate over all replies so far; `None` before the second.
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
    reply_ttl: Option<u8>,
}

impl TargetLedger {
    pub(super) fn new(target: &Target) -> Self {
        let mut ledger = Self {
            sent: 0,
            received: 0,
            shows_ttl: false,
            open: Window::default(),
            jitter: Jitter::default(),
            closed: Held::new(target.interval, target.timeout),
        };
        ledger.follow(target);
        ledger
    }

    /// Takes over what a changed target asks for.
    pub(super) fn follow(&mut self, target: &Target) {
        self.closed.retime(target.interval, target.timeout);
        self.shows_ttl = match &target.probe {
            ProbeSpec::Icmp(icmp) => icmp.reply_ttl,
            ProbeSpec::Tcp(_) | ProbeSpec::Http(_) => false,
        };
    }

    pub(super) fn record(&mut self, result: &EchoResult) {
        self.sent += 1;
        self.open.judged += u32::from(result.outcome.judges_network());
        if !result.outcome.received() {
            return;
        }
        self.received += 1;
        self.open.reply_ttl = result.reply_ttl.or(self.open.reply_ttl);
        if let Some(rtt) = result.rtt {
            self.open.observe(rtt);
            self.jitter.observe(rtt);
        }
    }

    /// Counts probes that never left by our own fault.
    pub(super) const fn record_missed(&mut self, probes: u64) {
        self.sent += probes;
    }

    pub(super) fn close_window(&mut self, now: Instant) {
        let window = std::mem::take(&mut self.open);
        // A window in which only our own faults happened says nothing about the target, like one without a probe.
        let reading = (window.judged > 0).then(|| Reading {
            rtt: window.summary(self.jitter),
            reply_ttl: window.reply_ttl.filter(|_| self.shows_ttl),
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
    fn observe(&mut self, rtt: Duration) {
        self.min = if self.rtts == 0 { rtt } else { self.min.min(rtt) };
        self.max = self.max.max(rtt);
        self.sum = self.sum.saturating_add(rtt);
        self.rtts += 1;
    }

    fn summary(&self, jitter: Jitter) -> Option<Rtt> {
        Some(Rtt {
            min: self.min,
            avg: self.sum.checked_div(self.rtts)?,
            max: self.max,
            jitter: jitter.get(),
        })
    }
}
