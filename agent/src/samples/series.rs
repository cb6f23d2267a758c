//! Every series that was sent last time: values in, samples with labels and a timestamp out.

use std::collections::{BTreeMap, BTreeSet};

use super::catalogue::{COMMON_LABELS, Scope};
use super::label::{SharedLabels, put_clean};
use super::shape::{Shape, Slot};
use super::{Group, Subject, Value};

/// The NaN that ends a series (Prometheus, `value.StaleNaN`).
pub const STALE_MARKER: u64 = 0x7ff0_0000_0000_0002;

/// A clock that was set back by more than this is followed at once instead of being waited for, milliseconds.
///
/// Up to here timestamps keep growing by a millisecond, so that no receiver sees a sample out of order; beyond it the
/// stamps of before were wrong, and stamping on into the future would close the receiver to every sender.
pub const MAX_AHEAD_MILLIS: i64 = 60_000;

/// Stands behind every value in the name of a subject; clean values have no control characters.
const END_OF_VALUE: char = '\0';

/// One value of one series at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample<'a> {
    /// Which series: its labels as they stand in a `TimeSeries` message.
    pub labels: &'a [u8],
    /// The value; [`STALE_MARKER`] ends the series.
    pub value: f64,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
}

impl Sample<'_> {
    /// Tells whether the sample ends its series.
    #[must_use]
    pub const fn is_stale_marker(&self) -> bool {
        self.value.to_bits() == STALE_MARKER
    }
}

/// The samples of one subject at one time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    timestamp: i64,
    labels: Vec<u8>,
    /// Where the labels of each sample end, and its value.
    values: Vec<(usize, f64)>,
}

impl Samples {
    /// Number of samples.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.values.len()
    }

    /// Tells whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The samples in the order of the group's values.
    pub fn iter(&self) -> impl Iterator<Item = Sample<'_>> {
        let mut begin = 0;
        self.values.iter().map(move |&(end, value)| Sample {
            labels: &self.labels[std::mem::replace(&mut begin, end)..end],
            value,
            timestamp: self.timestamp,
        })
    }

    pub(super) fn restart(&mut self, timestamp: i64) {
        self.timestamp = timestamp;
        self.labels.clear();
        self.values.clear();
    }

    /// Appends a sample whose labels are written by `labels`.
    pub(super) fn push(&mut self, value: f64, labels: impl FnOnce(&mut Vec<u8>)) {
        labels(&mut self.labels);
        self.values.push((self.labels.len(), value));
    }
}

/// The series that are alive, by subject.
///
/// A subject is kept as the text of its label values, and which series it has as a [`Shape`] that it shares with all
/// subjects that have the same; labels are encoded anew each time, which costs less than keeping them.
#[derive(Debug)]
pub struct SeriesSet {
    common: [String; COMMON_LABELS.len()],
    /// By scope.
    subjects: [BTreeMap<Box<str>, Kept>; Scope::ALL.len()],
    shapes: BTreeSet<Shape>,
    last_timestamp: Option<i64>,
    writer: Writer,
}

#[derive(Debug, Default)]
struct Kept {
    /// What was said in the last snapshot.
    before: Option<Shape>,
    /// What has been said in this one.
    now: Option<Shape>,
}

/// Room that every group uses again.
#[derive(Debug, Default)]
struct Writer {
    subject: String,
    shared: SharedLabels,
    samples: Samples,
}

impl SeriesSet {
    /// Starts without a series; `common` holds the values of [`COMMON_LABELS`].
    #[must_use]
    pub fn new(common: [String; COMMON_LABELS.len()]) -> Self {
        let clean = |value: String| {
            let mut cleaned = String::new();
            put_clean(&mut cleaned, &value);
            cleaned
        };
        Self {
            common: common.map(clean),
            subjects: <[BTreeMap<Box<str>, Kept>; Scope::ALL.len()]>::default(),
            shapes: BTreeSet::new(),
            last_timestamp: None,
            writer: Writer::default(),
        }
    }

    /// Begins a snapshot, which [`Self::end`] ends. All its samples get one timestamp: `now` (milliseconds since the Unix
    /// epoch), or a millisecond more than last time when the clock stood still or was set back by up to
    /// [`MAX_AHEAD_MILLIS`].
    pub fn begin(&mut self, now: i64) {
        let timestamp = self.next_timestamp(now);
        self.last_timestamp = Some(timestamp);
        self.writer.samples.restart(timestamp);
    }

