//! Scalars of the configuration: what one text means, or a sentence that says what is allowed.

use std::str::FromStr;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use url::Url;

use crate::duration;
use crate::spelling::not_one_of;

/// Longest text that becomes a label value, bytes; the receivers' limit is far above it.
pub const MAX_TEXT_BYTES: usize = 1_000;

/// Says what is wrong with one value and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidValue(pub(crate) String);

impl InvalidValue {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// What every parser of a scalar answers.
pub type Parsed<T> = Result<T, InvalidValue>;

/// Escapes what would start a new line or speak to a terminal.
pub(crate) fn one_line(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(|c| {
        let escaped = c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        let plain = (!escaped).then_some(c);
        let escape = escaped.then(|| c.escape_unicode());
        plain.into_iter().chain(escape.into_iter().flatten())
    })
}

/// Quotes at most 64 characters of a user's text, escaped, so that it stays on one line.
pub(crate) fn quote(text: &str) -> String {
    const SHOWN: usize = 64;
    if text.chars().nth(SHOWN).is_none() {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(SHOWN).collect();
    format!("{start:?}...")
}

/// Parses a share: `0.1%` or `0.001`, 0 to 1 afterwards.
///
/// # Errors
/// The text is not a number, or lies outside 0..=100 %.
pub fn ratio(text: &str) -> Parsed<f64> {
    let (number, scale) = match text.strip_suffix('%') {
        Some(percent) => (percent.trim_end(), 100.0),
        None => (text, 1.0),
    };
    // `f64::from_str` takes "inf", "nan" and "1e-3" too; only the last is a share.
    let plain = number.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    plain
        .then(|| number.parse::<f64>().ok())
        .flatten()
        .map(|value| value / scale)
        .filter(|ratio| (0.0..=1.0).contains(ratio))
        .ok_or_else(|| {
            InvalidValue::new(format!(
                "{} is not a share: use 0% to 100%, or a number from 0 to 1",
                quote(text)
            ))
        })
}

/// Parses a size: `64MiB`, `1GB`, or a bare number of bytes.
///
/// # Errors
/// The text is not a whole number with a known unit, or is over 2^64 - 1 bytes.
pub fn byte_size(text: &str) -> Parsed<u64> {
    const UNITS: [(&str, u64); 9] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("kB", 1_000),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
    ];
    let (number, scale) = UNITS
        .iter()
        .find_map(|(unit, scale)| text.strip_suffix(unit).map(|number| (number, *scale)))
        .unwrap_or_else(|| (text.strip_suffix('B').unwrap_or(text), 1));
    let digits = number.chars().all(|c| c.is_ascii_digit());
    digits
        .then(|| number.parse::<u64>().ok())
        .flatten()
        .and_then(|number| number.checked_mul(scale))
        .ok_or_else(|| {
            InvalidValue::new(format!(
                "{} is not a size: use a whole number with KiB, MiB, GiB, kB, MB or GB, as in 64MiB",
                quote(text)
            ))
        })
}

/// Parses a duration and holds it to a range.
pub(crate) fn duration_within(min: Duration, max: Duration) -> impl Fn(&str) -> Parsed<Duration> {
    move |text| {
        let value = duration::parse(text)?;
        if (min..=max).contains(&value) {
            return Ok(value);
        }
        Err(InvalidValue::new(format!(
            "{} is out of range: use {} to {}",
            duration::format(value),
            duration::format(min),
            duration::format(max)
        )))
    }
}

/// Parses a whole number and holds it to a range.
pub(crate) fn whole_number<T>(min: T, max: T) -> impl Fn(&str) -> Parsed<T>
where
    T: TryFrom<u64> + PartialOrd + std::fmt::Display,
{
    move |text| {
        let digits = text.chars().all(|c| c.is_ascii_digit());
        let parsed = digits.then(|| text.parse::<u64>().ok()).flatten();
        parsed
            .and_then(|value| T::try_from(value).ok())
            .filter(|value| (&min..=&max).contains(&value))
            .ok_or_else(|| InvalidValue::new(format!("{} is not a whole number from {min} to {max}", quote(text))))
    }
}

/// Parses `true` or `false`.
pub(crate) fn boolean(text: &str) -> Parsed<bool> {
    text.parse()
        .map_err(|_| InvalidValue::new(not_one_of(text, &["true", "false"])))
}

/// Parses one of our checked names; their errors already say what is allowed.
pub(crate) fn name<T>(text: &str) -> Parsed<T>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    text.parse::<T>().map_err(|error| InvalidValue::new(error.to_string()))
}

