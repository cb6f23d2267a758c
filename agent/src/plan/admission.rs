//! Which of the planner's targets this agent accepts: its own hard limits stand above every planner.
//!
//! Pure and independent of the order in which targets arrived: the same targets under the same limits are always
//! judged alike.

use std::collections::BTreeMap;
use std::hash::Hasher as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use siphasher::sip::SipHasher13;
use url::Host;
use xprober_proto::{HostName, Limits, ProbeKind, ProbeSpec, Target, TargetId};

/// Longest timeout accepted: it bounds how long a probe stays in flight, and with it the memory of the prober.
pub const MAX_TIMEOUT: Duration = Duration::from_mins(1);

/// Why a target is refused; the `reason` label of `xprober_agent_plan_rejected_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// This agent cannot perform that kind of probe.
    Kind,
    /// The interval is shorter than allowed.
    Interval,
    /// The timeout is longer than [`MAX_TIMEOUT`].
    Timeout,
    /// The payload is larger than allowed.
    Payload,
    /// The address lies outside the allowed networks.
    Network,
    /// All targets together would exceed the allowed rate.
    Rate,
}

impl Refusal {
    /// Spells the refusal as in the `reason` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Interval => "interval",
            Self::Timeout => "timeout",
            Self::Payload => "payload",
            Self::Network => "network",
            Self::Rate => "rate",
        }
    }
}

/// What the agent allows itself.
#[derive(Debug, Clone, PartialEq)]
pub struct HardLimits {
    /// Rates and sizes.
    pub limits: Limits,
    /// Networks that may be probed.
    pub allowed_networks: Arc<[IpNet]>,
    /// Probes this agent can perform.
    pub kinds: Vec<ProbeKind>,
}

