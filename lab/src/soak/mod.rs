//! `make soak`: a world with ordinary jitter and loss is measured for an hour, and nothing may fire.
//!
//! ```text
//!  [run] one lab for each database (crate::side_by_side)
//!           |
//!  inside: [course] reads the counters once a minute --> [ledger] Counts of the minute --> complaints, Summary
//! ```

pub mod ledger;

pub mod course;

pub mod run;
