//! The real programs run in the lab with the repository's own files, and processes are controlled as tests need it.

#![expect(clippy::unwrap_used, reason = "what the tests share fails them, too")]

use std::path::Path;
use std::time::Duration;

use xprober_lab::fetch;
use xprober_lab::process::alertmanager::Alertmanager;
use xprober_lab::process::prometheus::{PROMETHEUS_PORT, Prometheus};
use xprober_lab::process::victoria::{VICTORIA_PORT, Victoria};
use xprober_lab::process::{Process, ProcessPlan};
use xprober_lab::servers::sink::Sink;
use xprober_lab::testing::in_lab;
use xprober_lab::topology::Topology;
use xprober_lab::world::Lab;

const LIMIT: Duration = Duration::from_mins(1);

fn shell(lab: &Lab, host: &str, script: &str) -> Process {
    let plan = ProcessPlan::new(&format!("shell-{host}"), Path::new("/bin/sh"), ["-c", script]);
    Process::start(lab.host(host).unwrap(), &plan.variable("GREETING", "hello")).unwrap()
}

/// Sends every alert to the sink at once.
fn alertmanager_configuration(sink: &Sink) -> String {
    format!(
        "route: {{receiver: all, group_wait: 0s, group_interval: 1s}}\n\
         receivers: [{{name: all, webhook_configs: [{{url: '{}'}}]}}]\n",
        sink.url()
    )
}

/// Waits for the alert that always fires.
async fn watchdog_arrives(sink: &Sink) {
    let is_watchdog = |alert: &serde_json::Value| alert["labels"]["alertname"] == "Watchdog";
    sink.wait_for(LIMIT, |one| one.alerts().any(is_watchdog)).await.unwrap();
}

#[test]
fn prometheus_takes_our_rules_and_its_alerts_reach_the_webhook() {
    in_lab(
        "prometheus_takes_our_rules_and_its_alerts_reach_the_webhook",
        Topology::new(),
        async |lab| {
            let sink = Sink::start(lab.hub().namespace(), 0).unwrap();
            let mut alertmanager = Alertmanager::start_with(lab, &alertmanager_configuration(&sink))
                .await
                .unwrap();
            let mut prometheus = Prometheus::start(lab).await.unwrap();
            let rules = fetch::get(&format!("http://127.0.0.1:{PROMETHEUS_PORT}/api/v1/rules"), LIMIT)
                .await
                .unwrap();
            assert!(rules.text().contains("xprober.alerts"), "{}", rules.text());
            let client = prometheus.client();
            assert_eq!(client.number("vector(4) / 2").await.unwrap(), Some(2.0));
            assert_eq!(client.query("nothing_of_that_name").await.unwrap(), []);
            assert!(client.query("(").await.unwrap_err().to_string().contains("parse error"));
            let at = client.query("time()").await.unwrap()[0].at;
            let series = client
                .query_range("vector(7)", at - 4.0, at, Duration::from_secs(2))
                .await
                .unwrap();
            assert_eq!(
                series[0].points.iter().map(|(_, value)| *value).collect::<Vec<_>>(),
                [7.0; 3]
            );
            watchdog_arrives(&sink).await;
            assert!(!alertmanager.alerts().await.unwrap().is_empty());
            prometheus.process.kill().await.unwrap();
            prometheus.restart(lab).await.unwrap();
            prometheus.process.stop().await.unwrap();
            alertmanager.process.stop().await.unwrap();
            sink.stop().await;
        },
    );
}

#[test]
fn victoria_metrics_takes_our_rules_and_its_alerts_reach_the_webhook() {
    in_lab(
        "victoria_metrics_takes_our_rules_and_its_alerts_reach_the_webhook",
        Topology::new(),
        async |lab| {
            let sink = Sink::start(lab.hub().namespace(), 0).unwrap();
            let mut alertmanager = Alertmanager::start_with(lab, &alertmanager_configuration(&sink))
                .await
                .unwrap();
            let mut victoria = Victoria::start(lab).await.unwrap();
            let import = format!("http://127.0.0.1:{VICTORIA_PORT}/api/v1/import/prometheus");
            fetch::post(&import, "text/plain", "lab_metric{a=\"b\"} 42\n", LIMIT)
                .await
                .unwrap();
            victoria.flush().await.unwrap();
            let samples = victoria.client().query("lab_metric").await.unwrap();
            assert_eq!(
                (samples[0].label("a"), samples[0].value, samples[0].name.as_str()),
                ("b", 42.0, "lab_metric")
            );
            watchdog_arrives(&sink).await;
            assert!(!victoria.rules_client().alerts().await.unwrap().is_empty());
            victoria.restart_store(lab).await.unwrap();
            victoria.stop().await.unwrap();
            alertmanager.process.stop().await.unwrap();
            sink.stop().await;
        },
    );
}

#[test]
fn shipped_alertmanager_configuration_is_accepted() {
    in_lab(
        "shipped_alertmanager_configuration_is_accepted",
        Topology::new(),
        async |lab| {
            let mut alertmanager = Alertmanager::start(lab).await.unwrap();
            alertmanager.process.stop().await.unwrap();
        },
    );
}

#[test]
fn process_lives_on_its_host_and_sees_only_what_it_should() {
    in_lab(
        "process_lives_on_its_host_and_sees_only_what_it_should",
        Topology::demo(),
        async |lab| {
            let mut process = shell(lab, "vm3", "cat /proc/net/fib_trie; env; cat /etc/resolv.conf; exit 3");
            assert_eq!(process.wait(LIMIT).await.unwrap().code(), Some(3));
            let text = process.log_text();
            assert!(
                text.contains("10.3.0.1") && text.contains("169.254.169.254") && !text.contains("10.2.0.1"),
                "{text}"
            );
            assert!(text.contains("GREETING=hello") && !text.contains("XPROBER_"), "{text}");
            assert!(text.contains("127.0.0.53"), "{text}");
            assert!(
                process
                    .check_running()
                    .unwrap_err()
                    .to_string()
                    .contains("exit status: 3")
            );
        },
    );
}

#[test]
fn processes_end_as_they_are_told() {
    in_lab("processes_end_as_they_are_told", Topology::demo(), async |lab| {
        let state = |process: &Process| {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid().unwrap())).unwrap();
            stat.split(") ").nth(1).unwrap().chars().next().unwrap()
        };
        let mut polite = shell(
            lab,
            "vm1",
            "trap 'echo drained; exit 0' TERM; echo ready; while :; do sleep 0.01; done",
        );
        polite.wait_log("ready", LIMIT).await.unwrap();
        polite.freeze().unwrap();
        while state(&polite) != 'T' {
            tokio::task::yield_now().await;
        }
        polite.thaw().unwrap();
        assert!(polite.stop().await.unwrap().success());
        assert!(polite.log_text().contains("drained"));
        let mut namesake = shell(lab, "vm1", "echo again");
        namesake.wait(LIMIT).await.unwrap();
        assert_eq!(
            namesake.log_text(),
            "again\n",
            "what the earlier one wrote is not its own"
        );
        assert!(polite.log_text().ends_with("drained\nagain\n"));
        let mut killed = shell(lab, "vm2", "trap '' TERM; echo ready; while :; do sleep 0.01; done");
        killed.wait_log("ready", LIMIT).await.unwrap();
        assert_eq!(killed.kill().await.unwrap().code(), None);
        assert!(killed.pid().is_none());
    });
}
