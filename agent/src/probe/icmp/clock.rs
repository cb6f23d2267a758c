//! One moment by two clocks: the kernel stamps packets with the wall clock, everything else counts monotonic time.
//!
//! Two kernel stamps are subtracted from each other, which is exact as long as nobody set the wall clock in between. How
//! far it was set shows in the readings of both clocks that were taken at each end.

use std::time::{Duration, Instant, SystemTime};

/// Wall time as the kernel stamps it, nanoseconds since the Unix epoch; good until the year 2262.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wall(pub i64);

impl Wall {
    /// Reads the clock.
    #[must_use]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Makes a stamp of the seconds and nanoseconds of a `timespec`; `None` for the zero that stands for "no stamp".
    #[must_use]
    pub fn new(seconds: i64, nanos: i64) -> Option<Self> {
        let stamp = seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?;
        (stamp > 0).then_some(Self(stamp))
    }

    /// Time from `earlier` to this stamp; `None` when this one lies before it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Option<Duration> {
        u64::try_from(self.0.checked_sub(earlier.0)?)
            .ok()
            .map(Duration::from_nanos)
    }
}

impl From<SystemTime> for Wall {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }
}

/// Attempts to read both clocks without being interrupted between them.
const ATTEMPTS: usize = 3;
/// Two readings of the monotonic clock this close together were not interrupted.
const UNDISTURBED: Duration = Duration::from_micros(2);

/// Longest time over which one clock is trusted to tell the other.
const A_LITTLE: Duration = Duration::from_secs(1);

/// A moment by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Monotonic.
    pub at: Instant,
    /// Wall.
    pub wall: Wall,
}

impl Reading {
    /// Reads both clocks; of a few attempts the one with the least time between them.
    #[must_use]
    pub fn now() -> Self {
        let mut best = Self::attempt();
        for _ in 1..ATTEMPTS {
            if best.1 <= UNDISTURBED {
                break;
            }
            let next = Self::attempt();
            if next.1 < best.1 {
                best = next;
            }
        }
        best.0
    }

    fn attempt() -> (Self, Duration) {
        let before = Instant::now();
        let wall = SystemTime::now();
        let apart = before.elapsed();
        let reading = Self {
            at: before + apart / 2,
            wall: wall.into(),
        };
        (reading, apart)
    }

    /// The moment a little later at which the wall clock read `wall`. Where it was set in between, the answer is within a
    /// second and [`Reading::step_since`] tells.
    #[must_use]
    pub fn at_wall(&self, wall: Wall) -> Self {
        let since = wall.since(self.wall).unwrap_or_default().min(A_LITTLE);
        Self {
            at: self.at + since,
            wall,
        }
    }

    /// When a stamp was taken, by the monotonic clock; `None` when it lies too far back to be told.
    #[must_use]
    pub fn instant_of(&self, stamp: Wall) -> Option<Instant> {
        let age = self.wall.since(stamp).unwrap_or_default();
        self.at.checked_sub(age)
    }

    /// How far the wall clock was moved since `earlier`, in either direction.
    #[must_use]
    pub fn step_since(&self, earlier: &Self) -> Duration {
        let elapsed = self.at.saturating_duration_since(earlier.at);
        let by_wall = i128::from(self.wall.0) - i128::from(earlier.wall.0);
        let moved = by_wall.abs_diff(i128::try_from(elapsed.as_nanos()).unwrap_or(i128::MAX));
        Duration::from_nanos(u64::try_from(moved).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_the_wall_clock_shows_in_either_direction_and_slow_time_does_not() {
        let start = Reading {
            at: Instant::now(),
            wall: Wall(1_000_000_000_000),
        };
        for (by_wall, moved) in [(1_000, 0), (1_500, 500), (400, 600), (-100, 1_100)] {
            let later = Reading {
                at: start.at + Duration::from_secs(1),
                wall: Wall(start.wall.0 + by_wall * 1_000_000),
            };
            assert_eq!(later.step_since(&start), Duration::from_millis(moved));
        }
    }

    #[test]
    fn a_stamp_is_brought_to_the_monotonic_clock_by_its_age() {
        let now = Reading::now();
        let age = Duration::from_millis(7);
        let stamp = Wall(now.wall.0 - 7_000_000);
        assert_eq!(now.instant_of(stamp), now.at.checked_sub(age));
        assert_eq!(
            now.instant_of(Wall(now.wall.0 + 5)),
            Some(now.at),
            "never in the future"
        );
    }

    #[test]
    fn the_wall_clock_tells_the_monotonic_one_for_a_little_while_and_a_step_still_shows() {
        let start = Reading {
            at: Instant::now(),
            wall: Wall(1_000_000_000_000),
        };
        for (by_wall, at) in [(0, 0), (3, 3), (-5, 0), (7_200_000, 1000)] {
            let later = start.at_wall(Wall(start.wall.0 + by_wall * 1_000_000));
            assert_eq!(later.at, start.at + Duration::from_millis(at));
            let moved = Duration::from_millis(by_wall.abs_diff(i64::try_from(at).unwrap()));
            assert_eq!(later.step_since(&start), moved);
        }
    }

    #[test]
    fn an_empty_timespec_is_no_stamp() {
        assert_eq!(Wall::new(0, 0), None);
        assert_eq!(Wall::new(1, 5), Some(Wall(1_000_000_005)));
        assert_eq!(Wall(5).since(Wall(9)), None);
    }
}
