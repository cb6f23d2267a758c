//! The ledger against a model that remembers every event and counts from the start each time.

use proptest::prelude::*;
use xprober_proto::{HttpSpec, IcmpSpec, ProbeSpec, Region, TcpSpec};

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
fn a_window_reads_min_avg_and_max_of_its_replies_and_the_jitter_so_far() {
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
        // 4 ms / 16, then (15 * 0.25 ms + 2 ms) / 16.
        jitter: Some(Duration::from_nanos(359_375)),
    };
    assert_eq!(reading(&ledger).unwrap().rtt, Some(rtt));
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
    assert_eq!(jitters, [None, Some(Duration::from_millis(3) / 16)]);
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
    assert_eq!(reading(&ledger).unwrap().rtt, None);
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

/// An echo target that says whether it wants to know the TTL of its replies.
fn target_with_ttl(reply_ttl: bool) -> Arc<Target> {
    let mut target = Target::clone(&target("1", "b", "vm3", ProbeKind::Icmp));
    if let ProbeSpec::Icmp(icmp) = &mut target.probe {
        icmp.reply_ttl = reply_ttl;
    }
    Arc::new(target)
}

#[test]
fn the_ttl_of_the_last_reply_is_read_where_it_is_asked_for_and_as_long_as_replies_come() {
    let mut ledger = Ledger::default();
    let mut read = |target: &Arc<Target>, ttls: &[Option<u8>]| {
        ledger.apply(&Change::Upsert(Arc::clone(target)));
        for ttl in ttls {
            let outcome = if ttl.is_some() { Outcome::Ok } else { Outcome::Lost };
            let mut result = echo(target, outcome, 1);
            result.reply_ttl = *ttl;
            ledger.record_echo(&result);
        }
        ledger.close_window(Instant::now());
        reading(&ledger).unwrap().reply_ttl
    };
    let asks = target_with_ttl(true);
    assert_eq!(read(&asks, &[Some(60), Some(59), None]), Some(59));
    assert_eq!(read(&asks, &[None]), None);
    assert_eq!(read(&target_with_ttl(false), &[Some(60)]), None);
}

#[test]
fn missed_rounds_are_stalled_however_many_and_say_nothing_about_target_and_line() {
    let mut ledger = Ledger::default();
    let vm3 = target("1", "b", "vm3", ProbeKind::Icmp);
    let page = target("2", "b", "http://h/", ProbeKind::Http);
    for target in [&vm3, &page] {
        ledger.apply(&Change::Upsert(Arc::clone(target)));
    }
    ledger.apply(&Change::Lines([line("a-b", "b", 10)].into()));
    ledger.record_echo(&echo(&vm3, Outcome::Ok, 1));
    // A machine slept for long at a short interval: counting one by one would take centuries.
    let ticks = 1 << 60;
    ledger.record_missed(&vm3, ticks);
    ledger.record_missed(&page, ticks);
    ledger.close_window(Instant::now());
    let (_, region) = ledger.regions().next().unwrap();
    assert_eq!((region.sent(), region.outcome(Outcome::Stalled)), (ticks + 1, ticks));
    assert_eq!(
        region.reasons(),
        &BTreeMap::from([((Outcome::Stalled, Reason::Skipped), ticks)])
    );
    let (_, target) = ledger.targets().next().unwrap();
    assert_eq!((target.sent(), target.received()), (ticks + 1, 1));
    assert!(target.reading().unwrap().rtt.is_some());
    assert_eq!(ledger.pages().next().unwrap().1.probes(), 0);
    assert_eq!(ledger.line_counts().next().unwrap().2.probes, 1);
}

#[test]
fn a_reason_is_counted_beside_the_outcome_it_came_with() {
    let mut ledger = Ledger::default();
    let port = target("1", "b", "vm3:443", ProbeKind::Tcp);
    ledger.apply(&Change::Upsert(Arc::clone(&port)));
    for (outcome, reason) in [
        (Outcome::Ok, Some(Reason::Refused)),
        (Outcome::Late, Some(Reason::Refused)),
        (Outcome::Ok, None),
        (Outcome::Ok, Some(Reason::Refused)),
    ] {
        let result = EchoResult {
            reason,
            ..echo(&port, outcome, 1)
        };
        ledger.record_echo(&result);
    }
    let expected = [
        ((Outcome::Ok, Reason::Refused), 2),
        ((Outcome::Late, Reason::Refused), 1),
    ];
    let (_, region) = ledger.regions().next().unwrap();
    assert_eq!((region.reasons(), region.sent()), (&BTreeMap::from(expected), 4));
}

