//! Decodes the packets that a capture keeps; pure.
//!
//! ```text
//! | IPv4 20.. or IPv6 40 | ICMP: type 1, code 1, checksum 2, identifier 2, sequence 2 | payload, 32 bytes kept |
//!                        | TCP:  source port 2, destination port 2, .., flags at 13   |
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Deref;
use std::time::Duration;

const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_ICMP_V6: u8 = 58;
const ICMP_HEADER_LENGTH: usize = 8;
const IPV6_HEADER_LENGTH: usize = 40;
const FLAG_SYN: u8 = 0x02;
const FLAG_ACK: u8 = 0x10;
const FLAG_DONT_FRAGMENT: u16 = 0x4000;
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// Bytes kept of an echo's payload.
const PAYLOAD_KEPT: usize = 32;

/// A packet on a host's wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// When the kernel took it from the device, or gave it to it; wall clock, since the Unix epoch.
    pub at: Duration,
    /// Whether the host sent it.
    pub outgoing: bool,
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes to.
    pub destination: IpAddr,
    /// What it is.
    pub kind: Kind,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Differentiated services code point, 0 to 63 (RFC 2474).
    pub dscp: u8,
    /// The flag of IPv4; IPv6 has none, so it is false there.
    pub dont_fragment: bool,
    /// Bytes from the IP header to the packet's end, as the header says.
    pub ip_length: usize,
    /// The start of an echo's payload; empty for TCP.
    pub payload: Payload,
}

/// What a packet is; identifiers, sequences and ports in host order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// ICMP or `ICMPv6` echo request.
    EchoRequest {
        /// Identifier; the kernel chooses it on datagram sockets.
        identifier: u16,
        /// Sequence number.
        sequence: u16,
    },
    /// ICMP or `ICMPv6` echo reply.
    EchoReply {
        /// Identifier of the request.
        identifier: u16,
        /// Sequence number of the request.
        sequence: u16,
    },
    /// TCP SYN without ACK.
    Syn {
        /// Port of the one who connects.
        source_port: u16,
        /// Port connected to.
        destination_port: u16,
    },
    /// TCP SYN with ACK.
    SynAck {
        /// Port that answers.
        source_port: u16,
        /// Port of the one who connects.
        destination_port: u16,
    },
}

/// The first bytes of an echo's payload, up to 32; reads as a slice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Payload {
    bytes: [u8; PAYLOAD_KEPT],
    length: usize,
}

impl Payload {
    /// Keeps the start of a payload.
    #[must_use]
    pub fn new(payload: &[u8]) -> Self {
        let mut kept = Self::default();
        for (kept, byte) in kept.bytes.iter_mut().zip(payload) {
            *kept = *byte;
        }
        kept.length = payload.len().min(PAYLOAD_KEPT);
        kept
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Decodes a packet from its IP header on; nothing comes back for what is cut short, a later fragment, behind IPv6
/// extension headers, or no [`Kind`].
#[must_use]
pub fn decode(bytes: &[u8], at: Duration, outgoing: bool) -> Option<Packet> {
    let internet = match bytes.first()? >> 4 {
        4 => Internet::v4(bytes)?,
        6 => Internet::v6(bytes)?,
        _ => return None,
    };
    // What stands behind the packet's end is padding; what is missing of it was cut off by the capture.
    let body = bytes.get(internet.header_length..internet.length.min(bytes.len()))?;
    let kind = match internet.protocol {
        PROTOCOL_ICMP => echo(body, 8, 0)?,
        PROTOCOL_ICMP_V6 => echo(body, 128, 129)?,
        PROTOCOL_TCP => opening(body)?,
        _ => return None,
    };
    let payload = match kind {
        Kind::EchoRequest { .. } | Kind::EchoReply { .. } => body.get(ICMP_HEADER_LENGTH..)?,
        Kind::Syn { .. } | Kind::SynAck { .. } => &[],
    };
    Some(Packet {
        at,
        outgoing,
        source: internet.source,
        destination: internet.destination,
        kind,
        hop_limit: internet.hop_limit,
        dscp: internet.traffic_class >> 2,
        dont_fragment: internet.dont_fragment,
        ip_length: internet.length,
        payload: Payload::new(payload),
    })
}

/// What the IP header says.
struct Internet {
    header_length: usize,
    length: usize,
    protocol: u8,
    source: IpAddr,
    destination: IpAddr,
    hop_limit: u8,
    traffic_class: u8,
    dont_fragment: bool,
}

impl Internet {
    fn v4(bytes: &[u8]) -> Option<Self> {
        let header: &[u8; 20] = bytes.first_chunk()?;
        let flags = u16::from_be_bytes([header[6], header[7]]);
        let address = |at: usize| {
            let octets: Option<[u8; 4]> = header.get(at..at + 4)?.try_into().ok();
            octets.map(|octets| IpAddr::V4(Ipv4Addr::from(octets)))
        };
        (flags & FRAGMENT_OFFSET == 0).then_some(())?;
        Some(Self {
            header_length: usize::from(header[0] & 0x0f) * 4,
            length: u16::from_be_bytes([header[2], header[3]]).into(),
            protocol: header[9],
            source: address(12)?,
            destination: address(16)?,
            hop_limit: header[8],
            traffic_class: header[1],
            dont_fragment: flags & FLAG_DONT_FRAGMENT != 0,
        })
    }

    fn v6(bytes: &[u8]) -> Option<Self> {
        let header: &[u8; IPV6_HEADER_LENGTH] = bytes.first_chunk()?;
        let address = |at: usize| {
            let octets: Option<[u8; 16]> = header.get(at..at + 16)?.try_into().ok();
            octets.map(|octets| IpAddr::V6(Ipv6Addr::from(octets)))
        };
        Some(Self {
            header_length: IPV6_HEADER_LENGTH,
            length: IPV6_HEADER_LENGTH + usize::from(u16::from_be_bytes([header[4], header[5]])),
            protocol: header[6],
            source: address(8)?,
            destination: address(24)?,
            hop_limit: header[7],
            traffic_class: (header[0] << 4) | (header[1] >> 4),
            dont_fragment: false,
        })
    }
}

fn echo(message: &[u8], request: u8, reply: u8) -> Option<Kind> {
    let header: &[u8; ICMP_HEADER_LENGTH] = message.first_chunk()?;
    let identifier = u16::from_be_bytes([header[4], header[5]]);
    let sequence = u16::from_be_bytes([header[6], header[7]]);
    match header[0] {
        kind if kind == request => Some(Kind::EchoRequest { identifier, sequence }),
        kind if kind == reply => Some(Kind::EchoReply { identifier, sequence }),
        _ => None,
    }
}

fn opening(segment: &[u8]) -> Option<Kind> {
    let header: &[u8; 14] = segment.first_chunk()?;
    let source_port = u16::from_be_bytes([header[0], header[1]]);
    let destination_port = u16::from_be_bytes([header[2], header[3]]);
    match header[13] & (FLAG_SYN | FLAG_ACK) {
        FLAG_SYN => Some(Kind::Syn {
            source_port,
            destination_port,
        }),
        flags if flags == FLAG_SYN | FLAG_ACK => Some(Kind::SynAck {
            source_port,
            destination_port,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
