//! What passes comes back the same; what is wrong is named.

use super::*;
use crate::packet::PacketOptions;

fn hello() -> Hello {
    Hello {
        agent_id: "vm1".parse().unwrap(),
        region: "region-a".parse().unwrap(),
        zone: Some("a-1".parse().unwrap()),
        addresses: Addresses::new(Some([10, 0, 0, 1].into()), Some("fd00::1".parse().unwrap())).unwrap(),
        kinds: vec![ProbeKind::Icmp, ProbeKind::Http],
        version: "0.1.0".to_owned(),
        tcp_port: NonZeroU16::new(6003),
    }
}

fn plan() -> Plan {
    let target = |id: &str, probe| Target {
        id: id.parse().unwrap(),
        name: "vm3".to_owned(),
        region: "region-b".parse().unwrap(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_millis(900),
        probe,
    };
    let mut http = HttpSpec::get(Url::parse("https://api.example.com/health").unwrap());
    http.expect_status = vec![StatusRange::new(200, 299).unwrap()];
    http.headers = vec![(HeaderName::from_static("x-a"), HeaderValue::from_static("b"))];
    let packet = PacketOptions {
        source: Some([10, 0, 0, 7].into()),
        dscp: 46,
        ..PacketOptions::default()
    };
    let icmp = IcmpSpec {
        packet: packet.clone(),
        reply_ttl: true,
        ..IcmpSpec::new("10.0.1.1".parse().unwrap(), 56)
    };
    let tcp = TcpSpec {
        packet,
        source_ports: vec![40_000, 40_001],
        ..TcpSpec::new("10.0.1.1".parse().unwrap(), 443)
    };
    Plan {
        revision: Revision(7),
        plan_ttl: Duration::from_hours(1),
        lease: Duration::from_secs(30),
        limits: Limits {
            max_probes_per_second: 10,
            max_payload_bytes: 1472,
            min_interval: Duration::from_millis(100),
        },
        targets: vec![
            target("http", ProbeSpec::Http(http)),
            target("icmp", ProbeSpec::Icmp(IcmpSpec::new("10.0.1.1".parse().unwrap(), 56))),
            target("icmp-options", ProbeSpec::Icmp(icmp)),
            target(
                "tcp",
                ProbeSpec::Tcp(TcpSpec::new("db.example.com".parse().unwrap(), 443)),
            ),
            target("tcp-options", ProbeSpec::Tcp(tcp)),
        ],
        lines: vec![Line {
            name: "a-b-1".to_owned(),
            target_region: "region-b".parse().unwrap(),
            rtt_budget: Some(Duration::from_millis(10)),
            loss_budget: Some(0.001),
            circuit: "CT-1".to_owned(),
            carrier: String::new(),
            owner: "netops".to_owned(),
        }],
    }
}

#[test]
fn hello_survives_the_wire() {
    assert_eq!(Hello::try_from(wire::Hello::from(&hello())), Ok(hello()));
}

#[test]
fn updates_survive_the_wire() {
    let delta = PlanUpdate::Delta {
        revision: Revision(8),
        base: Revision(7),
        upserts: plan().targets,
        removals: vec!["gone".parse().unwrap()],
    };
    for update in [PlanUpdate::Full(plan()), delta, PlanUpdate::KeepAlive] {
        assert_eq!(PlanUpdate::try_from(wire::PlannerMessage::from(&update)), Ok(update));
    }
}

#[test]
fn a_bad_hello_is_refused_with_its_field() {
    type Spoil = fn(&mut wire::Hello);
    let cases: [(&str, Spoil); 8] = [
        ("tcp_port", |h| h.tcp_port = 65_536),
        ("agent id", |h| h.agent_id = "; rm -rf /".to_owned()),
        ("region", |h| h.region = String::new()),
        ("zone", |h| h.zone = "a\nb".to_owned()),
        ("address", |h| h.addresses = vec!["10.0.0.1; id".to_owned()]),
        ("address", |h| {
            h.addresses = vec!["10.0.0.1".to_owned(), "10.0.0.2".to_owned()];
        }),
        ("addresses", |h| h.addresses = vec!["0.0.0.0".to_owned()]),
        ("version", |h| h.version = "x".repeat(2000)),
    ];
    for (field, spoil) in cases {
        let mut message = wire::Hello::from(&hello());
        spoil(&mut message);
        let error = Hello::try_from(message).unwrap_err().to_string();
        assert!(error.starts_with(field), "{error:?} does not name {field:?}");
        assert!(!error.contains('\n'), "{error:?} would break a log line");
    }
}

#[test]
fn a_bad_plan_is_refused_with_its_field() {
    type Spoil = fn(&mut wire::FullPlan);
    let cases: [(&str, Spoil); 8] = [
        ("plan_ttl", |p| p.plan_ttl = None),
        ("limits", |p| p.limits = None),
        ("target interval", |p| {
            p.targets[0].interval = Some(prost_types::Duration { seconds: 0, nanos: 0 });
        }),
        ("target timeout", |p| {
            p.targets[0].timeout = Some(prost_types::Duration { seconds: -1, nanos: 0 });
        }),
        ("target probe", |p| p.targets[0].probe = None),
        ("target id", |p| p.targets[1].id = p.targets[0].id.clone()),
        ("http url", |p| {
            let http = wire::HttpProbe {
                url: "file:///etc/passwd".to_owned(),
                ..Default::default()
            };
            p.targets[0].probe = Some(wire::target::Probe::Http(http));
        }),
        ("line loss_budget", |p| p.lines[0].loss_budget = Some(f64::NAN)),
    ];
    for (field, spoil) in cases {
        let Some(wire::planner_message::Body::Full(mut full)) =
            wire::PlannerMessage::from(&PlanUpdate::Full(plan())).body
        else {
            unreachable!("a full plan encodes as one")
        };
        spoil(&mut full);
        let error = full_plan(full).unwrap_err().to_string();
        assert!(error.starts_with(field), "{error:?} does not name {field:?}");
    }
}

#[test]
fn a_header_value_never_shows_in_an_error() {
    let http = wire::HttpProbe {
        url: "http://h/".to_owned(),
        headers: vec![wire::Header {
            name: "authorization".to_owned(),
            value: "se\ncret".to_owned(),
        }],
        ..Default::default()
    };
    let error = http_from_wire(http).unwrap_err().to_string();
    assert!(error.contains("authorization") && !error.contains("cret"), "{error}");
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>) {
        if let Ok(message) = <wire::PlannerMessage as prost::Message>::decode(bytes.as_slice()) {
            let _ = PlanUpdate::try_from(message);
        }
        if let Ok(message) = <wire::Hello as prost::Message>::decode(bytes.as_slice()) {
            let _ = Hello::try_from(message);
        }
    }
}