#[test]
fn a_changed_line_keeps_its_counters_and_a_new_kind_of_probe_is_counted_for_it_too() {
    let mut ledger = Ledger::default();
    let vm3 = target("1", "b", "vm3", ProbeKind::Icmp);
    ledger.apply(&Change::Lines([line("a-b", "b", 10)].into()));
    ledger.apply(&Change::Upsert(Arc::clone(&vm3)));
    ledger.record_echo(&echo(&vm3, Outcome::Ok, 15));
    ledger.apply(&Change::Lines([line("new", "b", 1), line("a-b", "b", 20)].into()));
    ledger.apply(&Change::Upsert(target("2", "b", "vm3", ProbeKind::Tcp)));
    ledger.record_echo(&echo(&vm3, Outcome::Ok, 15));
    let counts = ledger
        .line_counts()
        .map(|(line, key, counts)| (line.name.as_str(), key.probe, counts.probes, counts.over_budget));
    let expected = [
        ("new", ProbeKind::Icmp, 1, 1),
        ("new", ProbeKind::Tcp, 0, 0),
        ("a-b", ProbeKind::Icmp, 2, 1),
        ("a-b", ProbeKind::Tcp, 0, 0),
    ];
    assert_eq!(counts.collect::<Vec<_>>(), expected);
}

#[test]
fn a_replaced_target_is_let_go() {
    let mut ledger = Ledger::default();
    let [old, new] = [1, 2].map(|_| target("1", "b", "vm3", ProbeKind::Icmp));
    ledger.apply(&Change::Upsert(Arc::clone(&old)));
    ledger.apply(&Change::Upsert(Arc::clone(&new)));
    ledger.record_echo(&echo(&old, Outcome::Ok, 1));
    assert_eq!(
        (Arc::strong_count(&old), ledger.targets().next().unwrap().1.sent()),
        (1, 1)
    );
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
    Upsert(Place),
    Remove {
        id: usize,
    },
    Lines {
        regions: Vec<usize>,
    },
    Result {
        place: Place,
        outcome: usize,
        reason: Option<usize>,
        rtt_ms: u64,
    },
    Missed {
        place: Place,
        ticks: u64,
    },
    Close,
}

/// A target, as it was when the step was made: results may come for what it is no longer.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    id: usize,
    /// Two ids share a name now and then.
    name: usize,
    region: usize,
    kind: usize,
}

impl Place {
    fn target(self) -> Arc<Target> {
        let kind = ProbeKind::ALL[self.kind];
        target(IDS[self.id], REGIONS[self.region], NAMES[self.name], kind)
    }

    /// What its results are counted for beside the target, and the target's account.
    fn account(self) -> Option<(Region, ProbeKind, &'static str)> {
        let kind = ProbeKind::ALL[self.kind];
        (kind != ProbeKind::Http).then(|| (REGIONS[self.region].parse().unwrap(), kind, NAMES[self.name]))
    }
}

const REGIONS: [&str; 3] = ["b", "c", "d"];
const IDS: [&str; 4] = ["1", "2", "3", "4"];
const NAMES: [&str; 3] = ["x", "y", "z"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = (0..IDS.len(), 0..NAMES.len(), 0..REGIONS.len(), 0..ProbeKind::ALL.len());
    let place = place.prop_map(|(id, name, region, kind)| Place { id, name, region, kind });
    let reason = prop::option::of(0..Reason::ALL.len());
    let step = prop_oneof![
        3 => place.clone().prop_map(Step::Upsert),
        1 => (0..IDS.len()).prop_map(|id| Step::Remove { id }),
        1 => prop::collection::vec(0..REGIONS.len(), 0..3).prop_map(|regions| Step::Lines { regions }),
        8 => (place.clone(), 0..Outcome::ALL.len(), reason, 0..20u64)
            .prop_map(|(place, outcome, reason, rtt_ms)| Step::Result { place, outcome, reason, rtt_ms }),
        2 => (place, 0..1000u64).prop_map(|(place, ticks)| Step::Missed { place, ticks }),
        1 => Just(Step::Close),
    ];
    prop::collection::vec(step, 0..200)
}

/// So many probes that ended alike.
#[derive(Debug, Clone, Copy)]
struct Ended {
    place: Place,
    outcome: Outcome,
    reason: Option<Reason>,
    probes: u64,
}

/// Remembers what ended as long as the account it belongs to is open.
#[derive(Default)]
struct Model {
    plan: BTreeMap<usize, Place>,
    of_regions: Vec<Ended>,
    of_targets: Vec<Ended>,
}

impl Model {
    /// Results of targets that left, and of regions that closed, are forgotten at different times.
    fn forget(&mut self) {
        let known: Vec<_> = self.plan.values().filter_map(|place| place.account()).collect();
        let account = |ended: &Ended| ended.place.account();
        self.of_targets
            .retain(|ended| account(ended).is_some_and(|account| known.contains(&account)));
        self.of_regions.retain(|ended| {
            account(ended).is_some_and(|(region, kind, _)| known.iter().any(|at| (&at.0, at.1) == (&region, kind)))
        });
    }

