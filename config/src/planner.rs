//! What `planner.yml` means.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use xprober_proto::{Limits, PacketOptions, ProbeKind, ProbeSpec, Region};

mod file;

mod line;

mod options;

mod query;

mod target;

pub use file::PlannerOverrides;
pub use options::dscp;
pub use query::QuerySettings;

/// Everything the planner runs by.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannerSettings {
    /// Where agents connect (gRPC); `:6001` in the file means every interface, IPv6 and IPv4.
    pub rpc_listen_addr: SocketAddr,
    /// Where `/metrics`, `/healthz`, `/readyz`, `/-/reload` and the pages are.
    pub metrics_listen_addr: SocketAddr,
    /// Where the page reads measured values; without it the page shows none.
    pub query: Option<QuerySettings>,
    /// Targets from the file, in its order, one entry per address or URL.
    pub targets: Vec<ConfiguredTarget>,
    /// How agents probe each other.
    pub mesh: Mesh,
    /// Dedicated lines, unique by name.
    pub lines: Vec<LineSettings>,
    /// How agents are kept.
    pub agents: Agents,
    /// Bounds handed to every agent.
    pub limits: Limits,
}

/// One address or URL under `prober_targets`.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfiguredTarget {
    /// As written in the file, with `/ipv4` or `/ipv6` behind it where both are probed; the `target` label.
    pub name: String,
    /// The `target_region` label.
    pub region: Region,
    /// What to send. HTTP targets are probed from every region, ICMP and TCP targets from every other region.
    pub probe: ProbeSpec,
    /// Time between two probes from one agent.
    pub interval: Duration,
    /// See [`xprober_proto::Target::timeout`].
    pub timeout: Duration,
}

/// How agents probe each other across regions.
#[derive(Debug, Clone, PartialEq)]
pub struct Mesh {
    /// Kinds of probe between agents: ICMP, TCP (to agents with a responder) or both; never HTTP.
    pub probes: Vec<ProbeKind>,
    /// Time between two probes of one target.
    pub interval: Duration,
    /// A reply after this is late.
    pub timeout: Duration,
    /// ICMP payload, bytes.
    pub payload_bytes: u16,
    /// How the packets leave; with a source there is always a family.
    pub packet: PacketOptions,
    /// Whether the TTL of ICMP replies is pushed as a series.
    pub reply_ttl: bool,
    /// Source ports of TCP probes, used in turn; empty means a new port every time.
    pub source_ports: Vec<u16>,
    /// Agents probed per remote region; 0 means all of them.
    pub targets_per_region: usize,
}

/// A dedicated line between two regions; it is measured in both directions.
#[derive(Debug, Clone, PartialEq)]
pub struct LineSettings {
    /// Unique name, the `line` label.
    pub name: String,
    /// The two ends, different.
    pub between: [Region; 2],
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

/// How agents are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Agents {
    /// How long an agent stays in every plan after its stream was lost or fell silent.
    pub lease: Duration,
    /// How long an agent keeps probing without a word from a planner.
    pub plan_ttl: Duration,
    /// Networks in which an agent may announce an address that is not its connection's own.
    pub allowed_networks: Vec<IpNet>,
}

impl Agents {
    /// Tells whether an agent connected from `peer` may announce `address`.
    #[must_use]
    pub fn allow(&self, peer: std::net::IpAddr, address: std::net::IpAddr) -> bool {
        peer.to_canonical() == address.to_canonical()
            || self.allowed_networks.iter().any(|network| network.contains(&address))
    }
}

#[cfg(test)]
mod tests;
