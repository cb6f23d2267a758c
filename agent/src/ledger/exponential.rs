//! Round-trip times in the buckets of a Prometheus native histogram.

use std::time::Duration;

/// Each power of two is divided into this power of two of buckets.
///
/// Eight buckets per doubling are 27 per decade, each 9 % wide. From 100 us to 3 s that makes at most 120 buckets;
/// receivers have limits from 160 on.
pub const SCHEMA: u8 = 3;

/// Buckets per doubling.
const PER_DOUBLING: usize = 1 << SCHEMA;

/// Lower half of the doubling that ends at 1: `2^(n/8) / 2`.
const FRACTIONS: [f64; PER_DOUBLING] = [
    0.5,
    0.545_253_866_332_628_8,
    0.594_603_557_501_360_5,
    0.648_419_777_325_504_8,
    std::f64::consts::FRAC_1_SQRT_2,
    0.771_105_412_703_970_4,
    0.840_896_415_253_714_5,
    0.917_004_043_204_671_2,
];

/// Up to here an observation counts as zero: the width that Prometheus itself uses, `2^-128`.
pub const ZERO_THRESHOLD: f64 = f64::from_bits((1023 - 128) << 52);

/// Bits of the fraction of a float.
const FRACTION_BITS: u32 = 52;

/// Counts observations by exponential bucket: the one with index `n` ends at `2^(n/8)` seconds, which belongs to it.
///
/// Keeps the buckets between the smallest and the largest observation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exponential {
    zero: u64,
    /// Index of the first bucket that is kept.
    first: i32,
    counts: Vec<u64>,
}

impl Exponential {
    /// Counts one observation.
    pub fn observe(&mut self, rtt: Duration) {
        let Some(index) = index(rtt.as_secs_f64()) else {
            self.zero += 1;
            return;
        };
        if self.counts.is_empty() {
            self.first = index;
        }
        // The span of all durations is below 1000 buckets, so the differences are small.
        if index < self.first {
            let missing = self.first.abs_diff(index) as usize;
            self.counts.splice(..0, std::iter::repeat_n(0, missing));
            self.first = index;
        }
        let place = self.first.abs_diff(index) as usize;
        if place >= self.counts.len() {
            self.counts.resize(place + 1, 0);
        }
        self.counts[place] += 1;
    }

    /// Observations that count as zero.
    #[must_use]
    pub const fn zero(&self) -> u64 {
        self.zero
    }

    /// Index of the first bucket, and the counts from there on.
    #[must_use]
    pub fn buckets(&self) -> (i32, &[u64]) {
        (self.first, &self.counts)
    }

    /// Number of observations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.zero + self.counts.iter().sum::<u64>()
    }
}

/// Finds the bucket of some seconds; `None` for what counts as zero.
fn index(seconds: f64) -> Option<i32> {
    if seconds <= ZERO_THRESHOLD {
        return None;
    }
    // `seconds = fraction * 2^exponent` with a fraction from 0.5 to 1; nothing above the threshold is subnormal.
    let bits = seconds.to_bits();
    let exponent = i32::try_from(bits >> FRACTION_BITS).unwrap_or(i32::MAX) - 1022;
    let fraction = f64::from_bits((bits & ((1 << FRACTION_BITS) - 1)) | (1022 << FRACTION_BITS));
    let step = FRACTIONS.partition_point(|bound| *bound < fraction);
    let step = i32::try_from(step).unwrap_or_default();
    Some(step + (exponent - 1) * (1 << SCHEMA))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn bound(index: i32) -> f64 {
        (f64::from(index) / 8.0).exp2()
    }

    #[test]
    fn the_zero_bucket_is_as_wide_as_that_of_prometheus() {
        assert_eq!(ZERO_THRESHOLD.to_bits(), 2.938_735_877_055_719e-39_f64.to_bits());
        assert_eq!((index(0.0), index(ZERO_THRESHOLD)), (None, None));
        assert!(index(ZERO_THRESHOLD * 1.01).is_some_and(|index| index == -128 * 8 + 1));
    }

    #[test]
    fn a_power_of_two_closes_its_bucket() {
        for doubling in -20..6 {
            let closes = bound(doubling * 8);
            assert_eq!(index(closes), Some(doubling * 8));
            assert_eq!(index(closes.next_up()), Some(doubling * 8 + 1));
        }
    }

    proptest! {
        #[test]
        fn an_observation_lies_in_its_bucket_and_all_are_counted(nanos in prop::collection::vec(prop_oneof![
            Just(0), 1u64..1_000, 100_000u64..3_000_000_000, any::<u64>()
        ], 0..100)) {
            let mut histogram = Exponential::default();
            let mut model: BTreeMap<i32, u64> = BTreeMap::new();
            for nanos in &nanos {
                let rtt = Duration::from_nanos(*nanos);
                histogram.observe(rtt);
                let seconds = rtt.as_secs_f64();
                if let Some(index) = index(seconds) {
                    // The bounds of the model are rounded once more than ours.
                    prop_assert!(bound(index - 1) * (1.0 - 1e-12) < seconds, "{} s in bucket {}", seconds, index);
                    prop_assert!(seconds <= bound(index) * (1.0 + 1e-12), "{} s in bucket {}", seconds, index);
                    *model.entry(index).or_default() += 1;
                }
            }
            prop_assert_eq!(histogram.count(), nanos.len() as u64);
            prop_assert_eq!(histogram.zero(), nanos.iter().filter(|nanos| **nanos == 0).count() as u64);
            let (first, counts) = histogram.buckets();
            let kept: BTreeMap<i32, u64> = (first..).zip(counts.iter().copied()).filter(|(_, count)| *count > 0).collect();
            prop_assert_eq!(kept, model);
            prop_assert!(counts.first() != Some(&0) && counts.last() != Some(&0));
        }
    }
}
