//! Echoes by hand: `xprober-agent ping`.
//!
//! ```text
//!   hosts --> [resolve] --> [pace] -- Vec<Request> --> backend of probe::icmp -- EchoResult --> [summary] --> [table] --> [screen]
//! ```
//!
//! [`task`] is the loop around them; the others are pure, but for the question to the name server in [`resolve`].

pub mod resolve;

pub mod pace;

pub mod summary;

pub mod table;

pub mod screen;

pub mod task;

use std::num::NonZeroU32;
use std::time::Duration;

use xprober_config::agent::IcmpBackend;
use xprober_proto::{HostName, PacketOptions};

/// What was asked for.
#[derive(Debug, Clone)]
pub struct Ping {
    /// Whom to ask, each once.
    pub hosts: Vec<HostName>,
    /// Echoes to each host; `None` goes on until it is interrupted.
    pub count: Option<NonZeroU32>,
    /// Time between two echoes to one host, not zero.
    pub interval: Duration,
    /// A reply after this is late.
    pub timeout: Duration,
    /// Length of the payload.
    pub payload_bytes: u16,
    /// How the echoes leave.
    pub packet: PacketOptions,
    /// Who sends them.
    pub backend: IcmpBackend,
}
