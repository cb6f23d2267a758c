//! What `planner.yml` asks of a probe is on the wire: family, source, DSCP, DF, size and TTL, from the planner's file over
//! the agent's socket to a capture on its host's own device.

#![expect(clippy::unwrap_used, reason = "what the tests share fails them, too")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use xprober_lab::capture::{Capture, Filter, Kind, Packet};
use xprober_lab::promql::Sample;
use xprober_lab::stack::{Database, Pace, Stack, StackPlan};
use xprober_lab::testing::in_lab;
use xprober_lab::topology::{Topology, WEB};
use xprober_lab::world::{Host, Lab};

/// Until something that takes seconds has happened on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);
/// Bytes of the headers before an echo's payload.
const HEADERS_V4: usize = 28;
const HEADERS_V6: usize = 48;
/// What the kernel leaves of a reply's TTL after one hop.
const REPLY_TTL: f64 = 63.0;

/// One entry of `prober_targets` and what must be seen of it.
struct Probe {
    /// What the planner's file says; else the address.
    name: Option<&'static str>,
    to: IpAddr,
    /// Keys beside type, region, target and interval.
    keys: String,
    /// Nothing for probes that cannot leave.
    on_the_wire: Option<Seen>,
    outcome: &'static str,
    reason: Option<&'static str>,
    reply_ttl: Option<f64>,
}

/// What the wire shows of a request, as far as options decide it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    source: IpAddr,
    dscp: u8,
    hop_limit: u8,
    dont_fragment: bool,
    ip_length: usize,
}

impl From<&Packet> for Seen {
    fn from(packet: &Packet) -> Self {
        Self {
            source: packet.source,
            dscp: packet.dscp,
            hop_limit: packet.hop_limit,
            dont_fragment: packet.dont_fragment,
            ip_length: packet.ip_length,
        }
    }
}

/// A name with an IPv6 address alone.
const SIX_ONLY: &str = "six-only.lab";
/// A name with an address of each family.
const BOTH: &str = "both.lab";

/// One probing host with a second address, and hosts that answer: one with many IPv4 addresses, and some for the one IPv6
/// address that each has.
fn topology() -> Topology {
    let mut topology = Topology::new().host("vm1", "region-a").further_addresses(1);
    for number in 1..=7 {
        topology = topology.host(&format!("six{number}"), WEB);
    }
    topology
        .host("four", WEB)
        .further_addresses(17)
        .rtt("region-a", WEB, Duration::from_millis(4))
}

fn host<'lab>(lab: &'lab Lab, name: &str) -> &'lab Host {
    lab.host(name).unwrap()
}

/// Keys, what the wire shows, outcome, reason.
type Asked = (String, Option<Seen>, &'static str, Option<&'static str>);

fn ok(keys: &str, seen: Seen) -> Asked {
    (keys.to_owned(), Some(seen), "ok", None)
}

/// A request without any option.
fn plain(source: IpAddr) -> Seen {
    Seen {
        source,
        dscp: 0,
        hop_limit: 64,
        // As ping(8) does: what fits the path needs no fragmentation.
        dont_fragment: source.is_ipv4(),
        ip_length: 56 + if source.is_ipv4() { HEADERS_V4 } else { HEADERS_V6 },
    }
}

fn asked_of_v4(own: IpAddr, second: IpAddr) -> Vec<Asked> {
    let four = plain(own);
    vec![
        ok("", four),
        ok(&format!("source: {second}"), Seen { source: second, ..four }),
        ok("interface: eth0", four),
        ok("dscp: ef", Seen { dscp: 46, ..four }),
        ok("dscp: 10", Seen { dscp: 10, ..four }),
        ok(
            "dont_fragment: true",
            Seen {
                dont_fragment: true,
                ..four
            },
        ),
        ok(
            "payload: 0",
            Seen {
                ip_length: HEADERS_V4,
                ..four
            },
        ),
        ok(
            "payload: 1472, dont_fragment: true",
            Seen {
                dont_fragment: true,
                ip_length: 1500,
                ..four
            },
        ),
        // In pieces, of which the first fills a frame.
        ok(
            "payload: 2000",
            Seen {
                dont_fragment: false,
                ip_length: 1500,
                ..four
            },
        ),
        ok("ttl: 9", Seen { hop_limit: 9, ..four }),
        // It does not survive the first hop, and the emulated one does not say so.
        ("ttl: 1".to_owned(), Some(Seen { hop_limit: 1, ..four }), "lost", None),
        (
            "payload: 2000, dont_fragment: true".to_owned(),
            None,
            "send_error",
            Some("too_long"),
        ),
        ("interface: eth9".to_owned(), None, "send_error", Some("bad_source")),
        // The kernel's word for a source that the host does not have.
        ("source: 10.9.9.9".to_owned(), None, "send_error", Some("no_route")),
        ok(
            &format!("source: {second}, dscp: cs1, ttl: 33, payload: 100, dont_fragment: true, reply_ttl: true"),
            Seen {
                source: second,
                dscp: 8,
                hop_limit: 33,
                dont_fragment: true,
                ip_length: 100 + HEADERS_V4,
            },
        ),
    ]
}

