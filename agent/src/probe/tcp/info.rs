//! What the kernel knows about a connection (`TCP_INFO`).

use std::time::Duration;

use socket2::Socket;

/// The handshake as the kernel saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Handshake {
    /// Whether the SYN is still unanswered.
    pub(super) open: bool,
    /// From the SYN to the SYN-ACK; `None` where the kernel took no time, as after a second SYN (RFC 6298, section 3).
    pub(super) rtt: Option<Duration>,
    /// Whether the SYN was sent again.
    pub(super) repeated: bool,
}

/// Asks the kernel.
#[cfg(target_os = "linux")]
pub(super) fn handshake(socket: &Socket) -> Option<Handshake> {
    linux::words(socket).map(|words| linux::read(&words))
}

/// Only Linux is asked.
#[cfg(not(target_os = "linux"))]
pub(super) fn handshake(_: &Socket) -> Option<Handshake> {
    None
}

#[cfg(target_os = "linux")]
mod linux {
    use std::time::Duration;

    use nix::libc;
    use nix::sys::socket::getsockopt;
    use nix::sys::socket::sockopt::GetStruct;
    use socket2::Socket;

    use super::Handshake;

    /// The part of `struct tcp_info` (linux/tcp.h) that every kernel has: 8 bytes of flags, then 24 numbers up to
    /// `tcpi_total_retrans`. Newer kernels know more and give what is asked for.
    ///
    /// libc's own structure is as long as today's kernel has it, and a shorter answer of an older one would be a fault.
    pub(super) type Words = [u32; 26];

    /// Place of `tcpi_rtt`, microseconds.
    const RTT: usize = 17;
    /// Place of `tcpi_total_retrans`.
    const TOTAL_RETRANS: usize = 25;
    /// The state `TCP_SYN_SENT` of the kernel.
    const SYN_SENT: u8 = 2;

    /// A socket option that nix does not have; the macro holds the call.
    #[derive(Debug, Clone, Copy)]
    struct TcpInfo;

    nix::getsockopt_impl!(TcpInfo, libc::IPPROTO_TCP, libc::TCP_INFO, Words, GetStruct<Words>);

    pub(super) fn words(socket: &Socket) -> Option<Words> {
        getsockopt(socket, TcpInfo).ok()
    }

    pub(super) fn read(words: &Words) -> Handshake {
        let [state, ..] = words[0].to_ne_bytes();
        // Before anything else was sent the smoothed time is the one sample of the handshake, to the microsecond.
        let rtt = Duration::from_micros(words[RTT].into());
        Handshake {
            open: state == SYN_SENT,
            rtt: (!rtt.is_zero()).then_some(rtt),
            repeated: words[TOTAL_RETRANS] > 0,
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use socket2::{Domain, SockAddr, Type};
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Instant;

    fn listener() -> (Socket, SockAddr) {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener
            .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
            .unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[test]
    fn the_kernel_times_the_handshake_and_not_our_delay() {
        let (_listener, address) = listener();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let before = Instant::now();
        socket.connect(&address).unwrap();
        let elapsed = before.elapsed();
        let handshake = handshake(&socket).unwrap();
        let rtt = handshake.rtt.expect("a time");
        // The kernel rounds up to its microsecond.
        assert!(rtt <= elapsed + Duration::from_micros(1), "{rtt:?} of {elapsed:?}");
        assert!(!handshake.open && !handshake.repeated);
        assert_eq!(self::handshake(&socket).unwrap().rtt, Some(rtt), "it stays the same");
    }

    #[test]
    fn a_connection_that_took_a_second_syn_says_so() {
        let (listener, address) = listener();
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        filler.connect(&address).unwrap();
        // The queue holds one connection: the next SYN is dropped.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.connect(&address).unwrap_err();
        assert!(handshake(&socket).unwrap().open);
        listener.accept().unwrap();
        socket.set_nonblocking(false).unwrap();
        // Returns when the connection is up, or at once if it is.
        let _ = socket.connect(&address);
        let late = handshake(&socket).unwrap();
        assert!(!late.open && late.repeated, "{late:?}");
    }
}
