//! The receiving end of an echo socket: packets with the time of their arrival, and ICMP errors.
//!
//! On Linux the kernel stamps the arrival, so a reply that waits for a busy machine reads no longer than it took.

use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use socket2::SockRef;
use surge_ping::AsyncSocket;

use crate::probe::Stamp;

#[cfg(any(test, not(target_os = "linux")))]
#[cfg_attr(
    target_os = "linux",
    expect(dead_code, reason = "compiled in tests, so that it stays right")
)]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::Inbound;
#[cfg(target_os = "linux")]
pub(super) use linux::Inbound;

/// Room for the replies of 10,000 targets over a stall of about 100 ms; the default holds 256 replies.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// One packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Received {
    /// Its length in the buffer.
    pub(super) length: usize,
    /// Who sent it.
    pub(super) from: IpAddr,
    /// When it arrived.
    pub(super) at: Instant,
    /// By whose clock reading.
    pub(super) stamp: Stamp,
}

/// Borrows the descriptor for as long as the socket lives.
#[expect(unsafe_code, reason = "surge-ping hands out its descriptor as a number only")]
fn borrow(socket: &AsyncSocket) -> BorrowedFd<'_> {
    // SAFETY: the socket owns the descriptor and keeps it open for at least the lifetime of the borrow.
    unsafe { BorrowedFd::borrow_raw(socket.get_native_sock()) }
}

/// Enlarges the receive buffer; answers with the size that the kernel granted, bytes.
pub(super) fn enlarge(socket: &AsyncSocket) -> io::Result<usize> {
    let descriptor = borrow(socket);
    let options = SockRef::from(&descriptor);
    // More than net.core.rmem_max is silently cut to it.
    options.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    options.recv_buffer_size()
}
