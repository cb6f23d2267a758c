//! A plain ICMP echo client, independent of the agent's, with which the lab is checked against its own matrix.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::LabError;
use crate::namespace::Namespace;

const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;
const PACKET_LENGTH: usize = 64;
/// Least time that a socket is asked to wait: none at all would be forever.
const LEAST_WAIT: Duration = Duration::from_millis(1);

/// Sends echo requests one after the other from a namespace and answers each one's round-trip time; none means that
/// nothing came back within `limit`.
///
/// # Errors
/// [`LabError::Io`] when no socket can be opened or sending fails.
pub fn ping(
    namespace: &Namespace,
    target: IpAddr,
    count: u16,
    limit: Duration,
) -> Result<Vec<Option<Duration>>, LabError> {
    let doing = || LabError::io(format!("pinging {target}"));
    namespace.run(|| {
        let (domain, protocol, kind) = match target {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, ECHO_REQUEST),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, ECHO_REQUEST_V6),
        };
        let socket = Socket::new(domain, Type::DGRAM, Some(protocol)).map_err(doing())?;
        socket.connect(&SocketAddr::new(target, 0).into()).map_err(doing())?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true).map_err(LabError::errno("asking for time stamps"))?;
        (1..=count)
            .map(|sequence| echo(&socket, kind, sequence, limit).map_err(doing()))
            .collect()
    })?
}

fn echo(socket: &Socket, kind: u8, sequence: u16, limit: Duration) -> io::Result<Option<Duration>> {
    let mut request = [0_u8; PACKET_LENGTH];
    request[0] = kind;
    request[6..8].copy_from_slice(&sequence.to_be_bytes());
    // The kernel fills in identifier and, for IPv6, checksum; the IPv4 one is ours.
    let checksum = !(u16::from_be_bytes([kind, 0]) + sequence);
    request[2..4].copy_from_slice(&checksum.to_be_bytes());
    let start = Instant::now();
    socket.send(&request)?;
    loop {
        // Once more when the limit has passed: a reply may lie there that we were too late to take.
        let left = limit.saturating_sub(start.elapsed());
        socket.set_read_timeout(Some(left.max(LEAST_WAIT)))?;
        let mut reply = [0; PACKET_LENGTH * 2];
        match receive(socket, &mut reply) {
            Ok(age) if reply[6..8] == sequence.to_be_bytes() => {
                let time = start.elapsed().saturating_sub(age);
                return Ok((time <= limit).then_some(time));
            }
            Err(error) if is_timeout(&error) && left.is_zero() => return Ok(None),
            // A process that was stopped wakes up interrupted.
            Err(error) if !is_timeout(&error) && error.kind() != ErrorKind::Interrupted => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Takes a packet and answers how long ago the kernel got it, so that our own waking up is not part of the time.
fn receive(socket: &Socket, reply: &mut [u8]) -> io::Result<Duration> {
    let mut control = nix::cmsg_space!(TimeSpec);
    let mut slices = [IoSliceMut::new(reply)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::empty())?;
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let stamp = message.cmsgs()?.find_map(|control| {
        if let ControlMessageOwned::ScmTimestampns(stamp) = control {
            Some(Duration::from(stamp))
        } else {
            None
        }
    });
    Ok(stamp.map_or(Duration::ZERO, |stamp| now.saturating_sub(stamp)))
}
