//! Notices when this process did not run; pure.

use std::time::{Duration, Instant};

/// Longest time between two looks while something is in flight, by the loop's own timer.
pub const WATCH_EVERY: Duration = Duration::from_millis(100);
/// How late a look must be to distrust silence.
pub const GAP: Duration = Duration::from_millis(100);

/// The last pause of this process.
#[derive(Debug, Default)]
pub struct Gaps {
    looked: Option<Instant>,
    back: Option<Instant>,
}

impl Gaps {
    /// Looks at the clock; `watched` tells that the timer has been running since the last look.
    pub fn look(&mut self, watched: bool, now: Instant) {
        let late = |looked: Instant| now.saturating_duration_since(looked) >= WATCH_EVERY + GAP;
        if watched && self.looked.is_some_and(late) {
            self.back = Some(now);
        }
        self.looked = Some(now);
    }

    /// Tells whether a pause ended after `sent`.
    #[must_use]
    pub fn since(&self, sent: Instant) -> bool {
        self.back.is_some_and(|back| sent < back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_flight_during_a_pause_is_marked_and_nothing_else() {
        let (mut gaps, start) = (Gaps::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        gaps.look(false, at(0));
        gaps.look(true, at(199));
        assert!(!gaps.since(at(0)), "a little late");
        gaps.look(true, at(3_199));
        assert!(gaps.since(at(150)) && gaps.since(at(3_198)));
        assert!(!gaps.since(at(3_199)), "left after the pause");
        gaps.look(true, at(3_250));
        assert!(gaps.since(at(150)), "still, as it comes in several pieces");
    }

    #[test]
    fn waiting_for_work_is_no_pause() {
        let (mut gaps, start) = (Gaps::default(), Instant::now());
        gaps.look(false, start);
        gaps.look(false, start + Duration::from_hours(1));
        assert!(!gaps.since(start));
    }
}
