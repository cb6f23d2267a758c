//! The loss ledger: plan changes and probe results in, counters and the readings of the last window out.
//!
//! Counters move only when a probe's window has closed, and every closed probe moves exactly one outcome, so the
//! probes sent are the sum of the outcomes at every moment. What is counted for a region outlives its single targets: a
//! result of a target that left the plan still counts for its region. With a region's last target everything that is
//! counted for it goes.

pub mod histogram;

pub mod echo;

pub mod http;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use xprober_proto::{Line, ProbeKind, Region, Target, TargetId};

pub use echo::{LineCounts, Reading, RegionLedger, Rtt, TargetLedger};
pub use histogram::Histogram;
pub use http::HttpLedger;

use crate::plan::Change;
use crate::probe::{EchoResult, HttpResult, Outcome, Reason};

/// Names what is counted for a region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionKey {
    /// The other region.
    pub region: Region,
    /// How it is probed.
    pub probe: ProbeKind,
}

/// Names what is counted for a target.
///
/// Two targets of a plan with the same key are one to the reader of a dashboard and share one account; otherwise they
/// would send two values for one series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetKey {
    /// Its region.
    pub region: Region,
    /// How it is probed.
    pub probe: ProbeKind,
    /// Its name, the `target` label.
    pub name: String,
}

impl TargetKey {
    fn of(target: &Target) -> Self {
        Self {
            region: target.region.clone(),
            probe: target.probe.kind(),
            name: target.name.clone(),
        }
    }

    fn region_key(&self) -> RegionKey {
        RegionKey {
            region: self.region.clone(),
            probe: self.probe,
        }
    }
}

/// Everything that was counted for the plan in force.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    plan: BTreeMap<TargetId, TargetKey>,
    /// How many targets of the plan share a key; never 0.
    users: BTreeMap<TargetKey, usize>,
    regions: BTreeMap<RegionKey, RegionLedger>,
    targets: BTreeMap<TargetKey, TargetLedger>,
    pages: BTreeMap<TargetKey, HttpLedger>,
    lines: Arc<[Line]>,
    line_counts: BTreeMap<(String, RegionKey), LineCounts>,
}

