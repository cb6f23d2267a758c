//! [`decode::departed`] and [`decode::quoted`]: requests of ours as the kernel's error queue returns them.

use xprober_agent::probe::icmp::decode;
use xprober_agent::probe::icmp::flight::Key;
use xprober_agent::probe::icmp::packet::{self, MARK_BYTES, Mark};

use crate::Target;
use crate::frame::{self, COOKIE, IDENTIFIER, Internet};
use crate::input::Input;
use crate::received::ours;

/// `| bit 0: any bytes | bytes.. |`, or `| flags | payload 1 | number 8 | link 1 + 18 | header.. |`.
pub const TARGET: Target = Target {
    name: "returned",
    run,
    seeds,
};

/// So much of a returned request is looked at.
const RETURNED_BYTES: usize = 128;
/// Shortest Ethernet frame without its checksum; drivers may fill shorter ones up before they are stamped.
const ETHERNET_BYTES: usize = 60;

/// Decodes any bytes, or a request of ours behind the headers that the kernel puts before it.
///
/// # Panics
///
/// When the request is not recognised as what it is, or other bytes are taken for a number that they do not carry.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let flags = input.byte();
    if flags & 1 != 0 {
        any(input.rest());
    } else {
        own(flags, input);
    }
}

fn any(bytes: &[u8]) {
    for raw in [false, true] {
        for key in [decode::departed(bytes, ours(raw)), decode::quoted(bytes, ours(raw))] {
            let Some(Key { sequence, number, to }) = key else {
                continue;
            };
            assert_eq!(to, None);
            assert!(bytes.windows(2).any(|word| word == sequence.to_be_bytes()));
            if let Some(number) = number {
                let mark = frame::payload(Mark { cookie: COOKIE, number }, 16);
                assert!(bytes.windows(MARK_BYTES).any(|window| window == mark));
            }
        }
    }
}

fn own(flags: u8, mut input: Input<'_>) {
    let v6 = flags & 2 != 0;
    let payload_bytes = u16::from(input.byte());
    let mark = Mark {
        cookie: COOKIE,
        number: u64::from_be_bytes(input.take()),
    };
    let link = link(&mut input, v6);
    let header = Internet {
        source: input.address(v6),
        destination: input.address(v6),
        traffic_class: input.byte(),
        identification: input.word(),
        hops: input.byte(),
        options: 0,
    };
    let request = packet::request(header.destination, IDENTIFIER, mark, payload_bytes);
    let mut frame = [link.as_slice(), &header.around(&request)].concat();
    let cookie = COOKIE.to_be_bytes();
    if frame[..frame.len() - usize::from(payload_bytes)]
        .windows(8)
        .any(|window| window == cookie)
    {
        return; // Nobody else knows the cookie.
    }
    if !link.is_empty() && flags & 4 != 0 && frame.len() < ETHERNET_BYTES {
        frame.resize(ETHERNET_BYTES, 0);
    }
    frame.truncate(RETURNED_BYTES);
    let expected = Some(Key {
        sequence: packet::sequence(mark.number),
        number: (usize::from(payload_bytes) >= MARK_BYTES).then_some(mark.number),
        to: None,
    });
    for raw in [false, true] {
        assert_eq!(decode::quoted(&request, ours(raw)), expected);
        assert_eq!(
            decode::departed(&frame, ours(raw)),
            expected,
            "{header:?} behind {link:02x?}"
        );
    }
}

/// Nothing (tunnels), Ethernet, or Ethernet with a VLAN tag.
fn link(input: &mut Input<'_>, v6: bool) -> Vec<u8> {
    let kind: [u8; 2] = if v6 { [0x86, 0xdd] } else { [0x08, 0x00] };
    let (which, addresses, tag) = (input.byte(), input.take::<12>(), input.take::<2>());
    match which % 3 {
        0 => Vec::new(),
        1 => [addresses.as_slice(), &kind].concat(),
        _ => [addresses.as_slice(), &[0x81, 0x00], &tag, &kind].concat(),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for flags in [0, 2, 4, 6] {
        for payload_bytes in [0, 4, 8, 12, 16, 56] {
            for link in 0..3 {
                let mut seed = vec![flags, payload_bytes, 0, 0, 0, 0, 0, 1, 0, 7, link];
                seed.extend([2; 12]);
                seed.extend([0, 5]);
                seed.extend([10, 0, 0, 9, 10, 0, 0, 1]);
                seeds.push(seed);
            }
        }
    }
    seeds.push(
        [
            &[1],
            frame::payload(
                Mark {
                    cookie: COOKIE,
                    number: 7,
                },
                32,
            )
            .as_slice(),
        ]
        .concat(),
    );
    seeds
}
