//! From the ledger to samples: what was counted in, one group of values per subject out.
//!
//! ```text
//!   Ledger + AgentState --snapshot--> [Group] --SeriesSet--> [Sample] --cut--> Batch --seal--> SealedRequest
//! ```
//!
//! A group holds what is said about one subject (a region, a target, a line, the agent). [`series`] turns its values
//! into samples with kept label bytes and one timestamp, and ends what is no longer said by a stale marker.

pub mod event;

pub mod catalogue;

pub mod snapshot;

pub mod label;

pub mod series;

pub mod batch;

pub mod task;

use std::time::Duration;

pub use event::{EngineCounters, Event};
pub use snapshot::snapshot;

use crate::ledger::histogram::le;
use crate::ledger::{RegionKey, TargetKey};
use crate::plan::PlanStatus;
use crate::probe::{HttpReason, Outcome, Stage};
use crate::push::PushCounters;
use crate::queue::QueueStatus;
use catalogue::Metric;

/// What a group of series speaks about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The agent itself.
    Agent,
    /// A region.
    Region(RegionKey),
    /// One target.
    Target(TargetKey),
    /// A dedicated line.
    Line {
        /// Its `target_region`, `line`, `circuit`, `carrier` and `owner`.
        labels: [String; 5],
    },
    /// A dedicated line, for one kind of probe.
    LineProbes {
        /// Its name.
        line: String,
        /// The other end.
        region: RegionKey,
    },
}

impl Subject {
    /// Values of the labels of the subject's scope, in the scope's order.
    fn label_values(&self) -> Vec<&str> {
        match self {
            Self::Agent => Vec::new(),
            Self::Region(key) => vec![key.region.as_str(), key.probe.as_str()],
            Self::Target(key) => vec![key.region.as_str(), key.probe.as_str(), &key.name],
            Self::Line { labels } => labels.iter().map(String::as_str).collect(),
            Self::LineProbes { line, region } => vec![region.region.as_str(), region.probe.as_str(), line],
        }
    }
}

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
    /// The one with this `outcome`.
    Outcome(Outcome),
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
            Self::Whole | Self::Outcome(_) | Self::Stage(_) | Self::Failure(..) | Self::Text(_) => "",
        }
    }

    /// Values of the metric's own labels, in the metric's order; `le` for a bucket.
    fn label_values(self) -> Vec<String> {
        match self {
            Self::Whole | Self::Sum | Self::Count => Vec::new(),
            Self::Bucket(bucket) => vec![le(bucket)],
            Self::Outcome(outcome) => vec![outcome.as_str().to_owned()],
            Self::Stage(stage) => vec![stage.as_str().to_owned()],
            Self::Failure(stage, reason) => vec![stage.as_str().to_owned(), reason.as_str().to_owned()],
            Self::Text(text) => vec![text.to_owned()],
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
    /// The number, in the metric's unit.
    pub value: f64,
}

/// Everything that a snapshot says about one subject.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// What it speaks about.
    pub subject: Subject,
    /// The values, in the order of the catalogue.
    pub values: Vec<Value>,
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
    /// How full the queue is.
    pub queue: QueueStatus,
    /// Samples put into the queue so far.
    pub sealed: u64,
    /// Stale markers among them.
    pub stale_markers: u64,
    /// What the push task has counted so far.
    pub push: PushCounters,
}

#[cfg(test)]
mod tests;
