//! The ledger against a model that remembers every event and counts from the start each time.

use proptest::prelude::*;
use xprober_proto::{HttpSpec, IcmpSpec, ProbeSpec, TcpSpec};

use super::*;
use crate::probe::{HttpFailure, HttpReason, HttpResult, Outcome, Stage, StageTimes};

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn target(id: &str, region: &str, name: &str, probe: ProbeKind) -> Arc<Target> {
    let host = || "10.0.0.1".parse().unwrap();
    Arc::new(Target {
        id: id.parse().unwrap(),
        name: name.to_owned(),
        region: region.parse().unwrap(),
        interval: SECOND,
        timeout: SECOND,
        probe: match probe {
            ProbeKind::Icmp => ProbeSpec::Icmp(IcmpSpec::new(host(), 56)),
            ProbeKind::Tcp => ProbeSpec::Tcp(TcpSpec::new(host(), 443)),
            ProbeKind::Http => ProbeSpec::Http(HttpSpec::get("http://h/".parse().unwrap())),
        },
    })
}

pub(crate) fn echo(target: &Arc<Target>, outcome: Outcome, rtt_ms: u64) -> EchoResult {
    EchoResult {
        rtt: outcome.received().then(|| Duration::from_millis(rtt_ms)),
        ..EchoResult::failed(Arc::clone(target), outcome, None)
    }
}

pub(crate) fn http(target: &Arc<Target>, failure: Option<HttpFailure>) -> HttpResult {
    let mut stages = StageTimes::default();
    stages.add(Stage::Resolve, Duration::from_millis(1));
    stages.add(Stage::Connect, Duration::from_millis(2));
    HttpResult {
        target: Arc::clone(target),
        stages,
        duration: Duration::from_millis(3),
        failure,
        status: failure.is_none().then_some(200),
        body_bytes: 5,
        redirects: 0,
        tls_not_after: None,
    }
}

pub(crate) fn line(name: &str, region: &str, budget_ms: u64) -> Line {
    Line {
        name: name.to_owned(),
        target_region: region.parse().unwrap(),
        rtt_budget: Some(Duration::from_millis(budget_ms)),
        loss_budget: Some(0.001),
        circuit: "CT-1".to_owned(),
        carrier: String::new(),
        owner: "netops".to_owned(),
    }
}

fn reading(ledger: &Ledger) -> Option<Reading> {
    ledger
        .targets()
        .next()
        .and_then(|(_, target)| target.reading().copied())
}

#[test]
fn a_window_reads_min_avg_max_last_and_jitter_of_its_replies() {
    let mut ledger = Ledger::default();
    let vm3 = target("1", "b", "vm3", ProbeKind::Icmp);
    ledger.apply(&Change::Upsert(Arc::clone(&vm3)));
    for (outcome, rtt) in [
        (Outcome::Ok, 10),
        (Outcome::Lost, 0),
        (Outcome::Ok, 14),
        (Outcome::Late, 12),
    ] {
        ledger.record_echo(&echo(&vm3, outcome, rtt));
    }
    ledger.close_window(Instant::now());
    let millis = Duration::from_millis;
    let rtt = Rtt {
        min: millis(10),
        avg: millis(12),
        max: millis(14),
        last: millis(12),
        jitter: Some(millis(3)),
    };
    assert_eq!(reading(&ledger), Some(Reading { rtt: Some(rtt) }));
}

#[test]
fn jitter_needs_a_second_reply_and_reaches_over_the_window() {
    let mut ledger = Ledger::default();
    let vm3 = target("1", "b", "vm3", ProbeKind::Icmp);
    ledger.apply(&Change::Upsert(Arc::clone(&vm3)));
    let mut jitters = Vec::new();
    for rtt in [10, 13] {
        ledger.record_echo(&echo(&vm3, Outcome::Ok, rtt));
        ledger.close_window(Instant::now());
        jitters.push(reading(&ledger).unwrap().rtt.unwrap().jitter);
    }
    assert_eq!(jitters, [None, Some(Duration::from_millis(3))]);
}

#[test]
fn a_window_in_which_nothing_came_back_has_no_latency() {
    let mut ledger = Ledger::default();
    let vm3 = target("1", "b", "vm3", ProbeKind::Icmp);
    ledger.apply(&Change::Upsert(Arc::clone(&vm3)));
    ledger.record_echo(&echo(&vm3, Outcome::Ok, 10));
    ledger.close_window(Instant::now());
    ledger.record_echo(&echo(&vm3, Outcome::Lost, 0));
    ledger.close_window(Instant::now());
    assert_eq!(reading(&ledger), Some(Reading { rtt: None }));
}

