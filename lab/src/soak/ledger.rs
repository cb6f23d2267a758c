//! What was counted between two looks at the counters, and whether that is enough; pure.

use std::collections::BTreeMap;

use crate::accuracy::band::band;
use crate::promql::Sample;

/// Outcomes that are lost probes.
const LOST: [&str; 3] = ["lost", "unreachable", "corrupt"];
/// Outcomes that say nothing about the network.
const OUR_OWN: [&str; 2] = ["stalled", "send_error"];
/// At least this share of the probes of a minute must have been counted: readings are up to one push apart from the minute's
/// borders, at both ends.
const LEAST_COUNTED: f64 = 0.8;
/// The injected loss is believed to be measured if the number of losses lies where this share of all runs would have it.
const CONFIDENCE: f64 = 0.9999;

/// Source and target region.
pub type Pair = (String, String);

/// Probes of one pair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All that ended.
    pub all: u64,
    /// Those that were lost.
    pub lost: u64,
    /// Those that failed by the agents' own fault.
    pub stalled: u64,
}

impl Counts {
    /// Those that say something about the network.
    #[must_use]
    pub const fn judged(self) -> u64 {
        self.all.saturating_sub(self.stalled)
    }

    /// Adds others.
    pub const fn add(&mut self, other: Self) {
        self.all += other.all;
        self.lost += other.lost;
        self.stalled += other.stalled;
    }

    const fn since(self, before: Self) -> Self {
        Self {
            all: self.all.saturating_sub(before.all),
            lost: self.lost.saturating_sub(before.lost),
            stalled: self.stalled.saturating_sub(before.stalled),
        }
    }
}

/// The counters of every pair at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading(BTreeMap<Pair, Counts>);

impl Reading {
    /// Reads `sum by (source_region, target_region, outcome) (xprober_probes_total)`.
    #[must_use]
    pub fn new(samples: &[Sample]) -> Self {
        let mut reading = Self::default();
        for sample in samples {
            let pair = (
                sample.label("source_region").to_owned(),
                sample.label("target_region").to_owned(),
            );
            let counts = reading.0.entry(pair).or_default();
            let (outcome, number) = (sample.label("outcome"), whole(sample.value));
            counts.all += number;
            if LOST.contains(&outcome) {
                counts.lost += number;
            }
            if OUR_OWN.contains(&outcome) {
                counts.stalled += number;
            }
        }
        reading
    }

    /// What was counted since an earlier reading.
    #[must_use]
    pub fn since(&self, before: &Self) -> BTreeMap<Pair, Counts> {
        let counts = self.0.iter().map(|(pair, counts)| {
            let before = before.0.get(pair).copied().unwrap_or_default();
            (pair.clone(), counts.since(before))
        });
        counts.collect()
    }
}

/// Says which pairs were not measured all of the time; `expected` is how many probes each pair sends in it.
#[must_use]
pub fn holes(counted: &BTreeMap<Pair, Counts>, pairs: usize, expected: f64) -> Vec<String> {
    let least = whole(expected * LEAST_COUNTED);
    let thin = counted.iter().filter(|(_, counts)| counts.all < least);
    let mut holes: Vec<_> = thin
        .map(|((source, target), counts)| {
            format!(
                "{source} -> {target}: {} probes of {expected:.0} were counted",
                counts.all
            )
        })
        .collect();
    if counted.len() != pairs {
        holes.push(format!("{} pairs of {pairs} were measured", counted.len()));
    }
    holes
}

/// Says whether so many losses cannot be what was injected on each of the two ways of an echo.
#[must_use]
pub fn wrong_loss(total: Counts, loss_each_way: f64) -> Option<String> {
    let [least, most] = loss_band(total, loss_each_way);
    (!(least..=most).contains(&total.lost)).then(|| {
        format!(
            "{} probes of {} were lost, {least} to {most} are expected",
            total.lost,
            total.judged()
        )
    })
}

/// Between which numbers the losses should lie.
#[must_use]
pub fn loss_band(total: Counts, loss_each_way: f64) -> [u64; 2] {
    band(total.judged(), 1.0 - (1.0 - loss_each_way).powi(2), CONFIDENCE)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of probes are whole and not negative"
)]
fn whole(value: f64) -> u64 {
    value.round().max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(target: &str, outcome: &str, value: f64) -> Sample {
        let labels = [("source_region", "a"), ("target_region", target), ("outcome", outcome)];
        Sample {
            name: String::new(),
            labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            at: 0.0,
            value,
        }
    }

    fn pair(target: &str) -> Pair {
        ("a".to_owned(), target.to_owned())
    }

    #[test]
    fn a_minute_is_the_difference_of_two_readings() {
        let before = Reading::new(&[sample("b", "ok", 100.0), sample("b", "lost", 1.0)]);
        let after = Reading::new(&[
            sample("b", "ok", 330.0),
            sample("b", "lost", 2.0),
            sample("b", "corrupt", 1.0),
            sample("b", "stalled", 8.0),
            sample("c", "ok", 10.0),
        ]);
        let counted = after.since(&before);
        let expected = Counts {
            all: 240,
            lost: 2,
            stalled: 8,
        };
        assert_eq!(counted[&pair("b")], expected);
        assert_eq!((counted[&pair("b")].judged(), counted[&pair("c")].all), (232, 10));
    }

    #[test]
    fn a_pair_that_is_thin_or_missing_is_told() {
        let counts = |all| Counts {
            all,
            ..Counts::default()
        };
        let full = BTreeMap::from([(pair("b"), counts(240)), (pair("c"), counts(192))]);
        assert_eq!(holes(&full, 2, 240.0), [""; 0]);
        assert_eq!(holes(&full, 3, 240.0), ["2 pairs of 3 were measured"]);
        let thin = BTreeMap::from([(pair("b"), counts(191))]);
        assert_eq!(holes(&thin, 1, 240.0), ["a -> b: 191 probes of 240 were counted"]);
        assert_eq!(holes(&BTreeMap::new(), 1, 240.0).len(), 1);
    }

    #[test]
    fn losses_outside_the_band_are_told() {
        let total = |lost| Counts {
            all: 172_800,
            lost,
            stalled: 0,
        };
        // 172,800 echoes that lose 0.01 % each way: 34.6 on average.
        for (lost, is_wrong) in [(0, true), (10, true), (35, false), (70, true)] {
            assert_eq!(wrong_loss(total(lost), 0.0001).is_some(), is_wrong, "{lost}");
        }
    }
}
