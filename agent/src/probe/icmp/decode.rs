//! What packets from the network and from the kernel's error queue say about our echoes. Everything here takes bytes that
//! anybody may have sent.

use std::net::{IpAddr, Ipv4Addr};

use socket2::Type;
use surge_ping::{IcmpPacket, Icmpv4Packet, Icmpv6Packet};
use xprober_proto::Family;

use super::flight::Key;
use super::packet::{self, Content, HEADER_BYTES};
use crate::probe::Reason;

/// What tells our packets from everybody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ours {
    /// In the payload of every request.
    pub cookie: u64,
    /// In the header of requests on raw sockets; `None` on datagram sockets, where the kernel chooses it and hands over
    /// only what is ours.
    pub identifier: Option<u16>,
}

/// What a received packet says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It answers a request.
    Reply {
        /// Which.
        key: Key,
        /// With what.
        content: Content,
        /// Time to live in the packet itself; only raw IPv4 sockets show the header.
        ttl: Option<u8>,
    },
    /// It says that a request cannot arrive.
    Unreachable {
        /// Which.
        key: Key,
        /// Why.
        reason: Reason,
    },
}

/// Reads a packet that came from `from`; `None` for one that is not about an echo of ours.
#[must_use]
pub fn received(bytes: &[u8], from: IpAddr, ours: Ours) -> Option<Said> {
    let raw = ours.identifier.is_some();
    let kind = if raw { Type::RAW } else { Type::DGRAM };
    let (decoded, header) = match from {
        IpAddr::V4(from) => {
            let header = if raw { internet_header(bytes)? } else { 0 };
            let decoded = Icmpv4Packet::decode(bytes, kind, from, Ipv4Addr::UNSPECIFIED).ok()?;
            (IcmpPacket::V4(decoded), header)
        }
        IpAddr::V6(from) => (IcmpPacket::V6(Icmpv6Packet::decode(bytes, from).ok()?), 0),
    };
    let identifier = decoded.get_identifier().into_u16();
    if ours.identifier.is_some_and(|own| own != identifier) {
        return None;
    }
    // Raw IPv4 sockets are shown packets before the kernel has looked at their checksum, and a damaged sequence would name
    // another echo.
    let message = bytes.get(header..)?;
    let intact = header == 0 || packet::checksum(message) == 0;
    let (kind, code) = match &decoded {
        IcmpPacket::V4(packet) => (packet.get_icmp_type().0, packet.get_icmp_code().0),
        IcmpPacket::V6(packet) => (packet.get_icmpv6_type().0, packet.get_icmpv6_code().0),
    };
    let key = |number| Key {
        sequence: decoded.get_sequence().into_u16(),
        number,
        to: Some(decoded.real_destination()),
    };
    match (from, kind) {
        // Echo reply (RFC 792, RFC 4443).
        (IpAddr::V4(_), 0) | (IpAddr::V6(_), 129) => {
            let content = if intact {
                packet::read(message.get(HEADER_BYTES..)?, ours.cookie)
            } else {
                Content::Damaged
            };
            let number = match content {
                Content::Whole { number, .. } => number,
                Content::Damaged => None,
            };
            let ttl = (header > 0).then(|| bytes.get(8).copied()).flatten();
            Some(Said::Reply {
                key: key(number),
                content,
                ttl,
            })
        }
        _ if !intact => None,
        _ => Some(Said::Unreachable {
            key: key(None),
            reason: unreachable(Family::of(from), kind, code)?,
        }),
    }
}

/// Reads what the error queue quotes of a request for which the network sent an error: it starts at the ICMP header.
#[must_use]
pub fn quoted(bytes: &[u8], ours: Ours) -> Option<Key> {
    let sequence = u16::from_be_bytes([*bytes.get(6)?, *bytes.get(7)?]);
    let number = bytes
        .get(HEADER_BYTES..)
        .and_then(|payload| marked_number(payload, ours.cookie));
    Some(Key {
        sequence,
        number,
        to: None,
    })
}

/// Reads a request that the error queue returns with the stamp of its departure, as it went over the device: with the
/// header of whatever link that is, and filled up to the shortest frame that the link takes.
#[must_use]
pub fn departed(bytes: &[u8], ours: Ours) -> Option<Key> {
    by_headers(bytes, ours.cookie).or_else(|| by_cookie(bytes, ours.cookie))
}

