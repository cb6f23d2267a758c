//! A total outage reads as one: loss is 1, latency has no value, and the right alerts come and go.

#![expect(clippy::unwrap_used, reason = "what the tests share fails them, too")]

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;
use xprober_lab::ledger::Ledger;
use xprober_lab::promql::Sample;
use xprober_lab::servers::http::Behaviour;
use xprober_lab::stack::{Database, Stack, StackPlan};
use xprober_lab::testing::in_lab;
use xprober_lab::told::{self, Told};
use xprober_lab::topology::Topology;
use xprober_lab::world::Lab;

/// Until something that takes seconds has happened on a busy machine, or a window of a minute has filled.
const LIMIT: Duration = Duration::from_mins(2);
/// Between two looks at what was told.
const PAUSE: Duration = Duration::from_millis(200);
/// Longer than the test, so far back as its first sample.
const WHOLE_TEST: Duration = Duration::from_hours(1);

/// Nothing passes between the first two regions. Between the other two, one direction alone is cut: packets from region-c to
/// region-d vanish, those from region-d to region-c arrive. An echo needs both ways, so **both** ordered pairs read as lost:
/// region-c's requests never arrive, and its replies to region-d's requests never come back.
const CUT: [(&str, &str); 4] = [
    ("region-a", "region-b"),
    ("region-b", "region-a"),
    ("region-c", "region-d"),
    ("region-d", "region-c"),
];

/// Paths of an agent to a target that are cut: two agents and two targets for each ordered pair.
const CUT_PATHS: usize = CUT.len() * 4;
/// All of them: eight agents with six targets each.
const PATHS: usize = 48;
/// Ordered pairs of the four regions.
const PAIRS: usize = 12;

fn set_up(lab: &Lab, up: bool) {
    lab.wan().set_up("region-a", "region-b", up).unwrap();
    lab.wan().change("region-c", "region-d", |path| path.up = up).unwrap();
}

/// Packets that passed from this region to the other of the pair of which one direction is cut.
fn passed(lab: &Lab, from: &str) -> u64 {
    let to = if from == "region-c" { "region-d" } else { "region-c" };
    lab.wan().counts(from, to).unwrap().forwarded
}

fn is_cut(one: &Sample) -> bool {
    CUT.contains(&(one.label("source_region"), one.label("target_region")))
}

/// Waits until a question has so many answers for pairs that are cut, and so many for others.
async fn wait_for(stack: &Stack, expression: &str, cut: usize, others: usize) -> Vec<Sample> {
    let pleases = |found: &[Sample]| {
        let of_cut = found.iter().filter(|one| is_cut(one)).count();
        of_cut == cut && found.len() - of_cut == others
    };
    stack.wait_for(expression, LIMIT, pleases).await.unwrap()
}

/// What was told beginning or over, in the messages that came after the first `skipped`.
fn told_since(stack: &Stack, skipped: usize, resolved: bool) -> Vec<Told> {
    let messages = stack.sink.received();
    let all = messages[skipped..].iter().flat_map(|message| told::alerts(message));
    all.filter(|one| one.resolved == resolved).collect()
}

/// Alert, source and target region of the same.
fn told(stack: &Stack, skipped: usize, resolved: bool) -> BTreeSet<[String; 3]> {
    let told = told_since(stack, skipped, resolved);
    told.iter().map(|one| one.what().map(str::to_owned)).collect()
}

async fn wait_until_told(stack: &Stack, skipped: usize, resolved: bool) {
    let expected = BTreeSet::from(CUT.map(|(source, target)| ["PairUnreachable", source, target].map(str::to_owned)));
    let deadline = Instant::now() + LIMIT;
    while !told(stack, skipped, resolved).is_superset(&expected) {
        let told = told(stack, skipped, resolved);
        assert!(Instant::now() < deadline, "resolved: {resolved}, told: {told:?}");
        tokio::time::sleep(PAUSE).await;
    }
    assert_eq!(told(stack, skipped, resolved), expected);
    for one in told_since(stack, skipped, resolved) {
        assert_eq!(one.label("owner"), "netops", "{}", one.alert);
    }
}

async fn assert_all_is_well(stack: &Stack) {
    for (expression, answers) in [
        ("ping_packageDrop_rate == 0", PAIRS),
        ("ping_target_success == 1", PAIRS),
        ("ping_latency_millonseconds", PAIRS),
        ("region_pair:xprober_rtt_seconds:avg_1m{probe=\"icmp\"}", PAIRS),
        ("xprober_target_rtt_avg_seconds{probe=\"icmp\"}", PATHS),
        ("xprober_target_up{probe=\"icmp\"} == 1", PATHS),
    ] {
        stack
            .wait_for(expression, LIMIT, |found| found.len() == answers)
            .await
            .unwrap();
    }
}

