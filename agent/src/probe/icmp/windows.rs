//! When open windows close, the earliest first.
//!
//! Windows of one length close in the order in which they were opened, so there is a queue for each length and nothing is
//! sorted. A window that ended before its time stays until that has come; whoever takes it looks whether it still counts.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// The ends of windows, each with the number of its echo.
#[derive(Debug, Default)]
pub(super) struct Windows {
    by_length: BTreeMap<Duration, VecDeque<(Instant, u64)>>,
}

impl Windows {
    /// Adds a window of that length; there should be few different ones.
    pub(super) fn push(&mut self, length: Duration, closes: Instant, number: u64) {
        let queue = self.by_length.entry(length).or_default();
        let place = match queue.back() {
            Some((last, _)) if *last > closes => queue.partition_point(|(other, _)| *other <= closes),
            Some(_) | None => queue.len(),
        };
        queue.insert(place, (closes, number));
    }

    /// When the next window closes.
    pub(super) fn next(&self) -> Option<Instant> {
        let first = self.by_length.values().filter_map(VecDeque::front);
        first.map(|(closes, _)| *closes).min()
    }

    /// Takes the next window that has closed at `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Instant, u64)> {
        let first = |queue: &VecDeque<(Instant, u64)>| queue.front().copied();
        let queues = self.by_length.values_mut().filter(|queue| !queue.is_empty());
        let queue = queues.min_by_key(|queue| first(queue))?;
        first(queue).filter(|(closes, _)| *closes <= now)?;
        queue.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn windows_come_out_as_from_a_sorted_set(
            steps in prop::collection::vec((0u64..4, 0u64..50, prop::option::of(0u64..60)), 1..200),
        ) {
            let start = Instant::now();
            let at = |millis| start + Duration::from_millis(millis);
            let (mut windows, mut model) = (Windows::default(), BTreeSet::new());
            for (number, (length, closes, now)) in (0..).zip(steps) {
                windows.push(Duration::from_secs(length), at(closes), number);
                model.insert((at(closes), number));
                prop_assert_eq!(windows.next(), model.first().map(|(closes, _)| *closes));
                while let Some((closes, taken)) = now.and_then(|now| windows.pop(at(now))) {
                    prop_assert_eq!(model.pop_first(), Some((closes, taken)));
                }
                let left = now.and_then(|now| model.first().filter(|(closes, _)| *closes <= at(now)));
                prop_assert_eq!(left, None);
            }
        }
    }
}
