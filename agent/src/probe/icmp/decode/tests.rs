//! Requests of ours come back as what they were, through every header; nothing else does.

use proptest::prelude::*;

use super::*;
use crate::probe::icmp::packet::Mark;

const COOKIE: u64 = 0x0102_0304_0506_0708;
const IDENTIFIER: u16 = 0xbeef;
const MARK: Mark = Mark {
    cookie: COOKIE,
    number: 0x5_0009,
};

fn ours(raw: bool) -> Ours {
    Ours {
        cookie: COOKIE,
        identifier: raw.then_some(IDENTIFIER),
    }
}

fn v4(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

fn v6(last: u8) -> IpAddr {
    [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last].into()
}

/// An IP header from 1 to 2 before an ICMP message.
fn internet(v4_header: bool, message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap();
    let mut packet = if v4_header {
        let mut header = vec![0x45, 0];
        header.extend((20 + length).to_be_bytes());
        header.extend([0, 0, 0x40, 0, 61, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        header
    } else {
        let mut header = vec![0x60, 0, 0, 0];
        header.extend(length.to_be_bytes());
        header.extend([58, 61]);
        for address in [v6(1), v6(2)] {
            let IpAddr::V6(address) = address else { continue };
            header.extend(address.octets());
        }
        header
    };
    packet.extend(message);
    packet
}

fn mended(mut message: Vec<u8>) -> Vec<u8> {
    message[2..4].fill(0);
    let sum = packet::checksum(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    message
}

fn reply(to: IpAddr, payload_bytes: u16) -> Vec<u8> {
    let mut message = packet::request(to, IDENTIFIER, MARK, payload_bytes);
    message[0] = if to.is_ipv4() { 0 } else { 129 };
    if to.is_ipv4() { mended(message) } else { message }
}

fn error(kind: u8, code: u8, quoted: &[u8]) -> Vec<u8> {
    mended([&[kind, code, 0, 0, 0, 0, 0, 0], quoted].concat())
}

fn whole(to: IpAddr, payload_bytes: u16, ttl: Option<u8>) -> Said {
    let number = (payload_bytes >= 16).then_some(MARK.number);
    let bytes = payload_bytes.into();
    Said::Reply {
        key: Key {
            sequence: 9,
            number,
            to: Some(to),
        },
        content: Content::Whole { number, bytes },
        ttl,
    }
}

#[test]
fn a_reply_is_whole_on_sockets_of_every_kind() {
    for payload_bytes in [0, 8, 16, 56] {
        let plain = reply(v4(1), payload_bytes);
        let headed = internet(true, &plain);
        assert_eq!(
            received(&plain, v4(1), ours(false)),
            Some(whole(v4(1), payload_bytes, None))
        );
        assert_eq!(
            received(&headed, v4(1), ours(true)),
            Some(whole(v4(1), payload_bytes, Some(61)))
        );
        let plain = reply(v6(1), payload_bytes);
        for raw in [false, true] {
            assert_eq!(
                received(&plain, v6(1), ours(raw)),
                Some(whole(v6(1), payload_bytes, None))
            );
        }
    }
}

#[test]
fn an_error_names_the_request_that_it_quotes() {
    let quoted = internet(true, &packet::request(v4(2), IDENTIFIER, MARK, 56));
    let message = error(3, 1, &quoted);
    let expected = Some(Said::Unreachable {
        key: Key {
            sequence: 9,
            number: None,
            to: Some(v4(2)),
        },
        reason: Reason::HostUnreachable,
    });
    assert_eq!(received(&message, v4(7), ours(false)), expected);
    assert_eq!(received(&internet(true, &message), v4(7), ours(true)), expected);
}

#[test]
fn packets_with_another_identifier_are_not_ours_on_raw_sockets() {
    let other = Ours {
        identifier: Some(1),
        ..ours(true)
    };
    assert_eq!(received(&internet(true, &reply(v4(1), 56)), v4(1), other), None);
    assert_eq!(received(&reply(v6(1), 56), v6(1), other), None);
}

/// Without the checksum, one bit of the sequence would answer another echo whose payload is too short to tell.
#[test]
fn raw_ipv4_sockets_show_damage_anywhere_in_a_packet() {
    let quoted = internet(true, &packet::request(v4(2), IDENTIFIER, MARK, 8));
    for message in [reply(v4(1), 8), error(3, 1, &quoted)] {
        for bit in 0..message.len() * 8 {
            let mut spoilt = message.clone();
            spoilt[bit / 8] ^= 1 << (bit % 8);
            let said = received(&internet(true, &spoilt), v4(1), ours(true));
            let damaged = matches!(
                said,
                Some(Said::Reply {
                    content: Content::Damaged,
                    ..
                })
            );
            assert!(said.is_none() || damaged, "bit {bit}: {said:?}");
        }
    }
}

#[test]
fn a_departed_request_is_recognised_behind_every_link_header() {
    let tagged = [[2; 12].as_slice(), &[0x81, 0, 0, 5]].concat();
    for to in [v4(2), v6(2)] {
        let kind: &[u8] = if to.is_ipv4() { &[8, 0] } else { &[0x86, 0xdd] };
        for link in [Vec::new(), [&[2; 12], kind].concat(), [&tagged, kind].concat()] {
            for payload_bytes in [0, 4, 8, 12, 16, 56, 1_400] {
                let request = packet::request(to, IDENTIFIER, MARK, payload_bytes);
                let frame = [link.as_slice(), &internet(to.is_ipv4(), &request)].concat();
                let key = Some(Key {
                    sequence: 9,
                    number: (payload_bytes >= 16).then_some(MARK.number),
                    to: None,
                });
                assert_eq!(departed(&frame, ours(false)), key, "{payload_bytes} behind {link:x?}");
                assert_eq!(quoted(&request, ours(false)), key, "{payload_bytes}");
            }
        }
    }
}

#[test]
fn a_request_behind_an_unknown_link_header_is_recognised_by_its_cookie() {
    let frame = [&[7; 31], packet::request(v4(2), IDENTIFIER, MARK, 56).as_slice()].concat();
    let key = departed(&frame, ours(false)).unwrap();
    assert_eq!((key.sequence, key.number), (9, Some(MARK.number)));
}

/// Ethernet frames are at least 60 bytes long; the filling is no part of a number that was cut.
#[test]
fn the_filling_of_a_short_frame_is_not_read_as_a_number() {
    let request = packet::request(v4(2), IDENTIFIER, MARK, 10);
    let mut frame = [&[2; 12], [8, 0].as_slice(), &internet(true, &request)].concat();
    frame.resize(60, 0);
    assert_eq!(departed(&frame, ours(false)).unwrap().number, None);
}

#[test]
fn other_departures_are_not_ours() {
    let other = Ours {
        cookie: 1,
        ..ours(false)
    };
    for payload_bytes in [1, 8, 56] {
        let request = packet::request(v4(2), IDENTIFIER, MARK, payload_bytes);
        assert_eq!(departed(&internet(true, &request), other), None);
    }
    assert_eq!(departed(&internet(true, &reply(v4(2), 0)), ours(false)), None);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_are_never_a_whole_reply(
        bytes in prop::collection::vec(any::<u8>(), 0..120),
        raw: bool,
    ) {
        for from in [v4(1), v6(1)] {
            if let Some(Said::Reply { content: Content::Whole { bytes, .. }, .. }) = received(&bytes, from, ours(raw)) {
                prop_assert!(bytes < 8, "nobody else knows the cookie");
            }
        }
        if let Some(key) = quoted(&bytes, ours(raw)) {
            prop_assert_eq!(key.number, None);
        }
        if let Some(key) = departed(&bytes, ours(raw)) {
            prop_assert_eq!(key.number, None);
        }
    }

    #[test]
    fn one_bit_of_a_payload_with_filling_reads_as_damage(
        v4_socket: bool,
        payload_bytes in 17_u16..120,
        place: prop::sample::Index,
        bit in 0..8_u8,
    ) {
        let to = if v4_socket { v4(1) } else { v6(1) };
        let mut message = reply(to, payload_bytes);
        message[HEADER_BYTES + place.index(payload_bytes.into())] ^= 1_u8 << bit;
        let Some(Said::Reply { key, content, .. }) = received(&message, to, ours(false)) else {
            return Err(TestCaseError::fail("a reply to us"));
        };
        prop_assert_eq!((content, key.number), (Content::Damaged, None));
    }
}
