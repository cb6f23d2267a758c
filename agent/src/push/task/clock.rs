//! Samples that are stamped ahead of the clock.

use std::time::{Duration, SystemTime};

use crate::queue::SealedRequest;
use crate::samples::series::MAX_AHEAD_MILLIS;

/// A request that is further ahead is dropped: its stamps come from a clock that was wrong, and waiting for their time would
/// hold up what is measured meanwhile.
const MAX_WAIT_MILLIS: i64 = 5 * 60_000;

/// How far the samples of a request are ahead of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ahead {
    /// No further than receivers bear.
    Not,
    /// By this: their time will come.
    Some(Duration),
    /// By this: the clock was wrong.
    TooFar(Duration),
}

/// Compares a request with the clock.
pub(super) fn ahead(request: &SealedRequest) -> Ahead {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    ahead_of(
        request.max_timestamp,
        now.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
    )
}

fn ahead_of(timestamp: i64, now: i64) -> Ahead {
    let millis = timestamp.saturating_sub(now);
    let ahead = Duration::from_millis(u64::try_from(millis).unwrap_or_default());
    if millis <= MAX_AHEAD_MILLIS {
        Ahead::Not
    } else if millis <= MAX_AHEAD_MILLIS + MAX_WAIT_MILLIS {
        Ahead::Some(ahead)
    } else {
        Ahead::TooFar(ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_over_a_minute_ahead_waits_and_beyond_six_it_is_dropped() {
        let millis = Duration::from_millis;
        for (timestamp, expected) in [
            (i64::MIN, Ahead::Not),
            (0, Ahead::Not),
            (61_000, Ahead::Not),
            (61_001, Ahead::Some(millis(60_001))),
            (361_000, Ahead::Some(millis(360_000))),
            (361_001, Ahead::TooFar(millis(360_001))),
            (i64::MAX, Ahead::TooFar(millis(i64::MAX.cast_unsigned() - 1000))),
        ] {
            assert_eq!(ahead_of(timestamp, 1000), expected, "{timestamp}");
        }
    }
}
