//! The database goes away while agents measure, comes back, and has everything: every sample, once, on time.

#![expect(clippy::unwrap_used, reason = "what the tests share fails them, too")]

use std::time::Duration;

use tokio::time::Instant;
use xprober_lab::promql::Series;
use xprober_lab::stack::{Database, Stack, StackPlan, Store};
use xprober_lab::testing::in_lab;
use xprober_lab::topology::Topology;
use xprober_lab::world::Lab;

const LIMIT: Duration = Duration::from_mins(1);
/// Longer than any test, so far back as its first sample.
const WHOLE_TEST: Duration = Duration::from_hours(1);

/// What an agent says about its samples when it ends.
#[derive(Debug)]
struct Totals {
    sealed: usize,
    stale_markers: usize,
    pushed: usize,
    dropped: usize,
    left: usize,
}

impl Totals {
    fn read(log: &str) -> Self {
        let line = log.lines().find(|line| line.contains("agent stopped")).unwrap();
        let number = |name: &str| {
            let value = line
                .split_whitespace()
                .find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            value.unwrap().parse().unwrap()
        };
        Self {
            sealed: number("sealed"),
            stale_markers: number("stale_markers"),
            pushed: number("pushed"),
            dropped: number("dropped"),
            left: number("left"),
        }
    }
}

fn two_regions() -> Topology {
    Topology::new()
        .host("vm1", "region-a")
        .host("vm2", "region-a")
        .host("vm3", "region-b")
        .host("vm4", "region-b")
        .rtt("region-a", "region-b", Duration::from_millis(10))
}

async fn wait_until_all_are_up(stack: &Stack) {
    stack
        .wait_for("xprober_target_up == 1", LIMIT, |up| up.len() == 8)
        .await
        .unwrap();
}

/// Everything of an agent, and the number of samples in it.
async fn stored(stack: &Stack, agent: &str) -> (Vec<Series>, usize) {
    let selector = format!("{{job=\"xprober\", instance=\"{agent}\"}}");
    let series = stack.store.client().stored(&selector, WHOLE_TEST).await.unwrap();
    let count = series.iter().map(|one| one.points.len()).sum();
    (series, count)
}

/// Measures, takes the database away for that long, gives it back, and ends the agents.
async fn measure_through_an_outage(lab: &Lab, database: Database, outage: Duration) -> Stack {
    let mut stack = Stack::start(lab, &StackPlan::new(lab, database), |_| ()).await.unwrap();
    wait_until_all_are_up(&stack).await;
    stack.store.stop().await.unwrap();
    let back = Instant::now() + outage;
    for agent in stack.agents.values_mut() {
        agent
            .wait_log("remote write failed, trying again", outage)
            .await
            .unwrap();
    }
    tokio::time::sleep_until(back).await;
    stack.store.restart(lab).await.unwrap();
    // The back-off may have grown to 30 s.
    for agent in stack.agents.values_mut() {
        agent.wait_log("remote write works again", LIMIT).await.unwrap();
    }
    // Of now: what was said before the outage would do as well for minutes.
    let empty = "last_over_time(xprober_agent_queue_requests[10s]) <= 1";
    stack.wait_for(empty, LIMIT, |agents| agents.len() == 4).await.unwrap();
    for agent in stack.agents.values_mut() {
        assert!(agent.stop().await.unwrap().success());
    }
    if let Store::VictoriaMetrics(victoria) = &stack.store {
        victoria.flush().await.unwrap();
    }
    stack
}

/// Snapshots come every 5 s, later on a busy machine, but the outage left no hole.
fn no_snapshot_is_missing(series: &[Series], agent: &str) {
    let info = series
        .iter()
        .find(|one| one.name == "xprober_agent_build_info")
        .unwrap();
    let gaps = info.points.windows(2).map(|pair| pair[1].0 - pair[0].0);
    let widest = gaps.fold(0.0, f64::max);
    assert!(widest < 15.0, "{agent}: nothing for {widest} s");
}

#[test]
fn no_sample_is_missing_after_prometheus_was_away_for_a_minute() {
    in_lab(
        "no_sample_is_missing_after_prometheus_was_away_for_a_minute",
        two_regions(),
        async |lab| {
            let stack = measure_through_an_outage(lab, Database::Prometheus, Duration::from_mins(1)).await;
            for (name, agent) in &stack.agents {
                let totals = Totals::read(&agent.log_text());
                let (series, count) = stored(&stack, name).await;
                assert_eq!((totals.dropped, totals.left), (0, 0), "{name}: {totals:?}");
                assert_eq!(totals.sealed, totals.pushed, "{name}: {totals:?}");
                // Prometheus keeps stale markers, too, but answers no question with them.
                assert_eq!(count, totals.sealed - totals.stale_markers, "{name}: {totals:?}");
                no_snapshot_is_missing(&series, name);
            }
            stack.stop().await.unwrap();
        },
    );
}

#[test]
fn no_sample_is_missing_after_victoria_metrics_was_away() {
    in_lab(
        "no_sample_is_missing_after_victoria_metrics_was_away",
        two_regions(),
        async |lab| {
            let stack = measure_through_an_outage(lab, Database::VictoriaMetrics, Duration::from_secs(20)).await;
            for (name, agent) in &stack.agents {
                let totals = Totals::read(&agent.log_text());
                let (series, count) = stored(&stack, name).await;
                assert_eq!((totals.dropped, totals.left), (0, 0), "{name}: {totals:?}");
                assert_eq!(totals.sealed, totals.pushed, "{name}: {totals:?}");
                no_snapshot_is_missing(&series, name);
                // VictoriaMetrics shows stale markers to those who ask for what is stored.
                assert_eq!(count, totals.sealed, "{name}: {totals:?}");
                let answers = format!("sum(count_over_time({{job=\"xprober\", instance=\"{name}\"}}[1h]))");
                let answers = stack.store.client().number(&answers).await.unwrap();
                #[expect(clippy::cast_precision_loss, reason = "thousands")]
                let values = (totals.sealed - totals.stale_markers) as f64;
                assert_eq!(answers, Some(values), "{name}: {totals:?}");
            }
            stack.stop().await.unwrap();
        },
    );
}
