//! Samples as the encoders take them: labels as they stand in a message, a value, timestamps, and what it all means.

use super::catalogue::{Kind, Metric};

/// The NaN that ends a series (Prometheus, `value.StaleNaN`).
pub const STALE_MARKER: u64 = 0x7ff0_0000_0000_0002;

/// One value of one series at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample<'a> {
    /// Which series: its labels as they stand in a `TimeSeries` message of Remote-Write 1.0.
    pub labels: &'a [u8],
    /// The value.
    pub value: SampleValue<'a>,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// Since when there is anything to count, in the same unit; `None` where it is not known.
    pub since: Option<i64>,
    /// What the series says; `None` where it is not known.
    pub metric: Option<&'static Metric>,
}

impl Sample<'_> {
    /// When counting began; `None` where nothing is counted or it is not known.
    #[must_use]
    pub fn start(&self) -> Option<i64> {
        let counts = |metric: &Metric| match metric.kind {
            Kind::Counter | Kind::Histogram => true,
            Kind::Gauge => false,
        };
        self.since.filter(|_| self.metric.is_none_or(counts))
    }
}

/// What a sample says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SampleValue<'a> {
    /// A number; [`STALE_MARKER`] ends the series.
    Number(f64),
    /// One of the numbers that make a classic histogram together.
    Classic(f64),
    /// A native histogram: a `Histogram` message, which holds the timestamp, without its start. A sum that is
    /// [`STALE_MARKER`] ends the series.
    Native(&'a [u8]),
}

/// The samples of one subject at one time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    timestamp: i64,
    since: Option<i64>,
    labels: Vec<u8>,
    natives: Vec<u8>,
    entries: Vec<Entry>,
    classic: usize,
    native: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Entry {
    /// Where its labels end.
    labels_end: usize,
    metric: &'static Metric,
    value: EntryValue,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum EntryValue {
    Number(f64),
    Classic(f64),
    /// Where its message ends.
    Native(usize),
}

impl Samples {
    /// Number of samples.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Number of those that are part of a classic histogram.
    #[must_use]
    pub const fn classic(&self) -> usize {
        self.classic
    }

    /// Number of those that are native histograms.
    #[must_use]
    pub const fn native(&self) -> usize {
        self.native
    }

    /// Tells whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The samples in the order of the group's values.
    pub fn iter(&self) -> impl Iterator<Item = Sample<'_>> {
        let (mut labels, mut natives) = (0, 0);
        self.entries.iter().map(move |entry| Sample {
            labels: &self.labels[std::mem::replace(&mut labels, entry.labels_end)..entry.labels_end],
            value: match entry.value {
                EntryValue::Number(value) => SampleValue::Number(value),
                EntryValue::Classic(value) => SampleValue::Classic(value),
                EntryValue::Native(end) => {
                    SampleValue::Native(&self.natives[std::mem::replace(&mut natives, end)..end])
                }
            },
            timestamp: self.timestamp,
            since: self.since,
            metric: Some(entry.metric),
        })
    }

    /// Makes room for the samples of another time or subject, all with this timestamp.
    pub(crate) fn restart(&mut self, timestamp: i64) {
        self.timestamp = timestamp;
        self.since = None;
        self.labels.clear();
        self.natives.clear();
        self.entries.clear();
        (self.classic, self.native) = (0, 0);
    }

    /// Says since when the subject has been counted for. A receiver refuses what began after it was said, and 0 means
    /// that it is not known; so does a clock that was set back.
    pub(crate) fn count_from(&mut self, since: i64) {
        self.since = (since != 0 && since < self.timestamp).then_some(since);
    }

    /// The timestamp of all samples.
    pub(crate) const fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// Appends a number whose labels are written by `labels`.
    pub(crate) fn push(&mut self, metric: &'static Metric, value: f64, labels: impl FnOnce(&mut Vec<u8>)) {
        let value = match metric.kind {
            Kind::Counter | Kind::Gauge => EntryValue::Number(value),
            Kind::Histogram => {
                self.classic += 1;
                EntryValue::Classic(value)
            }
        };
        self.push_entry(metric, value, labels);
    }

    /// Appends a native histogram, given as its message.
    pub(crate) fn push_native(&mut self, metric: &'static Metric, message: &[u8], labels: impl FnOnce(&mut Vec<u8>)) {
        self.natives.extend_from_slice(message);
        self.native += 1;
        self.push_entry(metric, EntryValue::Native(self.natives.len()), labels);
    }

    fn push_entry(&mut self, metric: &'static Metric, value: EntryValue, labels: impl FnOnce(&mut Vec<u8>)) {
        labels(&mut self.labels);
        self.entries.push(Entry {
            labels_end: self.labels.len(),
            metric,
            value,
        });
    }
}
