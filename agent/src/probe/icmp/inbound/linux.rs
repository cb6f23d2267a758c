//! Linux: arrival stamps of the kernel (`SO_TIMESTAMPNS`, socket(7)) and the error queue (`IP_RECVERR`, ip(7)).

use std::io::{self, IoSliceMut};
use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, RawFd};
use std::time::{Duration, Instant, SystemTime};

use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use socket2::Type;
use surge_ping::AsyncSocket;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::{Received, borrow};
use crate::probe::Stamp;

/// A packet never waits this long to be read; an older stamp means that the wall clock was set meanwhile.
const OLDEST_STAMP: Duration = Duration::from_secs(10);

/// The receiving end: the socket's descriptor once more, so that this module owns what it waits for. tokio has no type
/// for ICMP sockets; as one for datagrams it only tells when there is something to read, and reads nothing.
pub(in crate::probe::icmp) struct Inbound {
    socket: UdpSocket,
}

impl Inbound {
    /// Who takes the times.
    pub(in crate::probe::icmp) const STAMP: Stamp = Stamp::Kernel;

    /// Opens the receiving end of `socket`; asks for stamps, and for errors where they do not come as packets.
    pub(in crate::probe::icmp) fn open(socket: &AsyncSocket, v4: bool) -> io::Result<Self> {
        let descriptor = borrow(socket).try_clone_to_owned()?;
        setsockopt(&descriptor, sockopt::ReceiveTimestampns, &true)?;
        // A raw socket gets errors as packets, and would get those of every other process in its queue.
        let raw = socket.get_type() == Type::RAW;
        match (raw, v4) {
            (true, _) => {}
            (false, true) => setsockopt(&descriptor, sockopt::Ipv4RecvErr, &true)?,
            (false, false) => setsockopt(&descriptor, sockopt::Ipv6RecvErr, &true)?,
        }
        let socket = UdpSocket::from_std(std::net::UdpSocket::from(descriptor))?;
        Ok(Self { socket })
    }

    /// Waits for the next packet.
    pub(in crate::probe::icmp) async fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        let descriptor = self.socket.as_raw_fd();
        self.socket
            .async_io(Interest::READABLE, || read(descriptor, buffer))
            .await
    }

    /// Takes one ICMP error: the address the request went to, and the sequence of the request as quoted.
    ///
    /// `None` when the queue is empty. Errors of other kinds (redirect, local) are passed over. The quoted request starts
    /// at its ICMP header.
    pub(in crate::probe::icmp) fn next_error(&mut self) -> Option<(IpAddr, u16)> {
        loop {
            let mut quoted = [0_u8; 64];
            let mut parts = [IoSliceMut::new(&mut quoted)];
            let mut control = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6, libc::timespec);
            let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
            let descriptor = self.socket.as_raw_fd();
            let message = recvmsg::<SockaddrStorage>(descriptor, &mut parts, Some(&mut control), flags).ok()?;
            let fatal = message.cmsgs().ok()?.any(|control| fatal(&control));
            let (to, bytes) = (message.address.as_ref().and_then(address), message.bytes);
            if let Some(to) = to
                && fatal
                && bytes >= 8
            {
                return Some((to, u16::from_be_bytes([quoted[6], quoted[7]])));
            }
        }
    }
}

fn read(descriptor: RawFd, buffer: &mut [u8]) -> io::Result<Received> {
    let mut parts = [IoSliceMut::new(buffer)];
    let mut control = nix::cmsg_space!(libc::timespec);
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(descriptor, &mut parts, Some(&mut control), flags)?;
    let (now, wall) = (Instant::now(), SystemTime::now());
    let stamp = message.cmsgs()?.find_map(|control| stamp(&control));
    let from = message.address.as_ref().and_then(address);
    let (at, stamp) = arrival(now, wall, stamp);
    Ok(Received {
        length: message.bytes,
        from: from.ok_or(io::ErrorKind::InvalidData)?,
        at,
        stamp,
    })
}

/// Brings the kernel's stamp, which is wall time, to the monotonic clock by its age. Both clocks were read a moment ago,
/// so a clock that is slewed does no harm; one that was set in between shows, and the stamp is not used.
fn arrival(now: Instant, wall: SystemTime, stamp: Option<SystemTime>) -> (Instant, Stamp) {
    let age = stamp.and_then(|stamp| wall.duration_since(stamp).ok());
    let at = age
        .filter(|age| *age < OLDEST_STAMP)
        .and_then(|age| now.checked_sub(age));
    // The first packet of a fresh socket carries no stamp.
    at.map_or((now, Stamp::User), |at| (at, Stamp::Kernel))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum with dozens of arms")]
fn stamp(control: &ControlMessageOwned) -> Option<SystemTime> {
    match control {
        ControlMessageOwned::ScmTimestampns(stamp) => wall_time(*stamp),
        _ => None,
    }
}

fn wall_time(stamp: TimeSpec) -> Option<SystemTime> {
    let seconds = u64::try_from(stamp.tv_sec()).ok()?;
    let nanos = u32::try_from(stamp.tv_nsec()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_counts_by_its_age_unless_the_clock_was_set() {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let age = Duration::from_millis(7);
        assert_eq!(
            arrival(now, wall, wall.checked_sub(age)),
            (now.checked_sub(age).unwrap(), Stamp::Kernel)
        );
        assert_eq!(arrival(now, wall, None), (now, Stamp::User));
        assert_eq!(arrival(now, wall, Some(wall + age)), (now, Stamp::User), "set back");
        assert_eq!(
            arrival(now, wall, wall.checked_sub(OLDEST_STAMP)),
            (now, Stamp::User),
            "set forward"
        );
    }
}
