use std::time::Duration;

use proptest::prelude::*;
use xprober_config::planner::PlannerSettings;

use super::*;

const LINES: &str = "lines:
  - {name: a-b-1, between: [a, b], rtt_budget: 15ms, loss_budget: 1%}
  - {name: a-b-2, between: [b, a], rtt_budget: 9ms}
  - {name: a-c-1, between: [a, c], loss_budget: 0.1%}
";

fn lines() -> Vec<LineSettings> {
    PlannerSettings::parse("planner.yml", LINES).unwrap().lines
}

fn key(source: &str, target: &str) -> PairKey {
    (source.to_owned(), target.to_owned())
}

fn regions(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn values() -> Values {
    let mut values = Values::default();
    let icmp = values.pairs.entry("icmp".to_owned()).or_default();
    for (source, target, rtt, loss) in [
        ("a", "b", Some(0.010), 0.0),
        ("b", "a", Some(0.010), 0.02),
        ("a", "c", None, 1.0),
        ("b", "d", Some(0.030), 0.0),
    ] {
        let of_pair = PairValues {
            rtt_p50_seconds: rtt,
            rtt_p99_seconds: rtt.map(|rtt| rtt * 1.1),
            loss_ratio: Some(loss),
        };
        icmp.insert(key(source, target), of_pair);
    }
    for (line, share) in [("a-b-1", 0.0), ("a-b-2", 1.0)] {
        values.over_budget.insert((line.to_owned(), key("a", "b")), share);
    }
    values
}

#[test]
fn every_pair_has_a_state_and_the_worst_line_counts() {
    let (lines, values, regions) = (lines(), values(), regions(&["a", "b", "c"]));
    let facts = Facts {
        regions: &regions,
        lines: &lines,
        probe: "icmp",
        values: Some(&values),
    };
    let matrix = Matrix::build(&facts);
    let state = |source, target| matrix.pairs[&key(source, target)].judgement.state;
    assert_eq!(state("a", "b"), State::Over, "a-b-2 is over its 9 ms");
    assert_eq!(state("b", "a"), State::Over, "2 % are lost of 1 % allowed");
    assert_eq!(state("a", "c"), State::Down);
    assert_eq!(state("c", "a"), State::NoData);
    assert_eq!(state("b", "d"), State::Unjudged);
    assert_eq!(matrix.sources, ["a", "b", "c"]);
    assert_eq!(matrix.targets, ["a", "b", "c", "d"]);
    assert!(!matrix.pairs.contains_key(&key("a", "a")));
    let pair = &matrix.pairs[&key("a", "b")];
    assert_eq!(pair.budget.rtt, Some(Duration::from_millis(9)));
    assert_eq!(pair.over_budget_ratio, Some(1.0));
    assert_eq!(matrix.count(State::Over), 2);
}

#[test]
fn both_directions_of_a_line_are_judged_alone() {
    let (lines, values, regions) = (lines(), values(), regions(&["a", "b"]));
    let facts = Facts {
        regions: &regions,
        lines: &lines,
        probe: "icmp",
        values: Some(&values),
    };
    let found: Vec<_> = Matrix::build(&facts)
        .lines
        .iter()
        .map(|line| (line.line.name.as_str(), line.pair.clone(), line.judgement.state))
        .map(|(name, (source, target), state)| format!("{name} {source} {target} {}", state.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            "a-b-1 a b within",
            "a-b-1 b a over",
            "a-b-2 b a unjudged",
            "a-b-2 a b over",
            "a-c-1 a c down",
            "a-c-1 c a no_data",
        ]
    );
}

#[test]
fn without_values_everything_is_unknown_and_nothing_is_healthy() {
    let (lines, regions) = (lines(), regions(&["a", "z"]));
    let facts = Facts {
        regions: &regions,
        lines: &lines,
        probe: "icmp",
        values: None,
    };
    let matrix = Matrix::build(&facts);
    assert_eq!(matrix.sources, ["a", "b", "c", "z"]);
    assert_eq!(matrix.count(State::NoData), 12);
    assert!(matrix.lines.iter().all(|line| line.judgement.state == State::NoData));
}

#[test]
fn another_kind_of_probe_has_its_own_values() {
    let (lines, values, regions) = (lines(), values(), regions(&["a", "b"]));
    let facts = Facts {
        regions: &regions,
        lines: &lines,
        probe: "tcp",
        values: Some(&values),
    };
    assert_eq!(
        Matrix::build(&facts).pairs[&key("a", "b")].judgement.state,
        State::NoData
    );
}

proptest! {
    /// Whatever the store says, a pair without values is never anything but unknown, and one whose probes were all lost is down.
    #[test]
    fn a_state_never_claims_more_than_is_known(
        losses in proptest::collection::btree_map(("[abc]", "[abc]"), proptest::option::of(0.0_f64..=1.0), 0..9),
        shares in proptest::collection::btree_map(("a-[bc]-[12]", ("[abc]", "[abc]")), 0.0_f64..=1.0, 0..9),
    ) {
        let mut values = Values { over_budget: shares, ..Values::default() };
        let of_pair = |loss_ratio| PairValues { loss_ratio, ..PairValues::default() };
        let pairs = losses.iter().map(|(key, loss)| (key.clone(), of_pair(*loss)));
        values.pairs.insert("icmp".to_owned(), pairs.collect());
        let (lines, regions) = (lines(), BTreeSet::new());
        let facts = Facts { regions: &regions, lines: &lines, probe: "icmp", values: Some(&values) };
        for (key, pair) in &Matrix::build(&facts).pairs {
            let loss = losses.get(key).copied().flatten();
            prop_assert_eq!(pair.judgement.state == State::NoData, loss.is_none());
            prop_assert_eq!(pair.judgement.state == State::Down, loss.is_some_and(|loss| loss >= 1.0));
            prop_assert_eq!(pair.judgement.causes.is_empty(), pair.judgement.state < State::Strained || pair.judgement.state == State::Down);
        }
    }
}
