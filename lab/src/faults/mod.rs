//! `make faults`: each fault is planted on a world of its own, and exactly the expected alert must reach the webhook, once,
//! with the right labels, and end after the repair.
//!
//! ```text
//!  [cases] Case {[fault], [expected]..} --> [run], several labs at a time (crate::side_by_side) --> [report] docs/faults.md
//!                                          |                                          ^
//!                                          v                                          | Outcome
//!  inside a lab:  [course] start, calm, break, wait, repair, wait --> Messages --> [judge]
//!                     [scene]: stack and web servers          [plant]: how a Fault is planted there and repaired
//! ```

pub mod fault;

pub mod expected;

pub mod cases;

pub mod judge;

pub mod scene;

mod plant;

pub mod course;

pub mod report;

pub mod run;
