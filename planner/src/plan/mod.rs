//! The plan: who probes what, and why.
//!
//! In: settings and the hellos of all members. Out: one [`AgentPlan`] per member. A pure function: no clock, no arrival
//! order, no randomness; the same members and settings give the same plan, byte for byte.
//!
//! ```text
//!   settings, hellos --build--> MeshPlan { agent -> AgentPlan { targets with reasons, left out, lines, limits } }
//!                                            |
//!                                            +-- difference(old, new) --> PlanUpdate of one stream
//! ```
//!
//! Targets are shared between the agents that probe them: a mesh of 1,000 agents holds 750,000 references, not copies.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use xprober_config::planner::PlannerSettings;
use xprober_proto::{Hello, Limits, Line, ProbeKind, Region, Target};

use crate::members::MemberKey;

mod choose;

mod configured;

mod lines;

mod mesh;

pub mod difference;

pub mod text;

pub mod task;

/// Says why an agent probes a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Full mesh: every agent of every other region.
    Mesh,
    /// `targets_per_region`: one of `chosen` out of `of` agents of that region.
    Chosen {
        /// How many of the region this agent probes.
        chosen: usize,
        /// How many it could probe.
        of: usize,
    },
    /// It stands under `prober_targets`.
    Configured,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mesh => f.write_str("mesh"),
            Self::Chosen { chosen, of } => write!(f, "mesh, {chosen} of {of}"),
            Self::Configured => f.write_str("configured"),
        }
    }
}

/// Says why an agent does not probe something it otherwise would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// One has only IPv4, the other only IPv6, or one lacks the family that `mesh.family` asks for.
    NoCommonFamily,
    /// The agent did not announce this kind of probe.
    KindNotAnnounced(ProbeKind),
    /// The other agent runs no TCP responder.
    NoTcpPort,
    /// Agents cannot be probed this way: they offer no such service.
    NotBetweenAgents(ProbeKind),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCommonFamily => f.write_str("no common address family"),
            Self::KindNotAnnounced(kind) => write!(f, "agent did not announce {kind}"),
            Self::NoTcpPort => f.write_str("announces no tcp port"),
            Self::NotBetweenAgents(kind) => write!(f, "agents do not answer {kind}"),
        }
    }
}

/// One target of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// What to probe.
    pub target: Arc<Target>,
    /// Why it is there.
    pub reason: Reason,
}

/// One target that an agent was not given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Region and name of the target.
    pub target: String,
    /// Why it is not there.
    pub obstacle: Obstacle,
}

/// Everything one agent has to do, before it gets a revision on a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentPlan {
    /// See [`xprober_proto::Plan::plan_ttl`].
    pub plan_ttl: Duration,
    /// See [`xprober_proto::Plan::lease`].
    pub lease: Duration,
    /// See [`xprober_proto::Plan::limits`].
    pub limits: Limits,
    /// Lines that start in the agent's region, ordered by name.
    pub lines: Arc<Vec<Line>>,
    /// Ordered by target id; ids are unique.
    pub assignments: Vec<Assignment>,
    /// What is missing and why.
    pub left_out: Vec<LeftOut>,
}

/// The plan of the whole fleet.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MeshPlan {
    agents: BTreeMap<MemberKey, Arc<AgentPlan>>,
}

impl MeshPlan {
    /// Plans for everybody in `hellos`; of two with the same key the later counts.
    pub fn build<'a>(settings: &PlannerSettings, hellos: impl IntoIterator<Item = &'a Hello>) -> Self {
        let hellos: BTreeMap<MemberKey, &Hello> = hellos.into_iter().map(|h| (MemberKey::of(h), h)).collect();
        let regions = by_region(&hellos);
        let configured = configured::targets(settings);
        let mut shared = mesh::SharedTargets::new(&settings.mesh);
        let choices = choose::choices(&settings.mesh, &regions);
        let mut lines_of: BTreeMap<&Region, Arc<Vec<Line>>> = BTreeMap::new();
        let mut agents = BTreeMap::new();
        for (key, hello) in &hellos {
            let lines = lines_of
                .entry(&hello.region)
                .or_insert_with(|| Arc::new(lines::starting_in(&settings.lines, &hello.region)));
            let mut plan = AgentPlan {
                plan_ttl: settings.agents.plan_ttl,
                lease: settings.agents.lease,
                limits: settings.limits,
                lines: Arc::clone(lines),
                assignments: Vec::new(),
                left_out: Vec::new(),
            };
            shared.assign(key, hello, &regions, &choices, &mut plan);
            configured::assign(hello, &configured, &mut plan);
            plan.assignments.sort_by(|a, b| a.target.id.cmp(&b.target.id));
            agents.insert(key.clone(), Arc::new(plan));
        }
        Self { agents }
    }

    /// Looks up what one agent has to do.
    #[must_use]
    pub fn agent(&self, key: &MemberKey) -> Option<&Arc<AgentPlan>> {
        self.agents.get(key)
    }

    /// Walks over all agents, ordered by region and id.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&MemberKey, &Arc<AgentPlan>)> {
        self.agents.iter()
    }

    /// Counts the (agent, target) pairs.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.agents.values().map(|plan| plan.assignments.len()).sum()
    }
}

/// The members of each region, both ordered.
type Regions<'a> = BTreeMap<&'a Region, Vec<(&'a MemberKey, &'a Hello)>>;

fn by_region<'a>(hellos: &'a BTreeMap<MemberKey, &'a Hello>) -> Regions<'a> {
    let mut regions = Regions::new();
    for (key, hello) in hellos {
        regions.entry(&key.region).or_default().push((key, *hello));
    }
    regions
}

#[cfg(test)]
mod tests;
