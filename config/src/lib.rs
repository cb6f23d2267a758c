//! Loads and checks `planner.yml` and `agent.yml`: what the file says becomes what it means, or every problem is told.
//!
//! ```text
//!   text --yaml--> node tree with lines --planner_file / agent_file--> PlannerSettings / AgentSettings
//!                                              |
//!                                              +--> Problems: `file:line: key: what is wrong, what is allowed`, all at once
//! ```

pub mod problem;

pub mod planner;

pub mod agent;

pub use problem::{Problem, Problems};
