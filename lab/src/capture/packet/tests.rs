use proptest::prelude::*;

use super::*;

const AT: Duration = Duration::from_nanos(1_700_000_000_123_456_789);

/// IPv4 with a TOS, flags and TTL that are all different, 10.2.0.1 to 10.3.0.1.
fn v4(protocol: u8, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0xb8];
    packet.extend(u16::try_from(20 + body.len()).unwrap().to_be_bytes());
    packet.extend([0xab, 0xcd]);
    packet.extend(flags.to_be_bytes());
    packet.extend([63, protocol, 0, 0, 10, 2, 0, 1, 10, 3, 0, 1]);
    packet.extend(body);
    packet
}

/// IPv6 with the same code point, from host 1 of region 2 to that of region 3.
fn v6(protocol: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x6b, 0x80, 0, 0];
    packet.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    packet.extend([protocol, 63]);
    for region in [2, 3] {
        packet.extend([0xfd, 0, 0, region, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }
    packet.extend(body);
    packet
}

fn icmp(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind, 0, 0, 0, 0x12, 0x34, 0x00, 0x07], payload].concat()
}

fn tcp(flags: u8) -> Vec<u8> {
    let mut segment = vec![0x30, 0x39, 0x01, 0xbb];
    segment.resize(20, 0);
    segment[13] = flags;
    segment
}

const REQUEST: Kind = Kind::EchoRequest {
    identifier: 0x1234,
    sequence: 7,
};
const REPLY: Kind = Kind::EchoReply {
    identifier: 0x1234,
    sequence: 7,
};
const SYN: Kind = Kind::Syn {
    source_port: 12_345,
    destination_port: 443,
};
const SYN_ACK: Kind = Kind::SynAck {
    source_port: 12_345,
    destination_port: 443,
};

#[test]
fn every_field_of_an_echo_is_read() {
    let payload: Vec<u8> = (0..56).collect();
    let packet = decode(&v4(1, 0x4000, &icmp(8, &payload)), AT, true).unwrap();
    let expected = Packet {
        at: AT,
        outgoing: true,
        source: "10.2.0.1".parse().unwrap(),
        destination: "10.3.0.1".parse().unwrap(),
        kind: REQUEST,
        hop_limit: 63,
        dscp: 46,
        dont_fragment: true,
        ip_length: 84,
        payload: Payload::new(&payload[..32]),
    };
    assert_eq!(packet, expected);
    assert_eq!(*packet.payload, payload[..32]);
    let packet = decode(&v6(58, &icmp(129, &payload[..5])), AT, false).unwrap();
    let expected = Packet {
        outgoing: false,
        source: "fd00:2::1".parse().unwrap(),
        destination: "fd00:3::1".parse().unwrap(),
        kind: REPLY,
        dont_fragment: false,
        ip_length: 53,
        payload: Payload::new(&payload[..5]),
        ..expected
    };
    assert_eq!(packet, expected);
}

#[test]
fn kinds_are_told_apart_and_others_are_nothing() {
    for (what, bytes, kind) in [
        ("request", v4(1, 0, &icmp(8, b"x")), Some(REQUEST)),
        ("reply", v4(1, 0, &icmp(0, b"")), Some(REPLY)),
        ("request over IPv6", v6(58, &icmp(128, b"")), Some(REQUEST)),
        ("SYN", v4(6, 0, &tcp(0x02)), Some(SYN)),
        ("SYN with ECN bits", v6(6, &tcp(0xc2)), Some(SYN)),
        ("SYN with ACK", v6(6, &tcp(0x12)), Some(SYN_ACK)),
        ("ACK", v4(6, 0, &tcp(0x10)), None),
        ("RST with ACK", v4(6, 0, &tcp(0x14)), None),
        ("unreachable", v4(1, 0, &icmp(3, b"")), None),
        ("ICMPv6 type over IPv4", v4(1, 0, &icmp(128, b"")), None),
        ("ICMP type over IPv6", v6(58, &icmp(8, b"")), None),
        ("first fragment", v4(1, 0x2000, &icmp(8, b"")), Some(REQUEST)),
        ("later fragment", v4(1, 0x0001, &icmp(8, b"")), None),
        ("UDP", v4(17, 0, &icmp(8, b"")), None),
        ("another version", vec![0x55; 64], None),
    ] {
        assert_eq!(decode(&bytes, AT, true).map(|packet| packet.kind), kind, "{what}");
    }
}

#[test]
fn packet_cut_inside_its_headers_is_nothing_and_padding_is_no_payload() {
    for whole in [
        v4(1, 0, &icmp(8, b"")),
        v6(58, &icmp(128, b"")),
        v4(6, 0, &tcp(2)[..14]),
        v6(6, &tcp(2)[..14]),
    ] {
        for length in 0..whole.len() {
            assert_eq!(decode(&whole[..length], AT, true), None, "{length} of {whole:?}");
        }
        let padded = [whole, vec![0; 6]].concat();
        assert!(decode(&padded, AT, true).unwrap().payload.is_empty());
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..160)) {
        let _ = decode(&bytes, AT, true);
    }

    #[test]
    fn damaged_packets_never_panic(
        v6_not_v4: bool,
        body in prop::collection::vec(any::<u8>(), 0..80),
        protocol in prop::sample::select(vec![1_u8, 6, 58]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = if v6_not_v4 { v6(protocol, &body) } else { v4(protocol, 0, &body) };
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let kept = cut.index(bytes.len() + 1);
        if let Some(packet) = decode(&bytes[..kept], AT, false) {
            prop_assert!(packet.payload.len() <= kept.min(32));
        }
    }
}
