//! Headers as the kernel puts them before our requests, and replies as targets and routers send them.

use std::net::{IpAddr, Ipv4Addr};

use xprober_agent::probe::icmp::packet::{self, HEADER_BYTES, Mark};

/// Cookie of the process under test. Fixed: it is the one thing that who sends us packets cannot know.
pub const COOKIE: u64 = 0xc01d_beef_5eed_f00d;
/// Identifier of its requests.
pub const IDENTIFIER: u16 = 0xbe11;

/// An IP header to put before a message.
#[derive(Debug, Clone, Copy)]
pub struct Internet {
    /// From.
    pub source: IpAddr,
    /// To, of the same family.
    pub destination: IpAddr,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Identification, IPv4 only.
    pub identification: u16,
    /// TTL or hop limit.
    pub hops: u8,
    /// 32-bit words of IPv4 options, all of them "no operation".
    pub options: u8,
}

impl Internet {
    /// A header without anything special.
    #[must_use]
    pub const fn plain(source: IpAddr, destination: IpAddr) -> Self {
        Self {
            source,
            destination,
            traffic_class: 0,
            identification: 0,
            hops: 64,
            options: 0,
        }
    }

    /// Puts the header before an ICMP message.
    #[must_use]
    pub fn around(&self, message: &[u8]) -> Vec<u8> {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let options = usize::from(self.options & 0x07) * 4;
                let header = 20 + options;
                let mut packet = vec![0x40 | low(header / 4), self.traffic_class];
                packet.extend(word(header + message.len()));
                packet.extend(self.identification.to_be_bytes());
                packet.extend([0x40, 0, self.hops, 1, 0, 0]);
                packet.extend(source.octets());
                packet.extend(destination.octets());
                packet.resize(header, 1);
                let sum = packet::checksum(&packet).to_be_bytes();
                packet[10..12].copy_from_slice(&sum);
                packet.extend(message);
                packet
            }
            (source, destination) => {
                let mut packet = vec![0x60 | (self.traffic_class >> 4), self.traffic_class << 4, 0, 0];
                packet.extend(word(message.len()));
                packet.extend([58, self.hops]);
                packet.extend(octets(source));
                packet.extend(octets(destination));
                packet.extend(message);
                packet
            }
        }
    }
}

/// The payload of a request of ours.
#[must_use]
pub fn payload(mark: Mark, payload_bytes: u16) -> Vec<u8> {
    let to = Ipv4Addr::UNSPECIFIED.into();
    packet::request(to, IDENTIFIER, mark, payload_bytes).split_off(HEADER_BYTES)
}

/// The reply to a request of ours. `ICMPv6` checksums stay zero: the kernel looks at them, and no decoder does.
#[must_use]
pub fn reply(to: IpAddr, mark: Mark, payload_bytes: u16) -> Vec<u8> {
    let mut message = packet::request(to, IDENTIFIER, mark, payload_bytes);
    message[0] = if to.is_ipv4() { 0 } else { 129 };
    mend(&mut message, to.is_ipv4());
    message
}

/// An ICMP error that quotes a packet of ours.
#[must_use]
pub fn error(v4: bool, kind: u8, code: u8, quoted: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0, 0, 0, 0, 0];
    message.extend(quoted);
    mend(&mut message, v4);
    message
}

/// Makes the checksum of an ICMP message right.
pub fn mend(message: &mut [u8], v4: bool) {
    if let Some(sum) = message.get_mut(2..4) {
        sum.fill(0);
    }
    if v4 && message.len() >= 4 {
        let sum = packet::checksum(message).to_be_bytes();
        message[2..4].copy_from_slice(&sum);
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn word(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

const fn low(number: usize) -> u8 {
    number.to_le_bytes()[0]
}
