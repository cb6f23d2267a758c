//! A set of record numbers that mostly follow each other.

use std::collections::BTreeMap;
use std::ops::Range;

/// Numbers, kept as ranges: as large as the number of gaps, not of members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ids {
    /// First number of a range to the one behind its last; ranges neither overlap nor touch.
    ranges: BTreeMap<u64, u64>,
}

impl Ids {
    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.ranges.range(..=id).next_back().is_some_and(|(_, end)| id < *end)
    }

    pub(super) fn insert(&mut self, id: u64) {
        self.insert_range(id..id.saturating_add(1));
    }

    pub(super) fn insert_range(&mut self, range: Range<u64>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        // What overlaps or touches becomes part of the new range; at most one begins before it.
        while let Some((&first, &last)) = self
            .ranges
            .range(..=end)
            .next_back()
            .filter(|(_, last)| **last >= start)
        {
            start = start.min(first);
            end = end.max(last);
            self.ranges.remove(&first);
        }
        self.ranges.insert(start, end);
    }

    pub(super) fn remove_first(&mut self) {
        self.ranges.pop_first();
    }

    /// Ranges in ascending order.
    pub(super) fn ranges(&self) -> impl ExactSizeIterator<Item = Range<u64>> + '_ {
        self.ranges.iter().map(|(start, end)| *start..*end)
    }

    /// The number behind the largest member.
    pub(super) fn end(&self) -> Option<u64> {
        self.ranges.last_key_value().map(|(_, end)| *end)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_hold_the_numbers_that_were_put_in(ranges in prop::collection::vec((0u64..60, 0u64..6), 0..40)) {
            let mut ids = Ids::default();
            let mut model = BTreeSet::new();
            for (start, length) in ranges {
                ids.insert_range(start..start + length);
                model.extend(start..start + length);
                let members: Vec<u64> = ids.ranges().flatten().collect();
                prop_assert_eq!(&members, &model.iter().copied().collect::<Vec<_>>());
                prop_assert!((0..70).all(|id| ids.contains(id) == model.contains(&id)));
                prop_assert_eq!(ids.end(), model.last().map(|last| last + 1));
                let ranges: Vec<_> = ids.ranges().collect();
                prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start), "{:?} touch", ranges);
            }
        }
    }
}
