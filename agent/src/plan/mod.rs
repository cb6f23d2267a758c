//! The plan in force and what changes in it.
//!
//! ```text
//!   PlanUpdate --> [PlanState: admission -> difference] --> Change* (to the schedule)
//!    planner                     |
//!        <---- Answer -----------+--> PlanStatus (watch)
//! ```
//!
//! [`state`] and [`admission`] are pure; [`task`] holds the stream to the planner.

pub mod admission;

pub mod state;

pub mod dial;

pub mod task;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use xprober_proto::{Line, Revision, Target, TargetId};

pub use state::{Answer, PlanState, Step};

/// One step from the plan in force to the next.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A new target, or other content under a known id.
    Upsert(Arc<Target>),
    /// The target is gone; nothing may be sent to it any more.
    Remove(TargetId),
    /// The lines that start in this agent's region, all of them, ordered by name.
    Lines(Arc<[Line]>),
}

/// What the rest of the agent may know of the plan; published through a watch.
#[derive(Debug, Clone)]
pub struct PlanStatus {
    /// Whether a stream to a planner is open.
    pub connected: bool,
    /// Plan in force.
    pub revision: Revision,
    /// Number of targets in force.
    pub targets: usize,
    /// When a planner was last heard; `None` before the first word.
    pub last_heard: Option<Instant>,
    /// Refused plans and targets by reason (a fixed list).
    pub rejected: BTreeMap<&'static str, u64>,
}