#[test]
fn a_reading_is_held_for_three_intervals_and_no_longer() {
    let mut ledger = Ledger::default();
    let vm3 = target("1", "b", "vm3", ProbeKind::Icmp);
    ledger.apply(&Change::Upsert(Arc::clone(&vm3)));
    let start = Instant::now();
    ledger.record_echo(&echo(&vm3, Outcome::Ok, 10));
    ledger.close_window(start);
    // Our own faults say nothing about the target: they neither renew the reading nor replace it.
    ledger.record_echo(&echo(&vm3, Outcome::Stalled, 0));
    ledger.close_window(start + 3 * SECOND);
    assert!(reading(&ledger).is_some_and(|reading| reading.rtt.is_some()));
    ledger.close_window(start + 3 * SECOND + Duration::from_millis(1));
    assert_eq!(reading(&ledger), None);
}

#[test]
fn targets_with_the_same_labels_share_one_account_until_the_last_goes() {
    let mut ledger = Ledger::default();
    let (one, two) = (
        target("1", "b", "vm3", ProbeKind::Icmp),
        target("2", "b", "vm3", ProbeKind::Icmp),
    );
    for target in [&one, &two] {
        ledger.apply(&Change::Upsert(Arc::clone(target)));
        ledger.record_echo(&echo(target, Outcome::Ok, 1));
    }
    ledger.apply(&Change::Remove(one.id.clone()));
    let sent: Vec<u64> = ledger.targets().map(|(_, target)| target.sent()).collect();
    assert_eq!(sent, [2]);
    ledger.apply(&Change::Remove(two.id.clone()));
    assert_eq!((ledger.targets().count(), ledger.regions().count()), (0, 0));
}

#[test]
fn a_line_counts_what_judges_the_network_and_replies_over_its_budget() {
    let mut ledger = Ledger::default();
    let vm3 = target("1", "b", "vm3", ProbeKind::Icmp);
    ledger.apply(&Change::Upsert(Arc::clone(&vm3)));
    ledger.apply(&Change::Lines([line("a-b", "b", 10), line("a-c", "c", 10)].into()));
    for (outcome, rtt) in [
        (Outcome::Ok, 10),
        (Outcome::Ok, 11),
        (Outcome::Late, 2000),
        (Outcome::Lost, 0),
        (Outcome::Stalled, 0),
        (Outcome::SendError, 0),
    ] {
        ledger.record_echo(&echo(&vm3, outcome, rtt));
    }
    let counts: Vec<_> = ledger
        .line_counts()
        .map(|(line, _, counts)| (line.name.as_str(), counts))
        .collect();
    let expected = LineCounts {
        probes: 4,
        over_budget: 2,
    };
    assert_eq!(
        counts,
        [("a-b", expected)],
        "a line to a region that is not probed has no counters"
    );
}

#[test]
fn the_last_http_probe_is_read_and_failures_are_counted_by_stage_and_reason() {
    let mut ledger = Ledger::default();
    let page = target("1", "b", "http://h/", ProbeKind::Http);
    ledger.apply(&Change::Upsert(Arc::clone(&page)));
    let failure = HttpFailure {
        stage: Stage::Connect,
        reason: HttpReason::Refused,
    };
    for failure in [Some(failure), None, Some(failure)] {
        ledger.record_http(&http(&page, failure));
    }
    ledger.close_window(Instant::now());
    let (_, ledger) = ledger.pages().next().unwrap();
    assert_eq!(ledger.probes(), 3);
    assert_eq!(
        ledger.failures(),
        &BTreeMap::from([((Stage::Connect, HttpReason::Refused), 2)])
    );
    assert_eq!(ledger.last().unwrap().failure, Some(failure));
}

#[derive(Debug, Clone)]
enum Step {
    Upsert {
        id: usize,
        region: usize,
        tcp: bool,
    },
    Remove {
        id: usize,
    },
    Lines {
        regions: Vec<usize>,
    },
    Result {
        id: usize,
        region: usize,
        tcp: bool,
        outcome: usize,
        rtt_ms: u64,
    },
    Close,
}

