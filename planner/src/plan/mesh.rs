//! Agents as targets of agents of other regions.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use xprober_config::planner::Mesh;
use xprober_proto::{Hello, HostName, IcmpSpec, ProbeKind, ProbeSpec, Target};

use super::choose::Choices;
use super::{AgentPlan, Assignment, LeftOut, Obstacle, Reason, Regions};
use crate::members::MemberKey;

/// Builds each mesh target once, whoever probes it.
pub(super) struct SharedTargets<'a> {
    mesh: &'a Mesh,
    built: BTreeMap<(ProbeKind, IpAddr, &'a MemberKey), Arc<Target>>,
}

impl<'a> SharedTargets<'a> {
    pub(super) const fn new(mesh: &'a Mesh) -> Self {
        Self {
            mesh,
            built: BTreeMap::new(),
        }
    }

    /// Gives `source` its mesh targets: all agents of all other regions, or those that were chosen for it.
    pub(super) fn assign(
        &mut self,
        key: &MemberKey,
        source: &Hello,
        regions: &Regions<'a>,
        choices: &Choices<'_>,
        plan: &mut AgentPlan,
    ) {
        for (region, targets) in regions.iter().filter(|(region, _)| ***region != source.region) {
            let chosen = choices.of(key, region);
            for (index, (target_key, target)) in targets.iter().enumerate() {
                if chosen.is_some_and(|chosen| !chosen.indices.contains(&index)) {
                    // Not chosen is no obstacle, but an agent that could not be chosen met one.
                    plan.left_out
                        .extend(self.obstacle(source, target).map(|obstacle| LeftOut {
                            target: target_key.to_string(),
                            obstacle,
                        }));
                    continue;
                }
                let reason = chosen.map_or(Reason::Mesh, |chosen| Reason::Chosen {
                    chosen: chosen.indices.len(),
                    of: chosen.of,
                });
                for kind in &self.mesh.probes {
                    match self.target(*kind, source, target_key, target) {
                        Ok(target) => plan.assignments.push(Assignment { target, reason }),
                        Err(obstacle) => plan.left_out.push(LeftOut {
                            target: target_key.to_string(),
                            obstacle,
                        }),
                    }
                }
            }
        }
    }

    fn obstacle(&self, source: &Hello, target: &Hello) -> Option<Obstacle> {
        let lacking = self.mesh.probes.iter().find(|kind| !source.kinds.contains(kind));
        if common_address(source, target).is_none() {
            return Some(Obstacle::NoCommonFamily);
        }
        lacking.map(|kind| Obstacle::KindNotAnnounced(*kind))
    }

    fn target(
        &mut self,
        kind: ProbeKind,
        source: &Hello,
        key: &'a MemberKey,
        target: &Hello,
    ) -> Result<Arc<Target>, Obstacle> {
        if !source.kinds.contains(&kind) {
            return Err(Obstacle::KindNotAnnounced(kind));
        }
        let address = common_address(source, target).ok_or(Obstacle::NoCommonFamily)?;
        let probe = match kind {
            ProbeKind::Icmp => ProbeSpec::Icmp(IcmpSpec::new(HostName::Address(address), self.mesh.payload_bytes)),
            // An agent listens on no port.
            ProbeKind::Tcp | ProbeKind::Http => return Err(Obstacle::NotBetweenAgents(kind)),
        };
        if let Some(built) = self.built.get(&(kind, address, key)) {
            return Ok(Arc::clone(built));
        }
        // An agent that comes back under another address is the same target with other content: its series go on.
        let id = format!("{kind}:{key}");
        let built = Arc::new(Target {
            // Both names are within their alphabets and 128 bytes each, so this cannot fail.
            id: id.parse().map_err(|_| Obstacle::NotBetweenAgents(kind))?,
            name: key.id.to_string(),
            region: key.region.clone(),
            interval: self.mesh.interval,
            timeout: self.mesh.timeout,
            probe,
        });
        self.built.insert((kind, address, key), Arc::clone(&built));
        Ok(built)
    }
}

/// Finds an address of `target` of a family that both have, IPv4 first.
pub(super) fn common_address(source: &Hello, target: &Hello) -> Option<IpAddr> {
    let v4 = target.addresses.v4().filter(|_| source.addresses.v4().is_some());
    let v6 = target.addresses.v6().filter(|_| source.addresses.v6().is_some());
    v4.map(IpAddr::V4).or(v6.map(IpAddr::V6))
}
