//! Whether every sample arrived: agents' own counts, the judge's book and the database beside each other; pure.

use std::collections::BTreeMap;

use super::life::{End, Life, Totals};
use super::pushing::INTERVAL_MILLIS;
use crate::judge::book::{Book, Points, name, value};
use crate::process::receiver::Maker;
use crate::promql::Series;
use crate::remote_write::message::Label;

/// An agent that is killed may not yet have sealed its newest snapshot, and then loses it: two intervals, and what the
/// machine adds.
const MAX_LOST_MILLIS: i64 = 2 * INTERVAL_MILLIS + 1_000;
/// Databases keep values as decimal fractions.
const PRECISION: f64 = 1e-9;

/// What is said about an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Samples of it that the database holds.
    pub stored: usize,
    /// Times that it was killed and its last snapshot was lost.
    pub lost_flushes: usize,
    /// What is wrong, one sentence each.
    pub complaints: Vec<String>,
}

/// Series of numbers of one agent in the book.
#[must_use]
pub fn series_of<'a>(book: &'a Book, agent: &str) -> Vec<(&'a [Label], &'a Points)> {
    of(book.series(), agent)
}

/// Series of native histograms of one agent in the book.
#[must_use]
pub fn histograms_of<'a>(book: &'a Book, agent: &str) -> Vec<(&'a [Label], &'a Points)> {
    of(book.histograms(), agent)
}

fn of<'a>(series: &'a BTreeMap<Vec<Label>, Points>, agent: &str) -> Vec<(&'a [Label], &'a Points)> {
    let all = series.iter();
    all.filter(|(labels, _)| value(labels, "instance") == agent)
        .map(|(labels, points)| (labels.as_slice(), points))
        .collect()
}

/// Holds the book against what an agent says of each of its runs: how many samples it sealed, in its last words and in
/// the last snapshot that came of a run.
#[must_use]
pub fn check_lives(agent: &str, lives: &[Life], series: &[(&[Label], &Points)]) -> Findings {
    let mut findings = Findings::default();
    for (number, life) in (1..).zip(lives) {
        let mut complain = |what: String| findings.complaints.push(format!("{agent}, run {number}: {what}"));
        let until = lives.get(number).map_or(i64::MAX, |next| next.begun);
        let came = |before: i64| -> usize {
            let counts = series
                .iter()
                .map(|(_, points)| points.range(life.begun..before).count());
            counts.sum()
        };
        let Some((snapshot, sealed)) = last_of("xprober_agent_samples_sealed_total", series, life.begun, until) else {
            match life.end {
                // Killed before its first snapshot was sealed.
                End::Killed if life.ended - life.started <= MAX_LOST_MILLIS => findings.lost_flushes += 1,
                // Told to end before it had anything to seal, and says so.
                End::Stopped(Some(Totals {
                    sealed: 0, dropped: 0, ..
                })) => {}
                End::Alive | End::Killed | End::Stopped(_) => complain("nothing came of it".to_owned()),
            }
            continue;
        };
        // A snapshot counts what was sealed before it.
        let before = came(snapshot);
        if before.to_string() != sealed.to_string() {
            complain(format!(
                "its snapshot at {snapshot} counts {sealed} samples, {before} came"
            ));
        }
        match life.end {
            End::Alive => complain("it did not end".to_owned()),
            End::Stopped(None) => complain("it ended without its last words".to_owned()),
            End::Stopped(Some(totals)) => {
                let all = came(until);
                if all != totals.sealed || totals.dropped > 0 {
                    complain(format!("it ended with {totals:?}, and {all} came"));
                }
            }
            End::Killed => {
                let lost = life.ended - snapshot;
                if lost > MAX_LOST_MILLIS {
                    complain(format!("killed, and the {lost} ms before did not come"));
                }
                if lost > MAX_LOST_MILLIS / 2 {
                    findings.lost_flushes += 1;
                }
            }
        }
    }
    if let Some(Life {
        end: End::Stopped(Some(totals)),
        ..
    }) = lives.last()
        && totals.left > 0
    {
        findings
            .complaints
            .push(format!("{agent}: {} samples never left it", totals.left));
    }
    findings
}

