//! Things that wait for their time; equal times leave in the order in which they came.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

/// A queue ordered by time.
#[derive(Debug)]
pub struct DueQueue<T> {
    heap: BinaryHeap<Entry<T>>,
    sequence: u64,
}

#[derive(Debug)]
struct Entry<T> {
    at: Duration,
    sequence: u64,
    item: T,
}

impl<T> Default for DueQueue<T> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            sequence: 0,
        }
    }
}

impl<T> DueQueue<T> {
    /// Adds an item that is due at a time.
    pub fn push(&mut self, at: Duration, item: T) {
        self.sequence += 1;
        self.heap.push(Entry {
            at,
            sequence: self.sequence,
            item,
        });
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// When the first item is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// Takes the first item if its time has come.
    pub fn pop_due(&mut self, now: Duration) -> Option<T> {
        if self.next_due()? > now {
            return None;
        }
        self.heap.pop().map(|entry| entry.item)
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        // Reversed: the standard heap hands out its greatest first.
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Entry<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_leave_by_time_then_by_arrival() {
        let second = Duration::from_secs(1);
        let mut queue = DueQueue::default();
        for (at, item) in [(3, "d"), (1, "a"), (2, "b"), (2, "c"), (9, "e")] {
            queue.push(at * second, item);
        }
        let left: Vec<_> = std::iter::from_fn(|| queue.pop_due(3 * second)).collect();
        assert_eq!(left, ["a", "b", "c", "d"]);
        assert_eq!(queue.next_due(), Some(9 * second));
    }
}