const REGIONS: [&str; 3] = ["b", "c", "d"];
const IDS: [&str; 4] = ["1", "2", "3", "4"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (id, region) = (0..IDS.len(), 0..REGIONS.len());
    let step = prop_oneof![
        3 => (id.clone(), region.clone(), any::<bool>()).prop_map(|(id, region, tcp)| Step::Upsert { id, region, tcp }),
        1 => id.clone().prop_map(|id| Step::Remove { id }),
        1 => prop::collection::vec(region.clone(), 0..3).prop_map(|regions| Step::Lines { regions }),
        8 => (id, region, any::<bool>(), 0..Outcome::ALL.len(), 0..20u64)
            .prop_map(|(id, region, tcp, outcome, rtt_ms)| Step::Result { id, region, tcp, outcome, rtt_ms }),
        1 => Just(Step::Close),
    ];
    prop::collection::vec(step, 0..200)
}

/// Remembers results as long as the account they belong to is open.
#[derive(Default)]
struct Model {
    plan: BTreeMap<usize, (usize, bool)>,
    results: Vec<(usize, usize, bool, Outcome)>,
}

impl Model {
    /// Results of targets that left, and of regions that closed, are forgotten at different times: `id` tells whose.
    fn forget(&mut self) {
        let plan = &self.plan;
        self.results
            .retain(|(_, region, tcp, _)| plan.values().any(|at| at == &(*region, *tcp)));
    }
}

fn kind(tcp: bool) -> ProbeKind {
    if tcp { ProbeKind::Tcp } else { ProbeKind::Icmp }
}

proptest! {
    #[test]
    fn every_result_moves_one_outcome_of_its_region_as_long_as_the_region_is_probed(steps in steps()) {
        let (mut ledger, mut model) = (Ledger::default(), Model::default());
        let now = Instant::now();
        for step in steps {
            match step {
                Step::Upsert { id, region, tcp } => {
                    ledger.apply(&Change::Upsert(target(IDS[id], REGIONS[region], IDS[id], kind(tcp))));
                    model.plan.insert(id, (region, tcp));
                    model.forget();
                }
                Step::Remove { id } => {
                    ledger.apply(&Change::Remove(IDS[id].parse().unwrap()));
                    model.plan.remove(&id);
                    model.forget();
                }
                Step::Lines { regions } => {
                    let lines = regions.iter().enumerate().map(|(i, region)| line(&i.to_string(), REGIONS[*region], 10));
                    ledger.apply(&Change::Lines(lines.collect()));
                }
                Step::Result { id, region, tcp, outcome, rtt_ms } => {
                    let outcome = Outcome::ALL[outcome];
                    ledger.record_echo(&echo(&target(IDS[id], REGIONS[region], IDS[id], kind(tcp)), outcome, rtt_ms));
                    model.results.push((id, region, tcp, outcome));
                    model.forget();
                }
                Step::Close => ledger.close_window(now),
            }

            let mut known: Vec<_> = model.plan.values().copied().collect();
            known.sort_unstable();
            known.dedup();
            prop_assert_eq!(ledger.regions().count(), known.len());
            for (key, region) in ledger.regions() {
                let here = |(_, at, tcp, _): &&(usize, usize, bool, Outcome)| {
                    REGIONS[*at] == key.region.as_str() && kind(*tcp) == key.probe
                };
                let results: Vec<_> = model.results.iter().filter(here).collect();
                prop_assert_eq!(region.sent(), results.len() as u64);
                for outcome in Outcome::ALL {
                    let expected = results.iter().filter(|result| result.3 == outcome).count() as u64;
                    prop_assert_eq!(region.outcome(outcome), expected);
                }
                prop_assert_eq!(region.rtt().count(), region.outcome(Outcome::Ok));
                let of_region = |(target, _): &(&TargetKey, &TargetLedger)| target.region_key() == *key;
                let sent: u64 = ledger.targets().filter(of_region).map(|(_, target)| target.sent()).sum();
                prop_assert!(sent <= region.sent(), "targets sent {sent}, region {}", region.sent());
            }
            prop_assert_eq!(ledger.targets().count(), model.plan.len());
            for (_, target) in ledger.targets() {
                prop_assert!(target.received() <= target.sent());
            }
            for (_, key, counts) in ledger.line_counts() {
                let region = ledger.regions().find(|(known, _)| *known == key);
                prop_assert!(region.is_some_and(|(_, region)| counts.probes <= region.sent()));
                prop_assert!(counts.over_budget <= counts.probes);
            }
        }
    }
}