/// Takes text that becomes a label value; may be empty.
pub(crate) fn label(text: &str) -> Parsed<String> {
    if text.len() <= MAX_TEXT_BYTES && !text.contains(char::is_control) {
        return Ok(text.to_owned());
    }
    Err(InvalidValue::new(format!(
        "{} is not allowed: use at most {MAX_TEXT_BYTES} bytes without control characters",
        quote(text)
    )))
}

/// Parses an absolute http or https URL without user and password. The text may hold a secret and is never quoted.
pub(crate) fn http_url(text: &str) -> Parsed<Url> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| InvalidValue::new("is not an absolute URL that starts with http:// or https://"))?;
    if url.username().is_empty() && url.password().is_none() {
        return Ok(url);
    }
    Err(InvalidValue::new(
        "has a user or password, which URLs leak into logs and labels: use headers with Authorization instead",
    ))
}

/// Parses the path of a file, which is not opened here: `check` may run on another machine.
pub(crate) fn file_path(text: &str) -> Parsed<std::path::PathBuf> {
    if text.is_empty() || text.contains('\0') {
        return Err(InvalidValue::new("is not the path of a file"));
    }
    Ok(text.into())
}

/// Parses the name of a request header.
pub(crate) fn header_name(text: &str) -> Parsed<HeaderName> {
    text.parse()
        .map_err(|_| InvalidValue::new("is not the name of a header: use letters, digits and dashes"))
}

/// Parses the value of a request header, which may be a secret: it is never quoted and marked for those who print it.
pub(crate) fn header_value(text: &str) -> Parsed<HeaderValue> {
    let mut value = HeaderValue::from_str(text)
        .ok()
        .filter(|value| value.to_str().is_ok())
        .ok_or_else(|| InvalidValue::new("has a value that no header can carry: use visible ASCII characters"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percentages_or_numbers_up_to_one() {
        for (text, share) in [
            ("0.1%", 0.001),
            ("0.001", 0.001),
            ("0", 0.0),
            ("1", 1.0),
            ("100%", 1.0),
            ("1e-3", 0.001),
        ] {
            assert!((ratio(text).unwrap() - share).abs() < 1e-12, "{text}");
        }
        for text in ["", "%", "5", "101%", "-1%", "nan", "inf", "+1", "1%%", "0,1%", "x"] {
            assert!(ratio(text).is_err(), "{text:?} passed");
        }
    }

    #[test]
    fn sizes_have_binary_or_decimal_units() {
        for (text, bytes) in [
            ("64MiB", 64 << 20),
            ("1GB", 1_000_000_000),
            ("2kB", 2_000),
            ("512", 512),
            ("512B", 512),
        ] {
            assert_eq!(byte_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "1.5MiB", "-1", "64 MiB", "64mib", "99999999999TiB", "B"] {
            assert!(byte_size(text).is_err(), "{text:?} passed");
        }
    }

    #[test]
    fn a_secret_in_a_url_or_header_is_never_quoted() {
        for text in [
            "http://user:sesame@host/",
            "user:sesame@host",
            "ftp://user:sesame@host/",
        ] {
            assert!(!http_url(text).unwrap_err().to_string().contains("sesame"), "{text}");
        }
        assert!(!header_value("sesame\n").unwrap_err().to_string().contains("sesame"));
    }
}
