//! The whole chain measures what the lab does: who probes whom, round-trip times, HTTP stages, the old names, and a ledger
//! that adds up.

#![expect(clippy::unwrap_used, reason = "what the tests share fails them, too")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use xprober_lab::ledger::Ledger;
use xprober_lab::process::find;
use xprober_lab::process::prometheus::{PROMETHEUS_PORT, Prometheus};
use xprober_lab::process::{Process, ProcessPlan};
use xprober_lab::promql::Sample;
use xprober_lab::servers::http::{Behaviour, HttpTarget};
use xprober_lab::stack::{
    Database, PLANNER_RPC_PORT, Stack, StackPlan, measured_regions, planner_file, planner_url, web_targets,
};
use xprober_lab::testing::in_lab;
use xprober_lab::topology::{Topology, WEB};
use xprober_lab::world::Lab;

/// Until a stall of a busy machine has left the windows of a minute, and they have filled again.
const LIMIT: Duration = Duration::from_mins(3);
/// Longer than any test, so far back as its first sample.
const WHOLE_TEST: Duration = Duration::from_hours(1);

/// A mean round-trip time may differ from the emulated one by this and [`RTT_RATIO`] of it. The demo, which runs what users
/// run, allows 0.5 ms and 2 %; a build without optimisation on a machine that does other things needs more. It stays
/// below the 4 ms that separate the two closest lines of the matrix.
const RTT_SLACK: f64 = 0.002;
/// See [`RTT_SLACK`].
const RTT_RATIO: f64 = 0.03;

/// What the lab spends in each HTTP stage beside the network's time.
const STAGES: [(&str, f64); 5] = [
    ("resolve", 0.040),
    ("connect", 0.080),
    ("tls", 0.120),
    ("processing", 0.160),
    ("transfer", 0.200),
];
/// A stage may differ by this: handshakes of a build without optimisation. Below the steps between [`STAGES`].
const STAGE_SLACK: f64 = 0.030;
/// Put into one stage after the other.
const EXTRA: Duration = Duration::from_millis(300);

fn seconds(name: &str) -> Duration {
    let found = STAGES.iter().find(|(stage, _)| *stage == name).unwrap();
    Duration::from_secs_f64(found.1)
}

/// Starts both web servers with the delays of [`STAGES`].
fn start_web(lab: &Lab) -> [HttpTarget; 2] {
    lab.change_dns(|dns| dns.delay = seconds("resolve"));
    for host in ["web1", "web2"] {
        lab.wan().set_syn_delay(host, seconds("connect")).unwrap();
    }
    let behaviour = Behaviour {
        tls_delay: seconds("tls"),
        processing_delay: seconds("processing"),
        transfer_delay: seconds("transfer"),
        ..Behaviour::default()
    };
    [
        lab.http_target("web1", behaviour.clone()).unwrap(),
        lab.https_target("web2", behaviour).unwrap(),
    ]
}

/// Starts the chain with a push every second and an HTTP probe every other: its deadline is its interval, and the slowest
/// takes more than a second here.
async fn start(lab: &Lab, database: Database) -> Stack {
    let mut plan = StackPlan::new(lab, database);
    plan.planner_file = planner_file(lab.topology()).replace("interval: 5s", "interval: 2s");
    plan.agent_file.push_str("push: {interval: 1s}\n");
    Stack::start(lab, &plan, |_| ()).await.unwrap()
}

/// Ordered pairs of measured regions.
fn pairs(lab: &Lab) -> BTreeSet<(String, String)> {
    let regions = measured_regions(lab.topology());
    let ordered = regions.iter().flat_map(|source| {
        let others = regions.iter().filter(move |target| *target != source);
        others.map(move |target| ((*source).to_owned(), (*target).to_owned()))
    });
    ordered.collect()
}

fn by_labels(samples: &[Sample], first: &str, second: &str) -> BTreeMap<(String, String), f64> {
    let key = |one: &Sample| (one.label(first).to_owned(), one.label(second).to_owned());
    samples.iter().map(|one| (key(one), one.value)).collect()
}

/// Waits until a recording has one value for each ordered pair, and hands them over.
async fn every_pair(lab: &Lab, stack: &Stack, expression: &str) -> Vec<Sample> {
    let pairs = pairs(lab);
    let complete = |found: &[Sample]| {
        let found: BTreeSet<_> = by_labels(found, "source_region", "target_region").into_keys().collect();
        found == pairs
    };
    stack.wait_for(expression, LIMIT, complete).await.unwrap()
}