fn by_headers(bytes: &[u8], cookie: u64) -> Option<Key> {
    const ETHERNET: usize = 14;
    const TAGGED: usize = 18;
    let kind = |at: usize| bytes.get(at..at + 2);
    let link = match kind(ETHERNET - 2) {
        Some([0x08, 0x00] | [0x86, 0xdd]) => ETHERNET,
        Some([0x81, 0x00] | [0x88, 0xa8]) => TAGGED,
        _ => 0,
    };
    // A tunnel has no link header, and its addresses may look like one.
    [link, 0]
        .into_iter()
        .find_map(|link| request(bytes.get(link..)?, cookie))
}

/// Reads a request of ours from its IP header on.
fn request(packet: &[u8], cookie: u64) -> Option<Key> {
    let length = |at: usize| {
        Some(usize::from(u16::from_be_bytes([
            *packet.get(at)?,
            *packet.get(at + 1)?,
        ])))
    };
    let (header, end) = match packet.first()? >> 4 {
        4 if *packet.get(9)? == 1 => (internet_header(packet)?, length(2)?),
        6 if *packet.get(6)? == 58 => (40, 40 + length(4)?),
        _ => return None,
    };
    // What stands behind the end is filling; what is missing was not asked for.
    let message = packet.get(header..end.min(packet.len()))?;
    let payload = message.get(HEADER_BYTES..)?;
    let marked = payload.iter().zip(cookie.to_be_bytes()).all(|(byte, own)| *byte == own);
    (matches!(message[0], 8 | 128) && marked).then_some(Key {
        sequence: u16::from_be_bytes([message[6], message[7]]),
        number: marked_number(payload, cookie),
        to: None,
    })
}

/// For links that we do not know.
fn by_cookie(bytes: &[u8], cookie: u64) -> Option<Key> {
    let cookie_bytes = cookie.to_be_bytes();
    let at = bytes
        .windows(cookie_bytes.len())
        .position(|window| window == cookie_bytes)?;
    let number = marked_number(bytes.get(at..)?, cookie);
    let sequence = bytes.get(at.checked_sub(2)?..at)?;
    Some(Key {
        sequence: u16::from_be_bytes([sequence[0], sequence[1]]),
        number,
        to: None,
    })
}

/// Length of an IPv4 header; never less than the smallest, whatever it says.
fn internet_header(packet: &[u8]) -> Option<usize> {
    Some(usize::from(packet.first()? & 0x0f).max(5) * 4)
}

fn marked_number(payload: &[u8], cookie: u64) -> Option<u64> {
    let head: [u8; 8] = payload.get(..8)?.try_into().ok()?;
    let number: [u8; 8] = payload.get(8..packet::MARK_BYTES)?.try_into().ok()?;
    (u64::from_be_bytes(head) == cookie).then(|| u64::from_be_bytes(number))
}

/// Names an ICMP error (RFC 792, RFC 1122 section 3.2.2.1, RFC 1812 section 5.2.7.1; RFC 4443 section 3); `None` for a
/// message that does not say that the request cannot arrive.
#[must_use]
pub const fn unreachable(family: Family, kind: u8, code: u8) -> Option<Reason> {
    let reason = match (family, kind, code) {
        (Family::V4, 3, 0 | 6 | 11) | (Family::V6, 1, 0) => Reason::NetUnreachable,
        (Family::V4, 3, 1 | 7 | 8 | 12) | (Family::V6, 1, 3) => Reason::HostUnreachable,
        (Family::V4, 3, 2) => Reason::ProtocolUnreachable,
        (Family::V4, 3, 3) | (Family::V6, 1, 4) => Reason::PortUnreachable,
        (Family::V4, 3, 4) | (Family::V6, 2, _) => Reason::FragmentationNeeded,
        (Family::V4, 3, 9 | 10 | 13) | (Family::V6, 1, 1 | 5 | 6) => Reason::Prohibited,
        (Family::V4, 11, _) | (Family::V6, 3, _) => Reason::TtlExceeded,
        (Family::V4, 3, _) | (Family::V6, 1, _) => Reason::OtherUnreachable,
        _ => return None,
    };
    Some(reason)
}

#[cfg(test)]
mod tests;
