//! When which host gets its next echo.
//!
//! Hosts take turns: their echoes are spread evenly over the interval, the first host's leaves at once. Moments that passed
//! while the process did not run are skipped, never made up for.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// The turns of all hosts, by their place.
#[derive(Debug)]
pub struct Pace {
    start: Instant,
    interval: Duration,
    /// Between the turns of two neighbours.
    step: Duration,
    /// Echoes still to send, by host; `None` has no end.
    left: Vec<Option<u32>>,
    turns: BTreeSet<(Instant, usize)>,
}

impl Pace {
    /// Plans for `hosts` hosts from `start`; none has a turn before [`Pace::admit`].
    #[must_use]
    pub fn new(hosts: usize, count: Option<NonZeroU32>, interval: Duration, start: Instant) -> Self {
        let neighbours = u32::try_from(hosts).unwrap_or(u32::MAX).max(1);
        Self {
            start,
            interval,
            step: interval / neighbours,
            left: vec![count.map(NonZeroU32::get); hosts],
            turns: BTreeSet::new(),
        }
    }

    /// Gives a host its turns: from its place in the first interval on, or from now, if that has passed.
    pub fn admit(&mut self, host: usize, now: Instant) {
        let place = u32::try_from(host).unwrap_or(u32::MAX);
        let first = self.start + self.step.saturating_mul(place).min(self.interval);
        self.turns.insert((first.max(now), host));
    }

    /// When the next turn is; `None` when no echo is left to send.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.turns.first().map(|(at, _)| *at)
    }

    /// Takes the hosts whose turn it is.
    pub fn take(&mut self, now: Instant) -> Vec<usize> {
        let mut due = Vec::new();
        while let Some((at, host)) = self.turns.pop_first() {
            if at > now {
                self.turns.insert((at, host));
                break;
            }
            due.push(host);
            self.plan_next(at, host, now);
        }
        due
    }

    /// Takes all turns away.
    pub fn stop(&mut self) {
        self.turns.clear();
    }

    fn plan_next(&mut self, at: Instant, host: usize, now: Instant) {
        let Some(left) = self.left.get_mut(host) else {
            return;
        };
        *left = left.map(|left| left.saturating_sub(1));
        if *left != Some(0) {
            self.turns.insert((after(at, self.interval, now), host));
        }
    }
}

/// The first of the moments `at + n * interval`, n > 0, that has not passed.
fn after(at: Instant, interval: Duration, now: Instant) -> Instant {
    let passed = now.saturating_duration_since(at).as_nanos() / interval.as_nanos().max(1);
    let turns = u32::try_from(passed).unwrap_or(u32::MAX).saturating_add(1);
    at + interval.saturating_mul(turns)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(1);

    fn pace(hosts: usize, count: u32) -> (Pace, Instant) {
        let start = Instant::now();
        let mut pace = Pace::new(hosts, NonZeroU32::new(count), INTERVAL, start);
        (0..hosts).for_each(|host| pace.admit(host, start));
        (pace, start)
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn hosts_take_turns_within_the_interval_and_the_first_goes_at_once() {
        let (mut pace, start) = pace(4, 2);
        let mut turns = Vec::new();
        while let Some(at) = pace.next() {
            for host in pace.take(at) {
                turns.push((at - start, host));
            }
        }
        let expected = [0, 250, 500, 750, 1000, 1250, 1500, 1750].map(ms);
        assert_eq!(
            turns,
            expected.into_iter().zip([0, 1, 2, 3, 0, 1, 2, 3]).collect::<Vec<_>>()
        );
    }

    #[test]
    fn moments_that_passed_are_skipped_and_every_echo_still_leaves() {
        let (mut pace, start) = pace(1, 3);
        assert_eq!(pace.take(start), [0]);
        assert_eq!(pace.take(start + ms(4_500)), [0], "once, not four times");
        assert_eq!(pace.next(), Some(start + ms(5_000)));
        assert_eq!(pace.take(start + ms(5_000)), [0]);
        assert_eq!(pace.next(), None);
    }

    #[test]
    fn a_host_that_is_known_late_starts_at_once_and_one_that_is_not_known_never() {
        let start = Instant::now();
        let mut pace = Pace::new(2, None, INTERVAL, start);
        pace.admit(0, start + ms(300));
        assert_eq!(pace.next(), Some(start + ms(300)));
        assert_eq!(pace.take(start + ms(300)), [0]);
        assert_eq!(pace.next(), Some(start + ms(1_300)), "without a count it goes on");
        pace.stop();
        assert_eq!(pace.next(), None);
    }
}
