//! Whether one request is poisoned: a receiver that always fails on it may take every other.

use crate::queue::RequestId;

/// Failures of one request after which the next one is tried once, some eight seconds after the first: a receiver in trouble
/// mostly fails on everything, and what is overtaken may be refused as out of order later.
const FAILURES: u32 = 5;

/// Most requests that are set aside at once; beyond it the oldest of them is given up.
pub const MAX_ASIDE: usize = 64;

/// Counts how often the receiver failed on the request at the head of the queue.
#[derive(Debug, Default)]
pub struct Suspicion {
    of: Option<RequestId>,
    failures: u32,
}

impl Suspicion {
    /// Notes that the receiver failed on a request; tells whether it is time to look past it: after five failures, and
    /// after five more each time that the next request failed as well.
    pub fn failed_on(&mut self, id: RequestId) -> bool {
        if self.of != Some(id) {
            *self = Self {
                of: Some(id),
                failures: 0,
            };
        }
        self.failures += 1;
        self.failures.is_multiple_of(FAILURES)
    }

    /// Notes another kind of answer: it takes an unbroken run to blame a request.
    pub const fn clear(&mut self) {
        self.of = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::queue::{Bounds, Queue};

    #[test]
    fn every_fifth_failure_in_a_row_looks_past_the_request() {
        let mut queue = Queue::new(Bounds {
            max_bytes: 100,
            max_age: Duration::from_mins(1),
        });
        let mut leased = || {
            queue.push(super::super::task::tests::request("a"), Instant::now());
            let (id, _) = queue.lease(Instant::now()).unwrap();
            queue.set_aside(id);
            id
        };
        let (first, second) = (leased(), leased());
        let mut suspicion = Suspicion::default();
        let looks: Vec<bool> = (0..11).map(|_| suspicion.failed_on(first)).collect();
        let counted: Vec<usize> = (0..11).filter(|place| looks[*place]).collect();
        assert_eq!(counted, [4, 9]);
        assert!((0..4).all(|_| !suspicion.failed_on(second)));
        suspicion.clear();
        assert!((0..4).all(|_| !suspicion.failed_on(second)) && suspicion.failed_on(second));
    }
}
