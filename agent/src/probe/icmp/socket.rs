//! The seam between the ledger of echoes and whatever puts them on the wire.
//!
//! The portable backend is [`super::portable`]. Another engine (batched sends, kernel stamps, a thread of its own) takes
//! echoes through [`EchoSocket::send`] and answers through [`EchoSocket::next`], in batches if it likes.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::time::Instant;

use super::flight::Key;
use super::packet::Content;
use crate::probe::Stamp;

/// One echo request that has to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    /// Where to; never an IPv4-mapped IPv6 address.
    pub to: IpAddr,
    /// Number of the probe; the low 16 bits are the sequence.
    pub number: u64,
    /// Length of the payload.
    pub payload_bytes: u16,
}

/// What came back.
#[derive(Debug)]
pub enum EchoEvent {
    /// An echo reply.
    Replied {
        /// From where, to which sequence.
        key: Key,
        /// When it arrived.
        at: Instant,
        /// By whose clock reading; the kernel's is right however late the packet was read.
        stamp: Stamp,
        /// What it carried.
        content: Content,
    },
    /// An ICMP error that quotes a request.
    Unreachable {
        /// Which request.
        key: Key,
    },
}

/// Sends echo requests and hears what becomes of them.
pub trait EchoSocket: Send {
    /// Tells who takes the times.
    fn stamp(&self) -> Stamp;

    /// Sends one echo and answers with the moment right before it left.
    ///
    /// # Errors
    ///
    /// The echo did not leave: no socket for the family, no route, no buffer, larger than the path allows.
    fn send(&mut self, echo: Echo) -> impl Future<Output = io::Result<Instant>> + Send;

    /// Waits for something to come back and adds it to `events`, all that is there at once. May be cancelled.
    fn next(&mut self, events: &mut Vec<EchoEvent>) -> impl Future<Output = ()> + Send;
}
