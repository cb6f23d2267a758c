//! The loss ledger: plan changes and probe results in, counters and the readings of the last window out.
//!
//! Counters move only when a probe's window has closed, and every closed probe moves exactly one outcome, so the
//! probes sent are the sum of the outcomes at every moment. What is counted for a region outlives its single targets: a
//! result of a target that left the plan still counts for its region. With a region's last target everything that is
//! counted for it goes.

pub mod key;

pub mod histogram;

pub mod exponential;

pub mod jitter;

pub mod echo;

pub mod http;

mod held;

mod slab;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use xprober_proto::{Line, ProbeKind, Target, TargetId};

pub use echo::{LineCounts, Reading, RegionLedger, Rtt, TargetLedger};
pub use exponential::Exponential;
pub use histogram::Histogram;
pub use http::HttpLedger;
pub use jitter::Jitter;
pub use key::{RegionKey, TargetKey};

use crate::plan::Change;
use crate::probe::{EchoResult, HttpResult, Outcome, Reason};
use key::Planned;
use slab::Slab;

/// Everything that was counted for the plan in force.
///
/// The maps by key give the order in which accounts are read; a result finds its account by the address of its target,
/// which is the one that the plan holds.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// The account of each planned target; none for HTTP targets, whose pages are few and found by key.
    plan: HashMap<Planned, Option<usize>>,
    /// The same by the address of the target, which `plan` keeps alive.
    addresses: HashMap<usize, usize>,
    targets: BTreeMap<TargetKey, usize>,
    regions: BTreeMap<RegionKey, usize>,
    pages: BTreeMap<TargetKey, Page>,
    target_accounts: Slab<TargetAccount>,
    region_accounts: Slab<RegionAccount>,
    lines: Arc<[Line]>,
    /// What the histogram of a new region is; empty.
    histogram: Histogram,
}

#[derive(Debug, Clone)]
struct TargetAccount {
    region: usize,
    /// How many targets of the plan share the key; never 0.
    users: usize,
    ledger: TargetLedger,
}

#[derive(Debug, Clone, Default)]
struct RegionAccount {
    /// How many target accounts the region has; never 0.
    targets: usize,
    ledger: RegionLedger,
    lines: Vec<LineAccount>,
}

#[derive(Debug, Clone)]
struct LineAccount {
    name: String,
    rtt_budget: Option<Duration>,
    counts: LineCounts,
}

#[derive(Debug, Clone)]
struct Page {
    users: usize,
    ledger: HttpLedger,
}

impl Ledger {
    /// Counts the exponential buckets of native histograms too.
    #[must_use]
    pub fn with_exponential_buckets() -> Self {
        Self {
            histogram: Histogram::with_exponential(),
            ..Self::default()
        }
    }

