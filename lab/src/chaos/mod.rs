//! `make chaos`: real agents push through a judge to a real database while everything around them breaks; afterwards every
//! sample that an agent sealed is in the database once, and nothing came out of order.
//!
//! ```text
//!  [script] seed -> Step, Step, ..      (what breaks, when, for how long)
//!      |
//!      v
//!  [run] drives [scene]: planner, [agent]s --> crate::judge --> database
//!                                    |              |               |
//!        [pushing]: how           [life]         Account      stored samples
//!                                    +--------> [verdict] <---------+
//! ```

pub mod script;

pub mod pushing;

pub mod agent;

pub mod life;

pub mod scene;

pub mod verdict;

pub mod run;

use std::time::Duration;

/// Time for a program to be ready.
const READY_LIMIT: Duration = Duration::from_secs(30);