fn asked_of_v6(own: IpAddr) -> Vec<Asked> {
    let six = plain(own);
    vec![
        ok("reply_ttl: true", six),
        ok(
            "dscp: af41, ttl: 17",
            Seen {
                dscp: 34,
                hop_limit: 17,
                ..six
            },
        ),
        ok(
            &format!("source: '{own}', payload: 1000"),
            Seen {
                ip_length: 1000 + HEADERS_V6,
                ..six
            },
        ),
        ok(
            "payload: 1452, dont_fragment: true, interface: eth0",
            Seen { ip_length: 1500, ..six },
        ),
        (
            "payload: 1453, dont_fragment: true".to_owned(),
            None,
            "send_error",
            Some("too_long"),
        ),
    ]
}

/// The table of everything that is asked for.
fn probes(lab: &Lab) -> Vec<Probe> {
    let vm1 = host(lab, "vm1").plan();
    let v4 = asked_of_v4(vm1.address.into(), vm1.further[0].into());
    let v6 = asked_of_v6(vm1.address_v6.into());
    let four_addresses = host(lab, "four").plan().further.iter().copied().map(IpAddr::V4);
    let six_addresses = (1..).map(|number| IpAddr::V6(host(lab, &format!("six{number}")).plan().address_v6));
    let all = four_addresses.zip(v4).chain(six_addresses.zip(v6));
    let probes = all.map(|(to, (keys, on_the_wire, outcome, reason))| Probe {
        reply_ttl: keys.contains("reply_ttl").then_some(REPLY_TTL),
        name: None,
        to,
        keys,
        on_the_wire,
        outcome,
        reason,
    });
    probes.chain(named(lab)).collect()
}

/// Names are probed by the family that they have, or that is asked for.
fn named(lab: &Lab) -> [Probe; 3] {
    let vm1 = host(lab, "vm1").plan();
    let v4 = (
        IpAddr::V4(host(lab, "four").plan().further[16]),
        plain(vm1.address.into()),
    );
    let [six_only, both] = ["six6", "six7"].map(|name| {
        let to = IpAddr::V6(host(lab, name).plan().address_v6);
        (to, plain(vm1.address_v6.into()))
    });
    let probe = |name, keys: &str, (to, seen)| Probe {
        name: Some(name),
        to,
        keys: keys.to_owned(),
        on_the_wire: Some(seen),
        outcome: "ok",
        reason: None,
        reply_ttl: None,
    };
    [
        probe(SIX_ONLY, "", six_only),
        probe(BOTH, "", v4),
        probe(BOTH, "family: ipv6", both),
    ]
}

/// Tells the name servers of [`named`].
fn name(lab: &Lab) {
    for probe in named(lab) {
        let name = probe.name.unwrap().to_owned();
        lab.change_dns(|dns| match probe.to {
            IpAddr::V4(to) => drop(dns.names.insert(name.clone(), to)),
            IpAddr::V6(to) => drop(dns.names_v6.insert(name.clone(), to)),
        });
    }
}

/// A region of its own for every probe: outcomes and reasons are counted per region.
fn region(number: usize) -> String {
    format!("target-{number}")
}

