//! One line a minute for each thing that is wrong.

use std::time::{Duration, Instant};

use super::failure::FailureReason;

/// Repeats of one kind of log line come no more often.
const INTERVAL: Duration = Duration::from_mins(1);

/// What has been logged about one endpoint lately.
#[derive(Debug, Default)]
pub struct FailureLog {
    limits: [LogLimit; FailureReason::ALL.len()],
}

impl FailureLog {
    /// Answers how many lines with this reason were held back since the last one, or `None` when this one is to be held
    /// back too.
    pub fn allow(&mut self, reason: FailureReason, now: Instant) -> Option<u64> {
        self.limits[reason as usize].allow(now)
    }

    /// Lets the next line of every reason pass: a trouble that comes back is news.
    pub fn recovered(&mut self) {
        *self = Self::default();
    }
}

#[derive(Debug, Default)]
struct LogLimit {
    last: Option<Instant>,
    suppressed: u64,
}

impl LogLimit {
    fn allow(&mut self, now: Instant) -> Option<u64> {
        if self
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < INTERVAL)
        {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_minute_passes_and_says_how_many_did_not() {
        let start = Instant::now();
        let mut log = FailureLog::default();
        let mut at = |second, reason| log.allow(reason, start + Duration::from_secs(second));
        let lines: Vec<_> = [0, 1, 59, 60, 61].map(|second| at(second, FailureReason::Dns)).into();
        assert_eq!(lines, [Some(0), None, None, Some(2), None]);
        assert_eq!(at(61, FailureReason::Tls), Some(0), "another reason is another line");
    }
}
