//! What a lab consists of: regions, hosts and the round-trip time between every two regions; values only.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::wan::Path;

/// The region that the planner, the time-series database and Alertmanager live in.
pub const HUB: &str = "hub";

/// The region of the web servers of [`Topology::demo`].
pub const WEB: &str = "web";

/// Round-trip time between the hub and every other region.
const HUB_RTT: Duration = Duration::from_millis(2);

/// One machine to build: its name, which is also its host name for DNS, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPlan {
    /// Name, unique in the lab; resolvable on every host.
    pub name: String,
    /// Region, as the metadata endpoint reports it and as the WAN's matrix knows it.
    pub region: String,
    /// Availability zone, as the metadata endpoint reports it.
    pub zone: String,
    /// `10.<region>.0.<host>`, both counted from 1.
    pub address: Ipv4Addr,
    /// `fd00:<region>::<host>`, both counted from 1.
    pub address_v6: Ipv6Addr,
    /// Addresses beside these two, see [`Topology::further_addresses`].
    pub further: Vec<Ipv4Addr>,
}

/// Regions, hosts and the paths between regions.
///
/// Limits: at most 200 regions of 200 hosts each.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Topology {
    regions: Vec<String>,
    hosts: Vec<HostPlan>,
    paths: BTreeMap<(String, String), Path>,
}

impl Topology {
    /// Makes a topology of one host named `hub` in the region `hub`, which every lab has.
    #[must_use]
    pub fn new() -> Self {
        Self::default().host(HUB, HUB)
    }

    /// Makes the demo's world: `region-a` to `region-d` with `vm1` to `vm8`, two each, and the hosts `web1` (HTTP) and
    /// `web2` (HTTPS) in a region of their own.
    #[must_use]
    pub fn demo() -> Self {
        let mut topology = Self::new();
        for (index, region) in ["region-a", "region-b", "region-c", "region-d"].into_iter().enumerate() {
            topology = topology
                .host(&format!("vm{}", 2 * index + 1), region)
                .host(&format!("vm{}", 2 * index + 2), region);
        }
        topology = topology.host("web1", WEB).host("web2", WEB);
        for (one, other, milliseconds) in [
            ("region-a", "region-b", 10),
            ("region-a", "region-c", 24),
            ("region-a", "region-d", 42),
            ("region-b", "region-c", 16),
            ("region-b", "region-d", 34),
            ("region-c", "region-d", 28),
            ("region-a", WEB, 6),
            ("region-b", WEB, 12),
            ("region-c", WEB, 18),
            ("region-d", WEB, 30),
        ] {
            topology = topology.rtt(one, other, Duration::from_millis(milliseconds));
        }
        topology
    }

    /// Adds a host; its region is added with it, `HUB_RTT` away from the hub.
    #[must_use]
    pub fn host(mut self, name: &str, region: &str) -> Self {
        let region_number = if let Some(position) = self.regions.iter().position(|known| known == region) {
            position + 1
        } else {
            self.regions.push(region.to_owned());
            if region != HUB {
                self = self.rtt(HUB, region, HUB_RTT);
            }
            self.regions.len()
        };
        let host_number = self.hosts.iter().filter(|host| host.region == region).count() + 1;
        let (region_byte, host_byte) = (
            u8::try_from(region_number).unwrap_or(u8::MAX),
            u8::try_from(host_number).unwrap_or(u8::MAX),
        );
        self.hosts.push(HostPlan {
            name: name.to_owned(),
            region: region.to_owned(),
            zone: format!("{region}-{}", if host_number % 2 == 1 { "1" } else { "2" }),
            address: Ipv4Addr::new(10, region_byte, 0, host_byte),
            address_v6: Ipv6Addr::new(0xfd00, region_byte.into(), 0, 0, 0, 0, 0, host_byte.into()),
            further: Vec::new(),
        });
        self
    }

    /// Gives the host that was added last that many addresses more, from `10.<region>.1.0` on: one host then answers as
    /// many would.
    ///
    /// Limits: at most 65,280, of one host per region.
    #[must_use]
    pub fn further_addresses(mut self, count: u16) -> Self {
        if let Some(host) = self.hosts.last_mut() {
            let [ten, region, ..] = host.address.octets();
            let first = u32::from(Ipv4Addr::new(ten, region, 1, 0));
            host.further = (0..u32::from(count)).map(|index| (first + index).into()).collect();
        }
        self
    }

    /// Sets the round-trip time between two regions, half of it each way, without jitter and loss.
    #[must_use]
    pub fn rtt(self, one: &str, other: &str, rtt: Duration) -> Self {
        let path = Path {
            latency: rtt / 2,
            ..Path::default()
        };
        self.path(one, other, path.clone()).path(other, one, path)
    }

    /// Sets the path from one region to another, that direction only.
    #[must_use]
    pub fn path(mut self, from: &str, to: &str, path: Path) -> Self {
        self.paths.insert((from.to_owned(), to.to_owned()), path);
        self
    }

    /// Regions in the order in which they were added, the hub first.
    #[must_use]
    pub fn regions(&self) -> &[String] {
        &self.regions
    }

    /// Hosts in the order in which they were added, the hub first.
    #[must_use]
    pub fn hosts(&self) -> &[HostPlan] {
        &self.hosts
    }

    /// Path from one region to another; pairs that were never set have no delay and no loss.
    #[must_use]
    pub fn path_between(&self, from: &str, to: &str) -> Path {
        self.paths
            .get(&(from.to_owned(), to.to_owned()))
            .cloned()
            .unwrap_or_default()
    }

    /// Round-trip time between two regions as the matrix has it.
    #[must_use]
    pub fn rtt_between(&self, one: &str, other: &str) -> Duration {
        self.path_between(one, other).latency + self.path_between(other, one).latency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demo_has_two_hosts_in_each_of_four_regions() {
        let topology = Topology::demo();
        let in_b: Vec<_> = topology
            .hosts()
            .iter()
            .filter(|host| host.region == "region-b")
            .collect();
        assert_eq!(
            in_b.iter().map(|host| host.name.as_str()).collect::<Vec<_>>(),
            ["vm3", "vm4"]
        );
        assert_eq!(in_b[0].address, Ipv4Addr::new(10, 3, 0, 1));
        assert_eq!(in_b[1].address_v6, "fd00:3::2".parse::<Ipv6Addr>().unwrap());
    }

    #[test]
    fn further_addresses_belong_to_the_region_of_the_last_host() {
        let topology = Topology::new().host("far1", "far").further_addresses(257);
        let further = &topology.hosts()[1].further;
        assert_eq!(further.len(), 257);
        assert_eq!(further[0], Ipv4Addr::new(10, 2, 1, 0));
        assert_eq!(further[256], Ipv4Addr::new(10, 2, 2, 0));
        assert!(topology.hosts()[0].further.is_empty());
    }

    #[test]
    fn round_trip_time_is_split_evenly_over_both_directions() {
        let topology = Topology::demo();
        assert_eq!(
            topology.path_between("region-a", "region-d").latency,
            Duration::from_millis(21)
        );
        assert_eq!(topology.rtt_between("region-d", "region-a"), Duration::from_millis(42));
        assert_eq!(topology.rtt_between("hub", "region-c"), HUB_RTT);
    }
}
