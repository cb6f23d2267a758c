use proptest::prelude::*;
use xprober_proto::{Family, IcmpSpec, TcpSpec};

use super::*;
use crate::samples::with_examples;

const OLD_FILE: &str = include_str!("../../xprober.yml");
const SAMPLE: &str = include_str!("../../planner.yml");

fn parse(text: &str) -> PlannerSettings {
    PlannerSettings::parse("planner.yml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn problems(text: &str) -> String {
    PlannerSettings::parse("planner.yml", text).unwrap_err().to_string()
}

#[test]
fn the_file_of_the_old_server_loads_unchanged() {
    let settings = parse(OLD_FILE);
    assert_eq!(settings.rpc_listen_addr, "[::]:6001".parse().unwrap());
    assert_eq!(settings.metrics_listen_addr, "[::]:6002".parse().unwrap());
    let [target] = settings.targets.as_slice() else {
        panic!("{:?}", settings.targets);
    };
    assert_eq!(target.name, "http://yourdomain.com/api/xxx/xxx");
    assert_eq!(target.region, "region2".parse().unwrap());
    assert_eq!(target.probe.kind(), ProbeKind::Http);
    assert_eq!(target.interval, Duration::from_secs(15));
    assert_eq!(target.timeout, Duration::from_secs(5));
}

#[test]
fn an_empty_file_means_the_defaults() {
    for text in [
        "",
        "\n",
        "# nothing\n",
        "---\n",
        "~",
        "{}",
        "\u{feff}",
        "mesh:\nlimits: ~\nlines:\nprober_targets:",
    ] {
        assert_eq!(PlannerSettings::parse("planner.yml", text).err(), None, "{text:?}");
    }
}

#[test]
fn the_example_line_of_the_readme_means_what_it_says() {
    let text = "lines:\n  - {name: hk-sg-1, between: [ap-east-1, ap-southeast-1], rtt_budget: 10ms, loss_budget: 0.1%, \
                circuit: 0010086, carrier: X, owner: netops}";
    let line = LineSettings {
        name: "hk-sg-1".to_owned(),
        between: ["ap-east-1".parse().unwrap(), "ap-southeast-1".parse().unwrap()],
        rtt_budget: Some(Duration::from_millis(10)),
        loss_budget: Some(0.001),
        circuit: "0010086".to_owned(),
        carrier: "X".to_owned(),
        owner: "netops".to_owned(),
    };
    assert_eq!(parse(text).lines, [line]);
}

#[test]
fn targets_take_interval_and_timeout_from_the_mesh_or_their_kind() {
    let text = "mesh: {interval: 2s, timeout: 3s, payload: 100}
prober_targets:
  - {prober_type: icmp, region: a, target: 10.0.0.1}
  - {prober_type: tcp, region: a, target: ['[fd00::1]:443'], interval: 4s, timeout: 5s}
  - {prober_type: http, region: a, target: ['localhost:8080/x'], interval: 2s}
  - {prober_type: http, region: a, target: ['example.com'], module: {timeout: 9s, method: POST}}";
    let settings = parse(text);
    let found: Vec<_> = settings
        .targets
        .iter()
        .map(|target| {
            (
                target.name.as_str(),
                target.interval.as_secs(),
                target.timeout.as_secs(),
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("10.0.0.1", 2, 3),
            ("[fd00::1]:443", 4, 5),
            ("localhost:8080/x", 2, 2),
            ("example.com", 15, 9)
        ]
    );
    let ProbeSpec::Http(spec) = &settings.targets[2].probe else {
        panic!("{:?}", settings.targets[2]);
    };
    assert_eq!(spec.url.as_str(), "http://localhost:8080/x");
    let ProbeSpec::Icmp(spec) = &settings.targets[0].probe else {
        panic!("{:?}", settings.targets[0]);
    };
    assert_eq!(spec.payload_bytes, 100);
}

fn echo(target: &ConfiguredTarget) -> &IcmpSpec {
    let ProbeSpec::Icmp(spec) = &target.probe else {
        panic!("{target:?}");
    };
    spec
}

fn connect(target: &ConfiguredTarget) -> &TcpSpec {
    let ProbeSpec::Tcp(spec) = &target.probe else {
        panic!("{target:?}");
    };
    spec
}

#[test]
fn a_target_has_the_options_of_its_entry_and_of_mesh_only_the_payload() {
    let text = "mesh: {payload: 100, dscp: ef, ttl: 9, interface: eth9, dont_fragment: true, reply_ttl: true, family: ipv6}
prober_targets:
  - {prober_type: icmp, region: a, target: 192.0.2.1}
  - {prober_type: icmp, region: a, target: name.example.com, payload: 0, family: ipv4, interface: eth1, dscp: af41, ttl: 255,
     dont_fragment: true, reply_ttl: true}
  - {prober_type: tcp, region: a, target: '192.0.2.1:443', dscp: 1, source_ports: [40000, 40010-40012]}";
    let settings = parse(text);
    assert_eq!(
        *echo(&settings.targets[0]),
        IcmpSpec::new("192.0.2.1".parse().unwrap(), 100)
    );
    let packet = PacketOptions {
        family: Some(Family::V4),
        source: None,
        interface: Some("eth1".parse().unwrap()),
        dscp: 34,
        ttl: Some(255),
        dont_fragment: true,
    };
    let host = "name.example.com".parse().unwrap();
    let asked = IcmpSpec {
        host,
        payload_bytes: 0,
        packet,
        reply_ttl: true,
    };
    assert_eq!(*echo(&settings.targets[1]), asked);
    let tcp = connect(&settings.targets[2]);
    assert_eq!(tcp.packet.dscp, 1);
    assert_eq!(tcp.source_ports, [40_000, 40_010, 40_011, 40_012]);
    let mesh = PacketOptions {
        family: Some(Family::V6),
        interface: Some("eth9".parse().unwrap()),
        dscp: 46,
        ttl: Some(9),
        dont_fragment: true,
        ..PacketOptions::default()
    };
    assert_eq!((settings.mesh.packet, settings.mesh.reply_ttl), (mesh, true));
}

#[test]
fn with_both_families_a_host_name_becomes_two_targets() {
    let text = "prober_targets:
  - {prober_type: icmp, region: a, target: [one.example.com, two.example.com], family: both}
  - {prober_type: tcp, region: a, target: ['one.example.com:443'], family: both, source_ports: 40000-40001}";
    let targets = parse(text).targets;
    let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "one.example.com/ipv4",
            "one.example.com/ipv6",
            "two.example.com/ipv4",
            "two.example.com/ipv6",
            "one.example.com:443/ipv4",
            "one.example.com:443/ipv6"
        ]
    );
    assert_eq!(echo(&targets[0]).host, "one.example.com".parse().unwrap());
    assert_eq!(echo(&targets[0]).packet.family, Some(Family::V4));
    assert_eq!(echo(&targets[1]).packet.family, Some(Family::V6));
    assert_eq!(connect(&targets[5]).packet.family, Some(Family::V6));
    assert_eq!(connect(&targets[5]).source_ports, [40_000, 40_001]);
}

