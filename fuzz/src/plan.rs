//! What the planner sends: protobuf, then the checks that make domain types of it.

use std::time::Duration;

use prost::Message as _;
use xprober_proto::convert::WireError;
use xprober_proto::{
    HttpSpec, IcmpSpec, Limits, Line, PacketOptions, Plan, PlanUpdate, ProbeSpec, Revision, TcpSpec, wire,
};

use crate::Target;

/// Messages of a planner.
pub const TARGET: Target = Target {
    name: "plan",
    run,
    seeds,
};

/// Longest refusal: one sentence around 128 characters of what was sent, each escaped to at most ten.
const REFUSAL_BYTES: usize = 1_500;

/// Decodes a message.
///
/// # Panics
///
/// When what passed the checks does not come back the same over the wire, or a refusal cannot be logged.
pub fn run(bytes: &[u8]) {
    let Ok(message) = wire::PlannerMessage::decode(bytes) else {
        return;
    };
    match PlanUpdate::try_from(message) {
        Ok(update) => {
            let sent = wire::PlannerMessage::from(&update).encode_to_vec();
            let again = wire::PlannerMessage::decode(sent.as_slice()).expect("our own bytes");
            assert_eq!(PlanUpdate::try_from(again).as_ref(), Ok(&update));
        }
        Err(error) => can_be_logged(&error),
    }
}

/// Checks a refusal.
///
/// # Panics
///
/// When it is longer than promised or has control characters.
pub fn can_be_logged(error: &WireError) {
    let text = error.to_string();
    assert!(text.len() <= REFUSAL_BYTES, "{} bytes", text.len());
    assert!(!text.contains(char::is_control), "{text:?}");
}

fn seeds() -> Vec<Vec<u8>> {
    let updates = [
        PlanUpdate::KeepAlive,
        PlanUpdate::Full(plan()),
        PlanUpdate::Delta {
            revision: Revision(8),
            base: Revision(7),
            upserts: plan().targets,
            removals: vec!["icmp".parse().expect("a valid id")],
        },
    ];
    updates
        .iter()
        .map(|update| wire::PlannerMessage::from(update).encode_to_vec())
        .collect()
}

fn plan() -> Plan {
    let target = |id: &str, probe| xprober_proto::Target {
        id: id.parse().expect("a valid id"),
        name: "vm3".to_owned(),
        region: "region-b".parse().expect("a valid region"),
        interval: Duration::from_secs(1),
        timeout: Duration::from_millis(900),
        probe,
    };
    let packet = PacketOptions {
        source: Some([10, 0, 0, 7].into()),
        interface: "eth0".parse().ok(),
        dscp: 46,
        ttl: Some(9),
        ..PacketOptions::default()
    };
    let icmp = IcmpSpec {
        packet: packet.clone(),
        reply_ttl: true,
        ..IcmpSpec::new("10.0.1.1".parse().expect("an address"), 56)
    };
    let tcp = TcpSpec {
        packet,
        source_ports: vec![40_000, 40_001],
        ..TcpSpec::new("10.0.1.1".parse().expect("an address"), 443)
    };
    let http = HttpSpec {
        expect_body: "ok".to_owned(),
        ..HttpSpec::get("https://api.example.com/health".parse().expect("a URL"))
    };
    Plan {
        revision: Revision(7),
        plan_ttl: Duration::from_hours(1),
        lease: Duration::from_secs(30),
        limits: Limits {
            max_probes_per_second: 10,
            max_payload_bytes: 1_472,
            min_interval: Duration::from_millis(100),
        },
        targets: vec![
            target("http", ProbeSpec::Http(http)),
            target("icmp", ProbeSpec::Icmp(icmp)),
            target("tcp", ProbeSpec::Tcp(tcp)),
        ],
        lines: vec![Line {
            name: "a-b".to_owned(),
            target_region: "region-b".parse().expect("a valid region"),
            rtt_budget: Some(Duration::from_millis(10)),
            loss_budget: Some(0.001),
            circuit: "CT-10086".to_owned(),
            carrier: "X".to_owned(),
            owner: "netops".to_owned(),
        }],
    }
}
