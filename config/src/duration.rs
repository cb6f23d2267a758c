//! Durations as people write them: `100ms`, `1h30m`, `1d`, `1.5s`.
//!
//! The grammar is what Prometheus and Go have in common: numbers with units, the largest unit first, nothing between them.
//! A bare number is refused, since nobody can tell seconds from milliseconds.

use std::time::Duration;

use crate::value::{InvalidValue, Parsed, quote};

/// Units from the largest to the smallest, in nanoseconds. Go spells the microsecond with either of two letters.
const UNITS: [(&str, u64); 10] = [
    ("w", 7 * 24 * 3_600 * 1_000_000_000),
    ("d", 24 * 3_600 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ns", 1),
];

/// Parses a duration.
///
/// # Errors
/// The text is not a sequence of numbers with units, largest first, or is over 584 years.
pub fn parse(text: &str) -> Parsed<Duration> {
    nanoseconds(text).map(Duration::from_nanos).ok_or_else(|| {
        InvalidValue::new(format!(
            "{} is not a duration: use numbers with units, largest first, as in 100ms, 5s or 1h30m",
            quote(text)
        ))
    })
}

fn nanoseconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total: u64 = 0;
    let mut above = u64::MAX;
    loop {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(number_end);
        let unit_end = behind
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit_end);
        let scale = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale)?;
        if scale >= above {
            return None;
        }
        above = scale;
        total = total.checked_add(scaled(number, scale)?)?;
        if behind.is_empty() {
            return Some(total);
        }
        rest = behind;
    }
}

/// Multiplies a decimal number without a detour over floating point; what is below a nanosecond is cut off.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let mut total = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    let mut place = scale;
    for digit in fraction.chars() {
        place /= 10;
        total = total.checked_add(u64::from(digit.to_digit(10)?).checked_mul(place)?)?;
    }
    Some(total)
}

/// Writes a duration in the form that [`parse`] reads, as in `1h30m` or `1s500ms`; people count long spans in days.
#[must_use]
pub fn format(duration: Duration) -> String {
    let mut rest = duration.as_nanos();
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, scale) in UNITS.iter().filter(|(unit, _)| unit.is_ascii() && *unit != "w") {
        let scale = u128::from(*scale);
        if rest >= scale {
            text.push_str(&(rest / scale).to_string());
            text.push_str(unit);
            rest %= scale;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_and_go_spellings_mean_the_same() {
        for (text, milliseconds) in [
            ("100ms", 100),
            ("1s", 1_000),
            ("1h30m", 5_400_000),
            ("1m30s", 90_000),
            ("1d", 86_400_000),
            ("1w", 604_800_000),
            ("1.5s", 1_500),
            ("0.25h", 900_000),
            ("500us", 0),
            ("0s", 0),
        ] {
            assert_eq!(parse(text).unwrap().as_millis(), milliseconds, "{text}");
        }
        assert_eq!(parse("500us").unwrap(), Duration::from_micros(500));
        assert_eq!(parse("500\u{b5}s").unwrap(), Duration::from_micros(500));
        assert_eq!(parse("500\u{3bc}s").unwrap(), Duration::from_micros(500));
        assert_eq!(parse("1.000001ms").unwrap(), Duration::from_nanos(1_000_001));
    }

    #[test]
    fn what_is_ambiguous_or_out_of_range_is_refused() {
        for text in [
            "", "5", "5 s", " 5s", "5s ", "-5s", "s", "1m1h", "1s1s", "1.s", ".5s", "1.2.3s", "5sec", "99999w", "1e3s",
            "+1s",
        ] {
            assert!(parse(text).is_err(), "{text:?} passed");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_reads_back(nanoseconds: u64) {
            let duration = Duration::from_nanos(nanoseconds);
            proptest::prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }
    }
}
