//! What `agent.yml`, the environment and the flags mean together.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;
use xprober_proto::{AgentId, Limits, Region, Zone};

mod file;

pub mod remote_write;

pub use file::AgentOverrides;
pub use remote_write::RemoteWrite;

/// Everything the agent runs by.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentSettings {
    /// Where the planner is: `host:port`; a missing host means this machine.
    pub grpc_server_address: ServerAddress,
    /// Region to speak for; `None` asks the cloud's metadata service.
    pub region: Option<Region>,
    /// Availability zone; `None` takes the metadata service's, if it was asked.
    pub zone: Option<Zone>,
    /// Identity; `None` takes the host name.
    pub agent_id: Option<AgentId>,
    /// Where other agents reach this one, at most one of each family; empty takes the source address of the route
    /// towards the planner.
    pub probe_addresses: Vec<IpAddr>,
    /// How the metadata service is asked.
    pub metadata: Metadata,
    /// Where samples go; at least one endpoint, and no two of one name.
    pub remote_write: Vec<RemoteWrite>,
    /// Where what waits is kept, a folder per endpoint; `None` keeps it in memory, and a restart loses it.
    pub queue_directory: Option<PathBuf>,
    /// How samples are cut.
    pub push: Push,
    /// Hard limits that no planner can raise.
    pub limits: HardLimits,
    /// How echoes are sent and received.
    pub icmp: IcmpSettings,
    /// Where TCP probes of other agents are answered; `None` answers none. Port 0 takes any free one.
    pub responder_tcp: Option<SocketAddr>,
    /// How much is pushed per target.
    pub detail: Detail,
    /// How long SIGTERM may take to push what was measured.
    pub drain_timeout: Duration,
}

/// `host:port` of the planner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// Host name or address literal, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl std::fmt::Display for ServerAddress {
    /// Writes `host:port`, with brackets around an IPv6 literal.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// How the cloud's metadata service is asked for region and zone.
#[derive(Debug, Clone, PartialEq)]
pub struct Metadata {
    /// Base URL, `http://169.254.169.254` by default.
    pub url: Url,
    /// Limit for the whole question, 1 s by default.
    pub timeout: Duration,
}

/// How samples are cut into requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Push {
    /// Time between two snapshots: the resolution of every series.
    pub interval: Duration,
    /// Most samples in one request.
    pub max_samples_per_request: usize,
}

/// Hard limits of the agent.
#[derive(Debug, Clone, PartialEq)]
pub struct HardLimits {
    /// Rates and sizes.
    pub limits: Limits,
    /// Networks that may be probed; a target that is an address outside them is refused. Names are checked after
    /// they were resolved.
    pub allowed_networks: Vec<IpNet>,
    /// PEM file with certificate authorities for HTTPS targets, beside the system's.
    pub http_ca_file: Option<PathBuf>,
}

/// How echoes are sent and received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IcmpSettings {
    /// Who does it.
    pub backend: IcmpBackend,
}

/// Who sends and receives echoes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IcmpBackend {
    /// The best that this system has.
    Auto,
    /// One socket per family, batches, kernel timestamps; Linux only.
    Linux,
    /// Any system, timestamps of this process.
    Portable,
}

impl IcmpBackend {
    /// Every backend, in the order in which messages list them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Linux, Self::Portable];

    /// Spells the backend as in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Linux => "linux",
            Self::Portable => "portable",
        }
    }
}

/// How much is pushed per target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Region series and per-target series.
    Target,
    /// Region series only.
    Region,
}

#[cfg(test)]
mod tests;
