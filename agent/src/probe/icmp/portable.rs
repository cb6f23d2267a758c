//! The portable backend: surge-ping opens the sockets, sends and decodes. The time of sending is taken right before the
//! call, that of arrival by the kernel on Linux and right after the call elsewhere.
//!
//! A datagram socket needs no privilege beyond `net.ipv4.ping_group_range`; the kernel then chooses the identifier and
//! hands over our replies only. A raw socket sees every ICMP packet of the machine, so replies are matched by a random
//! identifier too.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use socket2::Type;
use surge_ping::{AsyncSocket, Config, ICMP, IcmpPacket, Icmpv4Packet, Icmpv6Packet};
use tokio::time::sleep_until;
use tracing::{debug, info};

use super::flight::Key;
use super::inbound::{Inbound, Received, enlarge};
use super::packet::{self, Content, HEADER_BYTES, Mark};
use super::socket::{Echo, EchoEvent, EchoSocket};
use crate::probe::Stamp;

/// Largest reply that is looked at: the largest payload a target may ask for, with IPv4 options and header.
const RECEIVE_BYTES: usize = 65_536;
/// How often the error queue of a datagram socket is read. Only the outcome depends on it, no time does.
const SWEEP_EVERY: Duration = Duration::from_millis(100);
/// Most replies taken in one go, so that sending is never held up for long.
const BATCH: usize = 64;

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
}

struct Family {
    socket: AsyncSocket,
    inbound: Inbound,
    buffer: Vec<u8>,
}

/// One socket for each family that can be opened.
pub struct PortableSocket {
    v4: Option<Family>,
    v6: Option<Family>,
    identifier: u16,
    cookie: u64,
    sweep_at: Instant,
}

impl std::fmt::Debug for PortableSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PortableSocket")
            .field("v4", &self.v4.is_some())
            .field("v6", &self.v6.is_some())
            .finish_non_exhaustive()
    }
}

impl PortableSocket {
    /// Opens what can be opened; must be called inside a runtime. `random` distinguishes this process from others.
    ///
    /// # Errors
    ///
    /// Neither family can be opened; a missing right is explained with the command that grants it.
    pub fn open(random: u64) -> Result<Self, OpenError> {
        let v4 = open(ICMP::V4);
        let v6 = open(ICMP::V6);
        if let (Err(source), Err(_)) = (&v4, &v6) {
            return Err(explain(source));
        }
        let keep = |family: io::Result<Family>, name: &str| {
            family
                .inspect_err(|error| info!(family = name, error = %first_line(error), "no ICMP socket of this family"))
                .ok()
        };
        Ok(Self {
            v4: keep(v4, "ipv4"),
            v6: keep(v6, "ipv6"),
            identifier: packet::sequence(random),
            cookie: random,
            sweep_at: Instant::now() + SWEEP_EVERY,
        })
    }

    fn sweep(&mut self, events: &mut Vec<EchoEvent>) {
        self.sweep_at = Instant::now() + SWEEP_EVERY;
        for family in self.v4.iter_mut().chain(&mut self.v6) {
            while let Some((to, sequence)) = family.inbound.next_error() {
                events.push(EchoEvent::Unreachable {
                    key: Key { to, sequence },
                });
            }
        }
    }
}

