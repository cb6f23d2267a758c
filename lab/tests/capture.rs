//! A capture sees what really passes a host's wire: real echoes and connections between real namespaces.

#![expect(clippy::unwrap_used, reason = "what the tests share fails them, too")]

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use xprober_lab::capture::{Capture, Captured, EchoKey, Filter, Kind, Packet, round_trips};
use xprober_lab::echo;
use xprober_lab::namespace::Namespace;
use xprober_lab::testing::in_lab;
use xprober_lab::topology::Topology;
use xprober_lab::world::Lab;

/// Until something that is expected has come, also when the machine stands still for a while.
const LIMIT: Duration = Duration::from_secs(30);
const MS: Duration = Duration::from_millis(1);
/// From vm1 in region-a to vm3 in region-b.
const RTT: Duration = Duration::from_millis(10);
/// How much quicker an echo may be: the WAN sends a little early, because sending takes time.
const LEAD: Duration = Duration::from_micros(100);
const ECHOES: u16 = 20;
/// On a machine that is busy with other things some echoes are late, but hardly all of so many rounds.
const MOST_ROUNDS: usize = 5;
/// The kernel opens a connection once more after a second without an answer (RFC 6298, section 2), and no sooner.
const OPENED_AGAIN: Duration = Duration::from_millis(900);

fn namespace<'lab>(lab: &'lab Lab, host: &str) -> &'lab Namespace {
    lab.host(host).unwrap().namespace()
}

fn addresses(lab: &Lab, host: &str) -> [IpAddr; 2] {
    let plan = lab.host(host).unwrap().plan();
    [plan.address.into(), plan.address_v6.into()]
}

fn whole(capture: Capture) -> Vec<Packet> {
    let Captured { packets, dropped } = capture.stop().unwrap();
    assert_eq!(dropped, 0);
    packets
}

fn echoes_between(packets: &[Packet], one: IpAddr, other: IpAddr) -> Vec<&Packet> {
    let between = packets.iter().filter(|packet| {
        [packet.source, packet.destination] == [one, other] || [packet.source, packet.destination] == [other, one]
    });
    between.collect()
}

/// Requests one way, replies the other, each with its fields as they are on this host's wire.
fn assert_echoes(packets: &[&Packet], client: IpAddr, at_client: bool) {
    let mut sequences = [BTreeSet::new(), BTreeSet::new()];
    for packet in packets {
        let (is_reply, sequence) = match packet.kind {
            Kind::EchoRequest { sequence, .. } => (false, sequence),
            Kind::EchoReply { sequence, .. } => (true, sequence),
            Kind::Syn { .. } | Kind::SynAck { .. } => unreachable!("echoes only"),
        };
        sequences[usize::from(is_reply)].insert(sequence);
        assert_eq!(packet.outgoing, at_client != is_reply, "{packet:?}");
        assert_eq!(packet.source == client, !is_reply, "{packet:?}");
        assert_eq!(packet.hop_limit, if packet.outgoing { 64 } else { 63 }, "{packet:?}");
        assert_eq!(packet.ip_length, if client.is_ipv4() { 20 } else { 40 } + 64);
        assert_eq!(*packet.payload, [0; 32]);
    }
    let expected: BTreeSet<_> = (1..=ECHOES).collect();
    assert_eq!(sequences, [expected.clone(), expected]);
    assert_eq!(packets.len(), 2 * usize::from(ECHOES));
}

/// Captures both ends of some echoes, and answers the quickest of each family between the two packets on vm1's wire.
fn quickest_of_a_round(lab: &Lab) -> [Duration; 2] {
    let near = Capture::start(namespace(lab, "vm1"), "eth0", Filter::Everything).unwrap();
    let far = Capture::start(namespace(lab, "vm3"), "eth0", Filter::Everything).unwrap();
    let own = ["vm1", "vm3"].map(|host| Capture::start(namespace(lab, host), "eth0", Filter::OwnEchoes).unwrap());
    for to in addresses(lab, "vm3") {
        let measured = echo::ping(namespace(lab, "vm1"), to, ECHOES, LIMIT).unwrap();
        assert!(measured.iter().all(Option::is_some), "{measured:?}");
    }
    let (near, far) = (whole(near), whole(far));
    let trips = round_trips(&near);
    let [from_v4, from_v6] = addresses(lab, "vm1");
    let [to_v4, to_v6] = addresses(lab, "vm3");
    let quickest = [(from_v4, to_v4), (from_v6, to_v6)].map(|(from, to)| {
        assert_echoes(&echoes_between(&near, from, to), from, true);
        assert_echoes(&echoes_between(&far, from, to), from, false);
        let times: Vec<_> = (1..=ECHOES)
            .map(|sequence| trips[&EchoKey::new(to, sequence, &[])].time().unwrap())
            .collect();
        assert!(times.iter().all(|time| *time + LEAD >= RTT), "{times:?}");
        times.into_iter().min().unwrap()
    });
    assert_eq!(round_trips(&far), [].into());
    // All that vm1 saw are its own echoes, and vm3 has none.
    assert_eq!(own.map(whole), [near, Vec::new()]);
    quickest
}

