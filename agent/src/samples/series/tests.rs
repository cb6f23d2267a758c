//! Series begin, go on and end.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use prost::Message as _;
use xprober_proto::ProbeKind;
use xprober_proto::remote_write::TimeSeries;

use super::super::catalogue::{PROBES, TARGET_SENT, TARGET_UP};
use super::*;
use crate::ledger::{RegionKey, TargetKey};
use crate::probe::Outcome;

fn set() -> SeriesSet {
    SeriesSet::new(["xprober", "vm1", "region-a"].map(str::to_owned))
}

fn group(name: &str, metrics: &[&'static Metric]) -> Group {
    Group {
        subject: Subject::Target(TargetKey {
            region: "region-b".parse().unwrap(),
            probe: ProbeKind::Icmp,
            name: name.to_owned(),
        }),
        values: metrics
            .iter()
            .map(|metric| Value {
                metric,
                part: Part::Whole,
                value: 1.0,
            })
            .collect(),
    }
}

fn region(index: usize) -> Group {
    Group {
        subject: Subject::Region(RegionKey {
            region: format!("region-{index}").parse().unwrap(),
            probe: ProbeKind::Icmp,
        }),
        values: Vec::new(),
    }
}

/// Metric and target of every sample, with a mark on stale markers.
fn shown(stamped: &[Vec<Sample>]) -> Vec<String> {
    let show = |sample: &Sample| {
        let series = TimeSeries::decode(&*sample.labels).unwrap();
        let value = |name| {
            series
                .labels
                .iter()
                .find(|label| label.name == name)
                .unwrap()
                .value
                .clone()
        };
        let end = if sample.is_stale_marker() { " ends" } else { "" };
        format!("{} {}{end}", value("__name__"), value("target"))
    };
    stamped.iter().flatten().map(show).collect()
}

#[test]
fn a_series_that_is_no_longer_said_ends_once() {
    let mut set = set();
    set.stamp(
        &[group("vm3", &[&TARGET_SENT, &TARGET_UP]), group("vm4", &[&TARGET_UP])],
        1,
    );
    let next = [group("vm3", &[&TARGET_SENT])];
    let expected = [
        "xprober_target_sent_total vm3",
        "xprober_target_up vm3 ends",
        "xprober_target_up vm4 ends",
    ];
    assert_eq!(shown(&set.stamp(&next, 2)), expected);
    assert_eq!(shown(&set.stamp(&next, 3)), ["xprober_target_sent_total vm3"]);
}

#[test]
fn an_empty_snapshot_ends_everything() {
    let mut set = set();
    set.stamp(&[group("vm3", &[&TARGET_SENT, &TARGET_UP])], 1);
    let ends = set.stamp(&[], 2);
    assert!(
        ends.iter()
            .flatten()
            .all(|sample| sample.is_stale_marker() && sample.timestamp == 2)
    );
    assert_eq!((ends.iter().flatten().count(), set.len()), (2, 0));
    assert!(set.stamp(&[], 3).is_empty());
}

#[test]
fn the_samples_of_a_subject_stay_together() {
    let stamped = set().stamp(
        &[group("vm3", &[&TARGET_SENT, &TARGET_UP]), group("vm4", &[&TARGET_UP])],
        1,
    );
    assert_eq!(stamped.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn two_values_for_one_series_never_travel_together() {
    let mut set = set();
    // The second name differs only in a control character, which no label keeps.
    let twice = [
        group("vm\u{fffd}", &[&TARGET_UP, &TARGET_UP]),
        group("vm\u{1}", &[&TARGET_UP]),
    ];
    for timestamp in 1..3 {
        assert_eq!(shown(&set.stamp(&twice, timestamp)), ["xprober_target_up vm\u{fffd}"]);
    }
}

#[test]
fn what_is_no_number_is_not_sent() {
    let mut nan = group("vm3", &[&TARGET_UP]);
    nan.values[0].value = f64::NAN;
    assert!(set().stamp(&[nan], 1).is_empty());
}

#[test]
fn the_clock_may_step_back_by_a_minute_without_a_sample_out_of_order() {
    let mut set = set();
    let said = [group("vm3", &[&TARGET_UP])];
    let mut stamp = |now| set.stamp(&said, now)[0][0].timestamp;
    let times = [100_000, 100_000, 50_000, 110_000, 120_000].map(&mut stamp);
    assert_eq!(times, [100_000, 100_001, 100_002, 110_000, 120_000]);
    // Two minutes back: the stamps of before were wrong, and following them would close the receiver to others.
    assert_eq!([60_001, 10, 11].map(&mut stamp), [120_001, 10, 11]);
}

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
            let mut groups: BTreeMap<usize, Group> = BTreeMap::new();
            for (target, outcome) in said {
                let values = &mut groups.entry(target).or_insert_with(|| region(target)).values;
                values.push(Value { metric: &PROBES, part: Part::Outcome(Outcome::ALL[outcome]), value: 1.0 });
            }
            let groups: Vec<Group> = groups.into_values().collect();
            let (mut live, mut ended) = (BTreeSet::new(), BTreeSet::new());
            for sample in set.stamp(&groups, now).iter().flatten() {
                let labels = sample.labels.to_vec();
                prop_assert!(sample.timestamp >= now);
                prop_assert!(last.insert(labels.clone(), sample.timestamp).is_none_or(|last| last < sample.timestamp));
                let new = if sample.is_stale_marker() { ended.insert(labels) } else { live.insert(labels) };
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
