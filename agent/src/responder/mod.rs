//! The optional TCP port that other agents connect to, where ICMP is filtered.
//!
//! It accepts and closes: no byte is read or written, so there is nothing to parse, nothing to amplify and nothing to keep.
//! The kernel answers the SYN; this only empties the accept queue. Connections are closed the usual way: our probers
//! reset theirs, which leaves no state here, and a peer that does not costs what any closed connection costs the kernel,
//! which bounds it by itself (`tcp_max_orphans`, `tcp_max_tw_buckets`).

mod task;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Connections that may wait to be accepted; the kernel takes the smaller of this and `net.core.somaxconn`.
///
/// A full queue drops SYNs, which probers would read as loss: this is a second of the largest mesh and more.
const BACKLOG: i32 = 4096;

/// Says why there is no responder.
#[derive(Debug, thiserror::Error)]
#[error("open the TCP responder on {address}")]
pub struct ResponderError {
    address: SocketAddr,
    #[source]
    error: io::Error,
}

/// A listening port.
#[derive(Debug)]
pub struct Responder {
    listener: TcpListener,
    address: SocketAddr,
    accepted: watch::Sender<u64>,
}

impl Responder {
    /// Opens the port; `[::]` takes IPv4 as well, and only that on a machine without IPv6. From here on connections are
    /// answered.
    ///
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// The address is not there, or the port is taken or needs a privilege.
    pub fn bind(address: SocketAddr) -> Result<Self, ResponderError> {
        let failed = |error| ResponderError { address, error };
        let listener = match listen(address) {
            Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && without_ipv6(&error) => {
                listen((Ipv4Addr::UNSPECIFIED, address.port()).into())
            }
            other => other,
        };
        let listener = listener.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            listener,
            address,
            accepted: watch::Sender::new(0),
        })
    }

    /// The port, which the system chose if it was asked for port 0.
    #[must_use]
    pub fn local_port(&self) -> u16 {
        self.address.port()
    }

    /// Counts the connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> watch::Receiver<u64> {
        self.accepted.subscribe()
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // A restarted agent must not wait for connections of its predecessor.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Tells whether the machine has no IPv6 (`ipv6.disable=1`) or has it switched off.
fn without_ipv6(error: &io::Error) -> bool {
    /// Linux' number for it; `ErrorKind` has no name.
    const EAFNOSUPPORT: i32 = 97;
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

#[cfg(test)]
mod tests;