/// Holds a database's series against the book's, sample by sample; answers how many it holds.
#[must_use]
pub fn check_stored(maker: Maker, book: &[(&[Label], &Points)], stored: &[Series]) -> Findings {
    let mut findings = Findings::default();
    // Series of native histograms come without points; those are counted elsewhere.
    let numbers = stored.iter().filter(|one| !one.points.is_empty());
    let mut rest: BTreeMap<Vec<(&str, &str)>, &Series> = numbers.map(|one| (key(one), one)).collect();
    for (labels, points) in book {
        // Both keep stale markers; only VictoriaMetrics shows them.
        let shown = points
            .iter()
            .map(|(at, bits)| (*at, f64::from_bits(*bits)))
            .filter(|(_, value)| maker == Maker::VictoriaMetrics || !value.is_nan());
        let expected: Vec<_> = shown.collect();
        let wanted: Vec<_> = labels
            .iter()
            .map(|label| (label.name.as_str(), label.value.as_str()))
            .collect();
        let found: Vec<_> = rest
            .remove(&wanted)
            .map_or_else(Vec::new, |one| one.points.iter().map(millis).collect());
        findings.stored += found.len();
        if let Some(difference) = difference(&expected, &found) {
            findings.complaints.push(format!("{}: {difference}", name(labels)));
        }
    }
    for one in rest.values() {
        findings
            .complaints
            .push(format!("{} {:?} came from nowhere", one.name, one.labels));
    }
    findings
}

/// The newest value of an agent's metric in a span of time, and when.
fn last_of(metric: &str, series: &[(&[Label], &Points)], from: i64, until: i64) -> Option<(i64, f64)> {
    let named = series.iter().filter(|(labels, _)| value(labels, "__name__") == metric);
    let values = named.flat_map(|(_, points)| points.range(from..until).map(|(at, bits)| (*at, f64::from_bits(*bits))));
    values.filter(|(_, value)| !value.is_nan()).max_by_key(|(at, _)| *at)
}

fn key(series: &Series) -> Vec<(&str, &str)> {
    let labels = series
        .labels
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let mut key: Vec<_> = labels.chain([("__name__", series.name.as_str())]).collect();
    key.sort_unstable();
    key
}

#[expect(clippy::cast_possible_truncation, reason = "milliseconds since 1970")]
fn millis((at, value): &(f64, f64)) -> (i64, f64) {
    ((at * 1000.0).round() as i64, *value)
}

