//! Agents and the planner come and go: what is still measured, and what ends.

#![expect(clippy::unwrap_used, reason = "what the tests share fails them, too")]

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::Instant;
use xprober_lab::promql::Series;
use xprober_lab::stack::{Database, Stack, StackPlan, planner_file};
use xprober_lab::testing::in_lab;
use xprober_lab::topology::Topology;
use xprober_lab::wan::control::PathCounts;
use xprober_lab::world::Lab;

/// Until something that takes seconds has happened on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);
/// Longer than any test so far back as its first sample.
const WHOLE_TEST: Duration = Duration::from_hours(1);
/// Short, so that a gap of half a second is a gap of two probes.
const MESH_INTERVAL_SECONDS: f64 = 0.25;

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

async fn stored(stack: &Stack, selector: &str) -> BTreeMap<(String, String), Series> {
    let series = stack.store.client().stored(selector, WHOLE_TEST).await.unwrap();
    let key = |one: &Series| {
        let label = |name: &str| one.labels.get(name).cloned().unwrap_or_default();
        (label("instance"), label("target"))
    };
    series.into_iter().map(|one| (key(&one), one)).collect()
}

#[test]
fn killed_agents_leave_every_plan_and_their_series_end() {
    in_lab(
        "killed_agents_leave_every_plan_and_their_series_end",
        regions(3),
        async |lab| {
            let mut stack = start(lab, "agents: {lease: 3s}\n").await;
            let recorded = "region_pair:xprober_target_up:ratio{source_region=\"region-c\"}";
            stack
                .wait_for(recorded, LIMIT, |answers| answers.len() == 2)
                .await
                .unwrap();

            stack.agents.get_mut("vm3").unwrap().kill().await.unwrap();
            wait_for_plan(&stack, &[("vm1", &["vm2"]), ("vm2", &["vm1"])]).await;
            wait_until_ended(&stack, "xprober_target_up{target=\"vm3\"}").await;
            let still = stack.store.client().query("xprober_target_up == 1").await.unwrap();
            assert_eq!(still.iter().filter(|one| one.label("instance") != "vm3").count(), 2);
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
            let connected = "xprober_agent_planner_connected{instance=\"vm1\"}";
            assert_eq!(stack.store.client().number(connected).await.unwrap(), Some(1.0));
            stack.stop().await.unwrap();
        },
    );
}

#[test]
fn killed_and_restarted_planner_costs_no_probe() {
    in_lab("killed_and_restarted_planner_costs_no_probe", regions(3), async |lab| {
        let mut stack = start(lab, "agents: {lease: 5s}\nmesh: {interval: 250ms}\n").await;
        wait_for_pushes(&stack, "vm1", 5).await;
        let skipped = "sum(xprober_agent_skipped_ticks_total)";
        let skipped_before = stack.store.client().number(skipped).await.unwrap();

        stack.planner.kill().await.unwrap();
        let alone = "xprober_agent_planner_connected == 0";
        stack.wait_for(alone, LIMIT, |agents| agents.len() == 3).await.unwrap();
        wait_for_pushes(&stack, "vm1", 5).await;
        stack.restart_planner(lab).await.unwrap();
        let found = "xprober_agent_planner_connected == 1";
        stack.wait_for(found, LIMIT, |agents| agents.len() == 3).await.unwrap();
        wait_for_plan(
            &stack,
            &[
                ("vm1", &["vm2", "vm3"]),
                ("vm2", &["vm1", "vm3"]),
                ("vm3", &["vm1", "vm2"]),
            ],
        )
        .await;
        // Longer than the lease: whom a young planner forgot would have left the plan by now.
        wait_for_pushes(&stack, "vm1", 7).await;

        let skipped_after = stack.store.client().number(skipped).await.unwrap();
        let skipped = skipped_after.unwrap() - skipped_before.unwrap();
        assert!(skipped <= 3.0, "{skipped} ticks were skipped");
        let snapshots = stored(&stack, "xprober_agent_build_info").await;
        let (sent, up) = (
            stored(&stack, "xprober_target_sent_total").await,
            stored(&stack, "xprober_target_up").await,
        );
        assert_eq!((sent.len(), up.len()), (6, 6));
        for ((agent, target), sent) in &sent {
            // The first probe leaves within the first interval; counting begins with it.
            let first = *sent.points.iter().find(|(_, sent)| *sent >= 1.0).unwrap();
            let last = *sent.points.last().unwrap();
            let (elapsed, probes) = (last.0 - first.0, last.1 - first.1);
            // One probe more or less, as a window may begin and end between two, and timers may be late by half of that.
            assert!(
                (probes - elapsed / MESH_INTERVAL_SECONDS).abs() <= 1.5 + skipped,
                "{agent} -> {target}: {probes} probes in {elapsed} s, {skipped} ticks skipped"
            );
            // A snapshot without the series would have ended it by a stale marker.
            let times = |series: &Series| series.points.iter().map(|(at, _)| *at).collect::<Vec<_>>();
            let up = times(&up[&(agent.clone(), target.clone())]);
            let snapshots = times(&snapshots[&(agent.clone(), String::new())]);
            let since = snapshots.iter().position(|at| *at >= up[0]).unwrap();
            let snapshots = &snapshots[since..];
            assert_eq!(up, snapshots[..up.len()], "{agent} -> {target}");
            assert!(snapshots.len() <= up.len() + 1, "{agent} -> {target} ended");
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
            let mut stack = start(lab, "agents: {lease: 3s}\n").await;
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
