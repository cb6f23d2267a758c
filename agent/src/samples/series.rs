//! Every series that was sent last time: values in, samples with labels and a timestamp out.

use std::collections::BTreeSet;

use super::alive::Alive;
use super::catalogue::{COMMON_LABELS, Scope};
use super::label::{SharedLabels, put_clean};
use super::native::NativeWriter;
pub use super::sample::{STALE_MARKER, Sample, SampleValue, Samples};
use super::shape::{Shape, Slot};
use super::{Group, Part, Value};

/// A clock that was set back by more than this is followed at once instead of being waited for, milliseconds.
///
/// Up to here timestamps keep growing by a millisecond, so that no receiver sees a sample out of order; beyond it the
/// stamps of before were wrong, and stamping on into the future would close the receiver to every sender.
pub const MAX_AHEAD_MILLIS: i64 = 60_000;

/// Stands behind every value in the name of a subject; clean values have no control characters.
const END_OF_VALUE: char = '\0';

/// The series that are alive, by subject.
///
/// A subject is kept as the text of its label values, and which series it has as a [`Shape`] that it shares with all
/// subjects that have the same; labels are encoded anew each time, which costs less than keeping them.
#[derive(Debug)]
pub struct SeriesSet {
    common: [String; COMMON_LABELS.len()],
    /// By scope.
    subjects: [Alive<Kept>; Scope::ALL.len()],
    shapes: BTreeSet<Shape>,
    last_timestamp: Option<i64>,
    /// What appears in this snapshot began to be counted after this time.
    new_since: i64,
    writer: Writer,
}

#[derive(Debug)]
struct Kept {
    /// When counting for the subject began, or shortly before.
    since: i64,
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
    native: NativeWriter,
    samples: Samples,
}

impl SeriesSet {
    /// Starts without a series; `common` holds the values of [`COMMON_LABELS`]. What is in the first snapshot has been
    /// counted since `now`, milliseconds since the Unix epoch.
    #[must_use]
    pub fn new(common: [String; COMMON_LABELS.len()], now: i64) -> Self {
        let clean = |value: String| {
            let mut cleaned = String::new();
            put_clean(&mut cleaned, &value);
            cleaned
        };
        Self {
            common: common.map(clean),
            subjects: <[Alive<Kept>; Scope::ALL.len()]>::default(),
            shapes: BTreeSet::new(),
            last_timestamp: None,
            new_since: now,
            writer: Writer::default(),
        }
    }

    /// Begins a snapshot, which [`Self::end`] ends. All its samples get one timestamp: `now` (milliseconds since the Unix
    /// epoch), or a millisecond more than last time when the clock stood still or was set back by up to
    /// [`MAX_AHEAD_MILLIS`].
    pub fn begin(&mut self, now: i64) {
        let timestamp = self.next_timestamp(now);
        if let Some(last) = self.last_timestamp.replace(timestamp) {
            // Later than the stale marker that the last snapshot may have sent for the same series.
            self.new_since = last.saturating_add(1);
        }
        self.writer.samples.restart(timestamp);
        self.subjects.iter_mut().for_each(Alive::begin);
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
            new_since,
            writer,
            ..
        } = self;
        let scope = group.subject.scope();
        writer.open(common, group);
        let subjects = &mut subjects[scope as usize];
        if let Some(kept) = subjects.find(&writer.subject) {
            kept.say(&group.values, shapes, writer);
        } else {
            let mut kept = Kept::new(*new_since);
            kept.say(&group.values, shapes, writer);
            if !writer.samples.is_empty() {
                subjects.add(&writer.subject, kept);
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
                    writer.close(common, scope, subject, kept.since, &gone);
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
        let subjects = self.subjects.iter().flat_map(Alive::values);
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
    const fn new(since: i64) -> Self {
        Self {
            since,
            before: None,
            now: None,
        }
    }

    fn say(&mut self, values: &[Value], shapes: &mut BTreeSet<Shape>, writer: &mut Writer) {
        writer.samples.count_from(self.since);
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
    fn open(&mut self, common: &[String; COMMON_LABELS.len()], group: &Group<'_>) {
        let subject = &group.subject;
        self.subject.clear();
        for value in subject.label_values() {
            put_clean(&mut self.subject, value);
            self.subject.push(END_OF_VALUE);
        }
        let values = self.subject.split_terminator(END_OF_VALUE);
        self.shared.load(common, subject.scope(), values);
        let timestamp = self.samples.timestamp();
        self.samples.restart(timestamp);
        if let Some((histogram, sum)) = group.native {
            self.native.write(histogram, sum, timestamp);
        }
    }

    /// Writes the stale markers of a subject.
    fn close(
        &mut self,
        common: &[String; COMMON_LABELS.len()],
        scope: Scope,
        subject: &str,
        since: i64,
        gone: &[Slot],
    ) {
        self.shared.load(common, scope, subject.split_terminator(END_OF_VALUE));
        let timestamp = self.samples.timestamp();
        self.samples.restart(timestamp);
        self.samples.count_from(since);
        self.native.write_stale(timestamp);
        for slot in gone {
            self.put(*slot, f64::from_bits(STALE_MARKER));
        }
    }

    fn put(&mut self, slot: Slot, value: f64) {
        let name = [slot.metric.name, slot.part.suffix()];
        let own = slot.metric.own_labels().zip(slot.part.label_values());
        let Self {
            shared,
            native,
            samples,
            ..
        } = self;
        let labels = |labels: &mut Vec<u8>| shared.put_series(labels, name, own);
        if matches!(slot.part, Part::Native) {
            samples.push_native(slot.metric, native.message(), labels);
        } else {
            samples.push(slot.metric, value, labels);
        }
    }
}

#[cfg(test)]
mod tests;
