//! The plan in force as a state machine: updates and time in, changes and answers out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use xprober_proto::{Limits, Line, Plan, PlanUpdate, Revision, Target, TargetId};

use super::admission::{HardLimits, Refusal, judge};
use super::{Change, PlanStatus};

/// Reason of a delta that does not start from the plan in force.
pub const REASON_BASE: &str = "base";

/// What the planner is told about an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The plan of this revision is in force.
    Ack(Revision),
    /// The plan of this revision was refused as a whole or in part.
    Nack {
        /// The revision refused.
        revision: Revision,
        /// Why, for people; at most 1,024 bytes.
        reason: String,
    },
}

/// What one update leads to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Step {
    /// In the order in which they must be carried out: removals first, so that the rate is never exceeded
    /// in between.
    pub changes: Vec<Change>,
    /// Nothing for a sign of life.
    pub answer: Option<Answer>,
}

/// What the planner offered last and what of it is in force.
///
/// ```text
///              full                  delta (base = revision)
///   [no plan] ------> [plan in force] -----------+
///       ^                |   ^                   |
///       |  TTL passed    |   +-------------------+
///       +----------------+
///   a new stream keeps the plan in force and waits for a full plan, against which it is compared
/// ```
#[derive(Debug)]
pub struct PlanState {
    hard: HardLimits,
    asked: Limits,
    plan_ttl: Duration,
    lease: Duration,
    revision: Revision,
    /// Whether the stream in use has sent the full plan that its deltas start from.
    based: bool,
    last_heard: Option<Instant>,
    offered: BTreeMap<TargetId, Arc<Target>>,
    refused: BTreeMap<TargetId, Refusal>,
    in_force: BTreeMap<TargetId, Arc<Target>>,
    lines: Arc<[Line]>,
    rejected: BTreeMap<&'static str, u64>,
    /// The refusals this stream was told about last: the same sentence twice would make the planner send in circles.
    told: Option<String>,
}

impl PlanState {
    /// Starts without a plan; `lease` is used until a planner names its own.
    #[must_use]
    pub fn new(hard: HardLimits, lease: Duration) -> Self {
        Self {
            asked: hard.limits,
            hard,
            plan_ttl: Duration::ZERO,
            lease,
            revision: Revision::NONE,
            based: false,
            last_heard: None,
            offered: BTreeMap::new(),
            refused: BTreeMap::new(),
            in_force: BTreeMap::new(),
            lines: Arc::from([]),
            rejected: BTreeMap::new(),
            told: None,
        }
    }

    /// Notes that a new stream begins: what is in force stays, but only a full plan may follow.
    pub fn start_stream(&mut self) {
        self.based = false;
        self.told = None;
    }

    /// Takes one update that came at `now`.
    pub fn apply(&mut self, update: PlanUpdate, now: Instant) -> Step {
        self.last_heard = Some(now);
        match update {
            PlanUpdate::KeepAlive => Step::default(),
            PlanUpdate::Full(plan) => self.replace(plan),
            PlanUpdate::Delta {
                revision,
                base,
                upserts,
                removals,
            } => {
                if !self.based || base != self.revision {
                    return self.wrong_base(revision, base);
                }
                for id in &removals {
                    self.offered.remove(id);
                }
                for target in upserts {
                    self.offer(target);
                }
                self.revision = revision;
                self.enforce(Vec::new())
            }
        }
    }