    /// Follows the plan.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Upsert(target) => self.upsert(target),
            Change::Remove(id) => self.remove(id),
            Change::Lines(lines) => self.set_lines(lines),
        }
    }

    /// Counts an echo or connect probe whose window closed.
    pub fn record_echo(&mut self, result: &EchoResult) {
        let (region, target) = self.accounts_of(&result.target);
        if let Some(region) = region {
            region.record(result);
        }
        if let Some(target) = target {
            target.record(result);
        }
    }

    /// Counts probes that never left because we were late: rounds that we have nothing to say about. An HTTP target has
    /// no such rounds.
    pub fn record_missed(&mut self, target: &Arc<Target>, ticks: u64) {
        let (region, target) = self.accounts_of(target);
        if let Some(region) = region {
            region.ledger.count(Outcome::Stalled, Some(Reason::Skipped), ticks);
        }
        if let Some(target) = target {
            target.record_missed(ticks);
        }
    }

    /// Counts an HTTP probe that ended.
    pub fn record_http(&mut self, http: &HttpResult) {
        if let Some(page) = self.pages.get_mut(&TargetKey::of(&http.target)) {
            page.ledger.record(http);
        }
    }

    /// Ends the window of every target: what came since the last call becomes the reading that is shown.
    pub fn close_window(&mut self, now: Instant) {
        for account in self.target_accounts.iter_mut() {
            account.ledger.close_window(now);
        }
        self.pages.values_mut().for_each(|page| page.ledger.close_window(now));
    }

    /// Counters per region, for echo and connect probes.
    pub fn regions(&self) -> impl Iterator<Item = (&RegionKey, &RegionLedger)> {
        self.region_accounts().map(|(key, account)| (key, &account.ledger))
    }

    /// Counters and readings per target, for echo and connect probes.
    pub fn targets(&self) -> impl Iterator<Item = (&TargetKey, &TargetLedger)> {
        let account = |index: usize| self.target_accounts.get(index);
        self.targets
            .iter()
            .filter_map(move |(key, index)| Some((key, &account(*index)?.ledger)))
    }

    /// Counters and last probe per HTTP target.
    pub fn pages(&self) -> impl Iterator<Item = (&TargetKey, &HttpLedger)> {
        self.pages.iter().map(|(key, page)| (key, &page.ledger))
    }

    /// The lines that start in this agent's region.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Counters of each line for each kind of probe that its other end gets.
    pub fn line_counts(&self) -> impl Iterator<Item = (&Line, &RegionKey, LineCounts)> {
        self.lines.iter().flat_map(move |line| {
            self.region_accounts().filter_map(move |(key, account)| {
                let counted = (key.region == line.target_region).then(|| account.line(&line.name))?;
                Some((line, key, counted?.counts))
            })
        })
    }

    fn region_accounts(&self) -> impl Iterator<Item = (&RegionKey, &RegionAccount)> {
        let account = |index: usize| self.region_accounts.get(index);
        self.regions
            .iter()
            .filter_map(move |(key, index)| Some((key, account(*index)?)))
    }

    /// Finds what a result of `target` is counted for. A result of a target that left the plan, or whose name changed
    /// since, has no account of its own and still counts for its region.
    fn accounts_of(&mut self, target: &Arc<Target>) -> (Option<&mut RegionAccount>, Option<&mut TargetLedger>) {
        let account = match self.account_number(target) {
            Some(index) => self.target_accounts.get_mut(index),
            None => None,
        };
        let region = match &account {
            Some(account) => Some(account.region),
            None => self.regions.get(&RegionKey::of(target)).copied(),
        };
        let region = match region {
            Some(index) => self.region_accounts.get_mut(index),
            None => None,
        };
        (region, account.map(|account| &mut account.ledger))
    }

    fn account_number(&self, target: &Arc<Target>) -> Option<usize> {
        let planned = self.addresses.get(&address(target)).copied();
        planned.or_else(|| self.targets.get(&TargetKey::of(target)).copied())
    }

    fn upsert(&mut self, target: &Arc<Target>) {
        let key = TargetKey::of(target);
        let account = match target.probe.kind() {
            ProbeKind::Icmp | ProbeKind::Tcp => Some(self.use_account(&key, target)),
            ProbeKind::Http => {
                self.use_page(&key, target);
                None
            }
        };
        // The new key stands before the old one goes: a region whose only target changes its name keeps its counters.
        self.remove(&target.id);
        self.plan.insert(Planned(key), account);
        if let Some(account) = account {
            self.addresses.insert(address(target), account);
        }
    }

    fn remove(&mut self, id: &TargetId) {
        match self.plan.remove_entry(id) {
            Some((Planned(key), Some(account))) => {
                self.addresses.remove(&address(key.target()));
                self.release_account(&key, account);
            }
            Some((Planned(key), None)) => self.release_page(key),
            None => {}
        }
    }

    fn use_account(&mut self, key: &TargetKey, target: &Target) -> usize {
        if let Some(index) = self.targets.remove(key)
            && let Some(account) = self.target_accounts.get_mut(index)
        {
            account.users += 1;
            account.ledger.follow(target);
            // The key holds a target: the new one lets the old one go.
            self.targets.insert(key.clone(), index);
            return index;
        }
        let region = self.use_region(target);
        let index = self.target_accounts.insert(TargetAccount {
            region,
            users: 1,
            ledger: TargetLedger::new(target),
        });
        self.targets.insert(key.clone(), index);
        index
    }

    fn use_region(&mut self, target: &Target) -> usize {
        let index = match self.regions.entry(RegionKey::of(target)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                let mut account = RegionAccount {
                    ledger: RegionLedger::new(self.histogram.clone()),
                    ..RegionAccount::default()
                };
                account.set_lines(&self.lines, new.key());
                *new.insert(self.region_accounts.insert(account))
            }
        };
        if let Some(account) = self.region_accounts.get_mut(index) {
            account.targets += 1;
        }
        index
    }

    fn use_page(&mut self, key: &TargetKey, target: &Target) {
        let (interval, timeout) = (target.interval, target.timeout);
        let page = self.pages.entry(key.clone()).or_insert_with(|| Page {
            users: 0,
            ledger: HttpLedger::new(interval, timeout),
        });
        page.users += 1;
        page.ledger.retime(interval, timeout);
    }

    /// Drops the account when nobody in the plan uses it any more, and its region's with the last.
    fn release_account(&mut self, key: &TargetKey, index: usize) {
        let Some(account) = self.target_accounts.get_mut(index) else {
            return;
        };
        account.users -= 1;
        if account.users > 0 {
            return;
        }
        let region = account.region;
        self.target_accounts.remove(index);
        self.targets.remove(key);
        let Some(account) = self.region_accounts.get_mut(region) else {
            return;
        };
        account.targets -= 1;
        if account.targets == 0 {
            self.region_accounts.remove(region);
            self.regions.retain(|_, index| *index != region);
        }
    }

    fn release_page(&mut self, key: TargetKey) {
        if let Entry::Occupied(mut page) = self.pages.entry(key) {
            page.get_mut().users -= 1;
            if page.get().users == 0 {
                page.remove();
            }
        }
    }

    fn set_lines(&mut self, lines: &Arc<[Line]>) {
        self.lines = Arc::clone(lines);
        for (key, index) in &self.regions {
            if let Some(account) = self.region_accounts.get_mut(*index) {
                account.set_lines(lines, key);
            }
        }
    }
}

fn address(target: &Arc<Target>) -> usize {
    Arc::as_ptr(target).addr()
}

impl RegionAccount {
    fn record(&mut self, result: &EchoResult) {
        self.ledger.record(result);
        for line in &mut self.lines {
            line.counts.record(result, line.rtt_budget);
        }
    }

    fn line(&self, name: &str) -> Option<&LineAccount> {
        self.lines.iter().find(|line| line.name == name)
    }

    /// Counts for the lines to this region from now on; one that stays keeps its counters.
    fn set_lines(&mut self, lines: &[Line], key: &RegionKey) {
        let here = lines.iter().filter(|line| line.target_region == key.region);
        let accounts = here.map(|line| LineAccount {
            name: line.name.clone(),
            rtt_budget: line.rtt_budget,
            counts: self.line(&line.name).map(|known| known.counts).unwrap_or_default(),
        });
        self.lines = accounts.collect();
    }
}

#[cfg(test)]
pub(crate) mod tests;
