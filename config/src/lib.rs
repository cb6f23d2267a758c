//! Loads and checks `planner.yml` and `agent.yml`: what the file says becomes what it means, or every problem is told.
//!
//! ```text
//!   file --load--> text --yaml--> Node --reader--> Field, Mapping --value...--> PlannerSettings, AgentSettings
//!                            (tree with lines)        |                           (planner/, agent/)
//!                                                     +--> Problems: `file:line: key: what is wrong, what is allowed`
//!   flags, environment ------------ Override ---------^
//! ```
//!
//! Nothing here has a default but `limits.rs` and the files under `planner/` and `agent/`, each exactly once; the commented
//! samples beside this crate are tested against them.

pub mod load;

mod yaml;

mod node;

mod reader;

mod report;

pub mod duration;

pub mod value;

pub mod address;

mod spelling;

mod limits;

mod headers;

pub mod secret;

pub mod planner;

pub mod agent;

pub mod problem;

pub use load::{LoadError, Override};
pub use problem::{Problem, Problems};

#[cfg(test)]
mod samples;
