//! What the WAN reads and changes in a packet: destination, TCP SYN, echo request, hop limit.
//!
//! ```text
//! | Ethernet 14 | IPv4 20.. or IPv6 40 | payload |
//!   12: type      v4: 8 TTL, 9 protocol, 10 checksum, 16 destination;  v6: 6 next header, 7 hop limit, 24 destination
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) const ETHERNET_LENGTH: usize = 14;
pub(super) const TYPE_IPV4: [u8; 2] = [0x08, 0x00];
pub(super) const TYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const IPV6_HEADER_LENGTH: usize = 40;
const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_ICMP_V6: u8 = 58;
const ECHO_REQUEST: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;
const FLAG_SYN: u8 = 0x02;
const FLAG_ACK: u8 = 0x10;

/// What a packet's headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers {
    /// Where it wants to go.
    pub destination: IpAddr,
    /// Opens a TCP connection: SYN without ACK.
    pub opens_tcp: bool,
    /// Is an ICMP echo request.
    pub asks_echo: bool,
    /// Hops it may still take.
    pub hop_limit: u8,
}

/// Reads an Ethernet frame; nothing comes back for frames that are not whole IPv4 or IPv6 packets.
#[must_use]
pub fn read(frame: &[u8]) -> Option<Headers> {
    let packet = frame.get(ETHERNET_LENGTH..)?;
    match frame.get(12..14)? {
        kind if kind == TYPE_IPV4 => {
            let header_length = usize::from(packet.first()? & 0x0f) * 4;
            let destination: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
            let fragment_offset = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x1fff;
            let (is_start, protocol) = (fragment_offset == 0, *packet.get(9)?);
            Some(Headers {
                destination: IpAddr::V4(Ipv4Addr::from(destination)),
                opens_tcp: is_start && protocol == PROTOCOL_TCP && opens_tcp(packet, header_length),
                asks_echo: is_start && protocol == PROTOCOL_ICMP && packet.get(header_length) == Some(&ECHO_REQUEST),
                hop_limit: *packet.get(8)?,
            })
        }
        kind if kind == TYPE_IPV6 => {
            let destination: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
            Some(Headers {
                destination: IpAddr::V6(Ipv6Addr::from(destination)),
                opens_tcp: *packet.get(6)? == PROTOCOL_TCP && opens_tcp(packet, IPV6_HEADER_LENGTH),
                asks_echo: *packet.get(6)? == PROTOCOL_ICMP_V6
                    && packet.get(IPV6_HEADER_LENGTH) == Some(&ECHO_REQUEST_V6),
                hop_limit: *packet.get(7)?,
            })
        }
        _ => None,
    }
}

fn opens_tcp(packet: &[u8], header_length: usize) -> bool {
    packet
        .get(header_length + 13)
        .is_some_and(|flags| flags & (FLAG_SYN | FLAG_ACK) == FLAG_SYN)
}

/// Takes one hop off a frame that [`read`] understood and mends the IPv4 header checksum (RFC 1624, equation 3).
pub fn take_hop(frame: &mut [u8]) {
    let is_v4 = frame.get(12..14).is_some_and(|kind| kind == TYPE_IPV4);
    let Some(packet) = frame.get_mut(ETHERNET_LENGTH..) else {
        return;
    };
    if !is_v4 {
        if let Some(limit) = packet.get_mut(7) {
            *limit = limit.saturating_sub(1);
        }
        return;
    }
    let Some([hops, _, sum_high, sum_low]) = packet.get_mut(8..12) else {
        return;
    };
    if *hops == 0 {
        return;
    }
    *hops -= 1;
    // The word (TTL, protocol) went down by 0x0100, so the complement sum goes up by as much, with end-around carry.
    let sum = u32::from(u16::from_be_bytes([*sum_high, *sum_low])) + 0x0100;
    let folded = (sum & 0xffff) + (sum >> 16);
    [*sum_high, *sum_low] = u16::try_from(folded).unwrap_or(u16::MAX).to_be_bytes();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checksum(header: &[u8]) -> u16 {
        let mut sum: u32 = header
            .chunks(2)
            .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
            .sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap()
    }

    fn frame(hops: u8, protocol: u8, tcp_flags: u8) -> Vec<u8> {
        let mut frame = vec![0; 14 + 20 + 20];
        frame[12..14].copy_from_slice(&TYPE_IPV4);
        frame[14] = 0x45;
        frame[22] = hops;
        frame[23] = protocol;
        frame[26..30].copy_from_slice(&[10, 2, 0, 1]);
        frame[30..34].copy_from_slice(&[10, 3, 0, 2]);
        let sum = checksum(&frame[14..34]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame[14 + 20 + 13] = tcp_flags;
        frame
    }

    #[test]
    fn checksum_stays_right_after_each_hop() {
        for hops in 1..=255 {
            for protocol in [1, 6, 17] {
                let mut frame = frame(hops, protocol, 0);
                take_hop(&mut frame);
                assert_eq!(frame[22], hops - 1);
                assert_eq!(checksum(&frame[14..34]), 0);
            }
        }
    }

    #[test]
    fn only_a_syn_without_ack_opens_a_connection() {
        for (protocol, flags, opens) in [
            (6, 0x02, true),
            (6, 0xc2, true),
            (6, 0x12, false),
            (6, 0x10, false),
            (17, 0x02, false),
        ] {
            let headers = read(&frame(64, protocol, flags)).unwrap();
            assert_eq!(headers.opens_tcp, opens, "protocol {protocol} flags {flags:#x}");
            assert_eq!(headers.destination, "10.3.0.2".parse::<IpAddr>().unwrap());
        }
    }

    #[test]
    fn only_an_echo_request_asks_for_an_echo() {
        for (protocol, kind, asks) in [(1, 8, true), (1, 0, false), (1, 3, false), (17, 8, false)] {
            let mut frame = frame(64, protocol, 0);
            frame[14 + 20] = kind;
            let headers = read(&frame).unwrap();
            assert_eq!(headers.asks_echo, asks, "protocol {protocol} type {kind}");
        }
        let mut frame = vec![0; 14 + 40 + 8];
        frame[12..14].copy_from_slice(&TYPE_IPV6);
        for (next_header, kind, asks) in [(58, 128, true), (58, 129, false), (6, 128, false)] {
            (frame[14 + 6], frame[14 + 40]) = (next_header, kind);
            let headers = read(&frame).unwrap();
            assert_eq!(headers.asks_echo, asks, "next header {next_header} type {kind}");
        }
    }

    #[test]
    fn short_and_foreign_frames_are_nothing() {
        let whole = frame(64, 6, 2);
        for length in 0..14 + 20 {
            assert_eq!(read(&whole[..length]), None);
        }
        let mut address_resolution = whole;
        address_resolution[12..14].copy_from_slice(&[0x08, 0x06]);
        assert_eq!(read(&address_resolution), None);
    }
}
