//! One connect, from the socket's options to the answer.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout_at;
use xprober_proto::{Family, PacketOptions};

use super::errors;
use super::info::{self, Handshake};
use super::judge::{Answer, Landing};
use crate::probe::Reason;

/// Where a connect goes, and from where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route<'a> {
    pub(super) to: SocketAddr,
    pub(super) packet: &'a PacketOptions,
    pub(super) source_port: Option<u16>,
}

/// Why a SYN did not leave.
#[derive(Debug)]
pub(super) struct NotSent {
    pub(super) reason: Reason,
    pub(super) error: io::Error,
}

/// What a departure led to.
#[derive(Debug)]
pub(super) enum Departure {
    /// The SYN is on its way.
    Flying(Flight),
    /// The answer was there at once, as on loopback.
    Landed(Landing),
}

/// A connection that is being opened; dropping it ends it without a trace on the wire, or with a RST once it is up.
#[derive(Debug)]
pub(super) struct Flight {
    connection: TcpStream,
    sent: Instant,
}

/// Sends the SYN.
pub(super) fn depart(route: Route<'_>) -> Result<Departure, NotSent> {
    let socket = open(route)?;
    let sent = Instant::now();
    match socket.connect(&route.to.into()) {
        Err(error) if errors::in_progress(&error) => {
            let connection = TcpStream::from_std(socket.into()).map_err(not_sent)?;
            Ok(Departure::Flying(Flight { connection, sent }))
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Ok(Departure::Landed(land(&socket, Some(Answer::Refused), sent)))
        }
        // Here the ports ran out, or the wanted one still leads to this very address and port.
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Err(NotSent {
            reason: Reason::InFlight,
            error,
        }),
        Err(error) => Err(not_sent(error)),
        Ok(()) => Ok(Departure::Landed(land(&socket, Some(Answer::Established), sent))),
    }
}

impl Flight {
    pub(super) fn sent(&self) -> Instant {
        self.sent
    }

    /// Waits for the answer, `window` at most after the SYN.
    pub(super) async fn land(self, window: Duration) -> Landing {
        let socket = SockRef::from(&self.connection);
        let answered = self.connection.async_io(Interest::WRITABLE, || {
            let landing = land(&socket, None, self.sent);
            if landing.answer == Answer::Silence {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(landing)
        });
        match timeout_at((self.sent + window).into(), answered).await {
            Ok(Ok(landing)) => landing,
            // Woken late, the answer may be there all the same: only the socket knows.
            Ok(Err(_)) | Err(_) => land(&socket, None, self.sent),
        }
    }
}

/// Takes the answer off the socket, if `known` does not say it yet.
fn land(socket: &Socket, known: Option<Answer>, sent: Instant) -> Landing {
    let elapsed = sent.elapsed();
    let handshake = info::handshake(socket);
    Landing {
        answer: known.unwrap_or_else(|| answer(socket, handshake)),
        elapsed,
        measured: handshake.and_then(|handshake| handshake.rtt),
        repeated: handshake.is_some_and(|handshake| handshake.repeated),
    }
}

fn answer(socket: &Socket, handshake: Option<Handshake>) -> Answer {
    match socket.take_error() {
        Ok(Some(error)) | Err(error) => errors::after_the_syn(&error),
        Ok(None) => {
            let open = handshake.map_or_else(|| socket.peer_addr().is_err(), |handshake| handshake.open);
            if open { Answer::Silence } else { Answer::Established }
        }
    }
}

fn not_sent(error: io::Error) -> NotSent {
    NotSent {
        reason: errors::before_the_syn(&error),
        error,
    }
}

fn open(route: Route<'_>) -> Result<Socket, NotSent> {
    let domain = match route.to {
        SocketAddr::V4(_) => Domain::IPV4,
        SocketAddr::V6(_) => Domain::IPV6,
    };
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP)).map_err(not_sent)?;
    prepare(&socket, route).map_err(not_sent)?;
    Ok(socket)
}

