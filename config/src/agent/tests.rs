use proptest::prelude::*;

use super::*;
use crate::samples::with_examples;
use crate::{LoadError, Override};

const SAMPLE: &str = include_str!("../../agent.yml");
const URL: &str = "remote_write: {url: 'http://tsdb:9090/api/v1/write'}\n";

fn parse(text: &str) -> AgentSettings {
    AgentSettings::parse("agent.yml", text, &AgentOverrides::default()).unwrap_or_else(|problems| panic!("{problems}"))
}

fn problems(text: &str) -> String {
    AgentSettings::parse("agent.yml", text, &AgentOverrides::default())
        .unwrap_err()
        .to_string()
}

fn over(origin: &str, value: &str) -> Override {
    Override {
        value: value.to_owned(),
        origin: origin.to_owned(),
    }
}

/// Everything that can be overridden.
fn all_overrides() -> AgentOverrides {
    AgentOverrides {
        grpc_server_address: Some(over("--grpc.server-address", "planner.example.com:7001")),
        remote_write_url: Some(over("--remote-write.url", "https://other/write")),
        queue_directory: Some(over("--queue.directory", "/flag")),
        state_directory: Some("/state".into()),
        region: Some(over("XPROBER_REGION", "from-env")),
        zone: Some(over("--zone", "z1")),
        agent_id: Some(over("--agent.id", "vm1")),
        probe_address: Some(over("--probe.address", "10.0.0.1, fd00::1")),
        metadata_url: Some(over("--metadata.url", "http://127.0.0.1:80")),
        icmp_backend: Some(over("--icmp.backend", "portable")),
        responder_tcp: Some(over("XPROBER_RESPONDER_TCP", "10.0.0.1:0")),
        drain_timeout: Some(over("--drain.timeout", "3s")),
    }
}

#[test]
fn two_flags_are_enough() {
    let overrides = AgentOverrides {
        grpc_server_address: Some(over("--grpc.server-address", "[fd00::1]:6001")),
        remote_write_url: Some(over("--remote-write.url", "http://tsdb/write")),
        ..AgentOverrides::default()
    };
    let settings = AgentSettings::load(None, overrides).unwrap();
    assert_eq!(settings.grpc_server_address.host, "fd00::1");
    assert_eq!(settings.grpc_server_address.port, 6001);
    assert_eq!(settings.region, None);
    assert_eq!(settings.remote_write[0].url.as_str(), "http://tsdb/write");
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let file = "grpc_server_address: planner:1\nregion: a\nzone: b\nagent_id: c\nprobe_address: 10.9.9.9\n\
                metadata: {url: 'http://m'}\ndrain_timeout: 1s\nicmp: {backend: linux}\nresponder: {tcp: ':6003'}\n\
                queue: {directory: /file}\n";
    let settings = parse(&format!("{file}{URL}"));
    assert_eq!(settings.grpc_server_address.to_string(), "planner:1");
    assert_eq!(settings.region, Some("a".parse().unwrap()));
    assert_eq!(settings.probe_addresses, ["10.9.9.9".parse::<IpAddr>().unwrap()]);
    assert_eq!(settings.drain_timeout, Duration::from_secs(1));
    assert_eq!(settings.icmp.backend, IcmpBackend::Linux);
    assert_eq!(settings.responder_tcp, Some("[::]:6003".parse().unwrap()));
    assert_eq!(settings.queue_directory, Some("/file".into()));

    let settings = AgentSettings::parse("agent.yml", &format!("{file}{URL}"), &all_overrides()).unwrap();
    assert_eq!(settings.grpc_server_address.to_string(), "planner.example.com:7001");
    assert_eq!(settings.remote_write[0].url.as_str(), "https://other/write");
    assert_eq!(settings.region, Some("from-env".parse().unwrap()));
    assert_eq!(settings.zone, Some("z1".parse().unwrap()));
    assert_eq!(settings.agent_id, Some("vm1".parse().unwrap()));
    assert_eq!(
        settings.probe_addresses,
        ["10.0.0.1".parse::<IpAddr>().unwrap(), "fd00::1".parse().unwrap()]
    );
    assert_eq!(settings.metadata.url.as_str(), "http://127.0.0.1/");
    assert_eq!(settings.drain_timeout, Duration::from_secs(3));
    assert_eq!(settings.icmp.backend, IcmpBackend::Portable);
    assert_eq!(settings.responder_tcp, Some("10.0.0.1:0".parse().unwrap()));
    assert_eq!(settings.queue_directory, Some("/flag".into()));
    // What cannot be overridden stays.
    assert_eq!(settings.limits, parse(URL).limits);
}