#[test]
fn a_source_settles_the_family() {
    let settings = parse(
        "mesh: {source: 'fd00::7'}
prober_targets: [{prober_type: icmp, region: a, target: name.example.com, source: '::ffff:192.0.2.7'}]",
    );
    assert_eq!(settings.mesh.packet.family, Some(Family::V6));
    let packet = &echo(&settings.targets[0]).packet;
    assert_eq!(packet.family, Some(Family::V4));
    assert_eq!(packet.source, Some("192.0.2.7".parse().unwrap()));
}

#[test]
fn an_option_that_no_mesh_probe_uses_is_told() {
    for (text, told) in [
        (
            "probes: tcp, reply_ttl: true",
            "mesh.reply_ttl: belongs to icmp only: remove it or add icmp to mesh.probes",
        ),
        (
            "source_ports: 1",
            "mesh.source_ports: belongs to tcp only: remove it or add tcp to mesh.probes",
        ),
    ] {
        assert_eq!(problems(&format!("mesh: {{{text}}}")), format!("planner.yml:1: {told}"));
    }
    parse("mesh: {probes: [tcp], payload: 56, reply_ttl: false, source_ports: 40000-40007}");
}

#[test]
fn one_address_may_stand_in_two_regions() {
    let text = "prober_targets:
  - {prober_type: icmp, region: a, target: [10.0.0.1]}
  - {prober_type: icmp, region: b, target: [10.0.0.1]}";
    assert_eq!(parse(text).targets.len(), 2);
}

