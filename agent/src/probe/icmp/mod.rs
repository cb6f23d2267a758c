//! ICMP echo: what leaves, what comes back, and what that means.
//!
//! ```text
//!   Due --> [task] -- Echo --> [EchoSocket: portable] --> network
//!             |  ^                    |
//!             |  +---- EchoEvent -----+
//!             v
//!          [Flights] -- EchoResult, once the window has closed --> Event
//! ```
//!
//! [`flight`] and [`packet`] are pure; [`socket`] is the seam behind which another engine fits; [`portable`] is the
//! backend on surge-ping; [`resolve`] turns host names into addresses that may be probed.

pub mod flight;

pub mod packet;

pub mod socket;

pub mod portable;

mod inbound;

pub mod resolve;

pub mod task;

pub mod report;