    /// When the plan dies unless a planner is heard before; `None` while there is nothing to stop.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.revision == Revision::NONE {
            return None;
        }
        self.last_heard.and_then(|heard| heard.checked_add(self.plan_ttl))
    }

    /// Drops everything when the plan's time to live has passed; empty before.
    pub fn expire(&mut self, now: Instant) -> Vec<Change> {
        if self.next_deadline().is_none_or(|deadline| now < deadline) {
            return Vec::new();
        }
        self.offered.clear();
        self.revision = Revision::NONE;
        self.based = false;
        let mut changes = self.set_lines(Vec::new());
        changes.extend(self.enforce(Vec::new()).changes);
        changes
    }

    /// Counts a plan that was refused before it got here.
    pub fn count_rejected(&mut self, reason: &'static str) {
        *self.rejected.entry(reason).or_default() += 1;
    }

    /// Targets in force, ordered by id.
    #[must_use]
    pub const fn in_force(&self) -> &BTreeMap<TargetId, Arc<Target>> {
        &self.in_force
    }

    /// What a heartbeat reports: the plan in force, also one that an earlier stream brought. A planner that was
    /// restarted may hand a partial plan to an agent that has none, but must not take targets from one that has.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// How long the planner keeps a silent agent.
    #[must_use]
    pub const fn lease(&self) -> Duration {
        self.lease
    }

    /// What the rest of the agent may know.
    #[must_use]
    pub fn status(&self, connected: bool) -> PlanStatus {
        PlanStatus {
            connected,
            revision: self.revision,
            targets: self.in_force.len(),
            last_heard: self.last_heard,
            rejected: self.rejected.clone(),
        }
    }

    fn replace(&mut self, plan: Plan) -> Step {
        // Unchanged targets keep their `Arc`: nobody downstream notices a planner that was restarted.
        let mut before = std::mem::take(&mut self.offered);
        for target in plan.targets {
            if let Some((id, known)) = before.remove_entry(&target.id) {
                self.offered.insert(id, known);
            }
            self.offer(target);
        }
        self.revision = plan.revision;
        self.plan_ttl = plan.plan_ttl;
        self.lease = plan.lease;
        self.asked = plan.limits;
        self.based = true;
        let lines = self.set_lines(plan.lines);
        self.enforce(lines)
    }

    fn offer(&mut self, target: Target) {
        let known = self.offered.get(&target.id).is_some_and(|known| **known == target);
        if !known {
            self.offered.insert(target.id.clone(), Arc::new(target));
        }
    }

    fn set_lines(&mut self, lines: Vec<Line>) -> Vec<Change> {
        if *self.lines == *lines {
            return Vec::new();
        }
        self.lines = Arc::from(lines);
        vec![Change::Lines(Arc::clone(&self.lines))]
    }

    /// Brings what is in force in line with what is offered and allowed.
    fn enforce(&mut self, lines: Vec<Change>) -> Step {
        let refused = judge(&self.offered, &self.hard, self.asked);
        for (id, refusal) in &refused {
            if self.refused.get(id) != Some(refusal) {
                *self.rejected.entry(refusal.as_str()).or_default() += 1;
            }
        }
        self.refused = refused;
        let mut changes = Vec::new();
        let (offered, refused) = (&self.offered, &self.refused);
        self.in_force.retain(|id, _| {
            let stays = offered.contains_key(id) && !refused.contains_key(id);
            if !stays {
                changes.push(Change::Remove(id.clone()));
            }
            stays
        });
        changes.extend(lines);
        // Targets that slow down make room before others take it.
        let (mut slower, mut others) = (Vec::new(), Vec::new());
        for (id, target) in &self.offered {
            let before = self.in_force.get(id);
            if self.refused.contains_key(id) || before == Some(target) {
                continue;
            }
            let slows_down = before.is_some_and(|before| target.interval > before.interval);
            let list = if slows_down { &mut slower } else { &mut others };
            list.push(Arc::clone(target));
        }
        for target in slower.into_iter().chain(others) {
            self.in_force.insert(target.id.clone(), Arc::clone(&target));
            changes.push(Change::Upsert(target));
        }
        let answer = Some(self.answer());
        Step { changes, answer }
    }

    fn answer(&mut self) -> Answer {
        let revision = self.revision;
        let reason = (!self.refused.is_empty()).then(|| explain(&self.refused, self.offered.len()));
        if reason == self.told {
            return Answer::Ack(revision);
        }
        self.told.clone_from(&reason);
        match reason {
            Some(reason) => Answer::Nack { revision, reason },
            None => Answer::Ack(revision),
        }
    }

    fn wrong_base(&mut self, revision: Revision, base: Revision) -> Step {
        self.count_rejected(REASON_BASE);
        let reason = format!(
            "delta {revision} starts from {base}, in force is {}; send the full plan",
            if self.based { self.revision } else { Revision::NONE }
        );
        Step {
            changes: Vec::new(),
            answer: Some(Answer::Nack { revision, reason }),
        }
    }
}

/// Says in one sentence how many targets were refused and why, with one example for each reason.
fn explain(refused: &BTreeMap<TargetId, Refusal>, offered: usize) -> String {
    let mut groups: BTreeMap<Refusal, (usize, &TargetId)> = BTreeMap::new();
    for (id, refusal) in refused {
        groups.entry(*refusal).or_insert((0, id)).0 += 1;
    }
    let mut text = format!("{} of {offered} targets refused by the agent's limits:", refused.len());
    for (index, (refusal, (count, example))) in groups.into_iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let example: String = example.as_str().chars().take(32).collect();
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma} {} {count} (such as {example})", refusal.as_str());
    }
    text
}

#[cfg(test)]
mod tests;
