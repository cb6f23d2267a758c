//! `make demo`: four regions on one machine, measured by the real programs, read back from the real database.
//!
//! ```text
//!  options -> Lab + Stack -> every 2 s: database -> reading -> view -> terminal
//!                               |            at the end: reading -> verdict -> exit status
//!                               +-- Alertmanager -> webhook -> alerts as they arrived -> terminal
//! ```

pub mod reading;

pub mod verdict;

pub mod view;

pub mod alert;

mod screen;

pub mod run;
