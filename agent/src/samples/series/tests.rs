//! Series begin, go on and end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;
use prost::Message as _;
use xprober_proto::ProbeKind;
use xprober_proto::remote_write::{Histogram, TimeSeries};

use super::super::catalogue::Metric;
use super::super::catalogue::{LINE_PROBES, PROBES, RTT, TARGET_SENT, TARGET_UP};
use super::super::{Part, Subject};
use super::*;
use crate::ledger::tests::{line, target};
use crate::ledger::{Exponential, RegionKey, TargetKey};
use crate::probe::Outcome;

fn set() -> SeriesSet {
    SeriesSet::new(["xprober", "vm1", "region-a"].map(str::to_owned), 0)
}

fn key(name: &str) -> TargetKey {
    TargetKey::of(&target("1", "region-b", name, ProbeKind::Icmp))
}

fn group<'a>(key: &'a TargetKey, metrics: &[&'static Metric]) -> Group<'a> {
    let value = |metric: &&'static Metric| Value {
        metric,
        part: Part::Whole,
        value: 1.0,
    };
    Group {
        subject: Subject::target(key),
        values: metrics.iter().map(value).collect(),
        native: None,
    }
}

/// One sample as it is remembered: labels, timestamp, value.
type Stamped = (Vec<u8>, i64, f64);

/// The number of a sample; the sum of a native histogram.
fn number(sample: &Sample<'_>) -> f64 {
    match sample.value {
        SampleValue::Number(value) | SampleValue::Classic(value) => value,
        SampleValue::Native(message) => Histogram::decode(message).unwrap().sum,
    }
}

fn stamped(samples: &Samples) -> Vec<Stamped> {
    let one = |sample: Sample<'_>| (sample.labels.to_vec(), sample.timestamp, number(&sample));
    samples.iter().map(one).collect()
}

