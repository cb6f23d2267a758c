//! Names that become labels: agent ids, regions, zones and target ids.
//!
//! Every one of them was typed or sent by somebody else. The alphabet is small on purpose: what passes here can stand in
//! a label, a log line or a page without being escaped, and has no meaning to a shell or a path.

use std::fmt;
use std::str::FromStr;

/// Longest agent id, region or zone in bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// Longest target id in bytes.
pub const MAX_TARGET_ID_BYTES: usize = 512;

/// Says which name was refused and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {value:?} is not allowed: use 1 to {max} characters of {alphabet}")]
pub struct InvalidName {
    kind: &'static str,
    value: String,
    max: usize,
    alphabet: &'static str,
}

fn check(kind: &'static str, value: &str, extra: &str, alphabet: &'static str) -> Result<(), InvalidName> {
    let fits = !value.is_empty() && value.len() <= MAX_NAME_BYTES;
    // A leading dash would read as an option, leading dots as a path.
    let starts_well = value.starts_with(|c: char| c.is_ascii_alphanumeric());
    if fits && starts_well && value.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c)) {
        return Ok(());
    }
    let shown: String = value.chars().take(MAX_NAME_BYTES).collect();
    Err(InvalidName {
        kind,
        value: shown,
        max: MAX_NAME_BYTES,
        alphabet,
    })
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $extra:literal, $alphabet:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Shows the name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(value: &str) -> Result<Self, InvalidName> {
                check($kind, value, $extra, $alphabet)?;
                Ok(Self(value.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// Names one agent inside its region; by default the host name.
    AgentId, "agent id", "._:-", "[A-Za-z0-9._:-], starting with a letter or digit"
);
name!(
    /// Names a region: the unit in which xprober measures.
    Region, "region", "._:/-", "[A-Za-z0-9._:/-], starting with a letter or digit"
);
name!(
    /// Names an availability zone inside a region.
    Zone, "zone", "._:/-", "[A-Za-z0-9._:/-], starting with a letter or digit"
);

/// Names a target for as long as it stays the same target, over all plans.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetId(String);

impl TargetId {
    /// Shows the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TargetId {
    type Err = InvalidName;

    fn from_str(value: &str) -> Result<Self, InvalidName> {
        if !value.is_empty() && value.len() <= MAX_TARGET_ID_BYTES && !value.contains(char::is_control) {
            return Ok(Self(value.to_owned()));
        }
        let shown: String = value.chars().take(MAX_NAME_BYTES).collect();
        Err(InvalidName {
            kind: "target id",
            value: shown,
            max: MAX_TARGET_ID_BYTES,
            alphabet: "any text without control characters",
        })
    }
}

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_meaning_to_a_shell_or_a_path_are_refused() {
        for bad in [
            "",
            "-rf",
            "../x",
            "a b",
            "a;b",
            "$(id)",
            "a\nb",
            "`x`",
            "区域",
            &"x".repeat(129),
        ] {
            assert!(bad.parse::<AgentId>().is_err(), "{bad:?} passed");
            assert!(bad.parse::<Region>().is_err(), "{bad:?} passed");
        }
    }

    #[test]
    fn usual_names_of_clouds_and_hosts_pass() {
        for good in ["ap-east-1", "cn-hangzhou.b", "vm1", "10.0.0.1", "rack7/left", "fd00::1"] {
            assert!(good.parse::<Region>().is_ok(), "{good:?} refused");
        }
    }

    #[test]
    fn a_refusal_says_what_where_and_what_is_allowed() {
        let error = "a b".parse::<Region>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "region \"a b\" is not allowed: use 1 to 128 characters of [A-Za-z0-9._:/-], starting with a letter or digit"
        );
    }
}
