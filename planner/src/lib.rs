//! Tells every agent of xprober what to probe: the agents of all other regions and the configured targets.
//!
//! ```text
//!                 Hello, Heartbeat, Ack, Nack                                                planner.yml, SIGHUP
//!   agents =gRPC==> [one task per stream] --Event--> [owner: Members, settings] <--Event-- [reloader] <--Request--+
//!      ^                  |  Session                          | MeshPlan::build                  | ConfigState     |
//!      +-- full plan, ----+ <------watch Published------------+-------------> [pages] <--watch---+                 |
//!          deltas                                                 | Reading         +----------------------------------+
//!                                                                 +-- [query] <--PromQL--> database, while somebody looks
//! ```
//!
//! Boxes are tasks; `Event` and `Request` are bounded channels, `Published`, `ConfigState` and `Reading` watches. [`server`]
//! owns every task, ends them with one token and waits for them. Values in flow order: `Hello -> Members -> MeshPlan -> Plan`,
//! and for the pages `Reading -> Matrix` ([`mod@matrix`] judges what [`mod@query`] read).

pub mod members;

pub mod plan;

pub mod stream;

pub mod reload;

pub mod query;

pub mod matrix;

pub mod admin;

pub mod metrics;

pub mod server;

pub mod cli;

pub use server::{Planner, PlannerError};
