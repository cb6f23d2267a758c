//! Breaks that change nothing that a test could see, each with the reason.

/// What [`super::mutant::Mutant::what`] says, and why no test can notice it.
pub const EQUIVALENT: [(&str, &str); 0] = [];
