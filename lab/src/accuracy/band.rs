//! How many losses a probability gives by chance: the binomial distribution.

/// The counts between which a binomial variable of `trials` trials lies with at least probability `confidence`, both
/// included; each side leaves out at most half of the rest.
#[must_use]
pub fn band(trials: u64, probability: f64, confidence: f64) -> [u64; 2] {
    if probability <= 0.0 {
        return [0, 0];
    }
    if probability >= 1.0 {
        return [trials, trials];
    }
    let tail = (1.0 - confidence) / 2.0;
    let mut below = 0.0;
    let mut low = None;
    for (count, share) in shares(trials, probability) {
        below += share;
        if low.is_none() && below > tail {
            low = Some(count);
        }
        if below >= 1.0 - tail {
            return [low.unwrap_or(count), count];
        }
    }
    [low.unwrap_or(trials), trials]
}

/// Every count with its probability, from the one before: in logarithms, because the first ones may be too small for a
/// double.
fn shares(trials: u64, probability: f64) -> impl Iterator<Item = (u64, f64)> {
    let odds = (probability / (1.0 - probability)).ln();
    let mut logarithm = double(trials) * (-probability).ln_1p();
    (0..=trials).map(move |count| {
        let share = logarithm.exp();
        logarithm += (double(trials - count) / double(count + 1)).ln() + odds;
        (count, share)
    })
}

/// A count as a number to reckon with.
#[expect(clippy::cast_precision_loss, reason = "counts of probes are far below 2^53")]
#[must_use]
pub const fn double(count: u64) -> f64 {
    count as f64
}

/// A length as a count.
#[must_use]
pub fn whole(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the quantiles of 0.5 % and 99.5 %, summed with exact binomial coefficients.
    #[test]
    fn band_is_that_of_the_quantiles() {
        for (trials, probability, expected) in [
            (10, 0.5, [1, 9]),
            (100, 0.01, [0, 4]),
            (1000, 0.001, [0, 4]),
            (1000, 0.1, [76, 125]),
            (12_000, 0.0, [0, 0]),
            (12_000, 1.0, [12_000, 12_000]),
        ] {
            assert_eq!(band(trials, probability, 0.99), expected, "{trials} x {probability}");
        }
    }

    #[test]
    fn shares_of_many_trials_add_up_to_one() {
        for probability in [0.001, 0.1, 0.5, 0.9] {
            let sum: f64 = shares(50_000, probability).map(|(_, share)| share).sum();
            assert!((sum - 1.0).abs() < 1e-6, "{probability}: {sum}");
        }
    }
}
