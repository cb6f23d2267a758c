//! What an agent is told to do.

use std::fmt;
use std::time::Duration;

use crate::name::{Region, TargetId};
use crate::target::Target;

/// Numbers the plans of one stream; 0 stands for "no plan yet".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

impl Revision {
    /// Before the first plan.
    pub const NONE: Self = Self(0);

    /// The revision after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Rates and sizes that a plan must not exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Probes per second over all targets.
    pub max_probes_per_second: u32,
    /// ICMP payload, bytes.
    pub max_payload_bytes: u16,
    /// Shortest interval of one target.
    pub min_interval: Duration,
}

/// A dedicated line between the agent's region and another one.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Unique name, the `line` label.
    pub name: String,
    /// The region at the other end.
    pub target_region: Region,
    /// Round-trip time above which a probe is over budget.
    pub rtt_budget: Option<Duration>,
    /// Share of probes, 0 to 1, that may be lost.
    pub loss_budget: Option<f64>,
    /// Circuit number at the carrier, may be empty.
    pub circuit: String,
    /// Carrier, may be empty.
    pub carrier: String,
    /// Who is told, may be empty.
    pub owner: String,
}

/// Everything one agent has to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Number of this plan on its stream.
    pub revision: Revision,
    /// How long the agent may keep probing without a word from a planner.
    pub plan_ttl: Duration,
    /// How long the planner keeps a silent agent.
    pub lease: Duration,
    /// Bounds the planner asks for.
    pub limits: Limits,
    /// Ordered by id; ids are unique.
    pub targets: Vec<Target>,
    /// Ordered by name; lines that start in the agent's region.
    pub lines: Vec<Line>,
}

/// What the planner says on a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum PlanUpdate {
    /// Replaces everything.
    Full(Plan),
    /// Changes the targets of the plan `base`.
    Delta {
        /// The revision this leads to.
        revision: Revision,
        /// The revision this starts from.
        base: Revision,
        /// New or changed targets.
        upserts: Vec<Target>,
        /// Targets that are gone.
        removals: Vec<TargetId>,
    },
    /// Nothing changed; the planner lives.
    KeepAlive,
}
