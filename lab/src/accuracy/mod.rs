//! `make accuracy`: faults of a known size are put on the WAN, the real planner, agents and database measure them, and
//! what they say is held against the wire.
//!
//! ```text
//!  cases -> Lab (seven regions: every two of them are one case; beside them a host with 1,000 addresses, nothing injected)
//!    stage: VictoriaMetrics, two planners, an agent per region, one agent for the 1,000 targets, a capture on each one's wire
//!      |  (half the time, that one agent stopped eight times, the other half; then planners and agents end, so every window closes)
//!      +-> told  what the database says                \
//!      +-> wire  what the captures saw                  +-> judge (complaints) -> report -> terminal, docs/accuracy.md
//!      +-> the WAN's own counters                      /
//! ```
//!
//! The agents are judged by exact counts: every request on the wire has one outcome, the one that the wire shows. Whether
//! the WAN's dice gave what was asked for is a question of its own, see [`band`].

pub mod cases;

pub mod wire;

pub mod told;

pub mod band;

pub mod judge;

pub mod report;

pub mod stage;

pub mod run;