#[test]
fn both_ends_see_every_echo_and_the_time_between_is_that_of_the_matrix() {
    in_lab(
        "both_ends_see_every_echo_and_the_time_between_is_that_of_the_matrix",
        Topology::demo(),
        async |lab| {
            let mut rounds = Vec::new();
            let is_quick = |family: usize, rounds: &[[Duration; 2]]| rounds.iter().any(|one| one[family] < RTT + MS);
            while !(is_quick(0, &rounds) && is_quick(1, &rounds)) {
                assert!(rounds.len() < MOST_ROUNDS, "the quickest of each round: {rounds:?}");
                rounds.push(quickest_of_a_round(lab));
            }
        },
    );
}

/// Sends so many echo requests at 10,000 per second without reading the replies.
fn flood(to: Ipv4Addr, echoes: u16) {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::ICMPV4)).unwrap();
    socket.connect(&SocketAddr::from((to, 0)).into()).unwrap();
    let start = Instant::now();
    for sequence in 1..=echoes {
        if sequence % 20 == 0 {
            let due = u32::from(sequence) * MS / 10;
            std::thread::sleep(due.saturating_sub(start.elapsed()));
        }
        let mut request = [0_u8; 24];
        request[0] = 8;
        request[6..8].copy_from_slice(&sequence.to_be_bytes());
        request[8..10].copy_from_slice(&sequence.to_be_bytes());
        // The type and twice the sequence.
        let sum = 0x0800 + 2 * u32::from(sequence);
        let sum = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
        request[2..4].copy_from_slice(&(!sum).to_be_bytes());
        socket.send(&request).unwrap();
    }
}

/// Whether sockets get the buffers that they ask for: only root of the machine itself goes beyond its limits.
fn has_large_buffers() -> bool {
    let users = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    users.split_whitespace().eq(["0", "0", "4294967295"])
}

#[test]
fn ten_thousand_echoes_in_a_second_are_captured_without_a_gap() {
    in_lab(
        "ten_thousand_echoes_in_a_second_are_captured_without_a_gap",
        Topology::new(),
        async |lab| {
            let target = Ipv4Addr::LOCALHOST;
            let hub = namespace(lab, "hub");
            let captures = [Filter::Echoes, Filter::OwnEchoes].map(|filter| Capture::start(hub, "lo", filter).unwrap());
            hub.run(|| flood(target, 10_000)).unwrap();
            let [all, own] = captures.map(|capture| capture.stop().unwrap());
            // Outgoing and incoming on the same device; the own ones are requests out and replies in.
            assert_eq!(all.packets.len() as u64 + all.dropped, 40_000);
            assert_eq!(own.packets.len() as u64 + own.dropped, 20_000);
            if !has_large_buffers() && (all.dropped, own.dropped) != (0, 0) {
                eprintln!(
                    "not shown that every echo is captured: an ordinary user's buffers are too small for them, {} of 40000 \
                     packets were dropped, and {} of the 20000 own ones",
                    all.dropped, own.dropped
                );
                return;
            }
            assert_eq!((all.dropped, own.dropped), (0, 0));
            let trips = round_trips(&own.packets);
            assert!(trips.values().all(|trip| (trip.requests, trip.replies) == (1, 1)));
            let keys = (1..=10_000_u16).map(|sequence| EchoKey::new(target.into(), sequence, &sequence.to_be_bytes()));
            assert!(trips.keys().copied().eq(keys));
            assert!(round_trips(&all.packets).keys().eq(trips.keys()));
        },
    );
}