    fn end(&mut self, ended: Ended) {
        self.of_regions.push(ended);
        self.of_targets.push(ended);
        self.forget();
    }
}

fn probes<'a>(ended: impl IntoIterator<Item = &'a Ended>, wanted: impl Fn(&Ended) -> bool) -> u64 {
    let wanted = ended.into_iter().filter(|ended| wanted(ended));
    wanted.map(|ended| ended.probes).sum()
}

fn check(ledger: &Ledger, model: &Model) -> Result<(), TestCaseError> {
    let mut accounts: Vec<_> = model.plan.values().filter_map(|place| place.account()).collect();
    accounts.sort_unstable();
    accounts.dedup();
    let targets: Vec<_> = ledger.targets().collect();
    let keys = targets
        .iter()
        .map(|(key, _)| (key.region().clone(), key.probe(), key.name()));
    prop_assert_eq!(keys.collect::<Vec<_>>(), accounts.clone());
    for ((_, target), account) in targets.iter().zip(&accounts) {
        let here = |ended: &Ended| ended.place.account().as_ref() == Some(account);
        prop_assert_eq!(target.sent(), probes(&model.of_targets, here));
        let received = |ended: &Ended| here(ended) && ended.outcome.received();
        prop_assert_eq!(target.received(), probes(&model.of_targets, received));
    }
    accounts.dedup_by(|one, other| (&one.0, one.1) == (&other.0, other.1));
    prop_assert_eq!(ledger.regions().count(), accounts.len());
    for ((key, region), account) in ledger.regions().zip(&accounts) {
        prop_assert_eq!((&key.region, key.probe), (&account.0, account.1));
        let here = |ended: &&Ended| {
            ended
                .place
                .account()
                .is_some_and(|at| (&at.0, at.1) == (&account.0, account.1))
        };
        let all: Vec<Ended> = model.of_regions.iter().filter(here).copied().collect();
        prop_assert_eq!(region.sent(), probes(&all, |_| true));
        for outcome in Outcome::ALL {
            prop_assert_eq!(region.outcome(outcome), probes(&all, |ended| ended.outcome == outcome));
            for reason in Reason::ALL {
                let same = |ended: &Ended| ended.outcome == outcome && ended.reason == Some(reason);
                let counted = region.reasons().get(&(outcome, reason)).copied();
                prop_assert_eq!(counted.unwrap_or_default(), probes(&all, same));
            }
        }
        prop_assert_eq!(region.rtt().count(), region.outcome(Outcome::Ok));
    }
    let pages = model.plan.values().filter(|place| place.account().is_none());
    let mut pages: Vec<_> = pages.map(|place| (place.region, place.name)).collect();
    pages.sort_unstable();
    pages.dedup();
    prop_assert_eq!(ledger.pages().count(), pages.len());
    for (_, key, counts) in ledger.line_counts() {
        let region = ledger.regions().find(|(known, _)| *known == key);
        let judged = region.map(|(_, region)| {
            let judging = Outcome::ALL.into_iter().filter(|outcome| outcome.judges_network());
            judging.map(|outcome| region.outcome(outcome)).sum::<u64>()
        });
        prop_assert!(judged.is_some_and(|judged| counts.probes <= judged));
        prop_assert!(counts.over_budget <= counts.probes);
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_result_moves_one_outcome_of_its_region_and_target_as_long_as_they_are_probed(steps in steps()) {
        let (mut ledger, mut model) = (Ledger::default(), Model::default());
        // Results mostly come with the very target that the plan named, which may have left since.
        let mut planned: Vec<(Place, Arc<Target>)> = Vec::new();
        let now = Instant::now();
        for step in steps {
            match step {
                Step::Upsert(place) => {
                    let target = place.target();
                    ledger.apply(&Change::Upsert(Arc::clone(&target)));
                    planned.retain(|(known, _)| known.id != place.id);
                    planned.push((place, target));
                    model.plan.insert(place.id, place);
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
                Step::Result { place, outcome, reason, rtt_ms } => {
                    let last = planned.iter().rev().find(|(known, _)| known.id == place.id).cloned();
                    let (place, target) = last.filter(|_| rtt_ms > 5).unwrap_or_else(|| (place, place.target()));
                    let (outcome, reason) = (Outcome::ALL[outcome], reason.map(|reason| Reason::ALL[reason]));
                    ledger.record_echo(&EchoResult { reason, ..echo(&target, outcome, rtt_ms) });
                    model.end(Ended { place, outcome, reason, probes: 1 });
                }
                Step::Missed { place, ticks } => {
                    ledger.record_missed(&place.target(), ticks);
                    let (outcome, reason) = (Outcome::Stalled, Some(Reason::Skipped));
                    model.end(Ended { place, outcome, reason, probes: ticks });
                }
                Step::Close => ledger.close_window(now),
            }
            check(&ledger, &model)?;
        }
    }
}
