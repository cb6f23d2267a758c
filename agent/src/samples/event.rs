//! What the ledger is fed with.

use std::sync::Arc;
use std::time::Duration;

use xprober_proto::Target;

use crate::plan::Change;
use crate::probe::{EchoResult, HttpResult};

/// One thing that happened, in the order in which it happened.
///
/// Plan changes and results share one channel: a target is known before its first result, and a result that comes after
/// the removal is recognised as one.
#[derive(Debug, Clone)]
pub enum Event {
    /// The plan in force changed.
    Change(Change),
    /// The windows of echo or connect probes closed.
    Echoes(Vec<EchoResult>),
    /// An HTTP probe ended.
    Http(Box<HttpResult>),
    /// Probes of a target that never left, because their time had passed when we came to them.
    Missed {
        /// Whose.
        target: Arc<Target>,
        /// How many.
        ticks: u64,
    },
    /// What the ICMP prober noticed about itself since the last such event.
    Engine(EngineCounters),
    /// How well the schedule kept its times since the last such event.
    Lateness {
        /// Ticks that were skipped because they were too late.
        skipped: u64,
        /// The latest departure, measured from the tick at which it should have left.
        max_lateness: Duration,
    },
}

/// Faults of our own that the ICMP prober noticed; they say why results read `stalled`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineCounters {
    /// Times that the prober did not run for long enough to distrust silence.
    pub gaps: u64,
    /// How long it did not run in them, all together.
    pub gap_time: Duration,
    /// Packets that the kernel dropped because the receive queue was full.
    pub receive_drops: u64,
    /// Round-trip times for which the kernel gave no stamp at one end.
    pub unstamped: u64,
}

impl EngineCounters {
    /// Adds what was noticed later.
    pub fn add(&mut self, later: Self) {
        self.gaps += later.gaps;
        self.gap_time = self.gap_time.saturating_add(later.gap_time);
        self.receive_drops += later.receive_drops;
        self.unstamped += later.unstamped;
    }
}
