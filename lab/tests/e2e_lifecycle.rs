//! Agents and the planner come and go: what is still measured, and what ends.

#![expect(clippy::unwrap_used, reason = "what the tests share fails them, too")]

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use tokio::time::Instant;
use xprober_lab::stack::{Database, Stack, StackPlan, planner_file};
use xprober_lab::testing::in_lab;
use xprober_lab::topology::Topology;
use xprober_lab::wan::control::PathCounts;
use xprober_lab::world::Lab;

/// Until something that takes seconds has happened on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);
/// Short, so that a gap of half a second is a gap of two probes.
const MESH_INTERVAL_SECONDS: f64 = 0.25;
/// A scene in which the machine stood still is played again, so often at most.
const MOST_SCENES: usize = 3;
/// What may be skipped on a busy machine that did not stand still.
const MOST_SKIPPED: f64 = 3.0;
/// What the planner's end and return is judged by.
const JUDGED: &str = "{__name__=~\"xprober_agent_build_info|xprober_target_sent_total|xprober_target_up\"}";

/// One host in each region: every path belongs to one agent and one target.
fn regions(count: usize) -> Topology {
    let names = ["region-a", "region-b", "region-c"];
    let topology = Topology::new();
    names[..count]
        .iter()
        .enumerate()
        .fold(topology, |topology, (index, region)| {
            topology.host(&format!("vm{}", index + 1), region)
        })
}

/// Starts the chain with a push every second and waits until every path was measured.
async fn start(lab: &Lab, agents: &str) -> Stack {
    let mut plan = StackPlan::new(lab, Database::Prometheus);
    plan.planner_file = planner_file(lab.topology()) + agents;
    plan.agent_file.push_str("push: {interval: 1s}\n");
    let stack = Stack::start(lab, &plan, |_| ()).await.unwrap();
    wait_until_all_are_up(&stack).await;
    stack
}

async fn wait_until_all_are_up(stack: &Stack) {
    let agents = stack.agents.len();
    stack
        .wait_for("xprober_target_up == 1", LIMIT, |up| up.len() == agents * (agents - 1))
        .await
        .unwrap();
}

/// Waits until a question has no answer, i.e. until series have ended.
async fn wait_until_ended(stack: &Stack, expression: &str) {
    stack.wait_for(expression, LIMIT, <[_]>::is_empty).await.unwrap();
}

