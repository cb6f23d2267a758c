//! ICMP echo: what leaves, what comes back, and what that means.
//!
//! ```text
//!   Vec<Due> --> [task: names] -- Vec<Request> --> [linux/thread or portable] -- EchoResult, when its window closed --> Event
//!                                                     |           ^
//!                                                     v           | EchoEvent
//!                                                  [Prober: Flights + EchoSocket] <--> network
//! ```
//!
//! [`flight`], [`packet`], [`decode`] and [`clock`] are pure; [`socket`] is the seam with its two backends, [`linux`] and
//! [`portable`], and [`prober`] what both do; [`mod@open`] gets the sockets.

pub mod task;

pub mod prober;

pub mod flight;

pub mod clock;

pub mod packet;

pub mod decode;

pub mod socket;

pub mod open;

#[cfg(target_os = "linux")]
pub mod linux;

pub mod portable;