/// Sets what the route asks for. TCP sets DF by itself and a SYN is never fragmented, so `dont_fragment` changes nothing.
fn prepare(socket: &Socket, route: Route<'_>) -> io::Result<()> {
    let Route {
        to,
        packet,
        source_port,
    } = route;
    socket.set_nonblocking(true)?;
    socket.set_linger(Some(Duration::ZERO))?;
    if let Some(interface) = &packet.interface {
        leave_by(socket, interface.as_str())?;
    }
    mark(socket, packet, Family::of(to.ip()))?;
    if source_port.is_some() {
        // Several targets may use one port at the same time; only the pair of both ends has to be unique.
        socket.set_reuse_address(true)?;
    }
    if packet.source.is_some() || source_port.is_some() {
        let any = match to {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let source = packet.source.map_or(any, |source| source.to_canonical());
        if source.is_ipv4() != to.is_ipv4() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        socket.bind(&SocketAddr::new(source, source_port.unwrap_or(0)).into())?;
    }
    Ok(())
}

fn mark(socket: &Socket, packet: &PacketOptions, family: Family) -> io::Result<()> {
    let class = u32::from(packet.dscp) << 2;
    match family {
        Family::V4 => {
            if class != 0 {
                socket.set_tos_v4(class)?;
            }
            packet.ttl.map_or(Ok(()), |ttl| socket.set_ttl_v4(ttl.into()))
        }
        Family::V6 => {
            if class != 0 {
                socket.set_tclass_v6(class)?;
            }
            packet
                .ttl
                .map_or(Ok(()), |hops| socket.set_unicast_hops_v6(hops.into()))
        }
    }
}

/// Needs no privilege on a socket that is bound to no interface yet (Linux 5.7).
#[cfg(target_os = "linux")]
fn leave_by(socket: &Socket, interface: &str) -> io::Result<()> {
    socket.bind_device(Some(interface.as_bytes()))
}

#[cfg(not(target_os = "linux"))]
fn leave_by(_: &Socket, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    fn opened(to: &str, packet: &PacketOptions, source_port: Option<u16>) -> Result<Socket, Reason> {
        let route = Route {
            to: to.parse().unwrap(),
            packet,
            source_port,
        };
        open(route).map_err(|not_sent| not_sent.reason)
    }

    #[test]
    fn packets_are_marked_as_asked() {
        let packet = PacketOptions {
            dscp: 46,
            ttl: Some(7),
            interface: Some("lo".parse().unwrap()),
            ..PacketOptions::default()
        };
        let v4 = opened("127.0.0.1:1", &packet, None).unwrap();
        assert_eq!((v4.tos_v4().unwrap(), v4.ttl_v4().unwrap()), (46 << 2, 7));
        assert_eq!(v4.device().unwrap().as_deref(), Some(&b"lo"[..]));
        assert_eq!(v4.linger().unwrap(), Some(Duration::ZERO), "always reset");
        let v6 = opened("[::1]:1", &packet, None).unwrap();
        assert_eq!((v6.tclass_v6().unwrap(), v6.unicast_hops_v6().unwrap()), (46 << 2, 7));
    }

    #[test]
    fn a_source_that_is_not_there_is_named() {
        let source = |text: &str| PacketOptions {
            source: Some(text.parse().unwrap()),
            ..PacketOptions::default()
        };
        // Documentation addresses (RFC 5737, RFC 3849) are on no interface.
        for absent in ["192.0.2.1", "2001:db8::1", "::1"] {
            let error = opened("127.0.0.1:1", &source(absent), None).unwrap_err();
            assert_eq!(error, Reason::BadSource, "{absent}");
        }
        let absent = PacketOptions {
            interface: Some("absent0".parse().unwrap()),
            ..PacketOptions::default()
        };
        assert_eq!(opened("127.0.0.1:1", &absent, None).unwrap_err(), Reason::BadSource);
    }
}
