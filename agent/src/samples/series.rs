//! Every series that was sent last time: values in, samples with labels and a timestamp out.

use std::collections::{BTreeMap, HashSet};

use super::catalogue::{COMMON_LABELS, Metric};
use super::label::{EncodedLabels, encode};
use super::{Group, Part, Subject, Value};

/// The NaN that ends a series (Prometheus, `value.StaleNaN`).
pub const STALE_MARKER: u64 = 0x7ff0_0000_0000_0002;

/// A clock that was set back by more than this is followed at once instead of being waited for, milliseconds.
///
/// Up to here timestamps keep growing by a millisecond, so that no receiver sees a sample out of order; beyond it the
/// stamps of before were wrong, and stamping on into the future would close the receiver to every sender.
pub const MAX_AHEAD_MILLIS: i64 = 60_000;

/// One value of one series at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Which series.
    pub labels: EncodedLabels,
    /// The value; [`STALE_MARKER`] ends the series.
    pub value: f64,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
}

impl Sample {
    /// Tells whether the sample ends its series.
    #[must_use]
    pub const fn is_stale_marker(&self) -> bool {
        self.value.to_bits() == STALE_MARKER
    }
}

/// The series that are alive, with their label bytes.
#[derive(Debug)]
pub struct SeriesSet {
    common: [String; COMMON_LABELS.len()],
    subjects: BTreeMap<Subject, BTreeMap<Slot, Kept>>,
    taken: HashSet<EncodedLabels>,
    round: u64,
    last_timestamp: Option<i64>,
}

type Slot = (&'static str, Part);

#[derive(Debug)]
struct Kept {
    labels: EncodedLabels,
    round: u64,
}

impl SeriesSet {
    /// Starts without a series; `common` holds the values of [`COMMON_LABELS`].
    #[must_use]
    pub fn new(common: [String; COMMON_LABELS.len()]) -> Self {
        Self {
            common,
            subjects: BTreeMap::new(),
            taken: HashSet::new(),
            round: 0,
            last_timestamp: None,
        }
    }

    /// Stamps a snapshot: one sample per value, a subject's samples together, then a stale marker for every series
    /// that the last snapshot had and this one has not.
    ///
    /// All samples get one timestamp: `now` (milliseconds since the Unix epoch), or a millisecond more than last time
    /// when the clock stood still or was set back by up to [`MAX_AHEAD_MILLIS`].
    pub fn stamp(&mut self, groups: &[Group], now: i64) -> Vec<Vec<Sample>> {
        let timestamp = self.next_timestamp(now);
        self.round += 1;
        let mut stamped: Vec<Vec<Sample>> = Vec::with_capacity(groups.len() + 1);
        for group in groups {
            let samples = group.values.iter().filter_map(|value| {
                let labels = self.claim(&group.subject, value)?;
                Some(Sample {
                    labels,
                    value: value.value,
                    timestamp,
                })
            });
            stamped.push(samples.collect());
        }
        stamped.push(self.end_unseen(timestamp));
        stamped.retain(|samples| !samples.is_empty());
        stamped
    }

    /// Number of series that are alive.
    #[must_use]
    pub fn len(&self) -> usize {
        self.subjects.values().map(BTreeMap::len).sum()
    }

    /// Tells whether no series is alive.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Finds the labels of a value's series and marks it as seen; `None` for a value that cannot be sent: one that is
    /// no number, or the second of a series in this round, which receivers refuse together with the whole request.
    fn claim(&mut self, subject: &Subject, value: &Value) -> Option<EncodedLabels> {
        if !value.value.is_finite() {
            return None;
        }
        let slot = (value.metric.name, value.part);
        if let Some(kept) = self.subjects.get_mut(subject).and_then(|series| series.get_mut(&slot)) {
            let first = kept.round != self.round;
            kept.round = self.round;
            return first.then(|| EncodedLabels::clone(&kept.labels));
        }
        let labels = self.encode(subject, value.metric, value.part);
        // Two subjects can differ only in what label hygiene removed.
        if !self.taken.insert(EncodedLabels::clone(&labels)) {
            return None;
        }
        let kept = Kept {
            labels: EncodedLabels::clone(&labels),
            round: self.round,
        };
        self.subjects.entry(subject.clone()).or_default().insert(slot, kept);
        Some(labels)
    }

    fn encode(&self, subject: &Subject, metric: &Metric, part: Part) -> EncodedLabels {
        let own = part.label_values();
        let values = self.common.iter().map(String::as_str);
        let values = values
            .chain(subject.label_values())
            .chain(own.iter().map(String::as_str));
        let name = format!("{}{}", metric.name, part.suffix());
        encode(&name, metric.all_labels().zip(values))
    }

    fn end_unseen(&mut self, timestamp: i64) -> Vec<Sample> {
        let (round, taken) = (self.round, &mut self.taken);
        let mut ended = Vec::new();
        self.subjects.retain(|_, series| {
            series.retain(|_, kept| {
                let seen = kept.round == round;
                if !seen {
                    taken.remove(&kept.labels);
                    ended.push(Sample {
                        labels: EncodedLabels::clone(&kept.labels),
                        value: f64::from_bits(STALE_MARKER),
                        timestamp,
                    });
                }
                seen
            });
            !series.is_empty()
        });
        ended
    }

    fn next_timestamp(&mut self, now: i64) -> i64 {
        let following = self.last_timestamp.map_or(now, |last| last.saturating_add(1));
        let timestamp = if following.saturating_sub(now) > MAX_AHEAD_MILLIS {
            now
        } else {
            following.max(now)
        };
        self.last_timestamp = Some(timestamp);
        timestamp
    }
}

#[cfg(test)]
mod tests;
