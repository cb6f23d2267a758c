//! `make bench-probe`: our agent and engine beside fping, surge-ping, `smokeping_prober` and a bare loop, one after the other
//! in the same minutes on the same machine, so that the ratios hold where the figures themselves do not.
//!
//! ```text
//!  Options -> arena (Lab of two regions, VictoriaMetrics, planner)
//!     round 1..N, contender by contender:
//!        contender::start -> process in the probing host's namespace      child::* are contenders that live in here
//!        kernel (its CPU clock, its memory, ICMP counters of the namespace) -> Measured
//!     at the end, again with busy processes: capture of the wire and times as reported -> rtt
//!     Sheet of Measured -> measure (medians, ratios) -> bounds (met, missed) -> report -> terminal, docs/benchmarks.md
//! ```
//!
//! Nothing is taken from a contender's own word but the losses that it reports, which the kernel's counters then judge.

pub mod plan;

pub mod arena;

pub mod contender;

pub mod child;

pub mod kernel;

pub mod measure;

pub mod rtt;

pub mod rtt_run;

pub mod bounds;

pub mod report;

pub mod document;

pub mod run;
