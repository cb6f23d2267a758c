//! What the ledger is fed with.

use std::time::Duration;

use crate::plan::Change;
use crate::probe::ProbeResult;

/// One thing that happened, in the order in which it happened.
///
/// Plan changes and results share one channel: a target is known before its first result, and a result that comes after
/// the removal is recognised as one.
#[derive(Debug, Clone)]
pub enum Event {
    /// The plan in force changed.
    Change(Change),
    /// A probe's window closed.
    Result(ProbeResult),
    /// How well the schedule kept its times since the last such event.
    Lateness {
        /// Ticks that were skipped because they were too late.
        skipped: u64,
        /// The latest departure, measured from its scheduled time.
        max_lateness: Duration,
    },
}
