//! How agents reach each other.

use std::num::NonZeroU16;

use xprober_config::planner::PlannerSettings;
use xprober_proto::{Addresses, PacketOptions};

use super::super::MeshPlan;
use super::*;

fn mesh(options: &str) -> PlannerSettings {
    PlannerSettings::parse("planner.yml", &format!("mesh: {{{options}}}")).unwrap()
}

/// Agent `id` of region `id`, with both families and a responder.
fn hello(id: u8) -> Hello {
    Hello {
        agent_id: format!("vm{id}").parse().unwrap(),
        region: format!("r{id}").parse().unwrap(),
        zone: None,
        addresses: Addresses::new(
            Some([10, 0, 0, id].into()),
            Some(format!("fd00::{id}").parse().unwrap()),
        )
        .unwrap(),
        kinds: ProbeKind::ALL.to_vec(),
        version: String::new(),
        tcp_port: NonZeroU16::new(6003),
    }
}

fn only(hello: &Hello, address: &str) -> Hello {
    Hello {
        addresses: Addresses::of(address.parse().unwrap()).unwrap(),
        ..hello.clone()
    }
}

/// Without a responder.
fn silent(id: u8) -> Hello {
    Hello {
        tcp_port: None,
        ..hello(id)
    }
}

/// Targets of `source` by id, and what was left out.
fn planned(settings: &PlannerSettings, fleet: &[Hello], source: &Hello) -> (BTreeMap<String, ProbeSpec>, Vec<LeftOut>) {
    let plan = MeshPlan::build(settings, fleet);
    let agent = plan.agent(&MemberKey::of(source)).unwrap();
    let targets = agent.assignments.iter();
    let targets = targets
        .map(|a| (a.target.id.to_string(), a.target.probe.clone()))
        .collect();
    (targets, agent.left_out.clone())
}

#[test]
fn the_family_of_the_mesh_decides_which_address_is_probed() {
    let (both, four, six) = (hello(1), only(&hello(2), "10.0.0.2"), only(&hello(3), "fd00::3"));
    let (v4, v6) = (
        |text: &str| Ok(Way::Echo(text.parse().unwrap())),
        "fd00::3".parse().unwrap(),
    );
    let none = Err(Obstacle::NoCommonFamily);
    for (family, target, expected) in [
        ("any", &four, v4("10.0.0.2")),
        ("any", &six, Ok(Way::Echo(v6))),
        ("any", &hello(2), v4("10.0.0.2")),
        ("ipv4", &hello(2), v4("10.0.0.2")),
        ("ipv4", &six, none),
        ("ipv6", &hello(3), Ok(Way::Echo(v6))),
        ("ipv6", &four, none),
    ] {
        let settings = mesh(&format!("family: {family}"));
        assert_eq!(
            way(&settings.mesh, ProbeKind::Icmp, &both, target),
            expected,
            "{family} {target:?}"
        );
    }
}

#[test]
fn tcp_goes_to_the_responder_of_those_who_announce_one() {
    let fleet = [hello(1), hello(2), silent(3)];
    let (targets, left_out) = planned(&mesh("probes: [icmp, tcp]"), &fleet, &fleet[0]);
    let ids: Vec<&str> = targets.keys().map(String::as_str).collect();
    assert_eq!(ids, ["icmp:r2/vm2", "icmp:r3/vm3", "tcp:r2/vm2"]);
    let expected = TcpSpec::new("10.0.0.2".parse().unwrap(), 6003);
    assert_eq!(targets["tcp:r2/vm2"], ProbeSpec::Tcp(expected));
    let [missing] = left_out.as_slice() else {
        panic!("{left_out:?}");
    };
    assert_eq!(missing.target, "r3/vm3");
    assert_eq!(missing.obstacle.to_string(), "announces no tcp port");
}

#[test]
fn an_agent_without_a_responder_takes_no_place_of_those_who_have_one() {
    let sibling = |id: &str, hello: Hello| Hello {
        region: "far".parse().unwrap(),
        agent_id: id.parse().unwrap(),
        ..hello
    };
    let fleet = [
        hello(1),
        sibling("a", silent(2)),
        sibling("b", hello(3)),
        sibling("c", silent(4)),
    ];
    let (targets, left_out) = planned(&mesh("probes: [tcp], targets_per_region: 2"), &fleet, &fleet[0]);
    assert_eq!(targets.keys().collect::<Vec<_>>(), ["tcp:far/b"]);
    assert_eq!(left_out.len(), 2);
    assert!(left_out.iter().all(|missing| missing.obstacle == Obstacle::NoTcpPort));
    // With echoes every one of them answers something.
    let (targets, _) = planned(&mesh("probes: [icmp, tcp], targets_per_region: 3"), &fleet, &fleet[0]);
    assert_eq!(targets.len(), 4);
}

#[test]
fn the_options_of_the_mesh_reach_every_target() {
    let fleet = [hello(1), hello(2)];
    let settings = mesh(
        "probes: [icmp, tcp], source: 'fd00::7', interface: eth1, dscp: ef, ttl: 64, dont_fragment: true, \
         reply_ttl: true, source_ports: 40000-40001, payload: 99",
    );
    let packet = PacketOptions {
        family: Some(Family::V6),
        source: Some("fd00::7".parse().unwrap()),
        interface: Some("eth1".parse().unwrap()),
        dscp: 46,
        ttl: Some(64),
        dont_fragment: true,
    };
    let host: HostName = "fd00::2".parse().unwrap();
    let (targets, _) = planned(&settings, &fleet, &fleet[0]);
    let icmp = IcmpSpec {
        packet: packet.clone(),
        reply_ttl: true,
        ..IcmpSpec::new(host.clone(), 99)
    };
    let tcp = TcpSpec {
        packet,
        source_ports: vec![40_000, 40_001],
        ..TcpSpec::new(host, 6003)
    };
    assert_eq!(targets["icmp:r2/vm2"], ProbeSpec::Icmp(icmp));
    assert_eq!(targets["tcp:r2/vm2"], ProbeSpec::Tcp(tcp));
}
