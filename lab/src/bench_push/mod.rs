//! `make bench-push`: what pushing costs our agent beside Prometheus in agent mode and vmagent, for the same series into the
//! same sink, round by round.
//!
//! ```text
//!  [child] ledger, samples, queue, push of the agent, fed with made-up results --RW--> [sink] counts, keeps bodies
//!     | its series, once                                                                 ^
//!     v                                                                                  |
//!  [page] the same series as a page to scrape --> Prometheus agent, vmagent --RW---------+
//! ```
//!
//! Each contender is measured twice, pushing and with everything dropped before it is sent; the difference is the push.

pub mod plan;

pub mod child;

pub mod sink;

pub mod page;

pub mod contender;

pub mod measure;

pub mod report;

pub mod run;

pub mod memory;
