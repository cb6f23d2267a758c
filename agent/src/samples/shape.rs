//! Which series a subject has.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::catalogue::Metric;
use super::{Part, Value};

/// One series of any subject.
#[derive(Debug, Clone, Copy)]
pub struct Slot {
    /// Its metric.
    pub metric: &'static Metric,
    /// Which of the metric's series.
    pub part: Part,
}

impl Slot {
    /// The series of a value.
    #[must_use]
    pub const fn of(value: &Value) -> Self {
        Self {
            metric: value.metric,
            part: value.part,
        }
    }

    const fn key(&self) -> (&'static str, Part) {
        (self.metric.name, self.part)
    }
}

impl PartialEq for Slot {
    fn eq(&self, other: &Self) -> bool {
        let is_same = || std::ptr::eq(self.metric, other.metric) || self.metric.name == other.metric.name;
        self.part == other.part && is_same()
    }
}

impl Eq for Slot {}

impl PartialOrd for Slot {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Slot {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// The series of a subject in the order in which they are said, each once.
///
/// Thousands of targets have the same few shapes, so each exists once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape(Arc<[Slot]>);

impl Shape {
    /// Finds or adds the shape of `slots` among the known ones.
    pub(super) fn among(known: &mut BTreeSet<Self>, slots: Vec<Slot>) -> Self {
        if let Some(shape) = known.get(slots.as_slice()) {
            return shape.clone();
        }
        let shape = Self(slots.into());
        known.insert(shape.clone());
        shape
    }

    /// The series.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.0
    }

    /// Tells whether `values` are numbers, one of each of these series, in their order.
    pub(super) fn is_of(&self, values: &[Value]) -> bool {
        let said = |(slot, value): (&Slot, &Value)| value.value.is_finite() && *slot == Slot::of(value);
        self.0.len() == values.len() && self.0.iter().zip(values).all(said)
    }

    /// The series of `before` that `now` has not.
    pub(super) fn difference(before: Option<&Self>, now: Option<&Self>) -> Vec<Slot> {
        let (Some(before), Some(now)) = (before, now) else {
            return before.map(|before| before.slots().to_vec()).unwrap_or_default();
        };
        if Arc::ptr_eq(&before.0, &now.0) {
            return Vec::new();
        }
        let gone = before.slots().iter().filter(|slot| !now.slots().contains(slot));
        gone.copied().collect()
    }

    /// Tells whether anyone but the set of known shapes holds it.
    pub(super) fn is_used(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl Borrow<[Slot]> for Shape {
    fn borrow(&self) -> &[Slot] {
        &self.0
    }
}
