//! Round-trip times of one region as a classic Prometheus histogram, and as a native one where that is asked for.

use std::time::Duration;

use super::exponential::Exponential;

/// Finite bucket bounds; one more bucket takes what is above the last.
pub const BOUNDS: usize = 46;

/// Steps of a decade: the series R″10 of preferred numbers (ISO 3), times ten.
///
/// Ten per decade keep an interpolated quantile within about 15 % of the truth; the rounded series has bounds with at
/// most two digits, so that `le` is short, and ends at 3 s exactly.
const STEPS: [u64; 10] = [10, 12, 15, 20, 25, 30, 40, 50, 60, 80];

/// A tenth of the first bound, 100 us: below that lie only neighbours in one machine room.
const UNIT_NANOS: u64 = 10_000;

const BOUND_NANOS: [u64; BOUNDS] = {
    let mut bounds = [0; BOUNDS];
    let (mut index, mut decade) = (0, UNIT_NANOS);
    while index < BOUNDS {
        bounds[index] = STEPS[index % STEPS.len()] * decade;
        index += 1;
        if index.is_multiple_of(STEPS.len()) {
            decade *= 10;
        }
    }
    bounds
};

/// Counts round-trip times by bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BOUNDS + 1],
    exponential: Option<Exponential>,
    sum: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: [0; BOUNDS + 1],
            exponential: None,
            sum: Duration::ZERO,
        }
    }
}

impl Histogram {
    /// Counts exponential buckets too.
    #[must_use]
    pub fn with_exponential() -> Self {
        Self {
            exponential: Some(Exponential::default()),
            ..Self::default()
        }
    }

    /// Counts one round-trip time; a bound belongs to the bucket it closes.
    pub fn observe(&mut self, rtt: Duration) {
        let nanos = u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUND_NANOS.partition_point(|bound| *bound < nanos);
        self.counts[bucket] += 1;
        if let Some(exponential) = &mut self.exponential {
            exponential.observe(rtt);
        }
        self.sum = self.sum.saturating_add(rtt);
    }

    /// The same observations in exponential buckets; `None` where nobody asked for them.
    #[must_use]
    pub const fn exponential(&self) -> Option<&Exponential> {
        self.exponential.as_ref()
    }

    /// Observations at or below each bound, the last one all of them.
    pub fn cumulative(&self) -> impl Iterator<Item = u64> {
        self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        })
    }

    /// Number of observations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Sum of all observations.
    #[must_use]
    pub const fn sum(&self) -> Duration {
        self.sum
    }
}

/// The bounds in seconds, as in the `le` label; the last stands for everything above.
///
/// The text of a bound never changes: it is part of the name of a series.
const LE: [&str; BOUNDS + 1] = [
    "0.0001", "0.00012", "0.00015", "0.0002", "0.00025", "0.0003", "0.0004", "0.0005", "0.0006", "0.0008", //
    "0.001", "0.0012", "0.0015", "0.002", "0.0025", "0.003", "0.004", "0.005", "0.006", "0.008", //
    "0.01", "0.012", "0.015", "0.02", "0.025", "0.03", "0.04", "0.05", "0.06", "0.08", //
    "0.1", "0.12", "0.15", "0.2", "0.25", "0.3", "0.4", "0.5", "0.6", "0.8", //
    "1", "1.2", "1.5", "2", "2.5", "3", "+Inf",
];

/// Spells the upper bound of a bucket in seconds; every index past the last bound is `+Inf`.
#[must_use]
pub fn le(bucket: usize) -> &'static str {
    LE[bucket.min(BOUNDS)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_ten_per_decade_from_100_us_to_3_s_and_their_text_is_short() {
        for (bucket, nanos) in BOUND_NANOS.into_iter().enumerate() {
            assert_eq!(le(bucket), Duration::from_nanos(nanos).as_secs_f64().to_string());
        }
        assert_eq!(
            [le(0), le(BOUNDS - 1), le(BOUNDS), le(usize::MAX)],
            ["0.0001", "3", "+Inf", "+Inf"]
        );
    }

    #[test]
    fn a_bound_belongs_to_the_bucket_it_closes() {
        let mut histogram = Histogram::default();
        for nanos in [0, 100_000, 100_001, 3_000_000_000, 3_000_000_001] {
            histogram.observe(Duration::from_nanos(nanos));
        }
        let cumulative: Vec<u64> = histogram.cumulative().collect();
        assert_eq!((cumulative[0], cumulative[1]), (2, 3));
        assert_eq!((cumulative[BOUNDS - 1], cumulative[BOUNDS]), (4, 5));
        assert_eq!(histogram.count(), 5);
    }
}