/// While the lines are cut.
async fn assert_outage(stack: &Stack, told_before: usize) {
    let (cut, pairs) = (CUT.len(), PAIRS - CUT.len());
    // The next push says it for every single path, and has no last healthy value.
    wait_for(stack, "xprober_target_up{probe=\"icmp\"} == 0", CUT_PATHS, 0).await;
    for name in ["rtt_min", "rtt_avg", "rtt_max", "jitter"] {
        let expression = format!("xprober_target_{name}_seconds{{probe=\"icmp\"}}");
        wait_for(stack, &expression, 0, PATHS - CUT_PATHS).await;
    }
    // A window that lies in the outage: probes leave as before, one each second, and none comes back.
    let sent = "increase(xprober_target_sent_total{probe=\"icmp\"}[20s]) > 15";
    let none_received = "(increase(xprober_target_received_total{probe=\"icmp\"}[20s]) == 0) \
                         and (count_over_time(xprober_target_received_total{probe=\"icmp\"}[20s]) >= 3)";
    wait_for(stack, none_received, CUT_PATHS, 0).await;
    wait_for(stack, sent, CUT_PATHS, PATHS - CUT_PATHS).await;

    wait_for(stack, "ping_packageDrop_rate == 100", cut, 0).await;
    wait_for(stack, "ping_target_success == 0", cut, 0).await;
    wait_for(stack, "ping_latency_millonseconds", 0, pairs).await;
    wait_until_told(stack, told_before, false).await;
    wait_for(
        stack,
        "region_pair:xprober_rtt_seconds:avg_1m{probe=\"icmp\"}",
        0,
        pairs,
    )
    .await;
    wait_for(stack, "region_pair:xprober_loss:ratio_1m{probe=\"icmp\"} == 1", cut, 0).await;
    wait_for(
        stack,
        "region_pair:xprober_loss:ratio_1m{probe=\"icmp\"} == 0",
        0,
        pairs,
    )
    .await;
    wait_for(stack, "ping_packageDrop_rate == 0", 0, pairs).await;
    wait_for(stack, "ping_target_success == 1", 0, pairs).await;
}

async fn assert_ledger_balances(stack: &Stack) {
    let client = stack.store.client();
    let ledger = Ledger::read(&client, WHOLE_TEST).await.unwrap();
    // Eight agents with three regions each, and a push every five seconds for more than a minute.
    assert!(ledger.snapshots() > 24 * 12, "only {} snapshots", ledger.snapshots());
    assert_eq!(ledger.gaps(), []);
}

#[test]
fn an_outage_reads_as_one_and_everything_returns_after_it() {
    in_lab(
        "an_outage_reads_as_one_and_everything_returns_after_it",
        Topology::demo(),
        async |lab| {
            let web = [
                lab.http_target("web1", Behaviour::default()).unwrap(),
                lab.https_target("web2", Behaviour::default()).unwrap(),
            ];
            let stack = Stack::start(lab, &StackPlan::new(lab, Database::Prometheus), |_| ())
                .await
                .unwrap();
            assert_all_is_well(&stack).await;
            // Rules that ran before the first samples came may have said so on a slow machine.
            let told_before = stack.wait_until_quiet(LIMIT).await.unwrap();
            assert_all_is_well(&stack).await;
            assert_eq!(told(&stack, told_before, false), BTreeSet::new());

            set_up(lab, false);
            let before = ["region-c", "region-d"].map(|from| passed(lab, from));
            assert_outage(&stack, told_before).await;
            let after = ["region-c", "region-d"].map(|from| passed(lab, from));
            // Some packets may have been decided about while the path was being cut.
            assert!(after[0] - before[0] <= 8, "{before:?} and {after:?} left region-c");
            // The direction that was left alone still carries four requests every second.
            assert!(after[1] - before[1] >= 100, "{before:?} and {after:?} left region-d");

            set_up(lab, true);
            assert_all_is_well(&stack).await;
            wait_until_told(&stack, told_before, true).await;
            // Also not after the repair: neither for other pairs nor, with a window full of losses, for these.
            assert_eq!(told(&stack, told_before, false), told(&stack, told_before, true));
            assert_ledger_balances(&stack).await;
            stack.stop().await.unwrap();
            for target in &web {
                target.stop().await;
            }
        },
    );
}
