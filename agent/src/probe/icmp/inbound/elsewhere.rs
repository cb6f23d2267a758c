//! What surge-ping offers everywhere: packets, stamped after the receive call.

use std::io;
use std::net::IpAddr;
use std::time::Instant;

use surge_ping::AsyncSocket;

use super::Received;
use crate::probe::Stamp;

/// The receiving end.
pub(in crate::probe::icmp) struct Inbound {
    socket: AsyncSocket,
}

impl Inbound {
    /// Who takes the times.
    pub(in crate::probe::icmp) const STAMP: Stamp = Stamp::User;

    /// Opens the receiving end of `socket`.
    #[expect(clippy::unnecessary_wraps, reason = "opening can fail elsewhere")]
    pub(in crate::probe::icmp) fn open(socket: &AsyncSocket, _v4: bool) -> io::Result<Self> {
        Ok(Self { socket: socket.clone() })
    }

    /// Waits for the next packet.
    pub(in crate::probe::icmp) async fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        let (length, from) = self.socket.recv_from(buffer).await?;
        Ok(Received {
            length,
            from: from.ip(),
            at: Instant::now(),
            stamp: Stamp::User,
        })
    }

    /// There is no error queue: on a datagram socket an unreachable looks like silence.
    #[expect(clippy::unused_self, reason = "there is a queue elsewhere")]
    pub(in crate::probe::icmp) fn next_error(&mut self) -> Option<(IpAddr, u16)> {
        None
    }
}