impl Ledger {
    /// Follows the plan.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Upsert(target) => self.upsert(target),
            Change::Remove(id) => self.remove(id),
            Change::Lines(lines) => {
                self.lines = Arc::clone(lines);
                let kept = &self.lines;
                self.line_counts.retain(|(name, key), _| {
                    kept.iter()
                        .any(|line| line.name == *name && line.target_region == key.region)
                });
            }
        }
    }

    /// Counts an HTTP probe that ended.
    pub fn record_http(&mut self, http: &HttpResult) {
        if let Some(page) = self.pages.get_mut(&TargetKey::of(&http.target)) {
            page.record(http);
        }
    }

    /// Counts probes that never left because we were late: rounds that we have nothing to say about.
    pub fn record_missed(&mut self, target: &Arc<Target>, ticks: u64) {
        let result = EchoResult::failed(Arc::clone(target), Outcome::Stalled, Some(Reason::Skipped));
        for _ in 0..ticks {
            self.record_echo(&result);
        }
    }

    /// Ends the window of every target: what came since the last call becomes the reading that is shown.
    pub fn close_window(&mut self, now: Instant) {
        self.targets.values_mut().for_each(|target| target.close_window(now));
        self.pages.values_mut().for_each(|page| page.close_window(now));
    }

    /// Counters per region, for echo and connect probes.
    pub fn regions(&self) -> impl Iterator<Item = (&RegionKey, &RegionLedger)> {
        self.regions.iter()
    }

    /// Counters and readings per target, for echo and connect probes.
    pub fn targets(&self) -> impl Iterator<Item = (&TargetKey, &TargetLedger)> {
        self.targets.iter()
    }

    /// Counters and last probe per HTTP target.
    pub fn pages(&self) -> impl Iterator<Item = (&TargetKey, &HttpLedger)> {
        self.pages.iter()
    }

    /// The lines that start in this agent's region.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Counters of each line for each kind of probe that its other end gets.
    pub fn line_counts(&self) -> impl Iterator<Item = (&Line, &RegionKey, LineCounts)> {
        self.lines.iter().flat_map(move |line| {
            let same_end = self.regions.keys().filter(|key| key.region == line.target_region);
            same_end.map(move |key| {
                let counts = self.line_counts.get(&(line.name.clone(), key.clone()));
                (line, key, counts.copied().unwrap_or_default())
            })
        })
    }

    fn upsert(&mut self, target: &Target) {
        let key = TargetKey::of(target);
        let (interval, timeout) = (target.interval, target.timeout);
        match target.probe.kind() {
            ProbeKind::Icmp | ProbeKind::Tcp => {
                self.regions.entry(key.region_key()).or_default();
                let ledger = self.targets.entry(key.clone());
                ledger
                    .and_modify(|ledger| ledger.retime(interval, timeout))
                    .or_insert_with(|| TargetLedger::new(interval, timeout));
            }
            ProbeKind::Http => {
                let page = self.pages.entry(key.clone());
                page.and_modify(|page| page.retime(interval, timeout))
                    .or_insert_with(|| HttpLedger::new(interval, timeout));
            }
        }
        *self.users.entry(key.clone()).or_default() += 1;
        // The new key stands before the old one goes: a region whose only target changes its name keeps its counters.
        if let Some(old) = self.plan.insert(target.id.clone(), key) {
            self.release(&old);
        }
    }

    fn remove(&mut self, id: &TargetId) {
        if let Some(key) = self.plan.remove(id) {
            self.release(&key);
        }
    }

    /// Drops what nobody in the plan uses any more.
    fn release(&mut self, key: &TargetKey) {
        if let Some(users) = self.users.get_mut(key).filter(|users| **users > 1) {
            *users -= 1;
            return;
        }
        self.users.remove(key);
        self.targets.remove(key);
        self.pages.remove(key);
        let region = key.region_key();
        if !self.probes_region(&region) {
            self.regions.remove(&region);
            self.line_counts.retain(|(_, counted), _| *counted != region);
        }
    }

    fn probes_region(&self, key: &RegionKey) -> bool {
        // Keys sort by region, then kind, then name: the empty name stands before the region's first target.
        let first = TargetKey {
            region: key.region.clone(),
            probe: key.probe,
            name: String::new(),
        };
        let next = self.users.range(first..).next();
        next.is_some_and(|(used, _)| used.region == key.region && used.probe == key.probe)
    }

    /// Counts an echo or connect probe whose window closed.
    pub fn record_echo(&mut self, result: &EchoResult) {
        let key = TargetKey::of(&result.target);
        let region_key = key.region_key();
        let Some(region) = self.regions.get_mut(&region_key) else {
            return;
        };
        region.record(result);
        for line in self.lines.iter().filter(|line| line.target_region == key.region) {
            let counts = self.line_counts.entry((line.name.clone(), region_key.clone()));
            counts.or_default().record(result, line.rtt_budget);
        }
        if let Some(target) = self.targets.get_mut(&key) {
            target.record(result);
        }
    }
}

/// The last reading of a target that is probed less often than samples are pushed.
///
/// It is shown until the next one, but never for longer than three intervals: when probing stops, the last healthy
/// value must not stand for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Held<T> {
    reading: Option<(T, Instant)>,
    limit: Duration,
}

impl<T> Held<T> {
    fn new(interval: Duration, timeout: Duration) -> Self {
        let mut held = Self {
            reading: None,
            limit: Duration::ZERO,
        };
        held.retime(interval, timeout);
        held
    }

    fn retime(&mut self, interval: Duration, timeout: Duration) {
        // One interval until the next probe, one for its timeout, one for a tick that was skipped.
        self.limit = interval.max(timeout).saturating_mul(3);
    }

    fn close(&mut self, reading: Option<T>, now: Instant) {
        if let Some(reading) = reading {
            self.reading = Some((reading, now));
        } else if let Some((_, since)) = &self.reading
            && now.saturating_duration_since(*since) > self.limit
        {
            self.reading = None;
        }
    }

    const fn get(&self) -> Option<&T> {
        match &self.reading {
            Some((reading, _)) => Some(reading),
            None => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
