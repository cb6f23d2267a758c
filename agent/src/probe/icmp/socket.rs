//! The seam between the echoes in flight and whatever puts them on the wire.
//!
//! Two backends stand behind it: [`super::linux`] sends and receives in batches and has the kernel's stamps,
//! [`super::portable`] is surge-ping with our own clock.

use std::future::Future;
use std::io;
use std::net::IpAddr;

use xprober_proto::PacketOptions;

use super::clock::{Reading, Wall};
use super::flight::{Arrival, Key};
use super::packet::Content;
use crate::probe::{Reason, Stamp};

/// One echo request that has to leave.
#[derive(Debug, Clone, Copy)]
pub struct Echo<'a> {
    /// Where to; never an IPv4-mapped IPv6 address.
    pub to: IpAddr,
    /// Number of the probe; the low 16 bits are the sequence.
    pub number: u64,
    /// Length of the payload.
    pub payload_bytes: u16,
    /// Whether anybody asks for the time to live of the reply.
    pub reply_ttl: bool,
    /// How the packet leaves.
    pub packet: &'a PacketOptions,
}

/// What is known of an echo request that was handed to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Departed {
    /// The moment right before.
    pub sent: Reading,
    /// When it left, where this is known by the clock of the kernel's stamps without [`EchoEvent::Left`].
    pub left: Option<Wall>,
}

/// What became of an echo request that had to leave.
pub type Departure = io::Result<Departed>;

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub enum EchoEvent {
    /// The kernel's stamp of the moment at which a request left.
    Left {
        /// Which request.
        key: Key,
        /// When.
        at: Wall,
    },
    /// An echo reply.
    Replied {
        /// To which request.
        key: Key,
        /// When it arrived.
        arrival: Arrival,
        /// What it carried.
        content: Content,
    },
    /// An ICMP error that quotes a request.
    Unreachable {
        /// Which request.
        key: Key,
        /// Why.
        reason: Reason,
    },
    /// So many packets were dropped because the receive queue was full.
    Dropped(u64),
}

/// Sends echo requests and hears what becomes of them. Only [`EchoSocket::wait`] waits.
pub trait EchoSocket: Send {
    /// Tells who takes the times, when all is well.
    fn stamp(&self) -> Stamp;

    /// Sends echoes, all at once if it can, and adds one departure for each, in their order, to `departures`.
    fn send(&mut self, echoes: &[Echo<'_>], departures: &mut Vec<Departure>);

    /// Waits until something has come back that has to be looked at at once; for ever where the kernel keeps the time.
    fn wait(&mut self) -> impl Future<Output = ()> + Send;

    /// Adds what has come back to `events`; tells whether that is everything.
    fn receive(&mut self, events: &mut Vec<EchoEvent>) -> bool;
}