    /// Stamps one group of the snapshot: one sample per value.
    ///
    /// What cannot be sent is left out: a value that is no number, and the second one of a series in this snapshot, which
    /// receivers refuse together with the whole request. Two subjects can differ only in what label hygiene removed.
    pub fn stamp(&mut self, group: &Group<'_>) -> &Samples {
        let Self {
            common,
            subjects,
            shapes,
            writer,
            ..
        } = self;
        let scope = group.subject.scope();
        writer.open(common, &group.subject);
        let subjects = &mut subjects[scope as usize];
        if let Some(kept) = subjects.get_mut(writer.subject.as_str()) {
            kept.say(&group.values, shapes, writer);
        } else {
            let mut kept = Kept::default();
            kept.say(&group.values, shapes, writer);
            if !writer.samples.is_empty() {
                subjects.insert(writer.subject.as_str().into(), kept);
            }
        }
        &writer.samples
    }

    /// Ends the snapshot: a stale marker for every series that the last one had and this one has not, a subject's markers
    /// together.
    pub fn end(&mut self, mut ended: impl FnMut(&Samples)) {
        let Self {
            common,
            subjects,
            shapes,
            writer,
            ..
        } = self;
        for (scope, subjects) in Scope::ALL.into_iter().zip(subjects) {
            subjects.retain(|subject, kept| {
                let before = kept.before.take();
                kept.before = kept.now.take();
                let gone = Shape::difference(before.as_ref(), kept.before.as_ref());
                if !gone.is_empty() {
                    writer.close(common, scope, subject, &gone);
                    ended(&writer.samples);
                }
                kept.before.is_some()
            });
        }
        shapes.retain(Shape::is_used);
    }

    /// Number of series that are alive, between two snapshots.
    #[must_use]
    pub fn len(&self) -> usize {
        let subjects = self.subjects.iter().flat_map(BTreeMap::values);
        let shapes = subjects.filter_map(|kept| kept.before.as_ref());
        shapes.map(|shape| shape.slots().len()).sum()
    }

    /// Tells whether no series is alive, between two snapshots.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn next_timestamp(&self, now: i64) -> i64 {
        let following = self.last_timestamp.map_or(now, |last| last.saturating_add(1));
        if following.saturating_sub(now) > MAX_AHEAD_MILLIS {
            now
        } else {
            following.max(now)
        }
    }
}

impl Kept {
    fn say(&mut self, values: &[Value], shapes: &mut BTreeSet<Shape>, writer: &mut Writer) {
        // Nearly always a subject has the series that it had last time.
        if self.now.is_none()
            && let Some(before) = &self.before
            && before.is_of(values)
        {
            self.now = Some(before.clone());
            for value in values {
                writer.put(Slot::of(value), value.value);
            }
            return;
        }
        let mut slots = self.now.take().map(|shape| shape.slots().to_vec()).unwrap_or_default();
        for value in values.iter().filter(|value| value.value.is_finite()) {
            let slot = Slot::of(value);
            if !slots.contains(&slot) {
                slots.push(slot);
                writer.put(slot, value.value);
            }
        }
        self.now = (!slots.is_empty()).then(|| Shape::among(shapes, slots));
    }
}

impl Writer {
    /// Makes room for the samples of a subject.
    fn open(&mut self, common: &[String; COMMON_LABELS.len()], subject: &Subject<'_>) {
        self.subject.clear();
        for value in subject.label_values() {
            put_clean(&mut self.subject, value);
            self.subject.push(END_OF_VALUE);
        }
        let values = self.subject.split_terminator(END_OF_VALUE);
        self.shared.load(common, subject.scope(), values);
        self.samples.restart(self.samples.timestamp);
    }

    /// Writes the stale markers of a subject.
    fn close(&mut self, common: &[String; COMMON_LABELS.len()], scope: Scope, subject: &str, gone: &[Slot]) {
        self.shared.load(common, scope, subject.split_terminator(END_OF_VALUE));
        self.samples.restart(self.samples.timestamp);
        for slot in gone {
            self.put(*slot, f64::from_bits(STALE_MARKER));
        }
    }

    fn put(&mut self, slot: Slot, value: f64) {
        let name = [slot.metric.name, slot.part.suffix()];
        let own = slot.metric.own_labels().zip(slot.part.label_values());
        self.samples
            .push(value, |labels| self.shared.put_series(labels, name, own));
    }
}

#[cfg(test)]
mod tests;