/// Tells whether `address` lies in one of `networks`; an IPv4-mapped IPv6 address counts as the IPv4 address it is.
#[must_use]
pub fn allows(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// Takes the stricter of two limits in every field.
#[must_use]
pub fn stricter(a: Limits, b: Limits) -> Limits {
    Limits {
        max_probes_per_second: a.max_probes_per_second.min(b.max_probes_per_second),
        max_payload_bytes: a.max_payload_bytes.min(b.max_payload_bytes),
        min_interval: a.min_interval.max(b.min_interval),
    }
}

/// Judges every offered target; what is not in the answer is accepted.
///
/// Targets are first judged alone. Of the rest, as many are accepted as the rate allows, in the order of a stable hash
/// of their ids: a surplus then thins every region a little instead of taking the last region whole, and one target
/// more or less does not reshuffle the others.
#[must_use]
pub fn judge(
    offered: &BTreeMap<TargetId, Arc<Target>>,
    hard: &HardLimits,
    asked: Limits,
) -> BTreeMap<TargetId, Refusal> {
    let limits = stricter(hard.limits, asked);
    let mut refused = BTreeMap::new();
    let mut ranked = Vec::with_capacity(offered.len());
    for (id, target) in offered {
        match judge_alone(target, hard, limits) {
            Some(refusal) => drop(refused.insert(id.clone(), refusal)),
            None => ranked.push((rank(id), id, target.interval)),
        }
    }
    ranked.sort_unstable();
    // Integers, so that the order of the sum cannot change the verdict: probes per 1e9 s.
    let budget = u128::from(limits.max_probes_per_second) * 1_000_000_000;
    let mut spent = 0_u128;
    for (_, id, interval) in ranked {
        let cost = 1_000_000_000_000_000_000_u128.div_ceil(interval.as_nanos().max(1));
        if spent + cost <= budget {
            spent += cost;
        } else {
            refused.insert(id.clone(), Refusal::Rate);
        }
    }
    refused
}

fn judge_alone(target: &Target, hard: &HardLimits, limits: Limits) -> Option<Refusal> {
    if !hard.kinds.contains(&target.probe.kind()) {
        return Some(Refusal::Kind);
    }
    if target.interval < limits.min_interval || target.interval.is_zero() {
        return Some(Refusal::Interval);
    }
    if target.timeout > MAX_TIMEOUT {
        return Some(Refusal::Timeout);
    }
    if let ProbeSpec::Icmp(spec) = &target.probe
        && spec.payload_bytes > limits.max_payload_bytes
    {
        return Some(Refusal::Payload);
    }
    // Names are judged by the prober, after each resolution.
    let forbidden = literal(&target.probe).is_some_and(|address| !allows(&hard.allowed_networks, address));
    forbidden.then_some(Refusal::Network)
}

fn literal(probe: &ProbeSpec) -> Option<IpAddr> {
    let of_host = |host: &HostName| match host {
        HostName::Address(address) => Some(*address),
        HostName::Name(_) => None,
    };
    match probe {
        ProbeSpec::Icmp(spec) => of_host(&spec.host),
        ProbeSpec::Tcp(spec) => of_host(&spec.host),
        ProbeSpec::Http(spec) => match spec.url.host()? {
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
            Host::Domain(_) => None,
        },
    }
}

fn rank(id: &TargetId) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(id.as_str().as_bytes());
    hasher.finish()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use xprober_proto::{HttpSpec, IcmpSpec, PacketOptions, TcpSpec};

    pub(crate) fn hard(max_probes_per_second: u32) -> HardLimits {
        HardLimits {
            limits: Limits {
                max_probes_per_second,
                max_payload_bytes: 1000,
                min_interval: Duration::from_millis(100),
            },
            allowed_networks: Arc::from(["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]),
            kinds: vec![ProbeKind::Icmp, ProbeKind::Http],
        }
    }

    pub(crate) fn loose() -> Limits {
        Limits {
            max_probes_per_second: u32::MAX,
            max_payload_bytes: u16::MAX,
            min_interval: Duration::ZERO,
        }
    }

    pub(crate) fn icmp(id: &str, host: &str, interval_ms: u64) -> Target {
        Target {
            id: id.parse().unwrap(),
            name: id.to_owned(),
            region: "region-b".parse().unwrap(),
            interval: Duration::from_millis(interval_ms),
            timeout: Duration::from_millis(900),
            probe: ProbeSpec::Icmp(IcmpSpec::new(host.parse().unwrap(), 56)),
        }
    }

    fn http(url: &str) -> Target {
        Target {
            probe: ProbeSpec::Http(HttpSpec::get(url.parse().unwrap())),
            ..icmp("t", "10.0.0.1", 1000)
        }
    }

    fn with_payload(payload_bytes: u16) -> Target {
        let host = "10.0.0.1".parse().unwrap();
        Target {
            probe: ProbeSpec::Icmp(IcmpSpec::new(host, payload_bytes)),
            ..icmp("t", "10.0.0.1", 1000)
        }
    }

    fn alone(target: Target) -> Option<Refusal> {
        let id = target.id.clone();
        let offered = BTreeMap::from([(id.clone(), Arc::new(target))]);
        judge(&offered, &hard(1000), loose()).get(&id).copied()
    }

    #[test]
    fn each_hard_limit_refuses_its_own_fault() {
        let tcp = ProbeSpec::Tcp(TcpSpec::new("10.0.0.1".parse().unwrap(), 1));
        let cases = [
            (icmp("t", "10.0.0.1", 100), None),
            (icmp("t", "10.0.0.1", 99), Some(Refusal::Interval)),
            (icmp("t", "192.0.2.1", 1000), Some(Refusal::Network)),
            (icmp("t", "fd00::1", 1000), None),
            (icmp("t", "::ffff:10.0.0.1", 1000), None),
            (icmp("t", "::ffff:192.0.2.1", 1000), Some(Refusal::Network)),
            (icmp("t", "name.example.com", 1000), None),
            (with_payload(1000), None),
            (with_payload(1001), Some(Refusal::Payload)),
            (http("http://10.0.0.1/"), None),
            (http("http://[2001:db8::1]/"), Some(Refusal::Network)),
            (http("http://169.254.169.254/latest"), Some(Refusal::Network)),
            (http("http://name.example.com/"), None),
            (
                Target {
                    probe: tcp,
                    ..icmp("t", "10.0.0.1", 1000)
                },
                Some(Refusal::Kind),
            ),
            (
                Target {
                    timeout: Duration::from_secs(61),
                    ..icmp("t", "10.0.0.1", 1000)
                },
                Some(Refusal::Timeout),
            ),
        ];
        for (target, expected) in cases {
            let shown = format!("{target:?}");
            assert_eq!(alone(target), expected, "{shown}");
        }
    }

    #[test]
    fn a_tcp_target_is_held_to_the_same_limits() {
        let hard = HardLimits {
            kinds: ProbeKind::ALL.to_vec(),
            ..hard(1000)
        };
        let tcp = |host: &str, interval_ms| Target {
            probe: ProbeSpec::Tcp(TcpSpec::new(host.parse().unwrap(), 6003)),
            ..icmp("t", "10.0.0.1", interval_ms)
        };
        for (target, expected) in [
            (tcp("10.0.0.1", 100), None),
            (tcp("name.example.com", 100), None),
            (tcp("10.0.0.1", 99), Some(Refusal::Interval)),
            (tcp("192.0.2.1", 100), Some(Refusal::Network)),
            (tcp("::ffff:192.0.2.1", 100), Some(Refusal::Network)),
            (tcp("2001:db8::1", 100), Some(Refusal::Network)),
        ] {
            assert_eq!(judge_alone(&target, &hard, hard.limits), expected, "{target:?}");
        }
    }

    #[test]
    fn options_neither_lift_nor_lower_a_limit() {
        let options = PacketOptions {
            // Where packets come from is not where they go to.
            source: Some([192, 0, 2, 1].into()),
            dscp: 63,
            ttl: Some(255),
            dont_fragment: true,
            ..PacketOptions::default()
        };
        for (payload, expected) in [(1000, None), (1001, Some(Refusal::Payload))] {
            let spec = IcmpSpec {
                packet: options.clone(),
                reply_ttl: true,
                ..IcmpSpec::new("10.0.0.1".parse().unwrap(), payload)
            };
            let target = Target {
                probe: ProbeSpec::Icmp(spec),
                ..icmp("t", "10.0.0.1", 1000)
            };
            assert_eq!(alone(target), expected, "{payload}");
        }
    }

    #[test]
    fn the_surplus_over_the_rate_is_refused_and_always_the_same() {
        let offered: BTreeMap<_, _> = (0..20)
            .map(|n| icmp(&format!("t{n}"), "10.0.0.1", 500))
            .map(|target| (target.id.clone(), Arc::new(target)))
            .collect();
        let refused = judge(&offered, &hard(10), loose());
        assert_eq!(refused.len(), 15, "10 per second carry five targets at two per second");
        assert_eq!(refused, judge(&offered, &hard(10), loose()));
        let planner = Limits {
            max_probes_per_second: 4,
            ..loose()
        };
        let stricter = judge(&offered, &hard(10), planner);
        assert_eq!(stricter.len(), 18, "the planner may ask for less");
        assert!(
            refused.keys().all(|id| stricter.contains_key(id)),
            "a lower rate only refuses more"
        );
    }
}
