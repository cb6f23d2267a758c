//! Names of endpoints.

use std::fmt;

use crate::value::{InvalidValue, Parsed, quote};

const MAX_BYTES: usize = 64;

/// The name of a remote-write endpoint: a label value, and a folder's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointName(String);

impl EndpointName {
    /// The name of an endpoint that was given none.
    pub const DEFAULT: &str = "default";

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for EndpointName {
    /// Answers [`Self::DEFAULT`].
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

impl fmt::Display for EndpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for EndpointName {
    type Err = InvalidValue;

    /// Checks a name. No name leaves the folder that it is joined to: it has no slash and starts with no dot.
    fn from_str(text: &str) -> Parsed<Self> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.len() <= MAX_BYTES && text.chars().all(allowed)
        {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidValue::new(format!(
            "{} is not the name of an endpoint: use 1 to {MAX_BYTES} characters of [A-Za-z0-9._-], starting with a letter or digit",
            quote(text)
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_folder_and_never_a_path() {
        for name in ["default", "a", "eu-1.prod_x", &"a".repeat(64)] {
            assert_eq!(name.parse::<EndpointName>().unwrap().as_str(), name);
        }
        for name in [
            "",
            ".",
            "..",
            "../a",
            "a/b",
            "/",
            "-a",
            "a b",
            "é",
            "a\0",
            &"a".repeat(65),
        ] {
            assert!(name.parse::<EndpointName>().is_err(), "{name:?} passed");
        }
    }
}
