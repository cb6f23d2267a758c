//! [`decode::received`] on any bytes, from sockets of either kind and family.

use std::net::IpAddr;

use xprober_agent::probe::icmp::decode::{self, Ours, Said};
use xprober_agent::probe::icmp::packet::{self, Content, Mark};

use crate::Target;
use crate::frame::{self, COOKIE, IDENTIFIER, Internet};
use crate::payload;

/// Packets from reply sockets: `| bit 0: IPv6, bit 1: raw | packet.. |`.
pub const TARGET: Target = Target {
    name: "received",
    run,
    seeds,
};

/// Where the packet comes from.
#[must_use]
pub fn sender(v6: bool) -> IpAddr {
    if v6 {
        [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1].into()
    } else {
        [10, 0, 0, 1].into()
    }
}

/// What we are, on a socket of that kind.
#[must_use]
pub fn ours(raw: bool) -> Ours {
    Ours {
        cookie: COOKIE,
        identifier: raw.then_some(IDENTIFIER),
    }
}

/// The ICMP message in what such a socket hands over.
#[must_use]
pub fn message(packet: &[u8], raw_v4: bool) -> Option<&[u8]> {
    let header = if raw_v4 {
        usize::from(packet.first()? & 0x0f).max(5) * 4
    } else {
        0
    };
    packet.get(header..)
}

/// Decodes a packet.
///
/// # Panics
///
/// When something is called a whole reply that differs from what we send, or that was spoilt on its way.
pub fn run(bytes: &[u8]) {
    let Some((mode, packet)) = bytes.split_first() else {
        return;
    };
    let (v6, raw) = (mode & 1 != 0, mode & 2 != 0);
    let from = sender(v6);
    let Some(said) = decode::received(packet, from, ours(raw)) else {
        return;
    };
    let message = message(packet, raw && !v6).expect("a decoded packet has a message");
    match said {
        Said::Reply { key, content, ttl } => {
            assert_eq!(message[0], if v6 { 129 } else { 0 }, "only echo replies are replies");
            // The kernel takes the sender from the header that raw IPv4 sockets show.
            let header: Option<[u8; 4]> = packet.get(12..16).and_then(|octets| octets.try_into().ok());
            let from = header.filter(|_| raw && !v6).map_or(from, IpAddr::from);
            assert_eq!(key.to, Some(from));
            assert_eq!(key.sequence.to_be_bytes(), message[6..8]);
            assert_eq!(ttl.is_some(), raw && !v6);
            let intact = !raw || v6 || packet::checksum(message) == 0;
            let expected = if intact {
                payload::expected(&message[8..])
            } else {
                Content::Damaged
            };
            assert_eq!(content, expected);
            assert_eq!(key.number, number(content));
        }
        Said::Unreachable { key, .. } => {
            assert_eq!(key.number, None);
            assert!(!raw || v6 || packet::checksum(message) == 0);
            let sequence = key.sequence.to_be_bytes();
            assert!(message.windows(2).any(|word| word == sequence), "the quote names it");
        }
    }
}

const fn number(content: Content) -> Option<u64> {
    match content {
        Content::Whole { number, .. } => number,
        Content::Damaged => None,
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for mode in 0..4 {
        let (v6, raw) = (mode & 1 != 0, mode & 2 != 0);
        let (from, router) = (sender(v6), sender(v6));
        let mark = Mark {
            cookie: COOKIE,
            number: 0x1_0007,
        };
        let request = Internet::plain(router, from).around(&packet::request(from, IDENTIFIER, mark, 16));
        let errors: &[(u8, u8)] = if v6 {
            &[(1, 4), (2, 0), (3, 0)]
        } else {
            &[(3, 1), (3, 4), (11, 0)]
        };
        let replies = [0, 8, 56].map(|payload_bytes| frame::reply(from, mark, payload_bytes));
        let errors = errors
            .iter()
            .map(|(kind, code)| frame::error(!v6, *kind, *code, &request));
        for message in replies.into_iter().chain(errors) {
            let packet = if raw && !v6 {
                Internet::plain(from, from).around(&message)
            } else {
                message
            };
            seeds.push([&[mode], packet.as_slice()].concat());
        }
    }
    seeds
}
