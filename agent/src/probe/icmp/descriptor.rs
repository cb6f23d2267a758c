//! Options of the echo socket that surge-ping does not offer, set through the descriptor that it does.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};

use socket2::SockRef;
use surge_ping::AsyncSocket;

/// Room for the replies of 10,000 targets over a stall of about 100 ms; the default holds 256 replies.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Borrows the descriptor for as long as the socket lives.
#[expect(unsafe_code, reason = "surge-ping hands out its descriptor as a number only")]
fn borrow(socket: &AsyncSocket) -> BorrowedFd<'_> {
    // SAFETY: the socket owns the descriptor and keeps it open for at least the lifetime of the borrow.
    unsafe { BorrowedFd::borrow_raw(socket.get_native_sock()) }
}

/// Enlarges the receive buffer and asks for ICMP errors; answers with the size the kernel granted.
///
/// # Errors
///
/// The kernel refused an option.
pub(super) fn prepare(socket: &AsyncSocket, v4: bool) -> io::Result<usize> {
    let descriptor = borrow(socket);
    let options = SockRef::from(&descriptor);
    // More than net.core.rmem_max is silently cut to it.
    options.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    ask_for_errors(descriptor, v4)?;
    options.recv_buffer_size()
}

#[cfg(target_os = "linux")]
fn ask_for_errors(descriptor: BorrowedFd<'_>, v4: bool) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt};
    if v4 {
        setsockopt(&descriptor, sockopt::Ipv4RecvErr, &true)?;
    } else {
        setsockopt(&descriptor, sockopt::Ipv6RecvErr, &true)?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn ask_for_errors(_: BorrowedFd<'_>, _: bool) -> io::Result<()> {
    Ok(())
}

/// Takes one ICMP error from the socket's error queue: the address the request went to, and the request as quoted.
///
/// `None` when the queue is empty. Errors of other kinds (redirect, local) are passed over.
pub(super) fn next_error(socket: &AsyncSocket) -> Option<(std::net::IpAddr, u16)> {
    queue::next(borrow(socket).as_raw_fd())
}

#[cfg(target_os = "linux")]
mod queue {
    //! The error queue of `ip(7)`: on datagram sockets the quoted request starts at its ICMP header.

    use std::io::IoSliceMut;
    use std::net::IpAddr;

    use nix::libc;
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};

    use super::RawFd;

    pub(super) fn next(descriptor: RawFd) -> Option<(IpAddr, u16)> {
        loop {
            let mut quoted = [0_u8; 64];
            let mut parts = [IoSliceMut::new(&mut quoted)];
            let mut control = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
            let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
            let message = recvmsg::<SockaddrStorage>(descriptor, &mut parts, Some(&mut control), flags).ok()?;
            let fatal = message.cmsgs().ok()?.any(|control| fatal(&control));
            let (to, bytes) = (message.address.as_ref().and_then(address), message.bytes);
            if !fatal || bytes < 8 {
                continue;
            }
            let sequence = u16::from_be_bytes([quoted[6], quoted[7]]);
            if let Some(to) = to {
                return Some((to, sequence));
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum with dozens of arms")]
    fn fatal(control: &ControlMessageOwned) -> bool {
        match control {
            // Destination unreachable, time exceeded (RFC 792).
            ControlMessageOwned::Ipv4RecvErr(error, _) => {
                error.ee_origin == libc::SO_EE_ORIGIN_ICMP && matches!(error.ee_type, 3 | 11)
            }
            // Destination unreachable, packet too big, time exceeded (RFC 4443).
            ControlMessageOwned::Ipv6RecvErr(error, _) => {
                error.ee_origin == libc::SO_EE_ORIGIN_ICMP6 && matches!(error.ee_type, 1..=3)
            }
            _ => false,
        }
    }

    fn address(storage: &SockaddrStorage) -> Option<IpAddr> {
        let v4 = storage.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    }
}

#[cfg(not(target_os = "linux"))]
mod queue {
    pub(super) const fn next(_: super::RawFd) -> Option<(std::net::IpAddr, u16)> {
        None
    }
}
