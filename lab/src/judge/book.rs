//! What a receiver took, sample by sample, and what is wrong with requests as such; pure.

use std::collections::BTreeMap;

use crate::remote_write::message::{Label, TimeSeries, WriteRequest};

/// Labels that a series may have (the fewest that any receiver in use allows by default is 30, two are left for others).
const MAX_LABELS: usize = 28;
/// Bytes of a label's value.
const MAX_VALUE_BYTES: usize = 1024;
/// How far ahead of the clock a sample may be.
const MAX_AHEAD_MILLIS: i64 = 60_000;

/// Values by time in milliseconds; the value as its bits, so that stale markers are what they are.
pub type Points = BTreeMap<i64, u64>;

/// Every sample that a receiver took.
#[derive(Debug, Clone, Default)]
pub struct Book {
    series: BTreeMap<Vec<Label>, Points>,
    histograms: BTreeMap<Vec<Label>, Points>,
    replayed: u64,
}

impl Book {
    /// Checks what must be right whether the receiver takes it or not; `now` is the wall clock in milliseconds.
    #[must_use]
    pub fn inspect(request: &WriteRequest, now: i64) -> Vec<String> {
        let series = request.timeseries.iter();
        series.filter_map(|series| inspect(series, now).err()).collect()
    }

    /// Enters a request that the receiver took. A sample that is there already, bit for bit, is a replay; any other that
    /// is not newer than its series is a breach.
    pub fn enter(&mut self, request: WriteRequest) -> Vec<String> {
        let mut breaches = Vec::new();
        for TimeSeries {
            labels,
            samples,
            histograms,
        } in request.timeseries
        {
            let floats = samples.iter().map(|sample| (sample.timestamp, sample.value));
            let sums = histograms.iter().map(|histogram| (histogram.timestamp, histogram.sum));
            if !histograms.is_empty() {
                let points = self.histograms.entry(labels.clone()).or_default();
                self.replayed += enter(points, &labels, sums, &mut breaches);
            }
            if !samples.is_empty() {
                let points = self.series.entry(labels.clone()).or_default();
                self.replayed += enter(points, &labels, floats, &mut breaches);
            }
        }
        breaches
    }

    /// Every series of numbers with its samples.
    #[must_use]
    pub const fn series(&self) -> &BTreeMap<Vec<Label>, Points> {
        &self.series
    }

    /// Every series of native histograms with the sum of each, which stands for it here.
    #[must_use]
    pub const fn histograms(&self) -> &BTreeMap<Vec<Label>, Points> {
        &self.histograms
    }

    /// Samples that came again, bit for bit.
    #[must_use]
    pub const fn replayed(&self) -> u64 {
        self.replayed
    }

    /// Samples, each counted once.
    #[must_use]
    pub fn samples(&self) -> usize {
        let all = self.series.values().chain(self.histograms.values());
        all.map(Points::len).sum()
    }
}

/// Enters what came of one series; answers how much of it had come before.
fn enter(
    points: &mut Points,
    labels: &[Label],
    came: impl Iterator<Item = (i64, f64)>,
    breaches: &mut Vec<String>,
) -> u64 {
    let mut replayed = 0;
    for (timestamp, value) in came {
        let bits = value.to_bits();
        match points.get(&timestamp) {
            Some(known) if *known == bits => replayed += 1,
            Some(known) => breaches.push(format!(
                "{}: at {timestamp} first {} and then {value}",
                name(labels),
                f64::from_bits(*known)
            )),
            None => {
                if let Some((newest, _)) = points.last_key_value().filter(|(newest, _)| **newest > timestamp) {
                    breaches.push(format!("{}: {timestamp} came after {newest}", name(labels)));
                }
                points.insert(timestamp, bits);
            }
        }
    }
    replayed
}

/// The value of a label, empty when it is not there.
#[must_use]
pub fn value<'a>(labels: &'a [Label], name: &str) -> &'a str {
    let found = labels.iter().find(|label| label.name == name);
    found.map_or("", |label| label.value.as_str())
}

/// A series as people write it, without the labels that all series of an agent have.
#[must_use]
pub fn name(labels: &[Label]) -> String {
    let own = labels
        .iter()
        .filter(|label| !["__name__", "job", "source_region"].contains(&label.name.as_str()));
    let own: Vec<_> = own.map(|label| format!("{}={:?}", label.name, label.value)).collect();
    format!("{}{{{}}}", value(labels, "__name__"), own.join(","))
}

