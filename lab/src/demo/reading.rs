//! What the time-series database says of the lab, beside what the lab was told to do; values only.

use std::collections::BTreeMap;
use std::time::Duration;

use xprober_agent::probe::Stage;

/// One answer of an instant query: labels and value.
pub type Answer = (BTreeMap<String, String>, f64);

/// What is known of one ordered pair of regions.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// Region that sends.
    pub source: String,
    /// Region that answers.
    pub target: String,
    /// Round-trip time that the WAN emulates now.
    pub emulated: Duration,
    /// Whether the WAN was changed while the demo ran: an average over a minute then belongs to neither time.
    pub disturbed: bool,
    /// Mean round-trip time, seconds; `None` when the database has none.
    pub rtt_seconds: Option<f64>,
    /// Lost share, 0 to 1.
    pub loss: Option<f64>,
}

/// What is known of one HTTP target from one region.
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// Region that fetches.
    pub source: String,
    /// URL.
    pub target: String,
    /// Time that the lab spends in each stage, in the order of [`Stage::ALL`].
    pub emulated: [Duration; Stage::ALL.len()],
    /// Mean time measured in each stage, seconds, in the same order.
    pub stage_seconds: [Option<f64>; Stage::ALL.len()],
    /// Share of agents that succeed, 0 to 1.
    pub success: Option<f64>,
}

/// Everything read in one go.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// Ordered pairs, by source, then target.
    pub pairs: Vec<Pair>,
    /// HTTP targets by URL, then source.
    pub http: Vec<Http>,
}

/// Finds the value whose labels hold all of `wanted`.
#[must_use]
pub fn find(answers: &[Answer], wanted: &[(&str, &str)]) -> Option<f64> {
    let fits = |labels: &BTreeMap<String, String>| {
        wanted
            .iter()
            .all(|(name, value)| labels.get(*name).is_some_and(|found| found == value))
    };
    answers.iter().find(|(labels, _)| fits(labels)).map(|(_, value)| *value)
}
