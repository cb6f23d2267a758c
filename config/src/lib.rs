//! Loads and checks `planner.yml` and `agent.yml`: what the file says becomes what it means, or every problem is told.
//!
//! ```text
//!   file --load--> text --yaml--> Node --reader--> Field, Mapping --value, duration--> PlannerSettings, AgentSettings
//!                            (tree with lines)        |                                  (planner/, agent/)
//!                                                     +--> Problems: `file:line: key: what is wrong, what is allowed`
//!   flags, environment ------------ Override ---------^
//! ```
//!
//! Nothing here has a default but `planner/file.rs`, `agent/file.rs` and `limits.rs`, each exactly once; the commented
//! samples beside this crate are tested against them.

pub mod load;

mod yaml;

mod node;

mod reader;

pub mod duration;

pub mod value;

mod limits;

mod headers;

pub mod planner;

pub mod agent;

pub mod problem;

pub use load::{LoadError, Override};
pub use problem::{Problem, Problems};
