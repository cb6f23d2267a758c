//! Which departures the kernel stamps.
//!
//! The kernel's stamp of a departure comes through the error queue and costs as much as a fifth of the echo. Where nothing
//! interrupts us, our own clock right before the call says the same to a few microseconds. So the kernel stamps the first
//! echoes of every batch, which are all of them where there are few, and its word is held against ours; as soon as the two
//! differ, or calls are interrupted, it stamps every echo for a while. What was interrupted without its stamp is marked.
//!
//! Pure: stamps and times are arguments.

use std::time::{Duration, Instant};

/// Echoes that follow within this time are of the same batch.
const BATCH: Duration = Duration::from_millis(5);
/// So many echoes of a batch, the first ones, have the kernel's stamp in any case; the first calls after a sleep find nothing
/// in the caches and take longest.
const CHECKED: usize = 2;
/// A call that took longer was interrupted by another process, and an echo that left later after our reading was held up: an
/// undisturbed one takes 3 to 15 us, and with an interrupt of a virtual machine some 40 us.
pub(super) const DISTURBED: Duration = Duration::from_micros(100);
/// So many departures are judged together.
const JUDGED: u32 = 4096;
/// So many disturbed ones among them are taken for chance: half a percent do not reach the 99th percentile.
const TOLERATED: u32 = 20;
/// For so long the kernel stamps every departure afterwards.
const ALL_FOR: Duration = Duration::from_secs(10);

/// Watches how well our own readings tell when echoes leave.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// When this batch began.
    began: Option<Instant>,
    /// Echoes of it so far.
    sent: usize,
    judged: u32,
    disturbed: u32,
    /// Until when the kernel stamps everything.
    all_until: Option<Instant>,
}

impl Watch {
    /// Begins a batch, or goes on with it.
    pub(super) fn begin(&mut self, now: Instant) {
        if self
            .began
            .is_none_or(|began| now.saturating_duration_since(began) > BATCH)
        {
            (self.began, self.sent) = (Some(now), 0);
        }
    }

    /// Tells whether the kernel is to stamp the next echo, and counts it.
    pub(super) fn asks_kernel(&mut self, now: Instant) -> bool {
        self.sent += 1;
        self.sent <= CHECKED || self.all_until.is_some_and(|until| now < until)
    }

    /// Tells whether the kernel's stamp of the last echo is to be held against our reading.
    pub(super) const fn checks(&self) -> bool {
        self.sent == CHECKED
    }

    /// Takes how long the call took that sent the last echo.
    pub(super) fn judge_call(&mut self, took: Duration, now: Instant) {
        if self.sent > CHECKED {
            self.judge(took, now);
        }
    }

    /// Takes how far our reading may be from the departure: what the kernel's stamp says of it, or how long the call took.
    pub(super) fn judge(&mut self, apart: Duration, now: Instant) {
        self.judged += 1;
        self.disturbed += u32::from(apart > DISTURBED);
        if self.disturbed > TOLERATED {
            self.all_until = Some(now + ALL_FOR);
        }
        if self.judged >= JUDGED || self.disturbed > TOLERATED {
            (self.judged, self.disturbed) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_micros(5);
    const LONG: Duration = Duration::from_micros(101);

    fn asked(watch: &mut Watch, echoes: usize, now: Instant) -> usize {
        watch.began = None;
        watch.begin(now);
        (0..echoes).filter(|_| watch.asks_kernel(now)).count()
    }

    #[test]
    fn small_batches_are_stamped_whole_and_large_ones_checked() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        for (echoes, stamped) in [(1, 1), (2, 2), (3, 2), (64, 2)] {
            assert_eq!(asked(&mut watch, echoes, now), stamped);
        }
    }

    #[test]
    fn what_follows_at_once_is_of_the_same_batch() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        for (after, stamped) in [(Duration::ZERO, true), (BATCH, true), (BATCH, false), (BATCH * 2, true)] {
            watch.begin(now + after);
            assert_eq!(watch.asks_kernel(now), stamped);
        }
    }

    #[test]
    fn every_departure_is_stamped_for_a_while_after_disturbances_that_are_no_chance() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        (0..TOLERATED).for_each(|_| watch.judge(LONG, now));
        assert_eq!(asked(&mut watch, 64, now), 2, "so few are chance");
        watch.judge(DISTURBED, now);
        assert_eq!(asked(&mut watch, 64, now), 2, "exactly the bound is none");
        watch.judge(LONG, now);
        assert_eq!(asked(&mut watch, 64, now), 64);
        assert_eq!(asked(&mut watch, 64, now + ALL_FOR * 9 / 10), 64);
        assert_eq!(asked(&mut watch, 64, now + ALL_FOR), 2, "and then it is over");
    }

    #[test]
    fn calls_that_find_cold_caches_are_not_judged_and_one_stamp_of_a_batch_is_held_against_ours() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        for _ in 0..JUDGED {
            watch.began = None;
            watch.begin(now);
            let mut checks = 0;
            for _ in 0..CHECKED {
                assert!(watch.asks_kernel(now));
                watch.judge_call(LONG, now);
                checks += usize::from(watch.checks());
            }
            assert_eq!(checks, 1);
            assert!(!watch.asks_kernel(now) && !watch.checks());
        }
        (0..=TOLERATED).for_each(|_| watch.judge_call(LONG, now));
        assert_eq!(asked(&mut watch, 64, now), 64, "later ones are");
    }

    #[test]
    fn rare_disturbances_never_add_up() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        for _ in 0..10 {
            (0..TOLERATED).for_each(|_| watch.judge(LONG, now));
            (TOLERATED..JUDGED).for_each(|_| watch.judge(QUIET, now));
            assert_eq!(asked(&mut watch, 64, now), 2);
        }
    }
}