#[test]
fn aliases_stand_for_what_they_point_at() {
    let text = "lines:
  - {name: a, between: &ends [hk, sg]}
  - {name: b, between: *ends}";
    let lines = parse(text).lines;
    assert_eq!(lines[0].between, lines[1].between);
}

#[test]
fn overrides_win_and_name_their_flag() {
    let flag = |value: &str| {
        Some(crate::Override {
            value: value.to_owned(),
            origin: "--rpc.listen-address".to_owned(),
        })
    };
    let mut overrides = PlannerOverrides {
        rpc_listen_addr: flag("127.0.0.1:0"),
        ..PlannerOverrides::default()
    };
    let settings = PlannerSettings::parse_with("planner.yml", OLD_FILE, &overrides).unwrap();
    assert_eq!(settings.rpc_listen_addr, "127.0.0.1:0".parse().unwrap());
    assert_eq!(settings.metrics_listen_addr, "[::]:6002".parse().unwrap());
    overrides.rpc_listen_addr = flag("6001");
    let problems = PlannerSettings::parse_with("planner.yml", "", &overrides).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "planner.yml: --rpc.listen-address: \"6001\" is not a listen address: use :PORT, IPv4:PORT or [IPv6]:PORT"
    );
}

#[test]
fn everything_wrong_is_told_at_once() {
    insta::assert_snapshot!(problems(include_str!("../testdata/very_wrong_planner.yml")));
}

#[test]
fn what_is_no_document_of_ours_is_one_problem() {
    let bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\n\
                c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\n\
                e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\nf: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e, *e]";
    let deep = "[".repeat(10_000);
    let texts = [
        "mesh: [",
        "mesh:\n\t- b",
        "text",
        "[]",
        "mesh: !icmp x",
        "? [1]\n: 2",
        "a: 1\n---\nb: 2",
        "\u{0}",
        "&a [*a]",
        "mesh:\n  <<: {payload: 5}",
        "mesh: *unknown",
        bomb,
        &deep,
    ];
    let told: Vec<String> = texts.into_iter().map(problems).collect();
    insta::assert_snapshot!(told.join("\n"));
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
        drop(PlannerSettings::parse("planner.yml", &text));
    }

    #[test]
    fn no_damage_to_a_file_makes_the_reader_panic(
        cuts in prop::collection::vec((0..SAMPLE.len(), 0..20_usize, "[-a-z0-9:#%&*!<>\\[\\]{},'\"?|\\n\\t ~]{0,6}"), 1..4),
    ) {
        let mut text = with_examples(SAMPLE);
        for (start, length, insert) in cuts {
            let start = start.min(text.len());
            let end = (start + length).min(text.len());
            text.replace_range(start..end, &insert);
        }
        if let Err(problems) = PlannerSettings::parse("planner.yml", &text) {
            prop_assert!(!problems.problems.is_empty());
            prop_assert_eq!(problems.to_string().lines().count(), problems.problems.len());
        }
    }
}