/// Waits until every pair's mean stands on 40 probes or more.
async fn wait_for_probes(lab: &Lab, stack: &Stack) {
    every_pair(
        lab,
        stack,
        "sum by (source_region, target_region) (increase(xprober_rtt_seconds_count{probe=\"icmp\"}[1m])) >= 40",
    )
    .await;
}

/// Waits until a recording agrees with the WAN for every pair at once. `unit` turns its values into seconds. A machine that
/// stood still for a moment is forgiven when the moment has left the window; a wrong value stays wrong.
async fn wait_for_emulated_rtts(lab: &Lab, stack: &Stack, expression: &str, unit: f64) -> Vec<Sample> {
    let pairs = pairs(lab);
    let agrees = |one: &Sample| {
        let emulated = lab.wan().rtt(one.label("source_region"), one.label("target_region"));
        let emulated = emulated.unwrap().as_secs_f64();
        (one.value * unit - emulated).abs() <= RTT_SLACK + RTT_RATIO * emulated
    };
    let pleases = |found: &[Sample]| found.len() == pairs.len() && found.iter().all(agrees);
    stack.wait_for(expression, LIMIT, pleases).await.unwrap()
}

fn assert_labels(samples: &[Sample], wanted: [&str; 2]) {
    for one in samples {
        let names: Vec<_> = one.labels.keys().map(String::as_str).collect();
        let mut wanted = wanted.to_vec();
        wanted.sort_unstable();
        assert_eq!(names, wanted, "labels of {}", one.name);
    }
}

async fn assert_plan(stack: &Stack) {
    // The agents were started a moment ago: the plan is complete when the last has joined.
    stack
        .wait_for("xprober_target_sent_total{probe=\"icmp\"}", LIMIT, |found| {
            found.len() == 8 * 6
        })
        .await
        .unwrap();
    let planned = stack.planned_targets().await.unwrap();
    let names = |agents: &[&str]| -> Vec<String> {
        let mut names: Vec<_> = agents
            .iter()
            .map(|name| (*name).to_owned())
            .chain(web_targets())
            .collect();
        names.sort();
        names
    };
    assert_eq!(planned.len(), 8);
    assert_eq!(planned["vm1"], names(&["vm3", "vm4", "vm5", "vm6", "vm7", "vm8"]));
    assert_eq!(planned["vm3"], names(&["vm1", "vm2", "vm5", "vm6", "vm7", "vm8"]));

    let client = stack.store.client();
    let probed = client
        .query("xprober_target_sent_total{instance=\"vm1\",probe=\"icmp\"}")
        .await
        .unwrap();
    let probed: BTreeSet<_> = probed.iter().map(|one| one.label("target")).collect();
    assert_eq!(probed, BTreeSet::from(["vm3", "vm4", "vm5", "vm6", "vm7", "vm8"]));
    let series = client
        .query("{__name__=~\"xprober_.*\",target_region!=\"\"}")
        .await
        .unwrap();
    assert!(!series.is_empty());
    let inside: Vec<_> = series
        .iter()
        .filter(|one| one.label("source_region") == one.label("target_region"))
        .collect();
    assert!(inside.is_empty(), "probes inside a region: {inside:?}");
}

async fn assert_old_ping_names(lab: &Lab, stack: &Stack) {
    let latency = wait_for_emulated_rtts(lab, stack, "ping_latency_millonseconds", 1e-3).await;
    assert_labels(&latency, ["source_region", "target_region"]);
    for (name, value) in [("ping_packageDrop_rate", 0.0), ("ping_target_success", 1.0)] {
        let found = every_pair(lab, stack, &format!("{name} == {value}")).await;
        assert_labels(&found, ["source_region", "target_region"]);
    }
}

/// What the lab spends in a stage of a probe from a region to a URL, in seconds.
fn emulated_stage(lab: &Lab, source: &str, url: &str, stage: &str) -> f64 {
    let network = lab.wan().rtt(source, WEB).unwrap().as_secs_f64();
    let own = seconds(stage).as_secs_f64();
    match stage {
        // Plain HTTP spends no time on it.
        "tls" if url.starts_with("http:") => 0.0,
        // The name server stands on the host, and the second half of the body follows by itself.
        "resolve" | "transfer" => own,
        "tls" | "connect" | "processing" => network + own,
        unknown => unreachable!("no stage is called {unknown:?}"),
    }
}

