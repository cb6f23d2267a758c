//! The agent: takes a plan from the planner, probes what it says, and pushes what it measured.
//!
//! ```text
//!              gRPC                 Change                Due                 ProbeResult
//!   planner <--------> [plan/task] --------> [schedule/task] --------> [probe/*] --------+
//!                           |                     | Change                               |
//!                           | PlanStatus (watch)  v                                      v
//!                           |              +----------------- Event -----------------------+
//!                           v              v
//!                     [samples/task: ledger -> Sample -> Batch] --> queue --> [push/task] --HTTP--> TSDB
//! ```
//!
//! Boxes are tasks, arrows are bounded channels (`PlanStatus` and the push counters are watches). The file with the
//! stage's name holds values and rules; `task.rs` beside it holds the loop.

pub mod identity;

pub mod plan;

pub mod schedule;

pub mod probe;

pub mod ledger;

pub mod samples;

pub mod queue;

pub mod push;

pub mod pipeline;

pub mod backoff;
