//! The plan as JSON, and in [`matrix`] the values.

use serde::Serialize;

use crate::plan::MeshPlan;

pub(super) mod matrix;

#[derive(Serialize)]
struct Plan<'a> {
    agents: Vec<Agent<'a>>,
}

#[derive(Serialize)]
struct Agent<'a> {
    region: &'a str,
    id: &'a str,
    targets: Vec<Target<'a>>,
}

#[derive(Serialize)]
struct Target<'a> {
    id: &'a str,
    name: &'a str,
    region: &'a str,
    probe: &'static str,
    reason: String,
}

/// Writes who probes what, ordered by region and id.
pub(super) fn json(plan: &MeshPlan) -> serde_json::Result<String> {
    let agents = plan.iter().map(|(key, agent)| Agent {
        region: key.region.as_str(),
        id: key.id.as_str(),
        targets: agent
            .assignments
            .iter()
            .map(|assignment| Target {
                id: assignment.target.id.as_str(),
                name: &assignment.target.name,
                region: assignment.target.region.as_str(),
                probe: assignment.target.probe.kind().as_str(),
                reason: assignment.reason.to_string(),
            })
            .collect(),
    });
    serde_json::to_string(&Plan {
        agents: agents.collect(),
    })
}
