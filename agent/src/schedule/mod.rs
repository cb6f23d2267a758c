//! When each target is probed next.
//!
//! ```text
//!   Change --> [Schedule: id -> phase, next tick] --> Due (to the prober of its kind)
//!                        now ------^
//! ```
//!
//! A target's slots begin at `origin + phase + n * interval`. The phase is a stable hash of the two ids, so starts are
//! spread over the interval, and neither a changed plan nor an early or late reply moves them.
//!
//! Probes leave together on a coarse tick, a small part of the shortest interval: waking up costs more than sending. A
//! probe leaves at the first tick of its slot; one whose tick passed too long ago is skipped and counted, never made up
//! for, so that nothing bunches after a pause. Pure: [`task`] holds the clock.

pub mod task;

use std::collections::{BTreeMap, HashMap};
use std::hash::Hasher as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use siphasher::sip::SipHasher13;
use xprober_proto::{AgentId, Target, TargetId};

use crate::plan::Change;
use crate::probe::Due;

/// A slot that began longer ago than this part of its interval is skipped.
///
/// After a pause the slots of this part of the interval are due at once, so it bounds the burst: twice what leaves on an
/// ordinary tick.
const SKIP_LATER_THAN: u32 = 10;
/// However short the interval, a slot is not skipped before it is this late: a busy machine wakes us later than that.
const NEVER_SKIP_BEFORE: Duration = Duration::from_millis(50);

/// The tick is this part of the shortest interval, so that every probe stays inside the first part of its slot.
const TICKS_PER_INTERVAL: u32 = 20;
/// Longest tick: what leaves together stays a small burst.
const LONGEST_TICK: Duration = Duration::from_millis(50);
/// Shortest tick; below it batches save nothing.
const SHORTEST_TICK: Duration = Duration::from_millis(1);
/// Most probes that should share a tick: a longer burst is a load of its own for a small line or receive queue.
const PROBES_PER_TICK: u128 = 160;

/// What the schedule says at one moment.
#[derive(Debug, Clone)]
pub enum Tick {
    /// This probe leaves now.
    Due(Due),
    /// Ticks of one target passed too long ago to be made up for.
    Skipped {
        /// Whose.
        target: Arc<Target>,
        /// How many.
        ticks: u64,
    },
}

/// Every target's next slot.
#[derive(Debug)]
pub struct Schedule {
    agent: AgentId,
    origin: Instant,
    places: HashMap<TargetId, usize>,
    /// When the next slot of the target at each place begins; `None` at a vacant one.
    next: Vec<Option<Instant>>,
    vacant: Vec<usize>,
    /// The next slot of every target, the earliest first, by its place. A tree and not a heap: slots leave at one end and
    /// come back near the other, so that both stay in the processor's cache.
    slots: BTreeMap<(Instant, usize), Arc<Target>>,
    /// How many targets have each interval.
    intervals: BTreeMap<Duration, u64>,
}

impl Schedule {
    /// Starts empty; ticks are counted from `origin`, which must not lie after any later `now`.
    #[must_use]
    pub fn new(agent: AgentId, origin: Instant) -> Self {
        Self {
            agent,
            origin,
            places: HashMap::new(),
            next: Vec::new(),
            vacant: Vec::new(),
            slots: BTreeMap::new(),
            intervals: BTreeMap::new(),
        }
    }

    /// Number of targets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Tells whether nothing is scheduled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Carries out one change of the plan; only the target it names is touched, and its ticks move only when its
    /// interval did.
    pub fn apply(&mut self, change: &Change, now: Instant) {
        match change {
            Change::Remove(id) => self.remove(id),
            Change::Lines(_) => {}
            Change::Upsert(target) => self.upsert(target, now),
        }
    }

    /// Time between two ticks, by the targets that there are.
    #[must_use]
    pub fn tick(&self) -> Duration {
        let Some(shortest) = self.intervals.keys().next() else {
            return LONGEST_TICK;
        };
        let probes_per_second: u128 = self
            .intervals
            .iter()
            .map(|(interval, targets)| rate(*interval, *targets))
            .sum();
        let for_rate = (PROBES_PER_TICK * 1_000_000_000) / probes_per_second.max(1);
        let for_rate = Duration::from_nanos(u64::try_from(for_rate).unwrap_or(u64::MAX));
        (*shortest / TICKS_PER_INTERVAL)
            .min(for_rate)
            .clamp(SHORTEST_TICK, LONGEST_TICK)
    }

    /// The next tick at which [`Schedule::pop`] has something to say.
    #[must_use]
    pub fn next_tick(&self) -> Option<Instant> {
        let slot = self.next_slot()?;
        let (tick, since) = (self.tick().as_nanos(), slot.saturating_duration_since(self.origin));
        let ticks = since.as_nanos().div_ceil(tick);
        // Both are sane lengths of time: 584 years fit.
        Some(self.origin + Duration::from_nanos(u64::try_from(ticks * tick).unwrap_or(u64::MAX)))
    }

