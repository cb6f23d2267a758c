//! Matches captured echo requests with their replies; pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::packet::{Kind, Packet};

/// What tells one echo from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EchoKey {
    /// Whom the request went to and the reply came from.
    pub destination: IpAddr,
    /// Sequence number.
    pub sequence: u16,
    /// The first 16 bytes of the payload, zeros where it is shorter.
    pub cookie: [u8; 16],
}

/// An echo that the host sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundTrip {
    /// When the request left, since the Unix epoch; the first one if there were several.
    pub request: Duration,
    /// When the first reply came.
    pub reply: Option<Duration>,
    /// Requests with this key; more than one makes the times ambiguous.
    pub requests: u32,
    /// Replies with this key; more than one are duplicates.
    pub replies: u32,
}

impl RoundTrip {
    /// The time between them.
    #[must_use]
    pub fn time(&self) -> Option<Duration> {
        Some(self.reply?.saturating_sub(self.request))
    }
}

impl EchoKey {
    /// Makes the key of an echo with at least the start of its payload.
    #[must_use]
    pub fn new(destination: IpAddr, sequence: u16, payload: &[u8]) -> Self {
        let mut cookie = [0; 16];
        for (kept, byte) in cookie.iter_mut().zip(payload) {
            *kept = *byte;
        }
        Self {
            destination,
            sequence,
            cookie,
        }
    }
}

/// Matches the requests that the host sent with the replies that it got.
///
/// Identifiers do not count, because the kernel chooses those of datagram sockets. A reply with a damaged cookie matches
/// nothing, so its request stays without one.
#[must_use]
pub fn round_trips(packets: &[Packet]) -> BTreeMap<EchoKey, RoundTrip> {
    let mut trips = BTreeMap::<EchoKey, RoundTrip>::new();
    for packet in packets {
        match packet.kind {
            Kind::EchoRequest { sequence, .. } if packet.outgoing => {
                let key = EchoKey::new(packet.destination, sequence, &packet.payload);
                let trip = trips.entry(key).or_insert(RoundTrip {
                    request: packet.at,
                    reply: None,
                    requests: 0,
                    replies: 0,
                });
                trip.requests += 1;
            }
            Kind::EchoReply { sequence, .. } if !packet.outgoing => {
                let key = EchoKey::new(packet.source, sequence, &packet.payload);
                if let Some(trip) = trips.get_mut(&key) {
                    trip.reply.get_or_insert(packet.at);
                    trip.replies += 1;
                }
            }
            Kind::EchoRequest { .. } | Kind::EchoReply { .. } | Kind::Syn { .. } | Kind::SynAck { .. } => {}
        }
    }
    trips
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Payload;

    const HOST: &str = "10.2.0.1";
    const PEER: &str = "10.3.0.1";

    fn packet(milliseconds: u64, outgoing: bool, kind: Kind, payload: &[u8]) -> Packet {
        let ends = if outgoing { (HOST, PEER) } else { (PEER, HOST) };
        Packet {
            at: Duration::from_millis(milliseconds),
            outgoing,
            source: ends.0.parse().unwrap(),
            destination: ends.1.parse().unwrap(),
            kind,
            hop_limit: 64,
            dscp: 0,
            dont_fragment: false,
            ip_length: 84,
            payload: Payload::new(payload),
        }
    }

    fn request(milliseconds: u64, outgoing: bool, sequence: u16, payload: &[u8]) -> Packet {
        let kind = Kind::EchoRequest {
            identifier: 1,
            sequence,
        };
        packet(milliseconds, outgoing, kind, payload)
    }

    fn reply(milliseconds: u64, outgoing: bool, sequence: u16, payload: &[u8]) -> Packet {
        let kind = Kind::EchoReply {
            identifier: 2,
            sequence,
        };
        packet(milliseconds, outgoing, kind, payload)
    }

    fn key(sequence: u16, payload: &[u8]) -> EchoKey {
        EchoKey::new(PEER.parse().unwrap(), sequence, payload)
    }

    #[test]
    fn reply_belongs_to_the_request_with_its_sequence_and_cookie() {
        let trips = round_trips(&[
            request(1, true, 1, b"one"),
            request(2, true, 1, b"two"),
            request(3, true, 2, b"one"),
            reply(13, false, 2, b"one"),
            reply(14, false, 1, b"two"),
            reply(24, false, 1, b"two"),
            reply(15, false, 1, b"oxe"),
        ]);
        let trip = |sequence, payload: &[u8]| {
            let trip = trips[&key(sequence, payload)];
            (trip.time().map(|time| time.as_millis()), trip.replies)
        };
        assert_eq!(trips.len(), 3);
        assert_eq!(trip(1, b"one"), (None, 0));
        assert_eq!(trip(1, b"two"), (Some(12), 2));
        assert_eq!(trip(2, b"one"), (Some(10), 1));
    }

    #[test]
    fn echoes_of_others_and_replies_without_request_are_left_out() {
        let syn = Kind::Syn {
            source_port: 1,
            destination_port: 2,
        };
        let packets = [
            request(1, false, 1, b"theirs"),
            reply(2, true, 1, b"theirs"),
            reply(3, false, 9, b"ours"),
            packet(4, true, syn, b""),
        ];
        assert!(round_trips(&packets).is_empty());
    }

    #[test]
    fn only_the_first_sixteen_bytes_count_and_repeated_requests_show() {
        let trips = round_trips(&[
            request(1, true, 1, b"0123456789abcdefA"),
            request(5, true, 1, b"0123456789abcdefB"),
            reply(9, false, 1, b"0123456789abcdefC"),
        ]);
        let expected = RoundTrip {
            request: Duration::from_millis(1),
            reply: Some(Duration::from_millis(9)),
            requests: 2,
            replies: 1,
        };
        assert_eq!(trips[&key(1, b"0123456789abcdef")], expected);
    }
}
