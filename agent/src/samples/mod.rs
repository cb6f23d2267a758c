//! From the ledger to samples.

pub mod event;

pub use event::Event;