/// A whole snapshot: the samples of each group that has any, then the markers of each subject.
fn stamp(set: &mut SeriesSet, groups: &[Group<'_>], now: i64) -> Vec<Vec<Stamped>> {
    set.begin(now);
    let mut all: Vec<Vec<Stamped>> = groups.iter().map(|group| stamped(set.stamp(group))).collect();
    set.end(|ended| all.push(stamped(ended)));
    all.retain(|samples| !samples.is_empty());
    all
}

fn is_marker((_, _, value): &Stamped) -> bool {
    value.to_bits() == STALE_MARKER
}

/// Metric and target of every sample, with a mark on stale markers.
fn shown(stamped: &[Vec<Stamped>]) -> Vec<String> {
    let show = |sample: &Stamped| {
        let series = TimeSeries::decode(&*sample.0).unwrap();
        let value = |name| {
            let label = series.labels.iter().find(|label| label.name == name);
            label.map(|label| label.value.clone()).unwrap()
        };
        let end = if is_marker(sample) { " ends" } else { "" };
        format!("{} {}{end}", value("__name__"), value("target"))
    };
    stamped.iter().flatten().map(show).collect()
}

#[test]
fn a_series_that_is_no_longer_said_ends_once() {
    let (mut set, vm3, vm4) = (set(), key("vm3"), key("vm4"));
    let first = [group(&vm3, &[&TARGET_SENT, &TARGET_UP]), group(&vm4, &[&TARGET_UP])];
    stamp(&mut set, &first, 1);
    let next = [group(&vm3, &[&TARGET_SENT])];
    let expected = [
        "xprober_target_sent_total vm3",
        "xprober_target_up vm3 ends",
        "xprober_target_up vm4 ends",
    ];
    assert_eq!(shown(&stamp(&mut set, &next, 2)), expected);
    assert_eq!(shown(&stamp(&mut set, &next, 3)), ["xprober_target_sent_total vm3"]);
}

#[test]
fn an_empty_snapshot_ends_everything() {
    let (mut set, vm3) = (set(), key("vm3"));
    stamp(&mut set, &[group(&vm3, &[&TARGET_SENT, &TARGET_UP])], 1);
    let ends = stamp(&mut set, &[], 2);
    assert!(ends.iter().flatten().all(|sample| is_marker(sample) && sample.1 == 2));
    assert_eq!((ends.iter().flatten().count(), set.len()), (2, 0));
    assert!(stamp(&mut set, &[], 3).is_empty());
    assert!(set.shapes.is_empty(), "shapes that nobody has are forgotten");
}

#[test]
fn the_samples_of_a_subject_stay_together() {
    let (vm3, vm4) = (key("vm3"), key("vm4"));
    let groups = [group(&vm3, &[&TARGET_SENT, &TARGET_UP]), group(&vm4, &[&TARGET_UP])];
    let stamped = stamp(&mut set(), &groups, 1);
    assert_eq!(stamped.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn a_thousand_alike_subjects_have_one_shape() {
    let keys: Vec<TargetKey> = (0..1000).map(|number| key(&number.to_string())).collect();
    let groups: Vec<_> = keys.iter().map(|key| group(key, &[&TARGET_SENT, &TARGET_UP])).collect();
    let mut set = set();
    for now in 0..3 {
        stamp(&mut set, &groups, now);
    }
    assert_eq!((set.len(), set.shapes.len()), (2000, 1));
}

#[test]
fn two_values_for_one_series_never_travel_together() {
    let mut set = set();
    // The second name differs only in a control character, which no label keeps.
    let (one, other) = (key("vm\u{fffd}"), key("vm\u{1}"));
    let twice = [group(&one, &[&TARGET_UP, &TARGET_UP]), group(&other, &[&TARGET_UP])];
    for timestamp in 1..3 {
        assert_eq!(
            shown(&stamp(&mut set, &twice, timestamp)),
            ["xprober_target_up vm\u{fffd}"]
        );
    }
    // One of them may say more than the other.
    let more = [group(&one, &[&TARGET_UP]), group(&other, &[&TARGET_SENT, &TARGET_UP])];
    let expected = ["xprober_target_up vm\u{fffd}", "xprober_target_sent_total vm\u{fffd}"];
    assert_eq!(shown(&stamp(&mut set, &more, 3)), expected);
    assert_eq!(
        shown(&stamp(&mut set, &twice, 4)).len(),
        2,
        "one series goes on, one ends"
    );
}

#[test]
fn a_subject_of_another_scope_with_the_same_values_is_another() {
    let region = RegionKey {
        region: "region-b".parse().unwrap(),
        probe: ProbeKind::Icmp,
    };
    let (vm3, line) = (key("vm3"), line("vm3", "region-b", 10));
    let of_line = Group {
        subject: Subject::line_probes(&line, &region),
        values: vec![Value {
            metric: &LINE_PROBES,
            part: Part::Whole,
            value: 1.0,
        }],
        native: None,
    };
    let mut set = set();
    let first = stamp(&mut set, &[group(&vm3, &[&TARGET_UP]), of_line.clone()], 1);
    let second = stamp(&mut set, &[of_line], 2);
    assert_eq!((first.len(), second.len(), set.len()), (2, 2, 1));
    assert!(is_marker(&second[1][0]) && second[1][0].0 == first[0][0].0);
}

#[test]
fn what_is_no_number_is_not_sent() {
    let (mut set, vm3) = (set(), key("vm3"));
    let mut nan = group(&vm3, &[&TARGET_UP]);
    nan.values[0].value = f64::NAN;
    assert!(stamp(&mut set, &[nan.clone()], 1).is_empty() && set.is_empty());
    stamp(&mut set, &[group(&vm3, &[&TARGET_UP])], 2);
    assert_eq!(shown(&stamp(&mut set, &[nan], 3)), ["xprober_target_up vm3 ends"]);
}

#[test]
fn the_clock_may_step_back_by_a_minute_without_a_sample_out_of_order() {
    let (mut set, vm3) = (set(), key("vm3"));
    let said = [group(&vm3, &[&TARGET_UP])];
    let mut stamp = |now| stamp(&mut set, &said, now)[0][0].1;
    let times = [100_000, 100_000, 50_000, 110_000, 120_000].map(&mut stamp);
    assert_eq!(times, [100_000, 100_001, 100_002, 110_000, 120_000]);
    // Two minutes back: the stamps of before were wrong, and following them would close the receiver to others.
    assert_eq!([60_001, 10, 11].map(&mut stamp), [120_001, 10, 11]);
}

#[test]
fn counting_began_after_the_snapshot_before_the_first() {
    let (mut set, vm3, vm4) = (
        SeriesSet::new(["xprober", "vm1", "a"].map(str::to_owned), 70),
        key("vm3"),
        key("vm4"),
    );
    let said = [group(&vm3, &[&TARGET_SENT, &TARGET_UP]), group(&vm4, &[&TARGET_SENT])];
    let mut starts = |groups: &[Group<'_>], now| {
        set.begin(now);
        let mut starts = Vec::new();
        for group in groups {
            starts.extend(set.stamp(group).iter().map(|sample| sample.start()));
        }
        set.end(|ended| starts.extend(ended.iter().map(|sample| sample.start())));
        starts
    };
    assert_eq!(starts(&said[..1], 100), [Some(70), None], "a gauge counts nothing");
    assert_eq!(starts(&said, 200), [Some(70), None, Some(101)]);
    assert_eq!(
        starts(&said[1..], 300),
        [Some(101), Some(70), None],
        "the end of a series has its start"
    );
    assert_eq!(
        starts(&said, 400),
        [Some(301), None, Some(101)],
        "after the marker of before"
    );
    // The clock is set back: what began later than now has no start.
    assert_eq!(starts(&said, -70_000), [None; 3]);
}

#[test]
fn a_native_histogram_is_one_series_and_ends_with_a_stale_sum() {
    let region = RegionKey {
        region: "region-b".parse().unwrap(),
        probe: ProbeKind::Icmp,
    };
    let mut histogram = Exponential::default();
    histogram.observe(Duration::from_millis(3));
    let said = Group {
        subject: Subject::region(&region),
        values: vec![Value {
            metric: &RTT,
            part: Part::Native,
            value: 1.0,
        }],
        native: Some((&histogram, 0.003)),
    };
    let mut set = set();
    let (first, ends) = (stamp(&mut set, &[said], 5), stamp(&mut set, &[], 6));
    let (first, end) = (&first[0][0], &ends[0][0]);
    assert_eq!((first.1, first.2.to_bits()), (5, 0.003f64.to_bits()));
    assert!(is_marker(end) && end.1 == 6 && end.0 == first.0);
    let series = TimeSeries::decode(&*first.0).unwrap();
    assert_eq!(series.labels[0].value, "xprober_rtt_seconds");
    assert!(series.labels.iter().all(|label| label.name != "le"));
}

static REGIONS: LazyLock<[RegionKey; 4]> = LazyLock::new(|| {
    [0, 1, 2, 3].map(|index| RegionKey {
        region: format!("region-{index}").parse().unwrap(),
        probe: ProbeKind::Icmp,
    })
});

proptest! {
    #[test]
    fn every_series_that_began_ends_exactly_once_and_its_time_only_grows(
        rounds in prop::collection::vec(
            (prop::collection::btree_set((0usize..4, 0usize..7), 0..12), -1400i64..6000),
            1..40,
        ),
    ) {
        let mut set = set();
        let mut alive = BTreeSet::new();
        let mut last: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        let mut now = 1_000_000;
        for (said, step) in rounds.into_iter().chain([(BTreeSet::new(), 0)]) {
            now += step;
            let mut groups: BTreeMap<usize, Group<'_>> = BTreeMap::new();
            for (region, outcome) in said {
                let group = groups.entry(region).or_insert_with(|| Group {
                    subject: Subject::region(&REGIONS[region]),
                    values: Vec::new(),
                    native: None,
                });
                group.values.push(Value { metric: &PROBES, part: Part::Outcome(Outcome::ALL[outcome]), value: 1.0 });
            }
            let groups: Vec<Group<'_>> = groups.into_values().collect();
            let (mut live, mut ended) = (BTreeSet::new(), BTreeSet::new());
            for sample in stamp(&mut set, &groups, now).into_iter().flatten() {
                let marker = is_marker(&sample);
                let (labels, timestamp, _) = sample;
                prop_assert!(timestamp >= now);
                prop_assert!(last.insert(labels.clone(), timestamp).is_none_or(|last| last < timestamp));
                let new = if marker { ended.insert(labels) } else { live.insert(labels) };
                prop_assert!(new, "twice in one snapshot");
            }
            prop_assert_eq!(live.len(), groups.iter().map(|group| group.values.len()).sum::<usize>());
            let gone: BTreeSet<_> = alive.difference(&live).cloned().collect();
            prop_assert_eq!(ended, gone);
            prop_assert_eq!(set.len(), live.len());
            alive = live;
        }
        prop_assert!(set.is_empty());
    }
}
