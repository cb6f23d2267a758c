//! When each target is probed next.
//!
//! ```text
//!   Change --> [Schedule: id -> phase, next tick] --> Due (to the prober of its kind)
//!                        now ------^
//! ```
//!
//! A target's ticks lie at `origin + phase + n * interval`. The phase is a stable hash of the two ids, so starts are
//! spread over the interval, and neither a changed plan nor an early or late reply moves them. Pure: [`task`] holds the
//! clock.

pub mod task;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hasher as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use siphasher::sip::SipHasher13;
use xprober_proto::{AgentId, Target, TargetId};

use crate::plan::Change;
use crate::probe::Due;

/// A tick that is later than this part of its interval is skipped.
///
/// A quarter keeps a short hiccup harmless and still keeps a long one from sending a whole interval's probes at once:
/// at most a quarter of the fleet shares the moment after it.
const SKIP_LATER_THAN: u32 = 4;

/// What the schedule says at one moment.
#[derive(Debug, Clone)]
pub enum Tick {
    /// This probe leaves now.
    Due(Due),
    /// So many ticks of one target passed too long ago to be made up for.
    Skipped(u64),
}

#[derive(Debug)]
struct Entry {
    target: Arc<Target>,
    /// Recognises entries of the heap that were overtaken by a change.
    generation: u64,
}

/// Every target's next tick.
#[derive(Debug)]
pub struct Schedule {
    agent: AgentId,
    origin: Instant,
    entries: HashMap<TargetId, Entry>,
    heap: BinaryHeap<Reverse<(Instant, u64, TargetId)>>,
    generation: u64,
}

impl Schedule {
    /// Starts empty; ticks are counted from `origin`, which must not lie after any later `now`.
    #[must_use]
    pub fn new(agent: AgentId, origin: Instant) -> Self {
        Self {
            agent,
            origin,
            entries: HashMap::new(),
            heap: BinaryHeap::new(),
            generation: 0,
        }
    }

    /// Number of targets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether nothing is scheduled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Carries out one change of the plan; only the target it names is touched, and its ticks move only when its
    /// interval did.
    pub fn apply(&mut self, change: &Change, now: Instant) {
        match change {
            Change::Remove(id) => drop(self.entries.remove(id)),
            Change::Lines(_) => {}
            Change::Upsert(target) => {
                if let Some(entry) = self.entries.get_mut(&target.id)
                    && entry.target.interval == target.interval
                {
                    entry.target = Arc::clone(target);
                    return;
                }
                let next = self.first_tick_after(target, now);
                self.insert(Arc::clone(target), next);
            }
        }
        self.shed();
    }

    /// When [`Schedule::pop`] has something to say next.
    #[must_use]
    pub fn next_deadline(&mut self) -> Option<Instant> {
        self.drop_overtaken();
        self.heap.peek().map(|Reverse((at, _, _))| *at)
    }

    /// Takes the earliest tick that is due at `now`; `None` when all others lie ahead.
    pub fn pop(&mut self, now: Instant) -> Option<Tick> {
        if self.next_deadline()? > now {
            return None;
        }
        let Reverse((scheduled, _, id)) = self.heap.pop()?;
        let target = Arc::clone(&self.entries.get(&id)?.target);
        let late = now.saturating_duration_since(scheduled);
        if late > target.interval / SKIP_LATER_THAN {
            let missed = 1 + late.as_nanos() / target.interval.as_nanos().max(1);
            let next = self.first_tick_after(&target, now);
            self.insert(target, next);
            return Some(Tick::Skipped(u64::try_from(missed).unwrap_or(u64::MAX)));
        }
        self.insert(Arc::clone(&target), scheduled + target.interval);
        Some(Tick::Due(Due { target, scheduled }))
    }

    fn insert(&mut self, target: Arc<Target>, next: Instant) {
        self.generation += 1;
        let (id, generation) = (target.id.clone(), self.generation);
        self.heap.push(Reverse((next, generation, id.clone())));
        let entry = Entry { target, generation };
        self.entries.insert(id, entry);
    }

    fn drop_overtaken(&mut self) {
        while let Some(Reverse((_, generation, id))) = self.heap.peek() {
            if self
                .entries
                .get(id)
                .is_some_and(|entry| entry.generation == *generation)
            {
                return;
            }
            self.heap.pop();
        }
    }

    /// Rebuilds the heap when most of it was overtaken, so that a plan that keeps changing cannot make it grow.
    fn shed(&mut self) {
        if self.heap.len() > 2 * self.entries.len() + 64 {
            let live = |Reverse((_, generation, id)): &Reverse<(Instant, u64, TargetId)>| {
                self.entries
                    .get(id)
                    .is_some_and(|entry| entry.generation == *generation)
            };
            self.heap.retain(live);
        }
    }

    /// The first tick strictly after `now`.
    fn first_tick_after(&self, target: &Target, now: Instant) -> Instant {
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

/// Where in its interval a target's ticks lie: the same for the same two ids on every machine and in every version.
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
