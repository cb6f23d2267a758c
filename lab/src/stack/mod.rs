//! The whole chain on a lab: database with rules, Alertmanager with a webhook, planner, and an agent on every host of a
//! measured region.
//!
//! ```text
//!  Topology --> [settings] planner.yml --> [plan] StackPlan {database, pace, files} --> [running] Stack
//!               [pace] rules, intervals -----^
//! ```

mod settings;

mod pace;

mod plan;

mod running;

pub use self::pace::Pace;
pub use self::plan::{Database, PLANNER_RPC_PORT, PLANNER_WEB_PORT, StackPlan, planner_url};
pub use self::running::{Stack, Store};
pub use self::settings::{line_name, measured_regions, planner_file, planner_file_with, web_targets};
