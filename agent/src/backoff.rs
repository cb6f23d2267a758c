//! How long to wait after one failure more.
//!
//! Pure: the random number is an argument, and nobody sleeps here.

use std::time::Duration;

/// A gap is stretched by up to this share, so that many senders that failed together do not come back together.
const JITTER: f64 = 0.25;

/// Waiting times that double from `min` to `max`, each stretched by a random share.
///
/// Every gap lies between `min` and `max`, and none is shorter than 0.8 times the one before it: jitter never makes
/// a retry storm out of a back-off.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    base: Duration,
}

impl Backoff {
    /// Starts at `min` and ends at `max`; a `max` below `min` counts as `min`.
    #[must_use]
    pub fn new(min: Duration, max: Duration) -> Self {
        let max = max.max(min);
        Self { min, max, base: min }
    }

    /// Answers the next waiting time; `random` is uniform in 0..1 and is clamped to it.
    pub fn next(&mut self, random: f64) -> Duration {
        let random = if random.is_nan() { 0.0 } else { random.clamp(0.0, 1.0) };
        let stretch = 1.0 + JITTER * random;
        let gap = self.base.mul_f64(stretch).clamp(self.min, self.max);
        let ceiling = self.max.div_f64(1.0 + JITTER).max(self.min);
        self.base = self.base.saturating_mul(2).min(ceiling);
        gap
    }

    /// The longest waiting time.
    #[must_use]
    pub const fn longest(&self) -> Duration {
        self.max
    }

    /// Starts again at `min`; called after a success.
    pub fn reset(&mut self) {
        self.base = self.min;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gaps_double_up_to_the_maximum_and_start_again_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        let gaps: Vec<u128> = (0..8).map(|_| backoff.next(0.0).as_millis()).collect();
        assert_eq!(gaps, [500, 1000, 2000, 4000, 8000, 16_000, 24_000, 24_000]);
        assert_eq!(backoff.next(1.0), Duration::from_secs(30));
        backoff.reset();
        assert_eq!(backoff.next(0.0), Duration::from_millis(500));
    }

    proptest! {
        #[test]
        fn no_gap_leaves_the_bounds_or_falls_below_four_fifths_of_the_last(
            min in 1u64..10_000,
            max in 1u64..100_000,
            randoms in prop::collection::vec(prop_oneof![Just(f64::NAN), -1.0..2.0f64], 1..50),
        ) {
            let (min, max) = (Duration::from_millis(min), Duration::from_millis(max.max(min)));
            let mut backoff = Backoff::new(min, max);
            let mut last = Duration::ZERO;
            for random in randoms {
                let gap = backoff.next(random);
                prop_assert!((min..=max).contains(&gap), "{gap:?} outside {min:?}..{max:?}");
                // A nanosecond for the rounding of the float arithmetic.
                prop_assert!(gap + Duration::from_nanos(1) >= last.mul_f64(0.8), "{gap:?} after {last:?}");
                last = gap;
            }
        }
    }
}
