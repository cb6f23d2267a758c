//! What a snapshot says, and what it does not say.

use std::sync::Arc;
use std::time::Instant;

use prost::Message as _;
use xprober_config::agent::Detail;
use xprober_proto::remote_write::TimeSeries;
use xprober_proto::{ProbeKind, ProbeSpec, Revision, Target};

use super::catalogue::Scope;
use super::series::{Sample, SampleValue, SeriesSet};
use super::*;
use crate::ledger::Ledger;
use crate::ledger::tests::{echo, http, line, target};
use crate::plan::Change;
use crate::probe::{EchoResult, HttpFailure};
use crate::push::FailureReason;
use crate::queue::{Storage, Trouble};

pub(crate) fn agent(now: Instant) -> AgentState {
    AgentState {
        version: "1.2.3",
        plan: PlanStatus {
            connected: true,
            revision: Revision(7),
            targets: 2,
            last_heard: now.checked_sub(Duration::from_secs(3)),
            rejected: [("forbidden", 1)].into(),
        },
        max_lateness: Duration::from_micros(250),
        skipped_ticks: 4,
        engine: EngineCounters {
            gaps: 1,
            gap_time: Duration::from_millis(3200),
            receive_drops: 5,
            unstamped: 6,
        },
        endpoints: vec![endpoint()],
    }
}

fn endpoint() -> EndpointState {
    let mut push = PushStatus {
        partly_rejected: 2,
        last_success: Some(Duration::from_secs(1_800_000_001)),
        ..PushStatus::default()
    };
    push.failures.count(FailureReason::Tls);
    EndpointState {
        name: "default".to_owned(),
        queue: QueueStatus {
            storage: Storage::Degraded(Trouble::NoSpace),
            ..QueueStatus::default()
        },
        sealed: 100,
        stale_markers: 1,
        push,
    }
}

/// A ledger with one target of each kind and one line, each with something counted.
pub(crate) fn full_ledger(now: Instant) -> Ledger {
    let mut ledger = Ledger::default();
    let mut vm3 = Target::clone(&target("1", "region-b", "vm3", ProbeKind::Icmp));
    if let ProbeSpec::Icmp(icmp) = &mut vm3.probe {
        icmp.reply_ttl = true;
    }
    let vm3 = Arc::new(vm3);
    let page = target("2", "region-c", "https://h/", ProbeKind::Http);
    for target in [&vm3, &page] {
        ledger.apply(&Change::Upsert(Arc::clone(target)));
    }
    ledger.apply(&Change::Lines([line("a-b-1", "region-b", 10)].into()));
    for (outcome, rtt) in [(Outcome::Ok, 9), (Outcome::Ok, 12), (Outcome::Lost, 0)] {
        ledger.record_echo(&EchoResult {
            reply_ttl: outcome.received().then_some(58),
            ..echo(&vm3, outcome, rtt)
        });
    }
    ledger.record_missed(&vm3, 2);
    let failure = HttpFailure {
        stage: Stage::Processing,
        reason: HttpReason::Timeout,
    };
    ledger.record_http(&http(&page, Some(failure)));
    let mut last = http(&page, None);
    last.tls_not_after = Some(1_900_000_000);
    ledger.record_http(&last);
    ledger.close_window(now);
    ledger
}

fn said<'a>(ledger: &'a Ledger, agent: &'a AgentState, now: Instant) -> Vec<Group<'a>> {
    snapshot(ledger, agent, Detail::Target, now).collect()
}

