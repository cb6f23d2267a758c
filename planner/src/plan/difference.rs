//! From one agent plan to the next.

use std::cmp::Ordering;
use std::sync::Arc;

use xprober_proto::{Plan, PlanUpdate, Revision, Target, TargetId};

use super::{AgentPlan, Assignment};

/// Spells a plan out in full as `revision`.
#[must_use]
pub fn full(plan: &AgentPlan, revision: Revision) -> PlanUpdate {
    PlanUpdate::Full(Plan {
        revision,
        plan_ttl: plan.plan_ttl,
        lease: plan.lease,
        limits: plan.limits,
        targets: plan.assignments.iter().map(|a| Target::clone(&a.target)).collect(),
        lines: plan.lines.to_vec(),
    })
}

/// Says how an agent that holds `old` as `base` comes to `new`; `None` when there is nothing to say.
///
/// Limits, times and lines travel only in a full plan; a change of reasons alone is no change for the agent.
#[must_use]
pub fn difference(old: &AgentPlan, new: &AgentPlan, base: Revision) -> Option<PlanUpdate> {
    let frame_differs = (old.plan_ttl, old.lease, old.limits) != (new.plan_ttl, new.lease, new.limits)
        || (!Arc::ptr_eq(&old.lines, &new.lines) && old.lines != new.lines);
    if frame_differs {
        return Some(full(new, base.next()));
    }
    let (upserts, removals) = target_changes(&old.assignments, &new.assignments);
    if upserts.is_empty() && removals.is_empty() {
        return None;
    }
    Some(PlanUpdate::Delta {
        revision: base.next(),
        base,
        upserts,
        removals,
    })
}

/// Walks both lists, which are ordered by id, side by side.
fn target_changes(old: &[Assignment], new: &[Assignment]) -> (Vec<Target>, Vec<TargetId>) {
    let (mut upserts, mut removals) = (Vec::new(), Vec::new());
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return (upserts, removals),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.target.id.cmp(&new.target.id),
        };
        match order {
            Ordering::Less => removals.extend(old.next().map(|gone| gone.target.id.clone())),
            Ordering::Greater => upserts.extend(new.next().map(|added| Target::clone(&added.target))),
            Ordering::Equal => {
                if let (Some(old), Some(new)) = (old.next(), new.next())
                    && !Arc::ptr_eq(&old.target, &new.target)
                    && old.target != new.target
                {
                    upserts.push(Target::clone(&new.target));
                }
            }
        }
    }
}
