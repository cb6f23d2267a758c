//! Numbers and times as people read them.

use std::time::{Duration, SystemTime};

/// A time in milliseconds or seconds, three digits that mean something.
pub(super) fn time(seconds: f64) -> String {
    let milliseconds = seconds * 1e3;
    match milliseconds {
        value if value < 0.9995 => format!("{value:.3} ms"),
        value if value < 9.995 => format!("{value:.2} ms"),
        value if value < 99.95 => format!("{value:.1} ms"),
        value if value < 999.5 => format!("{value:.0} ms"),
        _ => format!("{seconds:.2} s"),
    }
}

/// A share in percent. What is not all is never shown as 100 %, and what is not nothing never as 0 %.
pub(super) fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    match percent {
        value if value <= 0.0 => "0 %".to_owned(),
        value if value >= 100.0 => "100 %".to_owned(),
        value if value < 0.01 => "< 0.01 %".to_owned(),
        value if value < 9.995 => format!("{value:.2} %"),
        value => format!("{:.1} %", value.min(99.9)),
    }
}

/// A share that somebody wrote down, in percent as they would write it.
pub(super) fn allowed(ratio: f64) -> String {
    format!("{} %", (ratio * 1e8).round() / 1e6)
}

/// The time of day in UTC, which is what the planner's log has.
pub(super) fn clock(at: SystemTime) -> String {
    let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() % 86_400;
    format!("{:02}:{:02}:{:02} UTC", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// A wall clock that went back shows as no time at all.
pub(super) fn ago(at: SystemTime) -> String {
    span(at.elapsed().unwrap_or_default())
}

/// A span of time, roughly.
pub(super) fn span(elapsed: Duration) -> String {
    let elapsed = elapsed.as_secs();
    match (elapsed / 86_400, elapsed / 3600 % 24, elapsed / 60 % 60, elapsed % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, _) => format!("{minutes} min"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, _, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        for (seconds, text) in [
            (0.000_123_4, "0.123 ms"),
            (0.000_999_6, "1.00 ms"),
            (0.009_994, "9.99 ms"),
            (0.009_996, "10.0 ms"),
            (0.047_31, "47.3 ms"),
            (0.2504, "250 ms"),
            (0.9996, "1.00 s"),
            (3.5, "3.50 s"),
        ] {
            assert_eq!(time(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn only_everything_is_all_and_only_nothing_is_none() {
        for (ratio, text) in [
            (0.0, "0 %"),
            (0.000_01, "< 0.01 %"),
            (0.0012, "0.12 %"),
            (0.099_99, "10.0 %"),
            (0.25, "25.0 %"),
            (0.9999, "99.9 %"),
            (1.0, "100 %"),
        ] {
            assert_eq!(percent(ratio), text, "{ratio}");
        }
    }

    #[test]
    fn budgets_look_as_they_were_written() {
        for (ratio, text) in [
            (0.01, "1 %"),
            (0.001, "0.1 %"),
            (0.07, "7 %"),
            (0.0, "0 %"),
            (1.0, "100 %"),
        ] {
            assert_eq!(allowed(ratio), text);
        }
    }

    #[test]
    fn spans_are_told_in_their_largest_units() {
        for (seconds, text) in [(59, "59 s"), (60, "1 min"), (3_660, "1 h 1 min"), (90_000, "1 d 1 h")] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
        let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(10 * 86_400 + 12 * 3600 + 61);
        assert_eq!(clock(noon), "12:01:01 UTC");
    }
}
