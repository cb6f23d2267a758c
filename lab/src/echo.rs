//! A plain ICMP echo client, independent of the agent's, with which the lab is checked against its own matrix.

use std::io::{self, ErrorKind, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::LabError;
use crate::namespace::Namespace;

const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;
const PACKET_LENGTH: usize = 64;

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
        (1..=count).map(|sequence| echo(&socket, kind, sequence, limit).map_err(doing())).collect()
    })?
}

fn echo(mut socket: &Socket, kind: u8, sequence: u16, limit: Duration) -> io::Result<Option<Duration>> {
    let mut request = [0_u8; PACKET_LENGTH];
    request[0] = kind;
    request[6..8].copy_from_slice(&sequence.to_be_bytes());
    // The kernel fills in identifier and, for IPv6, checksum; the IPv4 one is ours.
    let checksum = !(u16::from_be_bytes([kind, 0]) + sequence);
    request[2..4].copy_from_slice(&checksum.to_be_bytes());
    let start = Instant::now();
    socket.send(&request)?;
    loop {
        let Some(left) = limit.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) else { return Ok(None) };
        socket.set_read_timeout(Some(left))?;
        let mut reply = [0; PACKET_LENGTH * 2];
        match socket.read(&mut reply) {
            Ok(_) if reply[6..8] == sequence.to_be_bytes() => return Ok(Some(start.elapsed())),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}