    fn next_slot(&self) -> Option<Instant> {
        self.slots.first_key_value().map(|((at, _), _)| *at)
    }

    /// Number of slots that have begun at `now` and ask for something.
    ///
    /// Looks at every target concerned, so that their memory is on its way at the same time when [`Schedule::pop`] wants one
    /// after the other: of thousands, none is in the cache.
    #[must_use]
    pub fn due(&self, now: Instant) -> usize {
        let begun = self.slots.range(..=(now, usize::MAX));
        begun.filter(|(_, target)| !target.interval.is_zero()).count()
    }

    /// Takes the earliest slot that has begun at `now`; `None` when all others lie ahead.
    pub fn pop(&mut self, now: Instant) -> Option<Tick> {
        let first = self.slots.first_entry()?;
        let (scheduled, place) = *first.key();
        if scheduled > now {
            return None;
        }
        let target = first.remove();
        let late = now.saturating_duration_since(scheduled);
        if late > (target.interval / SKIP_LATER_THAN).max(NEVER_SKIP_BEFORE) {
            let missed = 1 + late.as_nanos() / target.interval.as_nanos().max(1);
            self.plan(place, self.first_slot_after(&target, now), Arc::clone(&target));
            let ticks = u64::try_from(missed).unwrap_or(u64::MAX);
            return Some(Tick::Skipped { target, ticks });
        }
        self.plan(place, scheduled + target.interval, Arc::clone(&target));
        Some(Tick::Due(Due { target, scheduled }))
    }

    fn upsert(&mut self, target: &Arc<Target>, now: Instant) {
        let place = self.places.get(&target.id).copied();
        let before = place.and_then(|place| self.unplan(place));
        let place = place.unwrap_or_else(|| self.enter(target));
        let next = match before {
            Some((next, before)) if before.interval == target.interval => next,
            changed => {
                if let Some((_, before)) = changed {
                    self.forget(before.interval);
                }
                *self.intervals.entry(target.interval).or_default() += 1;
                self.first_slot_after(target, now)
            }
        };
        self.plan(place, next, Arc::clone(target));
    }

    /// Gives a new target a place.
    fn enter(&mut self, target: &Target) -> usize {
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.next.push(None);
            self.next.len() - 1
        });
        self.places.insert(target.id.clone(), place);
        place
    }

    fn remove(&mut self, id: &TargetId) {
        let Some(place) = self.places.remove(id) else { return };
        if let Some((_, target)) = self.unplan(place) {
            self.vacant.push(place);
            self.forget(target.interval);
        }
    }

    /// Gives the target at `place`, which has none, its next slot.
    fn plan(&mut self, place: usize, next: Instant, target: Arc<Target>) {
        if let Some(planned) = self.next.get_mut(place) {
            *planned = Some(next);
            self.slots.insert((next, place), target);
        }
    }

    /// Takes the next slot from the target at `place`.
    fn unplan(&mut self, place: usize) -> Option<(Instant, Arc<Target>)> {
        let next = self.next.get_mut(place)?.take()?;
        Some((next, self.slots.remove(&(next, place))?))
    }

    fn forget(&mut self, interval: Duration) {
        if let Some(targets) = self.intervals.get_mut(&interval) {
            *targets -= 1;
            if *targets == 0 {
                self.intervals.remove(&interval);
            }
        }
    }

    /// The first slot that begins strictly after `now`.
    fn first_slot_after(&self, target: &Target, now: Instant) -> Instant {
        let phase = phase(&self.agent, &target.id, target.interval);
        let first = self.origin + phase;
        if now < first {
            return first;
        }
        let interval = target.interval.as_nanos().max(1);
        let into = now.duration_since(first).as_nanos() % interval;
        // Both are below the interval, which came from a `Duration` of sane length: 584 years fit.
        now + Duration::from_nanos(u64::try_from(interval - into).unwrap_or(u64::MAX))
    }
}

/// Probes per second, rounded up, of so many targets with this interval.
fn rate(interval: Duration, targets: u64) -> u128 {
    (u128::from(targets) * 1_000_000_000).div_ceil(interval.as_nanos().max(1))
}

/// Where in its interval a target's slots begin: the same for the same two ids on every machine and in every version.
#[must_use]
pub fn phase(agent: &AgentId, target: &TargetId, interval: Duration) -> Duration {
    let mut hasher = SipHasher13::new();
    hasher.write(agent.as_str().as_bytes());
    hasher.write_u8(0);
    hasher.write(target.as_str().as_bytes());
    // The upper 64 bits of hash * interval are uniform in 0..interval, without the bias of a remainder.
    let nanos = (u128::from(hasher.finish()) * interval.as_nanos()) >> 64;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
