//! ICMP echo: what leaves, what comes back, and what that means.
//!
//! ```text
//!   Vec<Due> --> [task: names] -- Vec<Request> --> [engine] -- EchoResult, when its window has closed --> Event
//!                                                     |
//!                                          [Prober: Flights + EchoSocket] <--> network
//! ```
//!
//! [`flight`], [`packet`], [`decode`] and [`clock`] are pure; [`socket`] is the seam with its two backends, `linux` and
//! [`portable`]; [`mod@open`] gets the sockets. All of it runs on the thread that keeps the schedule.

pub mod task;

pub mod engine;

pub mod prober;

pub mod flight;

mod windows;

pub mod clock;

pub mod packet;

pub mod decode;

pub mod socket;

pub mod open;

#[cfg(target_os = "linux")]
pub mod linux;

pub mod portable;