/// surge-ping explains a missing right over several lines; ours is the explanation.
fn first_line(error: &io::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
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

fn open(kind: ICMP) -> io::Result<Family> {
    let socket = AsyncSocket::new(&Config::builder().kind(kind).sock_type_hint(Type::DGRAM).build())?;
    let granted = enlarge(&socket)?;
    let inbound = Inbound::open(&socket, kind == ICMP::V4)?;
    debug!(
        ?kind,
        raw = is_raw(&socket),
        receive_buffer_bytes = granted,
        "ICMP socket open"
    );
    let buffer = vec![0; RECEIVE_BYTES];
    Ok(Family {
        socket,
        inbound,
        buffer,
    })
}

fn is_raw(socket: &AsyncSocket) -> bool {
    socket.get_type() == Type::RAW
}

impl Family {
    /// Receives one packet; `None` for one that is not about an echo of ours.
    async fn receive(&mut self, identifier: u16, cookie: u64) -> Option<EchoEvent> {
        // An error here is an ICMP error about some request; the sweep of the error queue says which.
        let received = self.inbound.receive(&mut self.buffer).await.ok()?;
        let bytes = self.buffer.get(..received.length)?;
        interpret(bytes, received, is_raw(&self.socket), identifier, cookie)
    }
}

fn interpret(bytes: &[u8], received: Received, raw: bool, identifier: u16, cookie: u64) -> Option<EchoEvent> {
    let Received { from, at, stamp, .. } = received;
    let kind = if raw { Type::RAW } else { Type::DGRAM };
    let (decoded, header) = match from {
        IpAddr::V4(from) => {
            let header = if raw { usize::from(bytes.first()? & 0x0f) * 4 } else { 0 };
            let decoded = Icmpv4Packet::decode(bytes, kind, from, std::net::Ipv4Addr::UNSPECIFIED).ok()?;
            (IcmpPacket::V4(decoded), header)
        }
        IpAddr::V6(from) => (IcmpPacket::V6(Icmpv6Packet::decode(bytes, from).ok()?), 0),
    };
    if raw && decoded.get_identifier().into_u16() != identifier {
        return None;
    }
    let key = Key {
        to: decoded.real_destination(),
        sequence: decoded.get_sequence().into_u16(),
    };
    let kind = match &decoded {
        IcmpPacket::V4(packet) => packet.get_icmp_type().0,
        IcmpPacket::V6(packet) => packet.get_icmpv6_type().0,
    };
    match (from, kind) {
        // Echo reply (RFC 792, RFC 4443).
        (IpAddr::V4(_), 0) | (IpAddr::V6(_), 129) => {
            let content = bytes
                .get(header + HEADER_BYTES..)
                .map_or(Content::Damaged, |payload| packet::read(payload, cookie));
            Some(EchoEvent::Replied {
                key,
                at,
                stamp,
                content,
            })
        }
        // Destination unreachable, time exceeded; for IPv6 packet too big between them.
        (IpAddr::V4(_), 3 | 11) | (IpAddr::V6(_), 1..=3) => Some(EchoEvent::Unreachable { key }),
        _ => None,
    }
}

/// Waits for ever where there is no socket.
async fn receive(family: &mut Option<Family>, identifier: u16, cookie: u64) -> Option<EchoEvent> {
    match family {
        Some(family) => family.receive(identifier, cookie).await,
        None => std::future::pending().await,
    }
}

impl EchoSocket for PortableSocket {
    fn stamp(&self) -> Stamp {
        Inbound::STAMP
    }

    async fn send(&mut self, echo: Echo) -> io::Result<Instant> {
        let mark = Mark {
            cookie: self.cookie,
            number: echo.number,
        };
        let mut request = packet::request(echo.to, self.identifier, mark, echo.payload_bytes);
        let family = if echo.to.is_ipv4() { &self.v4 } else { &self.v6 };
        let Some(family) = family else {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "no ICMP socket of this family",
            ));
        };
        let to = SocketAddr::new(echo.to, 0);
        let sent = Instant::now();
        if family.socket.send_to(&mut request, &to).await.is_ok() {
            return Ok(sent);
        }
        // An ICMP error about an earlier request is reported by whatever call comes next; the second call is ours.
        let sent = Instant::now();
        family.socket.send_to(&mut request, &to).await.map(|_| sent)
    }

    async fn next(&mut self, events: &mut Vec<EchoEvent>) {
        let (identifier, cookie, before) = (self.identifier, self.cookie, events.len());
        while events.len() == before {
            tokio::select! {
                event = receive(&mut self.v4, identifier, cookie) => events.extend(event),
                event = receive(&mut self.v6, identifier, cookie) => events.extend(event),
                () = sleep_until(self.sweep_at.into()) => {
                    self.sweep(events);
                }
            }
        }
        for family in [&mut self.v4, &mut self.v6] {
            for _ in 0..BATCH {
                let Some(event) = receive(family, identifier, cookie).now_or_never() else {
                    break;
                };
                events.extend(event);
            }
        }
    }
}