fn planner_file(probes: &[Probe]) -> String {
    let mut text = "rpc_listen_addr: \":6001\"\nmetrics_listen_addr: \":6002\"\nmesh: {interval: 500ms}\n\
                    limits: {max_payload: 4000}\nprober_targets:\n"
        .to_owned();
    for (number, probe) in probes.iter().enumerate() {
        let (region, keys) = (region(number), &probe.keys);
        let target = probe.name.map_or_else(|| probe.to.to_string(), str::to_owned);
        let comma = if keys.is_empty() { "" } else { ", " };
        writeln!(
            text,
            "  - {{prober_type: icmp, region: {region}, target: ['{target}']{comma}{keys}}}"
        )
        .unwrap();
    }
    text
}

async fn start(lab: &Lab, probes: &[Probe]) -> Stack {
    let plan = StackPlan {
        database: Database::VictoriaMetrics,
        pace: Pace::Default,
        planner_file: planner_file(probes),
        // A second is little for the metadata service on a busy machine.
        agent_file: "push: {interval: 1s}\nlimits: {max_payload: 4000}\nmetadata: {timeout: 10s}\n".to_owned(),
    };
    Stack::start(lab, &plan, |_| ()).await.unwrap()
}

/// Every kind of request to an address; a probe's requests must all look the same.
fn seen(packets: &[Packet], to: IpAddr) -> Vec<Seen> {
    let requests = packets.iter().filter(|packet| {
        packet.outgoing && packet.destination == to && matches!(packet.kind, Kind::EchoRequest { .. })
    });
    let mut seen: Vec<_> = requests.map(Seen::from).collect();
    seen.dedup();
    seen
}

/// Waits until every probe has ended some times, other than by our own machine standing still, and answers how most of them did: region -> outcome and reason, none for
/// outcomes without.
async fn outcomes(stack: &Stack, probes: usize) -> BTreeMap<String, (String, Option<String>)> {
    let counted = "topk by (target_region) (1, xprober_probes_total{probe=\"icmp\",outcome!=\"stalled\"}) > 2";
    let ends = stack.wait_for(counted, LIMIT, |found| found.len() >= probes).await;
    let ends = ends.unwrap();
    let reasons = stack
        .store
        .client()
        .query("xprober_probe_reasons_total{outcome!=\"stalled\"} > 2")
        .await;
    let reasons: BTreeMap<_, _> = reasons
        .unwrap()
        .iter()
        .map(|one| (one.label("target_region").to_owned(), one.label("reason").to_owned()))
        .collect();
    let told = ends.iter().map(|one| {
        let region = one.label("target_region").to_owned();
        let reason = reasons.get(&region).cloned();
        (region, (one.label("outcome").to_owned(), reason))
    });
    told.collect()
}

/// Waits until all of these regions have a reply's TTL, and hands over all that there are.
async fn reply_ttls(stack: &Stack, expected: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let by_region = |found: &[Sample]| -> BTreeMap<_, _> {
        let found = found
            .iter()
            .map(|one| (one.label("target_region").to_owned(), one.value));
        found.collect()
    };
    let are_there = |found: &[Sample]| {
        let found = by_region(found);
        expected.keys().all(|region| found.contains_key(region))
    };
    let found = stack.wait_for("xprober_target_reply_ttl", LIMIT, are_there).await;
    by_region(&found.unwrap())
}

#[test]
fn options_of_the_planners_file_are_on_the_agents_wire() {
    in_lab(
        "options_of_the_planners_file_are_on_the_agents_wire",
        topology(),
        async |lab| {
            let probes = probes(lab);
            name(lab);
            let capture = Capture::start(host(lab, "vm1").namespace(), "eth0", Filter::OwnEchoes).unwrap();
            let stack = start(lab, &probes).await;
            let outcomes = outcomes(&stack, probes.len()).await;
            let of_probes = probes.iter().enumerate();
            let expected = of_probes
                .filter_map(|(number, probe)| Some((region(number), probe.reply_ttl?)))
                .collect();
            assert_eq!(reply_ttls(&stack, &expected).await, expected);
            stack.stop().await.unwrap();
            let captured = capture.stop().unwrap();
            assert_eq!(captured.dropped, 0);
            for (number, probe) in probes.iter().enumerate() {
                let (region, what) = (region(number), format!("{} to {}", probe.keys, probe.to));
                let expected: Vec<_> = probe.on_the_wire.into_iter().collect();
                assert_eq!(seen(&captured.packets, probe.to), expected, "{what}");
                let expected = (probe.outcome.to_owned(), probe.reason.map(str::to_owned));
                assert_eq!(outcomes.get(&region), Some(&expected), "{what}");
            }
        },
    );
}