async fn assert_old_http_names(lab: &Lab, stack: &Stack) {
    for (stage, _) in STAGES {
        let name = format!("http_{stage}Duration_millonseconds");
        let agrees = |one: &Sample| {
            let emulated = emulated_stage(lab, one.label("source_region"), one.label("addr"), stage);
            (one.value / 1e3 - emulated).abs() <= STAGE_SLACK
        };
        let found = stack.wait_for(&name, LIMIT, |found| found.len() == 8 && found.iter().all(agrees));
        assert_labels(&found.await.unwrap(), ["source_region", "addr"]);
    }
    let success = stack.wait_for("http_interface_success == 1", LIMIT, |found| found.len() == 8);
    assert_labels(&success.await.unwrap(), ["source_region", "addr"]);
}

/// Makes one stage of the HTTPS target slower, or as fast as it was.
fn slow_stage(lab: &Lab, target: &HttpTarget, stage: &str, extra: Duration) {
    let time = seconds(stage) + extra;
    match stage {
        "resolve" => lab.change_dns(|dns| dns.delay = time),
        "connect" => lab.wan().set_syn_delay("web2", time).unwrap(),
        "tls" => target.change(|behaviour| behaviour.tls_delay = time),
        "processing" => target.change(|behaviour| behaviour.processing_delay = time),
        "transfer" => target.change(|behaviour| behaviour.transfer_delay = time),
        unknown => unreachable!("no stage is called {unknown:?}"),
    }
}

/// Puts a delay into one stage after the other of the HTTPS target, and waits until the last probes of all agents have it in
/// that stage, and no other stage has moved by more than a third of it.
async fn assert_each_stage_shows_its_own_delay(lab: &Lab, stack: &Stack, target: &HttpTarget) {
    let [_, url] = web_targets();
    // Of probes that succeeded: a deadline would cut the last stage short.
    let stages =
        format!("xprober_http_stage_seconds{{target=\"{url}\"}} and on (instance, target) (xprober_http_success == 1)");
    for (slowed, _) in STAGES {
        for extra in [EXTRA, Duration::ZERO] {
            slow_stage(lab, target, slowed, extra);
            let agrees = |one: &Sample| {
                let stage = one.label("stage");
                let extra = if stage == slowed { extra } else { Duration::ZERO };
                let emulated = emulated_stage(lab, one.label("source_region"), &url, stage) + extra.as_secs_f64();
                (one.value - emulated).abs() < EXTRA.as_secs_f64() / 3.0
            };
            let pleases = |found: &[Sample]| found.len() == 8 * STAGES.len() && found.iter().all(agrees);
            let found = stack.wait_for(&stages, LIMIT, pleases).await;
            assert!(found.is_ok(), "{slowed} is {extra:?} slower: {}", found.unwrap_err());
        }
    }
}

async fn assert_ledger_balances(stack: &Stack) {
    let client = stack.store.client();
    let differences = "sum by (instance, target_region) (xprober_probes_total{probe=\"icmp\"}) \
                       - sum by (instance, target_region) (xprober_target_sent_total{probe=\"icmp\"})";
    let differences = client.query(differences).await.unwrap();
    assert_eq!(differences.len(), 8 * 3);
    assert!(differences.iter().all(|one| one.value == 0.0), "{differences:?}");
    let ledger = Ledger::read(&client, WHOLE_TEST).await.unwrap();
    assert!(ledger.snapshots() > 8 * 3 * 10, "only {} snapshots", ledger.snapshots());
    assert_eq!(ledger.gaps(), []);
}

#[test]
fn everything_measured_is_what_the_lab_does() {
    in_lab(
        "everything_measured_is_what_the_lab_does",
        Topology::demo(),
        async |lab| {
            let web = start_web(lab);
            let stack = start(lab, Database::Prometheus).await;
            assert_plan(&stack).await;
            wait_for_probes(lab, &stack).await;
            let average = "region_pair:xprober_rtt_seconds:avg_1m{probe=\"icmp\"}";
            wait_for_emulated_rtts(lab, &stack, average, 1.0).await;
            let no_loss = "region_pair:xprober_loss:ratio_1m{probe=\"icmp\"} == 0";
            every_pair(lab, &stack, no_loss).await;
            assert_old_ping_names(lab, &stack).await;
            assert_old_http_names(lab, &stack).await;
            assert_each_stage_shows_its_own_delay(lab, &stack, &web[1]).await;

            web[1].change(|behaviour| behaviour.status = 500);
            let [plain, secure] = web_targets();
            let failing = format!("http_interface_success{{addr=\"{secure}\"}} == 0");
            let failing = stack.wait_for(&failing, LIMIT, |found| found.len() == 4).await.unwrap();
            assert_labels(&failing, ["source_region", "addr"]);
            let other = format!("http_interface_success{{addr=\"{plain}\"}} == 1");
            stack.wait_for(&other, LIMIT, |found| found.len() == 4).await.unwrap();
            assert_ledger_balances(&stack).await;
            stack.stop().await.unwrap();
            for target in &web {
                target.stop().await;
            }
        },
    );
}

