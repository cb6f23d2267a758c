//! How much round-trip times differ from one reply to the next.

use std::time::Duration;

/// Part of the distance to a new difference that the estimate moves by (RFC 3550, section 6.4.1).
const GAIN: u64 = 16;

/// The interarrival jitter of RFC 3550, section 6.4.1, over the round-trip times of consecutive replies:
/// `J += (|D| - J) / 16`, from 0.
///
/// A difference of round-trip times is the difference of transit times that the RFC speaks of, for both ways together.
/// Kept as sixteenths of a nanosecond and rounded like the sample code of its section A.8.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Jitter {
    previous_nanos: Option<u64>,
    sixteenths: Option<u64>,
}

impl Jitter {
    /// Takes the round-trip time of the next reply.
    pub fn observe(&mut self, rtt: Duration) {
        let nanos = u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX);
        if let Some(previous) = self.previous_nanos.replace(nanos) {
            let kept = self.sixteenths.unwrap_or_default();
            let leaving = kept.saturating_add(GAIN / 2) / GAIN;
            self.sixteenths = Some((kept - leaving.min(kept)).saturating_add(nanos.abs_diff(previous)));
        }
    }

    /// The estimate; `None` before the second reply.
    #[must_use]
    pub fn get(&self) -> Option<Duration> {
        self.sixteenths
            .map(|sixteenths| Duration::from_nanos(sixteenths / GAIN))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_difference_moves_the_estimate_by_a_sixteenth_of_the_distance() {
        let mut jitter = Jitter::default();
        let estimates = [10_000, 10_000, 26_000, 10_000, 10_000].map(|micros| {
            jitter.observe(Duration::from_micros(micros));
            jitter.get().map(|jitter| jitter.as_nanos())
        });
        assert_eq!(
            estimates,
            [None, Some(0), Some(1_000_000), Some(1_937_500), Some(1_816_406)]
        );
    }

    proptest! {
        #[test]
        fn the_whole_numbers_follow_the_formula(nanos in prop::collection::vec(0u32.., 2..200)) {
            let mut jitter = Jitter::default();
            for nanos in &nanos {
                jitter.observe(Duration::from_nanos(u64::from(*nanos)));
            }
            let differences = nanos.windows(2).map(|pair| f64::from(pair[0].abs_diff(pair[1])));
            let expected = differences.fold(0.0, |kept, difference| kept + (difference - kept) / 16.0);
            let said = jitter.get().unwrap_or_default().as_secs_f64() * 1e9;
            // Half a sixteenth of a nanosecond is rounded at every step and fades like the rest.
            prop_assert!((said - expected).abs() < 2.0, "{said} instead of {expected}");
        }

        #[test]
        fn no_reply_is_too_long(seconds in prop::collection::vec(any::<u64>(), 0..20)) {
            let mut jitter = Jitter::default();
            for seconds in &seconds {
                jitter.observe(Duration::from_secs(*seconds));
            }
            prop_assert_eq!(jitter.get().is_some(), seconds.len() > 1);
        }
    }
}
