//! Random numbers where a guess must not help by accident: identifiers, jitter. Not for secrets.

use std::hash::{BuildHasher as _, RandomState};

/// A random word; the keys of a new hasher are random (`std::collections::hash_map::RandomState`).
#[must_use]
pub fn word() -> u64 {
    RandomState::new().hash_one(0_u8)
}

/// Uniform in 0..1.
#[must_use]
pub fn unit() -> f64 {
    // 32 bits are exact in a float and far finer than any jitter needs.
    f64::from(u32::from_be_bytes(std::array::from_fn(|byte| {
        word().to_be_bytes()[byte]
    }))) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_in_their_range_and_differ() {
        let numbers: Vec<f64> = (0..1000).map(|_| unit()).collect();
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
        assert!(numbers.windows(2).any(|pair| (pair[0] - pair[1]).abs() > 0.01));
        assert_ne!(word(), word());
    }
}
