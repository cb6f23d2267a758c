//! The portable backend: surge-ping opens the sockets, sends, receives and decodes. Times are taken by this process, right
//! before the call that sends and right after the one that receives, so they hold its own delays.
//!
//! On datagram sockets an ICMP error looks like silence; raw sockets hand it over.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::FutureExt as _;
use socket2::SockRef;
use surge_ping::AsyncSocket;
use xprober_proto::PacketOptions;

use super::clock::Reading;
use super::decode::{self, Ours, Said};
use super::flight::Arrival;
use super::open::{Families, OpenError, borrow, is_raw, open_families};
use super::packet::{self, Mark};
use super::socket::{Departed, Departure, Echo, EchoEvent, EchoSocket};
use crate::probe::Stamp;

/// Largest reply that is looked at: the largest payload a target may ask for, with IPv4 options and header.
const RECEIVE_BYTES: usize = 65_536;
/// Most replies of one family taken in one go, so that sending is never held up for long.
const BATCH: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    ttl: u32,
    dscp: u8,
}

/// The socket of one family.
struct Family {
    socket: AsyncSocket,
    v4: bool,
    ours: Ours,
    identifier: u16,
    default_ttl: u32,
    header: Header,
    buffer: Vec<u8>,
}

/// One socket for each family that could be opened.
pub struct PortableSocket {
    families: Families<Family>,
    /// What came while somebody waited.
    pending: Vec<EchoEvent>,
}

impl std::fmt::Debug for PortableSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PortableSocket")
            .field("v4", &self.families.v4.is_some())
            .field("v6", &self.families.v6.is_some())
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
        let families = open_families(|socket, v4| Family::new(socket, v4, random))?;
        Ok(Self {
            families,
            pending: Vec::new(),
        })
    }
}

/// Waits for ever where there is no socket.
async fn next(family: Option<&mut Family>) -> EchoEvent {
    let Some(family) = family else {
        return std::future::pending().await;
    };
    loop {
        if let Some(event) = family.receive().await {
            return event;
        }
    }
}

impl Family {
    fn new(socket: AsyncSocket, v4: bool, cookie: u64) -> io::Result<Self> {
        let descriptor = borrow(&socket);
        let options = SockRef::from(&descriptor);
        let default_ttl = if v4 {
            options.ttl_v4()?
        } else {
            options.unicast_hops_v6()?
        };
        let identifier = packet::sequence(cookie);
        Ok(Self {
            ours: Ours {
                cookie,
                identifier: is_raw(&socket).then_some(identifier),
            },
            v4,
            identifier,
            default_ttl,
            header: Header {
                ttl: default_ttl,
                dscp: 0,
            },
            buffer: vec![0; RECEIVE_BYTES],
            socket,
        })
    }

    fn send(&mut self, echo: &Echo<'_>) -> Departure {
        self.prepare(echo.packet)?;
        let mark = Mark {
            cookie: self.ours.cookie,
            number: echo.number,
        };
        let request = packet::request(echo.to, self.identifier, mark, echo.payload_bytes);
        let to = SocketAddr::new(echo.to, 0).into();
        let descriptor = borrow(&self.socket);
        let socket = SockRef::from(&descriptor);
        // Not through the runtime, which would have to be asked first whether there is room.
        let attempt = || {
            let sent = Reading::now();
            socket.send_to(&request, &to).map(|_| Departed { sent, left: None })
        };
        // An ICMP error about an earlier request is reported by whatever call comes next; the second call is ours.
        attempt().or_else(|_| attempt())
    }

    /// Options are those of the socket here, and echoes leave one by one.
    fn prepare(&mut self, packet: &PacketOptions) -> io::Result<()> {
        if packet.source.is_some() || packet.interface.is_some() || packet.dont_fragment {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the portable backend knows neither source, interface nor dont_fragment",
            ));
        }
        let header = Header {
            ttl: packet.ttl.map_or(self.default_ttl, u32::from),
            dscp: packet.dscp,
        };
        if header == self.header {
            return Ok(());
        }
        let descriptor = borrow(&self.socket);
        let options = SockRef::from(&descriptor);
        if self.v4 {
            options.set_ttl_v4(header.ttl)?;
            options.set_tos_v4(u32::from(header.dscp) << 2)?;
        } else {
            options.set_unicast_hops_v6(header.ttl)?;
            options.set_tclass_v6(u32::from(header.dscp) << 2)?;
        }
        self.header = header;
        Ok(())
    }

    /// Receives one packet; `None` for one that is not about an echo of ours.
    async fn receive(&mut self) -> Option<EchoEvent> {
        let (length, from) = self.socket.recv_from(&mut self.buffer).await.ok()?;
        let read = Reading::now();
        let bytes = self.buffer.get(..length)?;
        Some(match decode::received(bytes, canonical(from), self.ours)? {
            Said::Reply { key, content, ttl } => EchoEvent::Replied {
                key,
                arrival: Arrival {
                    read,
                    stamp: None,
                    ttl,
                    behind: Duration::ZERO,
                },
                content,
            },
            Said::Unreachable { key, reason } => EchoEvent::Unreachable { key, reason },
        })
    }
}

fn canonical(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}

impl EchoSocket for PortableSocket {
    fn stamp(&self) -> Stamp {
        Stamp::User
    }

    fn send(&mut self, echoes: &[Echo<'_>], departures: &mut Vec<Departure>) {
        let sent = echoes.iter().map(|echo| match self.families.of(echo.to.is_ipv4()) {
            Some(family) => family.send(echo),
            None => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "no ICMP socket of this family",
            )),
        });
        departures.extend(sent);
    }

    async fn wait(&mut self) {
        let event = tokio::select! {
            event = next(self.families.v4.as_mut()) => event,
            event = next(self.families.v6.as_mut()) => event,
        };
        self.pending.push(event);
    }

    fn receive(&mut self, events: &mut Vec<EchoEvent>) -> bool {
        events.append(&mut self.pending);
        let mut all = true;
        for family in self.families.iter_mut() {
            let mut room = BATCH;
            while room > 0
                && let Some(event) = family.receive().now_or_never()
            {
                events.extend(event);
                room -= 1;
            }
            all &= room > 0;
        }
        all
    }
}