/// The first difference between two lists of samples.
fn difference(expected: &[(i64, f64)], found: &[(i64, f64)]) -> Option<String> {
    let same = |one: &(i64, f64), other: &(i64, f64)| {
        let close = (one.1 - other.1).abs() <= PRECISION * one.1.abs();
        one.0 == other.0 && (close || one.1.to_bits() == other.1.to_bits() || one.1.is_nan() && other.1.is_nan())
    };
    let at = (0..expected.len().max(found.len())).find(|index| match (expected.get(*index), found.get(*index)) {
        (Some(one), Some(other)) => !same(one, other),
        _ => true,
    })?;
    Some(format!(
        "{} samples were taken and {} are stored; number {at} was {:?} and is {:?}",
        expected.len(),
        found.len(),
        expected.get(at),
        found.get(at)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(name: &str, value: &str) -> Label {
        Label {
            name: name.to_owned(),
            value: value.to_owned(),
        }
    }

    /// An agent that sealed two samples in each of three snapshots.
    fn agent() -> (Vec<Label>, Points, Vec<Label>, Points) {
        let sealed = [(2_000, 0.0), (4_000, 2.0), (6_000, 4.0)];
        let up = [(2_000, 1.0), (4_000, 1.0), (6_000, 1.0)];
        let points = |of: [(i64, f64); 3]| of.map(|(at, value)| (at, value.to_bits())).into();
        (
            vec![
                label("__name__", "xprober_agent_samples_sealed_total"),
                label("instance", "vm1"),
            ],
            points(sealed),
            vec![label("__name__", "up"), label("instance", "vm1")],
            points(up),
        )
    }

    /// A run that began with the epoch.
    fn life(ended: i64, end: End) -> Life {
        Life {
            begun: 0,
            started: 0,
            ended,
            end,
        }
    }

    fn complaints(end: End, ended: i64, without: Option<i64>) -> Vec<String> {
        let (sealed, sealed_points, up, mut up_points) = agent();
        without.map(|at| up_points.remove(&at));
        check_lives(
            "vm1",
            &[life(ended, end)],
            &[(&sealed, &sealed_points), (&up, &up_points)],
        )
        .complaints
    }

    fn stopped(sealed: usize, dropped: usize, left: usize) -> End {
        End::Stopped(Some(Totals { sealed, dropped, left }))
    }

    #[test]
    fn runs_that_lost_nothing_are_left_in_peace() {
        assert!(complaints(stopped(6, 0, 0), 7_000, None).is_empty());
        assert!(complaints(End::Killed, 7_000, None).is_empty());
    }

    #[test]
    fn each_loss_is_told() {
        for (told, expected) in [
            (complaints(stopped(6, 0, 0), 7_000, Some(4_000)), "3 came"),
            (complaints(stopped(8, 0, 0), 9_000, None), "6 came"),
            (complaints(stopped(6, 1, 0), 9_000, None), "dropped: 1"),
            (complaints(stopped(6, 0, 2), 9_000, None), "never left"),
            (complaints(End::Stopped(None), 9_000, None), "last words"),
            (complaints(End::Killed, 12_000, None), "6000 ms before"),
            (complaints(End::Killed, 7_000, Some(2_000)), "counts 4 samples, 3 came"),
            (complaints(End::Alive, 7_000, None), "did not end"),
        ] {
            assert!(told.iter().any(|one| one.contains(expected)), "{expected}: {told:?}");
        }
    }

    #[test]
    fn a_run_that_was_killed_at_once_owes_nothing_and_a_longer_one_does() {
        let check = |ended| {
            let end = End::Killed;
            check_lives("vm1", &[life(ended, end)], &[])
        };
        assert_eq!((check(3_000).lost_flushes, check(3_000).complaints.len()), (1, 0));
        assert_eq!(check(6_000).complaints, ["vm1, run 1: nothing came of it"]);
    }

    #[test]
    fn a_run_that_was_told_to_end_at_once_owes_what_it_sealed() {
        let check = |end| check_lives("vm1", &[life(100, end)], &[]).complaints;
        assert!(check(stopped(0, 0, 0)).is_empty());
        for end in [stopped(5, 0, 0), stopped(0, 5, 0), End::Stopped(None)] {
            assert_eq!(check(end), ["vm1, run 1: nothing came of it"]);
        }
    }

    #[test]
    fn stored_samples_are_the_taken_ones() {
        let (_, _, up, points) = agent();
        let series = |points: &[(f64, f64)]| Series {
            name: "up".to_owned(),
            labels: [("instance".to_owned(), "vm1".to_owned())].into(),
            points: points.to_vec(),
        };
        let check = |stored: &[Series]| check_stored(Maker::Prometheus, &[(&up, &points)], stored);
        let whole = check(&[series(&[(2.0, 1.0), (4.0, 1.0), (6.0, 1.0)])]);
        assert_eq!((whole.stored, whole.complaints.len()), (3, 0));
        for wrong in [
            vec![],
            vec![series(&[(2.0, 1.0), (6.0, 1.0)])],
            vec![series(&[(2.0, 1.0), (4.0, 1.5), (6.0, 1.0)])],
            vec![series(&[(2.0, 1.0), (4.0, 1.0), (4.0, 1.0), (6.0, 1.0)])],
        ] {
            assert_eq!(check(&wrong).complaints.len(), 1, "{wrong:?}");
        }
    }
}