#[test]
fn victoria_metrics_has_the_same_pairs_and_old_names() {
    in_lab(
        "victoria_metrics_has_the_same_pairs_and_old_names",
        Topology::demo(),
        async |lab| {
            let web = start_web(lab);
            let stack = start(lab, Database::VictoriaMetrics).await;
            wait_for_probes(lab, &stack).await;
            let average = "region_pair:xprober_rtt_seconds:avg_1m{probe=\"icmp\"}";
            wait_for_emulated_rtts(lab, &stack, average, 1.0).await;
            assert_old_ping_names(lab, &stack).await;
            assert_old_http_names(lab, &stack).await;
            stack.stop().await.unwrap();
            for target in &web {
                target.stop().await;
            }
        },
    );
}

/// The file and the two flags of the tool that xprober replaces, and the one setting that is new: where samples go.
#[test]
fn the_old_file_and_flags_still_start_everything() {
    let topology = Topology::new().host("vm1", "region-a").host("vm2", "region-b").rtt(
        "region-a",
        "region-b",
        Duration::from_millis(10),
    );
    in_lab("the_old_file_and_flags_still_start_everything", topology, async |lab| {
        let mut prometheus = Prometheus::start(lab).await.unwrap();
        let file = find::repository().join("config/xprober.yml");
        let flag = format!("--config.file={}", file.display());
        let program = find::own_program("xprober-planner").unwrap();
        let mut planner = Process::start(lab.hub(), &ProcessPlan::new("planner", &program, [flag])).unwrap();
        planner.wait_ready(&planner_url("/readyz"), LIMIT).await.unwrap();
        let program = find::own_program("xprober-agent").unwrap();
        let mut agents = ["vm1", "vm2"].map(|host| (host, start_old_agent(lab, &program, host)));

        let client = prometheus.client();
        let up = "count by (source_region, target_region) (xprober_target_up{probe=\"icmp\"} == 1)";
        let failed = "sum by (source_region) (xprober_http_failures_total{target=\"http://yourdomain.com/api/xxx/xxx\",\
                      target_region=\"region2\",stage=\"resolve\",reason=\"dns\"})";
        for expression in [up, failed, "ping_target_success == 1", "http_interface_success == 0"] {
            let deadline = tokio::time::Instant::now() + LIMIT;
            while client.query(expression).await.unwrap().len() != 2 {
                assert!(tokio::time::Instant::now() < deadline, "no two answers to {expression}");
                start_again_without_region(lab, &program, &mut agents);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        let agents = agents.iter_mut().map(|(_, agent)| agent);
        for process in agents.chain([&mut planner, &mut prometheus.process]) {
            process.stop().await.unwrap();
        }
    });
}

fn start_old_agent(lab: &Lab, program: &Path, host: &str) -> Process {
    let hub = lab.hub().plan().address;
    let flag = format!("--grpc.server-address={hub}:{PLANNER_RPC_PORT}");
    let url = format!("http://{hub}:{PROMETHEUS_PORT}/api/v1/write");
    let plan = ProcessPlan::new(&format!("agent-{host}"), program, [flag]).variable("XPROBER_REMOTE_WRITE_URL", &url);
    Process::start(lab.host(host).unwrap(), &plan).unwrap()
}

/// Starts agents again that ended because their metadata service was slow: no flag says how long to wait for it, and a second
/// is little on a busy machine. What else ends an agent fails.
fn start_again_without_region(lab: &Lab, program: &Path, agents: &mut [(&str, Process)]) {
    for (host, agent) in agents {
        if agent.ended().unwrap().is_some() {
            let text = agent.log_text();
            assert!(text.contains("no region: the metadata service at"), "{text}");
            *agent = start_old_agent(lab, program, host);
        }
    }
}