#[test]
fn a_wrong_flag_is_named_and_the_overridden_file_is_still_checked() {
    let mut overrides = all_overrides();
    overrides.region = Some(over("XPROBER_REGION", "a b"));
    overrides.probe_address = Some(over("--probe.address", "10.0.0.1,10.0.0.2"));
    overrides.remote_write_url = Some(over("--remote-write.url", "https://user:secret@host/"));
    overrides.drain_timeout = Some(over("--drain.timeout", "3"));
    overrides.icmp_backend = Some(over("--icmp.backend", "windows"));
    overrides.responder_tcp = Some(over("--responder.tcp", "6003"));
    let problems = AgentSettings::parse("agent.yml", "zone: a b", &overrides).unwrap_err();
    insta::assert_snapshot!(problems);
}

#[test]
fn without_a_place_for_samples_flag_and_key_are_named() {
    let told = "remote_write.url: is missing: say where samples go with --remote-write.url or the key remote_write.url, as in \
                http://prometheus:9090/api/v1/write";
    assert_eq!(problems(""), format!("agent.yml: {told}"));
    assert_eq!(
        problems("region: a\nremote_write:\n  timeout: 5s"),
        format!("agent.yml:2: {told}")
    );
    let error = AgentSettings::load(None, AgentOverrides::default()).unwrap_err();
    assert_eq!(error.to_string(), format!("agent settings: {told}"));
}

#[test]
fn a_file_that_was_named_must_exist() {
    let error = AgentSettings::load(Some("/nonexistent/agent.yml".as_ref()), all_overrides()).unwrap_err();
    assert!(matches!(error, LoadError::Read { .. }), "{error}");
    assert_eq!(error.to_string(), "cannot read /nonexistent/agent.yml");
}

#[test]
fn the_state_folder_of_the_service_manager_holds_the_queue_unless_a_key_says_otherwise() {
    let overrides = AgentOverrides {
        state_directory: Some("/state".into()),
        ..AgentOverrides::default()
    };
    let directory = |text: &str, overrides: &AgentOverrides| {
        AgentSettings::parse("agent.yml", text, overrides)
            .unwrap()
            .queue_directory
    };
    assert_eq!(directory(URL, &overrides), Some("/state".into()));
    assert_eq!(
        directory(&format!("{URL}queue: {{directory: /file}}"), &overrides),
        Some("/file".into())
    );
    assert_eq!(directory(URL, &AgentOverrides::default()), None);
}

#[test]
fn header_values_are_never_shown() {
    let text = "remote_write: {url: 'http://x/', headers: {Authorization: Bearer sesame, X-Scope-OrgID: 5}}";
    let settings = parse(text);
    assert_eq!(settings.remote_write[0].headers.len(), 2);
    assert_eq!(settings.remote_write[0].headers[0].1, "Bearer sesame");
    assert!(!format!("{settings:?}").contains("sesame"));
}

#[test]
fn everything_wrong_is_told_at_once() {
    let told = problems(include_str!("../testdata/very_wrong_agent.yml"));
    assert!(!told.contains("user:") && !told.contains("sesame"), "{told}");
    insta::assert_snapshot!(told);
}

proptest! {
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
        drop(AgentSettings::parse("agent.yml", &text, &AgentOverrides::default()));
    }

    #[test]
    fn no_flag_makes_the_reader_panic(value in "\\PC{0,60}") {
        let overrides = AgentOverrides {
            grpc_server_address: Some(over("a", &value)),
            remote_write_url: Some(over("b", &value)),
            queue_directory: Some(over("k", &value)),
            state_directory: None,
            region: Some(over("c", &value)),
            zone: Some(over("d", &value)),
            agent_id: Some(over("e", &value)),
            probe_address: Some(over("f", &value)),
            metadata_url: Some(over("g", &value)),
            drain_timeout: Some(over("h", &value)),
            icmp_backend: Some(over("i", &value)),
            responder_tcp: Some(over("j", &value)),
        };
        drop(AgentSettings::parse("", "", &overrides));
    }
}
