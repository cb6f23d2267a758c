//! The whole agent between a real planner stream and a real remote-write receiver.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and its scripts name only what they change"
)]

mod common;

use std::time::Duration;

use common::{TestPlanner, closed_port, database, full, icmp, identity, soon};
use tokio_util::sync::CancellationToken;
use xprober_agent::run;
use xprober_config::Override;
use xprober_config::agent::{AgentOverrides, AgentSettings};
use xprober_proto::{HttpSpec, ProbeSpec, Target};

fn settings(planner: &str, database: &str) -> AgentSettings {
    let text = format!(
        "grpc_server_address: {planner}\nremote_write: {{url: \"http://{database}/api/v1/write\"}}\n\
         push: {{interval: 300ms}}\nlimits: {{min_interval: 10ms}}\ndrain_timeout: 20s\nregion: region-a\n"
    );
    AgentSettings::parse("agent.yml", &text, &AgentOverrides::default()).unwrap()
}

fn http(url: &str) -> Target {
    Target {
        name: url.to_owned(),
        timeout: Duration::from_secs(5),
        probe: ProbeSpec::Http(HttpSpec::get(url.parse().unwrap())),
        ..icmp("http", Duration::from_millis(100))
    }
}

#[tokio::test]
async fn what_the_plan_says_is_probed_pushed_and_drained_without_loss() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut planner = TestPlanner::start().await;
    let (database, received) = database().await;
    let settings = settings(&planner.address.to_string(), &database.to_string());
    let shutdown = CancellationToken::new();
    let agent = tokio::spawn(run::run(settings, identity(), shutdown.clone()));
    let session = planner.session().await;
    // Any HTTP server will do; the receiver is one, though its status is its own affair.
    let targets = vec![
        icmp("a", Duration::from_millis(50)),
        icmp("b", Duration::from_millis(50)),
        http(&format!("http://{database}/")),
    ];
    session.say(&full(1, Duration::from_hours(1), targets)).await;

    let ok = "xprober_probes_total{outcome=ok,probe=icmp,source_region=region-a,target_region=region-b}";
    let up = "xprober_target_up{probe=icmp,source_region=region-a,target=a,target_region=region-b}";
    soon("ten echoes", async {
        while received.value(ok).is_none_or(|count| count < 10.0) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(received.value(up), Some(1.0));

    shutdown.cancel();
    let totals = soon("the drain", agent).await.unwrap().expect("a clean end").sum();
    assert!(totals.sealed > 0 && totals.stale_markers > 0);
    assert_eq!(totals.sealed, totals.pushed, "{totals:?}");
    assert_eq!(totals.pushed, received.samples(), "{totals:?}");
    let sent = |target| {
        let labels = format!("probe=icmp,source_region=region-a,target={target},target_region=region-b");
        received
            .value(&format!("xprober_target_sent_total{{{labels}}}"))
            .unwrap()
    };
    let outcomes: f64 = ["ok", "late", "lost", "unreachable", "send_error", "corrupt", "stalled"]
        .iter()
        .filter_map(|outcome| received.value(&ok.replace("=ok", &format!("={outcome}"))))
        .sum();
    assert!((sent("a") + sent("b") - outcomes).abs() < 0.5, "sent = sum of outcomes");
}

#[tokio::test]
async fn an_agent_without_planner_or_database_ends_cleanly_when_told() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ((planner, _one), (database, _other)) = (closed_port(), closed_port());
    let mut settings = settings(&planner.to_string(), &database.to_string());
    settings.drain_timeout = Duration::from_millis(500);
    let shutdown = CancellationToken::new();
    let agent = tokio::spawn(run::run(settings, identity(), shutdown.clone()));
    shutdown.cancel();
    let totals = soon("the end", agent).await.unwrap().expect("a clean end").sum();
    assert_eq!(
        totals.sealed,
        totals.pushed + totals.left + totals.dropped.values().sum::<u64>()
    );
}

#[test]
fn settings_from_flags_reach_the_agent() {
    let given = |value: &str| {
        Some(Override {
            value: value.to_owned(),
            origin: "--flag".to_owned(),
        })
    };
    let overrides = AgentOverrides {
        grpc_server_address: given("planner:6001"),
        remote_write_url: given("http://tsdb:9090/api/v1/write"),
        ..AgentOverrides::default()
    };
    let settings = AgentSettings::parse("agent settings", "", &overrides).unwrap();
    assert_eq!(settings.grpc_server_address.to_string(), "planner:6001");
}
