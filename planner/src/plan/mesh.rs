//! Agents as targets of agents of other regions.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use xprober_config::planner::Mesh;
use xprober_proto::{Family, Hello, HostName, IcmpSpec, ProbeKind, ProbeSpec, Target, TcpSpec};

use super::choose::Choices;
use super::{AgentPlan, Assignment, LeftOut, Obstacle, Reason, Regions};
use crate::members::MemberKey;

/// How one agent reaches another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// ICMP echo to its address.
    Echo(IpAddr),
    /// TCP connect to its responder.
    Connect(SocketAddr),
}

/// Finds how `source` reaches `target` with probes of `kind`.
pub(super) fn way(mesh: &Mesh, kind: ProbeKind, source: &Hello, target: &Hello) -> Result<Way, Obstacle> {
    if !source.kinds.contains(&kind) {
        return Err(Obstacle::KindNotAnnounced(kind));
    }
    let address = common_address(mesh.packet.family, source, target).ok_or(Obstacle::NoCommonFamily)?;
    match kind {
        ProbeKind::Icmp => Ok(Way::Echo(address)),
        ProbeKind::Tcp => match target.tcp_port {
            Some(port) => Ok(Way::Connect((address, port.get()).into())),
            None => Err(Obstacle::NoTcpPort),
        },
        ProbeKind::Http => Err(Obstacle::NotBetweenAgents(kind)),
    }
}

/// Finds an address of `target` of a family that both have and that was asked for, IPv4 first.
fn common_address(family: Option<Family>, source: &Hello, target: &Hello) -> Option<IpAddr> {
    let wanted = |is| family.is_none_or(|family| family == is);
    let v4 = target.addresses.v4().filter(|_| source.addresses.v4().is_some());
    let v6 = target.addresses.v6().filter(|_| source.addresses.v6().is_some());
    let v4 = v4.map(IpAddr::V4).filter(|_| wanted(Family::V4));
    v4.or(v6.map(IpAddr::V6).filter(|_| wanted(Family::V6)))
}

/// Says why `source` reaches `target` with none of the probes of the mesh; `None` when it does with one of them.
fn obstacle(mesh: &Mesh, source: &Hello, target: &Hello) -> Option<Obstacle> {
    let mut ways = mesh.probes.iter().map(|kind| way(mesh, *kind, source, target));
    let first = ways.next()?.err()?;
    ways.all(|way| way.is_err()).then_some(first)
}

/// Builds each mesh target once, whoever probes it.
pub(super) struct SharedTargets<'a> {
    mesh: &'a Mesh,
    built: BTreeMap<(Way, &'a MemberKey), Arc<Target>>,
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
                        .extend(obstacle(self.mesh, source, target).map(|obstacle| LeftOut {
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

    fn target(
        &mut self,
        kind: ProbeKind,
        source: &Hello,
        key: &'a MemberKey,
        target: &Hello,
    ) -> Result<Arc<Target>, Obstacle> {
        let way = way(self.mesh, kind, source, target)?;
        if let Some(built) = self.built.get(&(way, key)) {
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
            probe: self.probe(way),
        });
        self.built.insert((way, key), Arc::clone(&built));
        Ok(built)
    }

    fn probe(&self, way: Way) -> ProbeSpec {
        let mesh = self.mesh;
        match way {
            Way::Echo(address) => ProbeSpec::Icmp(IcmpSpec {
                host: HostName::Address(address),
                payload_bytes: mesh.payload_bytes,
                packet: mesh.packet.clone(),
                reply_ttl: mesh.reply_ttl,
            }),
            Way::Connect(responder) => ProbeSpec::Tcp(TcpSpec {
                host: HostName::Address(responder.ip()),
                port: responder.port(),
                packet: mesh.packet.clone(),
                source_ports: mesh.source_ports.clone(),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
