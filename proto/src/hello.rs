//! Who an agent says it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

use crate::name::{AgentId, Region, Zone};
use crate::target::ProbeKind;

/// Where an agent can be reached: at most one address of each family, at least one of either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addresses {
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

impl Addresses {
    /// Builds a set; `None` when it would be empty or hold an address nobody can be probed at
    /// (unspecified, multicast or IPv4 broadcast).
    #[must_use]
    pub fn new(v4: Option<Ipv4Addr>, v6: Option<Ipv6Addr>) -> Option<Self> {
        let v4_bad = v4.is_some_and(|a| a.is_unspecified() || a.is_multicast() || a.is_broadcast());
        let v6_bad = v6.is_some_and(|a| a.is_unspecified() || a.is_multicast());
        ((v4.is_some() || v6.is_some()) && !v4_bad && !v6_bad).then_some(Self { v4, v6 })
    }

    /// Builds a set of one; `None` for an address nobody can be probed at.
    #[must_use]
    pub fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(v4) => Self::new(Some(v4), None),
            IpAddr::V6(v6) => Self::new(None, Some(v6)),
        }
    }

    /// The IPv4 address.
    #[must_use]
    pub const fn v4(&self) -> Option<Ipv4Addr> {
        self.v4
    }

    /// The IPv6 address.
    #[must_use]
    pub const fn v6(&self) -> Option<Ipv6Addr> {
        self.v6
    }

    /// Both, IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.v4.map(IpAddr::V4).into_iter().chain(self.v6.map(IpAddr::V6))
    }
}

/// An agent's introduction, checked in form; whether its addresses are its own is the planner's question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Unique inside the region.
    pub agent_id: AgentId,
    /// The region it speaks for.
    pub region: Region,
    /// For people only.
    pub zone: Option<Zone>,
    /// Where other agents reach it.
    pub addresses: Addresses,
    /// Probes it can perform, sorted, unique.
    pub kinds: Vec<ProbeKind>,
    /// Software version, printable ASCII, for people.
    pub version: String,
    /// Port on which the agent answers TCP probes, on each of its addresses; `None` when it answers none.
    pub tcp_port: Option<NonZeroU16>,
}
