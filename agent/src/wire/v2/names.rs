//! The names of the series of a request, with their numbers and what is said about their metrics.
//!
//! Groups of samples name the same metrics in the same order, so the name of the next series is mostly known before it is
//! read: the one that followed last time.

use super::{describe, put_ref};
use crate::samples::catalogue::Metric;
use crate::wire::field::put_bytes;
use crate::wire::label;
use crate::wire::symbols::Symbols;

/// Field 5 of `TimeSeries` (metadata), length-delimited.
const TAG_METADATA: u8 = 0x2a;

/// Names that were written so far.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: Vec<Name>,
    last: usize,
}

/// A metric under one name; a classic histogram has several.
#[derive(Debug)]
pub(super) struct Name {
    metric: &'static Metric,
    /// The label `__name__` as the labels of a series begin with it; empty where another one comes first.
    label: Box<[u8]>,
    /// The numbers of its two texts as they stand in the message; empty without a label.
    pub(super) refs: Box<[u8]>,
    /// The metadata as a field of a series.
    pub(super) metadata: Box<[u8]>,
    /// The place of the name that followed last time.
    next: usize,
}

impl Names {
    /// Finds or adds the name of a series with these labels; answers it and the labels behind it.
    pub(super) fn split<'a>(
        &mut self,
        metric: &'static Metric,
        labels: &'a [u8],
        symbols: &mut Symbols,
    ) -> (&Name, &'a [u8]) {
        let guess = self.known.get(self.last).map_or(0, |last| last.next);
        let place = if self.known.get(guess).is_some_and(|name| name.is_of(metric, labels)) {
            guess
        } else {
            let found = self.known.iter().position(|name| name.is_of(metric, labels));
            let place = found.unwrap_or(self.known.len());
            if found.is_none() {
                self.known.push(Name::new(metric, labels, symbols));
            }
            if let Some(last) = self.known.get_mut(self.last) {
                last.next = place;
            }
            place
        };
        self.last = place;
        let name = &self.known[place];
        (name, &labels[name.label.len()..])
    }

    /// Forgets every name: the numbers are those of another request.
    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.last = 0;
    }
}

impl Name {
    fn new(metric: &'static Metric, labels: &[u8], symbols: &mut Symbols) -> Self {
        let (mut refs, mut metadata, mut label) = (Vec::new(), Vec::new(), Box::default());
        if let Ok((first, _)) = label::split_first(labels)
            && first.name == label::NAME
        {
            put_ref(&mut refs, symbols.intern(first.name));
            put_ref(&mut refs, symbols.intern(first.value));
            label = first.bytes.into();
        }
        put_bytes(&mut metadata, TAG_METADATA, &describe(metric, symbols));
        Self {
            metric,
            label,
            refs: refs.into(),
            metadata: metadata.into(),
            next: 0,
        }
    }

    fn is_of(&self, metric: &'static Metric, labels: &[u8]) -> bool {
        // A label says its length first: what begins with the bytes of another one is the same.
        std::ptr::eq(self.metric, metric) && labels.starts_with(&self.label)
    }
}