#[test]
fn options_of_the_socket_are_seen_on_the_wire() {
    in_lab(
        "options_of_the_socket_are_seen_on_the_wire",
        Topology::demo(),
        async |lab| {
            let capture = Capture::start(namespace(lab, "vm1"), "eth0", Filter::Echoes).unwrap();
            let [v4, v6] = addresses(lab, "vm3");
            namespace(lab, "vm1")
                .run(|| {
                    for (to, kind) in [(v4, 8_u8), (v6, 128)] {
                        let (domain, protocol) = match to {
                            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
                            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
                        };
                        let socket = Socket::new(domain, Type::DGRAM, Some(protocol)).unwrap();
                        if to.is_ipv4() {
                            socket.set_tos_v4(46 << 2).unwrap();
                            socket.set_ttl_v4(9).unwrap();
                        } else {
                            socket.set_tclass_v6(46 << 2).unwrap();
                            socket.set_unicast_hops_v6(9).unwrap();
                        }
                        socket.connect(&SocketAddr::new(to, 0).into()).unwrap();
                        socket.set_read_timeout(Some(LIMIT)).unwrap();
                        let request = [kind, 0, !kind, 0xff, 0, 0, 0, 0];
                        socket.send(&request).unwrap();
                        socket.recv(&mut [std::mem::MaybeUninit::uninit(); 64]).unwrap();
                    }
                })
                .unwrap();
            let packets = whole(capture);
            for (to, dont_fragment, ip_length) in [(v4, true, 28), (v6, false, 48)] {
                let request = packets.iter().find(|packet| packet.destination == to).unwrap();
                let seen = (
                    request.dscp,
                    request.hop_limit,
                    request.dont_fragment,
                    request.ip_length,
                );
                assert_eq!(seen, (46, 9, dont_fragment, ip_length));
                assert!(request.payload.is_empty() && request.outgoing);
            }
            // The kernel's own replies may be fragmented on their way.
            let reply = packets.iter().find(|packet| packet.source == v4).unwrap();
            assert_eq!(
                (reply.hop_limit, reply.dont_fragment, reply.outgoing),
                (63, false, false)
            );
        },
    );
}

/// Leaves out what a kernel sent once more because an answer took long.
fn sent_for_the_first_time<'packets>(packets: impl Iterator<Item = &'packets Packet>) -> Vec<&'packets Packet> {
    let mut first: Vec<&Packet> = Vec::new();
    for packet in packets {
        let again = |one: &&Packet| {
            (one.outgoing, one.kind) == (packet.outgoing, packet.kind) && packet.at >= one.at + OPENED_AGAIN
        };
        if !first.iter().any(again) {
            first.push(packet);
        }
    }
    first
}

#[test]
fn openings_show_who_answered() {
    in_lab("openings_show_who_answered", Topology::demo(), async |lab| {
        let captures = [Filter::Openings, Filter::Echoes]
            .map(|filter| Capture::start(namespace(lab, "vm1"), "eth0", filter).unwrap());
        for to in addresses(lab, "vm3") {
            let listener = namespace(lab, "vm3")
                .run(|| TcpListener::bind((to, 7000)).unwrap())
                .unwrap();
            let connect = |port| {
                let target = SocketAddr::new(to, port);
                namespace(lab, "vm1")
                    .run(|| TcpStream::connect_timeout(&target, LIMIT))
                    .unwrap()
            };
            connect(7000).unwrap();
            assert_eq!(connect(7001).unwrap_err().kind(), ErrorKind::ConnectionRefused);
            drop(listener);
        }
        let [openings, echoes] = captures.map(whole);
        assert_eq!(echoes, []);
        for to in addresses(lab, "vm3") {
            let of_target = openings
                .iter()
                .filter(|packet| packet.destination == to || packet.source == to);
            let kinds: Vec<_> = sent_for_the_first_time(of_target)
                .into_iter()
                .map(|packet| (packet.outgoing, packet.kind))
                .collect();
            assert!(
                matches!(
                    kinds[..],
                    [
                        (true, Kind::Syn { source_port, destination_port: 7000 }),
                        (false, Kind::SynAck { source_port: 7000, destination_port }),
                        (true, Kind::Syn { destination_port: 7001, .. }),
                    ] if source_port == destination_port
                ),
                "{kinds:?}"
            );
        }
    });
}

#[test]
fn device_that_does_not_exist_is_an_error() {
    in_lab("device_that_does_not_exist_is_an_error", Topology::new(), async |lab| {
        let error = Capture::start(namespace(lab, "hub"), "eth9", Filter::Everything).unwrap_err();
        assert_eq!(error.to_string(), "binding a capture on eth9");
    });
}
