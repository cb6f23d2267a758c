//! What people type, and what help promises them.

use std::ffi::OsStr;
use std::num::NonZeroU32;
use std::time::Duration;

use xprober_config::agent::{AgentOverrides, IcmpBackend};
use xprober_proto::{Family, PacketOptions};

use super::settings::{first_folder, variable};
use super::*;
use crate::ping::Ping;

fn parsed(line: &str) -> Result<Verb, clap::Error> {
    parse(line.split_whitespace().map(OsString::from))
}

fn overrides(line: &str) -> AgentOverrides {
    match parsed(line) {
        Ok(Verb::Run(args)) => args.settings.overrides(),
        other => unreachable!("{line} is no run: {other:?}"),
    }
}

#[test]
fn run_is_the_default_verb_and_takes_the_old_tools_flag() {
    let flags = "--grpc.server-address=10.0.0.1:6001 --remote-write.url=http://tsdb:9090/api/v1/write";
    let short = overrides(&format!("xprober-agent {flags}"));
    assert_eq!(short, overrides(&format!("xprober-agent run {flags}")));
    let address = short.grpc_server_address.unwrap();
    assert_eq!(address.value, "10.0.0.1:6001");
    assert_eq!(address.origin, "--grpc.server-address");
}

#[test]
fn variables_are_named_after_their_flags() {
    let mut command = command();
    command.build();
    let mut seen = 0;
    for argument in command.get_arguments() {
        let Some(env) = argument.get_env() else { continue };
        assert_eq!(env.to_str().unwrap(), variable(argument.get_long().unwrap()));
        seen += 1;
    }
    assert_eq!(seen, 14);
}

#[test]
fn the_state_folder_is_the_first_that_systemd_names() {
    let first = |folders: &str| first_folder(OsStr::new(folders));
    assert_eq!(first("/var/lib/a:/var/lib/b"), Some("/var/lib/a".into()));
    assert_eq!(first("/var/lib/a"), Some("/var/lib/a".into()));
    assert_eq!(first(""), None);
}

fn ping(line: &str) -> anyhow::Result<Ping> {
    match parsed(line) {
        Ok(Verb::Ping(args)) => args.ping(),
        other => unreachable!("{line} is no ping: {other:?}"),
    }
}

#[test]
fn ping_takes_every_option_of_a_packet_with_the_letters_of_ping() {
    let long = "--count=0 --interval=200ms --timeout=2s --payload=1472 --ipv6 --ttl=3 --interface=eth0";
    let short = "-c 0 -i 200ms -W 2s -s 1472 -6 -t 3 -I eth0";
    let rest = "--source=fd00::1 --dscp=ef --dont-fragment --backend=portable";
    for options in [long, short] {
        let ping = ping(&format!(
            "xprober-agent ping fd00::2 a.example.com fd00::2 {options} {rest}"
        ))
        .unwrap();
        let hosts: Vec<_> = ping.hosts.iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["fd00::2", "a.example.com"], "each once");
        assert_eq!(
            (ping.count, ping.payload_bytes, ping.backend),
            (None, 1472, IcmpBackend::Portable)
        );
        let times = (Duration::from_millis(200), Duration::from_secs(2));
        assert_eq!((ping.interval, ping.timeout), times);
        let expected = PacketOptions {
            family: Some(Family::V6),
            source: "fd00::1".parse().ok(),
            interface: "eth0".parse().ok(),
            dscp: 46,
            ttl: Some(3),
            dont_fragment: true,
        };
        assert_eq!(ping.packet, expected);
    }
}

#[test]
fn the_source_of_a_ping_settles_its_family() {
    let settled = ping("xprober-agent ping a.example.com -S 10.0.0.1").unwrap();
    assert_eq!(settled.packet.family, Some(Family::V4));
    assert_eq!(settled.count, NonZeroU32::new(5));
    let refused = ping("xprober-agent ping a.example.com -S 10.0.0.1 -6").unwrap_err();
    assert_eq!(refused.to_string(), "--source: 10.0.0.1 is no ipv6 address");
}

#[test]
fn bad_usage_is_refused() {
    for line in [
        "xprober-agent --no-such-flag",
        "xprober-agent dance",
        "xprober-agent http",
        "xprober-agent ping",
        "xprober-agent ping $(id)",
        "xprober-agent ping 1.2.3",
        "xprober-agent ping ::1 --interval=0s",
        "xprober-agent ping ::1 --interval=2d",
        "xprober-agent ping ::1 --timeout=2m",
        "xprober-agent ping ::1 --ttl=0",
        "xprober-agent ping ::1 --dscp=64",
        "xprober-agent ping ::1 --interface=a/b",
        "xprober-agent ping ::1 --backend=windows",
        "xprober-agent ping ::1 -4 -6",
        "xprober-agent http ftp://x/",
        "xprober-agent http http://x/ --timeout=0s",
        "xprober-agent --log.level=loud",
        "xprober-agent --region=a check",
    ] {
        assert_eq!(parsed(line).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn help_is_what_we_promise() {
    for verb in ["", "run", "check", "ping", "http"] {
        let help = parsed(&format!("xprober-agent {verb} --help")).unwrap_err();
        let text = help.to_string();
        insta::assert_snapshot!(format!("help_{}", if verb.is_empty() { "agent" } else { verb }), text);
    }
}
