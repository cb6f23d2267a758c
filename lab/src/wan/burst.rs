//! Loss in bursts, by the model of Gilbert and Elliott: a path is good or bad, changes at random, and loses while bad.
//!
//! ```text
//!            enter
//!   good ------------> bad      each packet first moves the path, then is lost with probability `loss` if the path is
//!     ^ <------------ |         bad; a bad stretch lasts 1/leave packets on average
//!            leave
//! ```

use super::random::Random;

/// Burst loss of one direction; all values are probabilities, 0 to 1.
///
/// Sources: E. N. Gilbert, "Capacity of a burst-noise channel", 1960; E. O. Elliott, "Estimates of error rates for codes
/// on burst-noise channels", 1963.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    /// That a packet finds the path turned from good to bad.
    pub enter: f64,
    /// That a packet finds the path turned from bad to good.
    pub leave: f64,
    /// That a packet is lost while the path is bad.
    pub loss: f64,
}

impl Burst {
    /// The share of packets lost in the long run: the share of bad packets times the loss among them.
    #[must_use]
    pub fn mean_loss(&self) -> f64 {
        self.bad_share() * self.loss
    }

    fn bad_share(&self) -> f64 {
        let either = self.enter + self.leave;
        if either > 0.0 { self.enter / either } else { 0.0 }
    }
}

/// Whether a path is bad just now; unknown until its first packet.
#[derive(Debug, Clone, Copy, Default)]
pub struct BurstState(Option<bool>);

impl BurstState {
    /// Moves on by one packet and answers whether it is lost.
    ///
    /// The first state is drawn with its long-run share, so that the mean holds from the first packet on. Without burst
    /// loss the state is forgotten.
    pub fn loses(&mut self, burst: Option<&Burst>, random: &mut Random) -> bool {
        let Some(burst) = burst else {
            self.0 = None;
            return false;
        };
        let bad = match self.0 {
            None => random.chance(burst.bad_share()),
            Some(false) => random.chance(burst.enter),
            Some(true) => !random.chance(burst.leave),
        };
        self.0 = Some(bad);
        bad && random.chance(burst.loss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKETS: u32 = 200_000;

    fn losses(burst: Burst, seed: u64) -> Vec<bool> {
        let (mut state, mut random) = (BurstState::default(), Random::new(seed));
        (0..PACKETS).map(|_| state.loses(Some(&burst), &mut random)).collect()
    }

    fn count(losses: &[bool]) -> f64 {
        f64::from(u32::try_from(losses.iter().filter(|lost| **lost).count()).unwrap())
    }

    #[test]
    fn long_run_loss_is_the_mean() {
        for (enter, leave, loss) in [(0.01, 0.25, 1.0), (0.05, 0.1, 0.5), (0.002, 0.05, 0.8), (1.0, 1.0, 0.3)] {
            let burst = Burst { enter, leave, loss };
            let (mean, packets) = (burst.mean_loss(), f64::from(PACKETS));
            // Neighbours resemble each other by 1 - enter - leave, so the count scatters wider than a binomial one.
            let resemblance = (1.0 - enter - leave).max(0.0);
            let deviation = (packets * mean * (1.0 - mean) * (1.0 + resemblance) / (1.0 - resemblance)).sqrt();
            for seed in 1..=5 {
                let lost = count(&losses(burst, seed));
                assert!(
                    (lost - packets * mean).abs() < 4.0 * deviation,
                    "{burst:?}: {lost} of {mean}"
                );
            }
        }
    }

    #[test]
    fn bad_stretches_last_as_long_as_the_chance_to_leave_says() {
        let losses = losses(
            Burst {
                enter: 0.01,
                leave: 0.125,
                loss: 1.0,
            },
            1,
        );
        let starts = losses.windows(2).filter(|pair| !pair[0] && pair[1]).count();
        let mean = count(&losses) / f64::from(u32::try_from(starts).unwrap());
        assert!((7.0..9.0).contains(&mean), "{mean}");
    }

    #[test]
    fn path_that_never_enters_or_never_leaves_stays_as_it_is() {
        let burst = |enter, leave| Burst {
            enter,
            leave,
            loss: 1.0,
        };
        assert!(!losses(burst(0.0, 0.0), 1).contains(&true));
        assert!(!losses(burst(0.0, 0.5), 1).contains(&true));
        assert!(!losses(burst(0.5, 0.0), 1).contains(&false));
    }
}