/// The series of a snapshot, decoded, with their values.
fn stamped(groups: &[Group<'_>]) -> Vec<(TimeSeries, f64)> {
    let mut set = SeriesSet::new(["xprober", "vm1", "region-a"].map(str::to_owned), 0);
    set.begin(0);
    let mut all = Vec::new();
    for group in groups {
        let samples = set.stamp(group).iter();
        all.extend(samples.map(|sample| (TimeSeries::decode(sample.labels).unwrap(), number(&sample))));
    }
    all
}

fn number(sample: &Sample<'_>) -> f64 {
    match sample.value {
        SampleValue::Number(value) | SampleValue::Classic(value) => value,
        SampleValue::Native(message) => panic!("a native histogram that nobody asked for: {message:?}"),
    }
}

/// One line per series as Prometheus shows it: `name{label="value",...} value`.
fn exposition(groups: &[Group<'_>]) -> Vec<String> {
    let lines = stamped(groups).into_iter().map(|(series, value)| {
        let (name, labels): (Vec<_>, Vec<_>) = series.labels.iter().partition(|label| label.name == "__name__");
        let labels: Vec<String> = labels.iter().map(|l| format!("{}={:?}", l.name, l.value)).collect();
        format!("{}{{{}}} {value}", name[0].value, labels.join(","))
    });
    lines.collect()
}

fn names(groups: &[Group<'_>]) -> Vec<&'static str> {
    let values = groups.iter().flat_map(|group| &group.values);
    values.map(|value| value.metric.name).collect()
}

#[test]
fn a_full_snapshot_reads_like_this() {
    let now = Instant::now();
    let lines = exposition(&said(&full_ledger(now), &agent(now), now));
    // One bucket of 47 is enough for people.
    let shown: Vec<String> = lines
        .into_iter()
        .filter(|line| !line.contains("_bucket") || line.contains("le=\"0.01\"") || line.contains("+Inf"))
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn a_full_snapshot_says_everything_that_is_declared() {
    let now = Instant::now();
    let said = names(&said(&full_ledger(now), &agent(now), now));
    for metric in catalogue::ALL {
        assert!(
            said.contains(&metric.name),
            "{} is declared and never said",
            metric.name
        );
    }
}

#[test]
fn every_series_carries_the_labels_of_its_declaration_and_no_other() {
    let now = Instant::now();
    let (ledger, agent) = (full_ledger(now), agent(now));
    let groups = said(&ledger, &agent, now);
    let values = groups.iter().flat_map(|group| &group.values);
    for ((series, _), value) in stamped(&groups).into_iter().zip(values) {
        for label in series.labels.iter().filter(|label| label.name != "__name__") {
            assert!(value.metric.all_labels().any(|name| name == label.name), "{series:?}");
        }
        // The carrier of the line is empty, `le` belongs to buckets.
        let optional = |name: &str| name == "carrier" || name == "le";
        for name in value.metric.all_labels().filter(|name| !optional(name)) {
            assert!(
                series.labels.iter().any(|label| label.name == name),
                "{name} in {series:?}"
            );
        }
    }
}

#[test]
fn region_detail_leaves_out_echo_targets_and_keeps_everything_else() {
    let now = Instant::now();
    let (ledger, agent) = (full_ledger(now), agent(now));
    let all = names(&said(&ledger, &agent, now));
    let some = names(&snapshot(&ledger, &agent, Detail::Region, now).collect::<Vec<_>>());
    let left_out: Vec<_> = all.into_iter().filter(|name| !some.contains(name)).collect();
    assert!(
        left_out.iter().all(|name| name.starts_with("xprober_target_")),
        "{left_out:?}"
    );
    assert_eq!(left_out.len(), 8);
}

#[test]
fn a_target_without_a_closed_probe_has_counters_and_no_state() {
    let now = Instant::now();
    let mut ledger = Ledger::default();
    for (id, kind) in [("1", ProbeKind::Icmp), ("2", ProbeKind::Http)] {
        ledger.apply(&Change::Upsert(target(id, "region-b", id, kind)));
    }
    ledger.close_window(now);
    let agent = agent(now);
    let mut of_targets = said(&ledger, &agent, now);
    of_targets.retain(|group| group.subject.scope() == Scope::Target);
    let expected = [
        "xprober_target_sent_total",
        "xprober_target_received_total",
        "xprober_http_probes_total",
    ];
    assert_eq!(names(&of_targets), expected);
}

#[test]
fn at_total_outage_up_is_0_and_no_latency_is_said() {
    let now = Instant::now();
    let mut ledger = Ledger::default();
    let vm3 = target("1", "region-b", "vm3", ProbeKind::Icmp);
    ledger.apply(&Change::Upsert(Arc::clone(&vm3)));
    ledger.record_echo(&echo(&vm3, Outcome::Lost, 0));
    ledger.close_window(now);
    let lines = exposition(&said(&ledger, &agent(now), now));
    let of_target: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("xprober_target_"))
        .collect();
    assert!(
        of_target
            .iter()
            .any(|line| line.starts_with("xprober_target_up") && line.ends_with(" 0"))
    );
    assert!(
        !of_target
            .iter()
            .any(|line| line.contains("rtt") || line.contains("jitter")),
        "{of_target:?}"
    );
}

#[test]
fn a_line_without_an_rtt_budget_has_no_count_over_it() {
    let now = Instant::now();
    let mut ledger = full_ledger(now);
    let mut unbudgeted = line("a-b-1", "region-b", 10);
    unbudgeted.rtt_budget = None;
    ledger.apply(&Change::Lines([unbudgeted].into()));
    let said = names(&said(&ledger, &agent(now), now));
    assert!(said.contains(&catalogue::LINE_PROBES.name) && said.contains(&catalogue::LINE_LOSS_BUDGET.name));
    assert!(!said.contains(&catalogue::LINE_OVER_BUDGET.name) && !said.contains(&catalogue::LINE_RTT_BUDGET.name));
}

#[test]
fn every_endpoint_speaks_of_itself_under_its_own_name() {
    let now = Instant::now();
    let mut agent = agent(now);
    let mut other = endpoint();
    other.name = "eu-1".to_owned();
    other.sealed = 7;
    agent.endpoints.push(other);
    let lines = exposition(&said(&Ledger::default(), &agent, now));
    for (name, sealed) in [("default", 100), ("eu-1", 7)] {
        let line = format!(
            "xprober_agent_samples_sealed_total{{endpoint=\"{name}\",instance=\"vm1\",job=\"xprober\",source_region=\"region-a\"}} {sealed}"
        );
        assert!(lines.contains(&line), "{line} in {lines:?}");
    }
}

#[test]
fn labels_that_endpoints_may_not_add_are_those_that_we_have() {
    use std::collections::BTreeSet;
    let ours: BTreeSet<&str> = catalogue::ALL.iter().flat_map(Metric::all_labels).collect();
    let refused: BTreeSet<&str> = xprober_config::agent::remote_write::OWN_LABELS
        .iter()
        .copied()
        .collect();
    assert_eq!(ours, refused);
}
