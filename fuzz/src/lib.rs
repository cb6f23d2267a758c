//! What bytes from the network may do to us: nothing but what their sender was entitled to.
//!
//! ```text
//!   libFuzzer: bytes --> [target: builds a packet or takes the bytes as one] --> decoder --> checked against what was sent
//!      ^                                                                           |
//!      +------------------------- coverage of our own crates ----------------------+
//! ```
//!
//! A [`Target`] is an ordinary function that panics when a promise is broken, so that `cargo test` runs every one of them
//! over its seeds and over random bytes without a fuzzer. `make fuzz` runs them under libFuzzer, see `fuzz/run.sh`.

use std::path::Path;
use std::{fs, io};

pub mod input;

pub mod frame;

pub mod payload;

pub mod received;

pub mod spoilt;

pub mod returned;

pub mod plan;

pub mod hello;

pub mod respelt;

/// Something that decodes bytes, and what has to hold for all of them.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// As in `FUZZ_TARGET` and in the names of folders.
    pub name: &'static str,
    /// Panics when a promise is broken.
    pub run: fn(&[u8]),
    /// Valid input to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

impl Target {
    /// Every target.
    pub const ALL: [Self; 7] = [
        payload::TARGET,
        received::TARGET,
        spoilt::TARGET,
        returned::TARGET,
        plan::TARGET,
        hello::TARGET,
        respelt::TARGET,
    ];

    /// Finds a target.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.name == name)
    }
}

/// Writes the seeds of a target into a folder, one file each.
///
/// # Errors
///
/// When the folder cannot be written.
pub fn plant(target: &Target, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (number, seed) in (target.seeds)().iter().enumerate() {
        fs::write(folder.join(format!("seed-{number}")), seed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_target_is_run_by_the_script_and_keeps_its_promise_on_its_seeds() {
        let script = include_str!("../run.sh");
        for target in Target::ALL {
            assert!(script.contains(target.name), "{}", target.name);
            assert!(!(target.seeds)().is_empty(), "{}", target.name);
            for seed in (target.seeds)() {
                (target.run)(&seed);
            }
        }
    }

    proptest! {
        #[test]
        fn every_target_keeps_its_promise_on_random_bytes_and_on_spoilt_seeds(
            which in 0..Target::ALL.len(),
            seed: prop::sample::Index,
            random in prop::collection::vec(any::<u8>(), 0..200),
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let target = Target::ALL[which];
            (target.run)(&random);
            let mut spoilt = seed.get(&(target.seeds)()).clone();
            for (place, byte) in edits {
                if let Some(at) = (!spoilt.is_empty()).then(|| place.index(spoilt.len())) {
                    spoilt[at] = byte;
                }
            }
            (target.run)(&spoilt);
        }
    }
}
