//! The agent: takes a plan from the planner, probes what it says, and pushes what it measured.
//!
//! ```text
//!              gRPC                 Change    +----------------- thread "probes" -----------------+
//!   planner <--------> [plan/task] ---------> | [schedule/task] --Vec<Due>--> [icmp/task, engine] |
//!                           |                 +--------|--|-----------------------------|---------+
//!                           |                   Change |  +--Vec<Due>--> [tcp/task]     | results,
//!                           | PlanStatus (watch)       v               [http/task]      v batched
//!                           |              +----------------------- Event --------------+
//!                           v              v
//!                  [samples/task: ledger -> Samples -> encoder] --> queue --> [push/task] --HTTP--> TSDB
//!                                                                  (one encoder, queue and push for each endpoint)
//!
//!   other agents' TCP probes --> [responder], where its port is open
//! ```
//!
//! [`run`] owns every task. The end follows the arrows: on SIGTERM plan and schedule stop, the probers wait for their
//! open windows and go, the last snapshot is taken when their channel closes, and the queue is drained.
//!
//! Boxes are tasks, arrows are bounded channels (`PlanStatus` and the push counters are watches). The schedule and the
//! echoes share a thread outside the runtime of the others ([`mod@thread`]). The file with the stage's name holds values
//! and rules; `task.rs` beside it holds the loop.

pub mod identity;

pub mod plan;

pub mod schedule;

pub mod probe;

pub mod responder;

pub mod ledger;

pub mod samples;

pub mod wire;

pub mod queue;

pub mod push;

pub mod pipeline;

pub mod run;

pub mod ping;

pub mod verb;

pub mod cli;

pub mod thread;

pub mod privilege;

pub mod backoff;

pub mod random;

/// Version of this agent.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Writes an error with its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
