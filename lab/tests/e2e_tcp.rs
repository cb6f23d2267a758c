//! Agents connect to each other: TCP measures the same lines as ICMP, also where echoes are filtered, and a port that nobody
//! listens on any more reads as refused, not as lost.

#![expect(clippy::unwrap_used, reason = "what the tests share fails them, too")]

use std::time::Duration;

use xprober_lab::promql::Sample;
use xprober_lab::stack::{Database, Stack, StackPlan, planner_file};
use xprober_lab::testing::in_lab;
use xprober_lab::topology::Topology;
use xprober_lab::world::Lab;

/// Until something that takes seconds has happened on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);
/// Two agents in each of four regions, each with six targets.
const PATHS: usize = 48;
/// Ordered pairs of the four regions.
const PAIRS: usize = 12;
/// A mean may differ from the emulated one by this and [`RTT_RATIO`] of it, in a build without optimisation on a machine
/// that does other things.
const RTT_SLACK: f64 = 0.002;
/// See [`RTT_SLACK`].
const RTT_RATIO: f64 = 0.03;

async fn start(lab: &Lab) -> Stack {
    let mut plan = StackPlan::new(lab, Database::VictoriaMetrics);
    plan.planner_file = planner_file(lab.topology());
    plan.planner_file
        .push_str("mesh: {probes: [icmp, tcp], interval: 500ms}\n");
    plan.agent_file
        .push_str("push: {interval: 1s}\nresponder: {tcp: ':6003'}\n");
    Stack::start(lab, &plan, |_| ()).await.unwrap()
}

/// Makes the hosts of a region deaf to echoes.
fn filter_echoes(lab: &Lab, region: &str) {
    for host in lab.hosts().iter().filter(|host| host.plan().region == region) {
        let written = host
            .namespace()
            .run(|| std::fs::write("/proc/sys/net/ipv4/icmp_echo_ignore_all", "1"));
        written.unwrap().unwrap();
    }
}

fn agrees(lab: &Lab, one: &Sample) -> bool {
    let emulated = lab.wan().rtt(one.label("source_region"), one.label("target_region"));
    let emulated = emulated.unwrap().as_secs_f64();
    (one.value - emulated).abs() <= RTT_SLACK + RTT_RATIO * emulated
}

#[test]
fn tcp_measures_the_lines_where_echoes_are_filtered() {
    in_lab(
        "tcp_measures_the_lines_where_echoes_are_filtered",
        Topology::demo(),
        async |lab| {
            filter_echoes(lab, "region-b");
            let mut stack = start(lab).await;
            stack
                .wait_for("xprober_target_up{probe=\"tcp\"} == 1", LIMIT, |found| {
                    found.len() == PATHS
                })
                .await
                .unwrap();
            let mean = "sum by (source_region, target_region) (rate(xprober_rtt_seconds_sum{probe=\"tcp\"}[20s])) \
                        / sum by (source_region, target_region) (rate(xprober_rtt_seconds_count{probe=\"tcp\"}[20s]))";
            let right = |found: &[Sample]| found.len() == PAIRS && found.iter().all(|one| agrees(lab, one));
            stack.wait_for(mean, LIMIT, right).await.unwrap();

            let deaf = "sum by (source_region, target_region) (increase(xprober_target_received_total{probe=\"icmp\"}[10s])) == 0";
            let only_b =
                |found: &[Sample]| found.len() == 3 && found.iter().all(|one| one.label("target_region") == "region-b");
            stack.wait_for(deaf, LIMIT, only_b).await.unwrap();

            // Until its lease is over, the others go on connecting to a port that nobody listens on.
            stack.agents.remove("vm8").unwrap().kill().await.unwrap();
            let refused = "sum by (target_region) (xprober_probe_reasons_total{probe=\"tcp\",outcome=\"ok\",reason=\"refused\"}) > 0";
            let found = stack.wait_for(refused, LIMIT, |found| !found.is_empty()).await.unwrap();
            assert!(
                found.iter().all(|one| one.label("target_region") == "region-d"),
                "{found:?}"
            );
            let lost = stack
                .store
                .client()
                .query("sum(xprober_probes_total{probe=\"tcp\",outcome=\"lost\"})")
                .await
                .unwrap();
            assert!(matches!(lost.as_slice(), [one] if one.value == 0.0), "{lost:?}");
            stack.stop().await.unwrap();
        },
    );
}
