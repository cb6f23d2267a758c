//! From the ledger to samples: what was counted in, one group of values per subject out.
//!
//! ```text
//!   Ledger + AgentState --snapshot--> Group --SeriesSet--> Samples --[wire]--> SealedRequest
//! ```
//!
//! A group holds what is said about one subject (a region, a target, a line, the agent). Groups pass one by one, so that
//! a snapshot takes no more memory than one request however many targets there are. [`series`] turns the values of a
//! group into samples with labels and one timestamp, and ends what is no longer said by a stale marker.

pub mod event;

pub mod catalogue;

pub mod subject;

pub mod snapshot;

pub mod label;

pub mod shape;

pub mod sample;

mod native;

mod alive;

pub mod series;

pub mod task;

use std::time::Duration;

pub use event::{EngineCounters, Event};
pub use snapshot::snapshot;
pub use subject::Subject;

use crate::ledger::Exponential;
use crate::ledger::histogram::le;
use crate::plan::PlanStatus;
use crate::probe::{HttpReason, Outcome, Reason, Stage};
use crate::push::PushStatus;
use crate::queue::{DropReason, QueueStatus};
use catalogue::{MAX_OWN_LABELS, Metric};

/// Which of the series of a metric and subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The only one.
    Whole,
    /// A bucket of a histogram, by its index.
    Bucket(usize),
    /// The sum of a histogram.
    Sum,
    /// The count of a histogram.
    Count,
    /// A histogram as one native series.
    Native,
    /// The one with this `outcome`.
    Outcome(Outcome),
    /// The one with this `outcome` and `reason`.
    Reason(Outcome, Reason),
    /// The one with this `stage`.
    Stage(Stage),
    /// The one with this `stage` and `reason`.
    Failure(Stage, HttpReason),
    /// The one with this text as the metric's only label of its own.
    Text(&'static str),
}

impl Part {
    /// What is appended to the name of the metric.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Bucket(_) => "_bucket",
            Self::Sum => "_sum",
            Self::Count => "_count",
            Self::Whole
            | Self::Native
            | Self::Outcome(_)
            | Self::Reason(..)
            | Self::Stage(_)
            | Self::Failure(..)
            | Self::Text(_) => "",
        }
    }

    /// Values of the metric's own labels, in the metric's order; `le` for a bucket. Empty ones are left out.
    fn label_values(self) -> [&'static str; MAX_OWN_LABELS] {
        match self {
            Self::Whole | Self::Sum | Self::Count | Self::Native => ["", ""],
            Self::Bucket(bucket) => [le(bucket), ""],
            Self::Outcome(outcome) => [outcome.as_str(), ""],
            Self::Reason(outcome, reason) => [outcome.as_str(), reason.as_str()],
            Self::Stage(stage) => [stage.as_str(), ""],
            Self::Failure(stage, reason) => [stage.as_str(), reason.as_str()],
            Self::Text(text) => [text, ""],
        }
    }
}

/// One value of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Value {
    /// What it says.
    pub metric: &'static Metric,
    /// Which of the metric's series.
    pub part: Part,
    /// The number, in the metric's unit; of a native histogram its count.
    pub value: f64,
}

/// Everything that a snapshot says about one subject.
#[derive(Debug, Clone, PartialEq)]
pub struct Group<'a> {
    /// What it speaks about.
    pub subject: Subject<'a>,
    /// The values, in the order of the catalogue.
    pub values: Vec<Value>,
    /// What the value with [`Part::Native`] stands for, and its sum in the metric's unit.
    pub native: Option<(&'a Exponential, f64)>,
}

/// What the agent knows of itself at the time of a snapshot.
#[derive(Debug, Clone)]
pub struct AgentState {
    /// Software version.
    pub version: &'static str,
    /// The plan in force.
    pub plan: PlanStatus,
    /// Latest departure of a probe since the last snapshot.
    pub max_lateness: Duration,
    /// Ticks skipped so far.
    pub skipped_ticks: u64,
    /// What the ICMP prober has noticed about itself so far.
    pub engine: EngineCounters,
    /// Where it pushes to.
    pub endpoints: Vec<EndpointState>,
}

/// What the agent knows of one place where it pushes to.
#[derive(Debug, Clone)]
pub struct EndpointState {
    /// Its name.
    pub name: String,
    /// How full the queue is.
    pub queue: QueueStatus,
    /// Samples put into the queue so far.
    pub sealed: u64,
    /// Stale markers among them.
    pub stale_markers: u64,
    /// What the push says of itself.
    pub push: PushStatus,
}

impl EndpointState {
    /// Samples that were given up for `reason`, in the queue or out of requests that were taken in part.
    #[must_use]
    pub const fn dropped(&self, reason: DropReason) -> u64 {
        let in_part = match reason {
            DropReason::Rejected => self.push.partly_rejected,
            DropReason::Full | DropReason::Expired | DropReason::Clock | DropReason::Damaged => 0,
        };
        self.queue.dropped.get(reason) + in_part
    }
}

#[cfg(test)]
pub(crate) mod tests;
