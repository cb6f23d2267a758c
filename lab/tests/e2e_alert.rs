//! A line over its budget is told, in time and with everything that its owner needs; nothing else is.

#![expect(clippy::unwrap_used, reason = "what the tests share fails them, too")]

use std::time::{Duration, Instant};

use xprober_lab::servers::http::{Behaviour, HttpTarget};
use xprober_lab::stack::{Database, Stack, StackPlan};
use xprober_lab::testing::in_lab;
use xprober_lab::told::{self, Told};
use xprober_lab::topology::Topology;
use xprober_lab::world::Lab;

/// Until something that takes seconds has happened on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);
/// From the break of a line to the message about it: what xprober promises with its default settings.
const PROMISE: Duration = Duration::from_mins(1);
/// From the repair to the message about that: the window and its evaluation, then Alertmanager's `group_interval`.
const REPAIR_LIMIT: Duration = Duration::from_mins(2);
/// Nothing else may come for so long after the alert: longer than `for` of the alerts on latency and reachability.
const QUIET: Duration = Duration::from_secs(30);
/// Added to the round-trip time of the line, whose budget allows 5 ms.
const BREAK_BY: Duration = Duration::from_millis(30);

const ALERT: &str = "LineLatencyOverBudget";
const BOTH_DIRECTIONS: [[&str; 3]; 2] = [[ALERT, "region-a", "region-b"], [ALERT, "region-b", "region-a"]];

/// Starts the chain as users do, with every default, and waits until every line is judged and none is over its budget.
async fn start(lab: &Lab, database: Database) -> Stack {
    let stack = Stack::start(lab, &StackPlan::new(lab, database), |_| ()).await.unwrap();
    stack
        .wait_for("line:xprober_over_budget:ratio_30s == 0", LIMIT, |lines| {
            lines.len() == 12
        })
        .await
        .unwrap();
    stack
}

/// Waits for the first message that tells this alert, or its end.
async fn wait_for(stack: &Stack, what: [&str; 3], resolved: bool, limit: Duration) -> Told {
    let fits = |one: &Told| one.what() == what && one.resolved == resolved;
    let message = stack
        .sink
        .wait_for(limit, |message| told::alerts(message).iter().any(fits))
        .await
        .unwrap();
    told::alerts(&message).into_iter().find(fits).unwrap()
}

fn assert_everything_is_told(told: &Told) {
    let labels = [
        ("line", "a-b-1"),
        ("circuit", "LAB-1"),
        ("carrier", "lab"),
        ("owner", "netops"),
        ("severity", "critical"),
    ];
    for (name, value) in labels {
        assert_eq!(told.label(name), value, "{name} of {}", told.alert);
    }
    let share: f64 = told.annotation("value").trim_end_matches('%').parse().unwrap();
    assert!(share > 50.0 && share <= 100.0, "{}", told.alert);
    assert!(told.annotation("summary").contains("a-b-1"), "{}", told.alert);
    // The budget that was exceeded: the matrix' 10 ms and the 5 ms that the lab allows.
    assert!(told.annotation("description").contains("15ms"), "{}", told.alert);
}

fn start_web(lab: &Lab) -> [HttpTarget; 2] {
    [
        lab.http_target("web1", Behaviour::default()).unwrap(),
        lab.https_target("web2", Behaviour::default()).unwrap(),
    ]
}

async fn stop(stack: Stack, web: [HttpTarget; 2]) {
    stack.stop().await.unwrap();
    for target in web {
        target.stop().await;
    }
}

/// Slows the line down and waits until both directions were told, in time.
async fn assert_break_is_told(lab: &Lab, stack: &Stack) {
    assert_eq!(told::all(&stack.sink), [], "told before anything broke");
    lab.wan()
        .change_both("region-a", "region-b", |path| path.latency += BREAK_BY / 2)
        .unwrap();
    let broken = Instant::now();
    for what in BOTH_DIRECTIONS {
        let told = wait_for(stack, what, false, PROMISE + LIMIT).await;
        let after = told.at.duration_since(broken);
        assert!(after <= PROMISE, "{what:?} was told {after:?} after the break");
        assert_everything_is_told(&told);
    }
}

fn assert_nothing_else_was_told(stack: &Stack) {
    let mut others = told::all(&stack.sink);
    others.retain(|one| !BOTH_DIRECTIONS.contains(&one.what()));
    assert_eq!(others, [], "told besides the broken line");
}

#[test]
fn line_over_its_budget_is_told_within_a_minute_and_nothing_else_is() {
    in_lab(
        "line_over_its_budget_is_told_within_a_minute_and_nothing_else_is",
        Topology::demo(),
        async |lab| {
            let web = start_web(lab);
            let stack = start(lab, Database::Prometheus).await;
            assert_break_is_told(lab, &stack).await;
            // Ends early if anything else comes.
            let other = stack.sink.wait_for(QUIET, |message| {
                told::alerts(message)
                    .iter()
                    .any(|one| !BOTH_DIRECTIONS.contains(&one.what()))
            });
            drop(other.await);
            assert_nothing_else_was_told(&stack);
            lab.wan()
                .change_both("region-a", "region-b", |path| path.latency -= BREAK_BY / 2)
                .unwrap();
            for what in BOTH_DIRECTIONS {
                wait_for(&stack, what, true, REPAIR_LIMIT).await;
            }
            assert_nothing_else_was_told(&stack);
            stop(stack, web).await;
        },
    );
}

#[test]
fn vmalert_tells_a_line_over_its_budget_as_well() {
    in_lab(
        "vmalert_tells_a_line_over_its_budget_as_well",
        Topology::demo(),
        async |lab| {
            let web = start_web(lab);
            let stack = start(lab, Database::VictoriaMetrics).await;
            assert_break_is_told(lab, &stack).await;
            assert_nothing_else_was_told(&stack);
            stop(stack, web).await;
        },
    );
}
