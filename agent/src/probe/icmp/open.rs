//! Opens ICMP sockets with surge-ping: datagram sockets where `net.ipv4.ping_group_range` allows, raw ones otherwise.

use std::io;
use std::os::fd::BorrowedFd;

use socket2::{SockRef, Type};
use surge_ping::{AsyncSocket, Config, ICMP};
use tracing::{debug, info};

/// Room for the replies of 10,000 targets over a stall of about 100 ms; the default of most systems holds 256 replies.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Says why no echo can be sent.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The process may open neither kind of socket.
    #[error(
        "no right to send ICMP echoes: run `sysctl -w net.ipv4.ping_group_range=\"0 2147483647\"` (no privilege in the process), or `setcap cap_net_raw+ep {program}`"
    )]
    Permission {
        /// The running program.
        program: String,
        /// The kernel's word.
        #[source]
        source: io::Error,
    },
    /// Anything else.
    #[error("open an ICMP socket")]
    Socket(#[source] io::Error),
    /// The backend is not there on this system.
    #[error("icmp.backend: linux is not there on this system: use auto or portable")]
    Backend,
}

/// The sockets of both families, as far as they could be opened; at least one could.
#[derive(Debug)]
pub struct Families<T> {
    /// For IPv4.
    pub v4: Option<T>,
    /// For IPv6.
    pub v6: Option<T>,
}

impl<T> Families<T> {
    /// The socket for a destination.
    pub const fn of(&mut self, v4: bool) -> Option<&mut T> {
        if v4 { self.v4.as_mut() } else { self.v6.as_mut() }
    }

    /// Both, as far as they are there.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.v4.iter_mut().chain(&mut self.v6)
    }
}

/// Opens both families and prepares each with `prepare`, which is told whether it is IPv4; must be called inside a runtime.
///
/// # Errors
///
/// Neither family can be opened; a missing right is explained with the command that grants it.
pub fn open_families<T>(prepare: impl Fn(AsyncSocket, bool) -> io::Result<T>) -> Result<Families<T>, OpenError> {
    let open = |kind| open(kind).and_then(|socket| prepare(socket, kind == ICMP::V4));
    let (v4, v6) = (open(ICMP::V4), open(ICMP::V6));
    if let (Err(source), Err(_)) = (&v4, &v6) {
        return Err(explain(source));
    }
    let keep = |family: io::Result<T>, name: &str| {
        family
            .inspect_err(|error| info!(family = name, error = %first_line(error), "no ICMP socket of this family"))
            .ok()
    };
    Ok(Families {
        v4: keep(v4, "ipv4"),
        v6: keep(v6, "ipv6"),
    })
}

fn open(kind: ICMP) -> io::Result<AsyncSocket> {
    let socket = AsyncSocket::new(&Config::builder().kind(kind).sock_type_hint(Type::DGRAM).build())?;
    let granted = enlarge(&socket)?;
    debug!(
        ?kind,
        raw = is_raw(&socket),
        receive_buffer_bytes = granted,
        "ICMP socket open"
    );
    Ok(socket)
}

/// Tells whether the socket sees every ICMP packet of the machine, with its IPv4 header.
#[must_use]
pub fn is_raw(socket: &AsyncSocket) -> bool {
    socket.get_type() == Type::RAW
}

/// Borrows the descriptor for as long as the socket lives.
#[expect(unsafe_code, reason = "surge-ping hands out its descriptor as a number only")]
#[must_use]
pub fn borrow(socket: &AsyncSocket) -> BorrowedFd<'_> {
    // SAFETY: the socket owns the descriptor and keeps it open for at least the lifetime of the borrow.
    unsafe { BorrowedFd::borrow_raw(socket.get_native_sock()) }
}

/// Enlarges the receive buffer; answers with the size that the kernel granted, bytes.
fn enlarge(socket: &AsyncSocket) -> io::Result<usize> {
    let descriptor = borrow(socket);
    let options = SockRef::from(&descriptor);
    // More than net.core.rmem_max is silently cut to it.
    options.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    options.recv_buffer_size()
}

fn explain(source: &io::Error) -> OpenError {
    if source.kind() != io::ErrorKind::PermissionDenied {
        return OpenError::Socket(io::Error::new(source.kind(), first_line(source)));
    }
    // The kind alone says it.
    let source = io::Error::from(source.kind());
    let program = std::env::current_exe().map_or_else(|_| "xprober-agent".into(), |path| path.display().to_string());
    OpenError::Permission { program, source }
}

/// surge-ping explains a missing right over several lines; ours is the explanation.
fn first_line(error: &io::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
