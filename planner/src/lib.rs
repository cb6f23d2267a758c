//! Tells every agent of xprober what to probe: the agents of all other regions and the configured targets.
//!
//! ```text
//!              Hello, Heartbeat, Ack
//!   agents ==gRPC==> [one task per stream] --Event--> [owner: Members + settings] <--Event-- [reload] <- file, SIGHUP
//!      ^                 | Session                            | MeshPlan::build
//!      +--- full plan, --+ <------watch Published-------------+------------------> [admin: pages, /metrics]
//!           deltas
//! ```
//!
//! Boxes are tasks; `Event` is a bounded channel, `Published` a watch. [`server`] owns all tasks and ends them.

pub mod members;

pub mod plan;

pub mod stream;

pub mod reload;

pub mod admin;

pub mod metrics;

pub mod server;

pub mod cli;

pub use server::Planner;