fn inspect(series: &TimeSeries, now: i64) -> Result<(), String> {
    let labels = &series.labels;
    let wrong = |what: &str| Err(format!("{}: {what}", name(labels)));
    if value(labels, "__name__").is_empty() {
        return wrong("no name");
    }
    if labels.len() > MAX_LABELS {
        return wrong(&format!("{} labels", labels.len()));
    }
    if labels
        .iter()
        .any(|label| label.name.is_empty() || label.value.is_empty())
    {
        return wrong("an empty label");
    }
    if labels.iter().any(|label| label.value.len() > MAX_VALUE_BYTES) {
        return wrong("a label's value is too long");
    }
    if !labels.is_sorted_by(|one, other| one.name < other.name) {
        return wrong("labels are not sorted, or one is there twice");
    }
    let floats = series.samples.iter().map(|sample| sample.timestamp);
    let times: Vec<_> = floats
        .chain(series.histograms.iter().map(|histogram| histogram.timestamp))
        .collect();
    if let Some(ahead) = times
        .iter()
        .map(|time| time - now)
        .find(|ahead| *ahead > MAX_AHEAD_MILLIS)
    {
        return wrong(&format!("{ahead} ms ahead of the clock"));
    }
    if !times.is_sorted_by(|one, other| one < other) {
        return wrong("its times do not rise");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote_write::STALE_MARKER;
    use crate::remote_write::message::{Histogram, Sample};

    fn series(labels: &[(&str, &str)], points: &[(f64, i64)]) -> WriteRequest {
        let labels = labels.iter().map(|(name, value)| Label {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        });
        let samples = points.iter().map(|(value, timestamp)| Sample {
            value: *value,
            timestamp: *timestamp,
        });
        WriteRequest {
            timeseries: vec![TimeSeries {
                labels: labels.collect(),
                samples: samples.collect(),
                histograms: Vec::new(),
            }],
        }
    }

    fn up(points: &[(f64, i64)]) -> WriteRequest {
        series(&[("__name__", "up")], points)
    }

    #[test]
    fn replay_is_counted_and_what_is_older_or_other_is_a_breach() {
        let stale = f64::from_bits(STALE_MARKER);
        let mut book = Book::default();
        assert!(book.enter(up(&[(1.0, 10), (stale, 20)])).is_empty());
        assert!(book.enter(up(&[(1.0, 10), (stale, 20)])).is_empty());
        assert_eq!((book.samples(), book.replayed()), (2, 2));
        assert_eq!(book.enter(up(&[(1.0, 15)])), ["up{}: 15 came after 20"]);
        assert_eq!(book.enter(up(&[(2.0, 10)])), ["up{}: at 10 first 1 and then 2"]);
        assert!(book.enter(up(&[(1.0, 21)])).is_empty());
    }

    #[test]
    fn histograms_are_entered_beside_numbers_of_the_same_name() {
        let mut request = up(&[(1.0, 10)]);
        request.timeseries[0].histograms = vec![Histogram {
            sum: 7.0,
            timestamp: 10,
            ..Histogram::default()
        }];
        let mut book = Book::default();
        assert!(book.enter(request.clone()).is_empty() && book.enter(request.clone()).is_empty());
        assert_eq!((book.samples(), book.replayed()), (2, 2));
        assert_eq!((book.series().len(), book.histograms().len()), (1, 1));
        request.timeseries[0].histograms[0].timestamp = 9;
        assert_eq!(book.enter(request), ["up{}: 9 came after 10"]);
    }

    #[test]
    fn every_rule_of_hygiene_has_its_breach() {
        let many: Vec<_> = (0..28).map(|index| format!("x{index:02}")).collect();
        let mut crowd = vec![("__name__", "up")];
        crowd.extend(many.iter().map(|name| (name.as_str(), "1")));
        let long = "x".repeat(1025);
        for (request, expected) in [
            (series(&[("a", "1")], &[(1.0, 0)]), "no name"),
            (series(&[("__name__", "up"), ("b", "1"), ("a", "1")], &[]), "not sorted"),
            (series(&[("__name__", "up"), ("a", "1"), ("a", "2")], &[]), "twice"),
            (series(&[("__name__", "up"), ("a", "")], &[]), "empty"),
            (series(&[("__name__", "up"), ("a", &long)], &[]), "too long"),
            (series(&crowd, &[]), "29 labels"),
            (up(&[(1.0, 160_001)]), "60001 ms ahead"),
            (up(&[(1.0, 5), (1.0, 5)]), "do not rise"),
        ] {
            let breaches = Book::inspect(&request, 100_000);
            assert!(
                breaches.len() == 1 && breaches[0].contains(expected),
                "{expected}: {breaches:?}"
            );
        }
        assert!(Book::inspect(&up(&[(1.0, 5), (1.0, 160_000)]), 100_000).is_empty());
    }
}