async fn wait_for_plan(stack: &Stack, wanted: &[(&str, &[&str])]) {
    let wanted: BTreeMap<_, Vec<_>> = wanted
        .iter()
        .map(|(agent, targets)| {
            (
                (*agent).to_owned(),
                targets.iter().map(|one| (*one).to_owned()).collect(),
            )
        })
        .collect();
    let deadline = Instant::now() + LIMIT;
    loop {
        let planned = stack.planned_targets().await.unwrap();
        if planned == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "planned: {planned:?}, wanted: {wanted:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until an agent has pushed that many samples of its own state from now on.
async fn wait_for_pushes(stack: &Stack, agent: &str, pushes: usize) {
    let info = format!("xprober_agent_build_info{{instance=\"{agent}\"}}");
    let count = format!("count_over_time({info}[1h])");
    let so_far = stack.store.client().number(&count).await.unwrap().unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let wanted = so_far + pushes as f64;
    stack
        .wait_for(&count, LIMIT, |answers| answers.iter().any(|one| one.value >= wanted))
        .await
        .unwrap();
}

/// Packets between two regions without the hub: nothing but probes and their answers.
fn probes_on_the_wire(lab: &Lab, from: &str, to: &str) -> PathCounts {
    lab.wan().counts(from, to).unwrap()
}

/// Times and values by metric, agent and target.
type Stored = BTreeMap<(String, String, String), Vec<(f64, f64)>>;

/// What came since `start` (seconds since 1970); asked for all at once, so that no push comes between.
async fn stored_since(stack: &Stack, start: f64) -> Stored {
    let window = Duration::from_secs_f64(since_1970() - start).saturating_add(Duration::from_secs(1));
    let series = stack.store.client().stored(JUDGED, window).await.unwrap();
    let in_time = series.into_iter().map(|one| {
        let label = |name: &str| one.labels.get(name).cloned().unwrap_or_default();
        let key = (one.name.clone(), label("instance"), label("target"));
        (key, one.points.into_iter().filter(|(at, _)| *at >= start).collect())
    });
    in_time.collect()
}

/// Seconds since 1970.
fn since_1970() -> f64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

async fn skipped_ticks(stack: &Stack) -> f64 {
    let skipped = "sum(xprober_agent_skipped_ticks_total)";
    stack.store.client().number(skipped).await.unwrap().unwrap()
}

#[test]
fn killed_agents_leave_every_plan_and_their_series_end() {
    in_lab(
        "killed_agents_leave_every_plan_and_their_series_end",
        regions(3),
        async |lab| {
            let mut stack = start(lab, "agents: {lease: 8s}\n").await;
            let recorded = "region_pair:xprober_target_up:ratio{source_region=\"region-c\"}";
            stack
                .wait_for(recorded, LIMIT, |answers| answers.len() == 2)
                .await
                .unwrap();

            stack.agents.get_mut("vm3").unwrap().kill().await.unwrap();
            wait_for_plan(&stack, &[("vm1", &["vm2"]), ("vm2", &["vm1"])]).await;
            wait_until_ended(&stack, "xprober_target_up{target=\"vm3\"}").await;
            let still = "xprober_target_up{instance!=\"vm3\"} == 1";
            stack.wait_for(still, LIMIT, |up| up.len() == 2).await.unwrap();
            let to_dead = probes_on_the_wire(lab, "region-a", "region-c");
            // Nobody ends these for the dead agent; the recordings stop believing them after 20 s.
            wait_until_ended(&stack, recorded).await;
            assert_eq!(probes_on_the_wire(lab, "region-a", "region-c"), to_dead);

            // Nobody is left to be probed: an empty plan is a plan.
            stack.agents.get_mut("vm2").unwrap().kill().await.unwrap();
            wait_for_plan(&stack, &[("vm1", &[])]).await;
            let targets = "xprober_agent_plan_targets{instance=\"vm1\"} == 0";
            stack.wait_for(targets, LIMIT, |found| found.len() == 1).await.unwrap();
            let on_the_wire = probes_on_the_wire(lab, "region-a", "region-b");
            wait_until_ended(
                &stack,
                "{instance=\"vm1\", __name__=~\"xprober_target_.*|xprober_rtt_.*\"}",
            )
            .await;
            wait_for_pushes(&stack, "vm1", 3).await;
            assert_eq!(probes_on_the_wire(lab, "region-a", "region-b"), on_the_wire);
            let connected = "xprober_agent_planner_connected{instance=\"vm1\"} == 1";
            stack
                .wait_for(connected, LIMIT, |found| found.len() == 1)
                .await
                .unwrap();
            stack.stop().await.unwrap();
        },
    );
}

/// Everybody probes everybody.
async fn wait_for_full_plan(stack: &Stack) {
    wait_for_plan(
        stack,
        &[
            ("vm1", &["vm2", "vm3"]),
            ("vm2", &["vm1", "vm3"]),
            ("vm3", &["vm1", "vm2"]),
        ],
    )
    .await;
}

/// Kills the planner, leaves the agents alone for a while, and starts it again.
async fn lose_planner_for_a_while(lab: &Lab, stack: &mut Stack) {
    stack.planner.kill().await.unwrap();
    let alone = "xprober_agent_planner_connected == 0";
    stack.wait_for(alone, LIMIT, |agents| agents.len() == 3).await.unwrap();
    wait_for_pushes(stack, "vm1", 5).await;
    stack.restart_planner(lab).await.unwrap();
    let found = "xprober_agent_planner_connected == 1";
    stack.wait_for(found, LIMIT, |agents| agents.len() == 3).await.unwrap();
    wait_for_full_plan(stack).await;
    // Longer than the lease: whom a young planner forgot would have left the plan by now.
    wait_for_pushes(stack, "vm1", 7).await;
}

/// Every path was probed as often as it should, and no series ended.
fn assert_no_probe_is_missing(stored: &Stored, skipped: f64) {
    let count = |name: &str| stored.keys().filter(|(one, _, _)| one == name).count();
    assert_eq!([count("xprober_target_sent_total"), count("xprober_target_up")], [6, 6]);
    for ((_, agent, target), sent) in stored
        .iter()
        .filter(|((name, _, _), _)| name == "xprober_target_sent_total")
    {
        let (first, last) = (sent[0], sent[sent.len() - 1]);
        let (elapsed, probes) = (last.0 - first.0, last.1 - first.1);
        // One probe more or less, as a window may begin and end between two; another one, as windows are closed every 200 ms,
        // nearly an interval late; timers may be late by half of that.
        assert!(
            (probes - elapsed / MESH_INTERVAL_SECONDS).abs() <= 2.5 + skipped,
            "{agent} -> {target}: {probes} probes in {elapsed} s, {skipped} ticks skipped"
        );
        // A snapshot without the series would have ended it by a stale marker.
        let times = |name: &str, target: &str| -> Vec<f64> {
            let points = &stored[&(name.to_owned(), agent.clone(), target.to_owned())];
            points.iter().map(|(at, _)| *at).collect()
        };
        let (up, snapshots) = (
            times("xprober_target_up", target),
            times("xprober_agent_build_info", ""),
        );
        assert!(
            snapshots.starts_with(&up) && snapshots.len() <= up.len() + 1,
            "{agent} -> {target} at {up:?}, snapshots at {snapshots:?}"
        );
    }
}

#[test]
fn killed_and_restarted_planner_costs_no_probe() {
    in_lab("killed_and_restarted_planner_costs_no_probe", regions(3), async |lab| {
        let mut stack = start(lab, "agents: {lease: 5s}\nmesh: {interval: 250ms}\n").await;
        let mut skipped = Vec::new();
        loop {
            wait_until_all_are_up(&stack).await;
            wait_for_full_plan(&stack).await;
            wait_for_pushes(&stack, "vm1", 5).await;
            // First and last, so that it covers all that is judged.
            let skipped_before = skipped_ticks(&stack).await;
            let start = since_1970();
            lose_planner_for_a_while(lab, &mut stack).await;
            let stored = stored_since(&stack, start).await;
            let skipped_now = skipped_ticks(&stack).await - skipped_before;
            skipped.push(skipped_now);
            if skipped_now <= MOST_SKIPPED {
                assert_no_probe_is_missing(&stored, skipped_now);
                break;
            }
            assert!(skipped.len() < MOST_SCENES, "ticks were skipped: {skipped:?}");
        }
        stack.stop().await.unwrap();
    });
}

#[test]
fn planner_that_stays_away_ends_the_probing_until_it_is_back() {
    in_lab(
        "planner_that_stays_away_ends_the_probing_until_it_is_back",
        regions(3),
        async |lab| {
            let mut stack = start(lab, "agents: {lease: 3s, plan_ttl: 6s}\n").await;
            assert!(stack.planner.stop().await.unwrap().success());
            let without = "xprober_agent_plan_targets == 0";
            stack
                .wait_for(without, LIMIT, |agents| agents.len() == 3)
                .await
                .unwrap();
            let on_the_wire = probes_on_the_wire(lab, "region-a", "region-b");
            assert!(on_the_wire.forwarded > 0);
            wait_until_ended(&stack, "{__name__=~\"xprober_target_.*|xprober_rtt_.*\"}").await;
            wait_for_pushes(&stack, "vm1", 3).await;
            assert_eq!(probes_on_the_wire(lab, "region-a", "region-b"), on_the_wire);
            for agent in stack.agents.values() {
                let log = agent.log_text();
                assert!(log.contains("probing stops\" targets=2"), "{log}");
            }
            stack.restart_planner(lab).await.unwrap();
            wait_until_all_are_up(&stack).await;
            assert!(probes_on_the_wire(lab, "region-a", "region-b").forwarded > on_the_wire.forwarded);
            stack.stop().await.unwrap();
        },
    );
}

#[test]
fn agent_that_is_told_to_stop_ends_its_series_and_loses_nothing() {
    in_lab(
        "agent_that_is_told_to_stop_ends_its_series_and_loses_nothing",
        regions(2),
        async |lab| {
            let mut stack = start(lab, "agents: {lease: 8s}\n").await;
            let agent = stack.agents.get_mut("vm1").unwrap();
            agent.signal(Signal::SIGTERM).unwrap();
            assert!(agent.wait(LIMIT).await.unwrap().success());
            let totals = agent.log_text();
            // The agent is gone, and everything it said came before that.
            let asked = Instant::now();
            let series = stack
                .store
                .client()
                .query("{job=\"xprober\", instance=\"vm1\"}")
                .await
                .unwrap();
            assert_eq!(series, [], "asked {:?} after the end", asked.elapsed());
            let totals = totals.lines().find(|line| line.contains("agent stopped")).unwrap();
            let total = |name: &str| {
                let value = totals
                    .split_whitespace()
                    .find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
                value.unwrap().parse::<u64>().unwrap()
            };
            assert!(total("sealed") > 0 && total("stale_markers") > 0, "{totals}");
            assert_eq!(total("sealed"), total("pushed") + total("dropped"), "{totals}");
            assert_eq!((total("dropped"), total("left")), (0, 0), "{totals}");
            // The other one learns it from the planner, after the lease.
            wait_for_plan(&stack, &[("vm2", &[])]).await;
            wait_until_ended(&stack, "xprober_target_up").await;
            stack.stop().await.unwrap();
        },
    );
}
