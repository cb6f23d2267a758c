//! Bytes of an echo request and what a reply says (RFC 792, RFC 4443).
//!
//! ```text
//!  0        1        2                 4                 6                 8
//! +--------+--------+-----------------+-----------------+-----------------+
//! |  type  |  code  |    checksum     |   identifier    |    sequence     |
//! +--------+--------+-----------------+-----------------+-----------------+
//! | cookie of this process, 8 bytes   | number of the probe, 8 bytes      |
//! +-----------------------------------+-----------------------------------+
//! | filling: byte n holds n mod 256, exclusive or all bytes of the number ...
//! ```
//!
//! The filling repeats the number, so that a number that was damaged on the way reads as damage and not as another probe's.
//!
//! A payload shorter than 16 bytes is cut; its reply is matched by address, identifier and sequence alone.

use std::net::IpAddr;

/// Length of the ICMP header.
pub const HEADER_BYTES: usize = 8;
/// A payload of at least this length identifies its probe beyond doubt.
pub const MARK_BYTES: usize = 16;

const ECHO_REQUEST_V4: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;

/// What distinguishes one request from every other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Random per process.
    pub cookie: u64,
    /// Counts the probes of the process; the low 16 bits are the sequence.
    pub number: u64,
}

/// What a reply carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// As we send it.
    Whole {
        /// Number of the probe; `None` when the payload was too short to tell.
        number: Option<u64>,
        /// Length of the payload.
        bytes: usize,
    },
    /// Other bytes than we send.
    Damaged,
}

/// Appends the payload of one request.
fn write_payload(mark: Mark, bytes: u16, packet: &mut Vec<u8>) {
    let bytes = usize::from(bytes);
    let mut head = [0; MARK_BYTES];
    head[..8].copy_from_slice(&mark.cookie.to_be_bytes());
    head[8..].copy_from_slice(&mark.number.to_be_bytes());
    packet.extend_from_slice(&head[..bytes.min(MARK_BYTES)]);
    // The filling is a function of position and number, so that a receiver needs no copy to check it.
    let all = all_bytes(mark.number);
    packet.extend((MARK_BYTES..bytes).map(|position| filling(position) ^ all));
}

/// Judges the payload of a reply.
#[must_use]
pub fn read(payload: &[u8], cookie: u64) -> Content {
    let cookie = cookie.to_be_bytes();
    let known = payload.len().min(cookie.len());
    let bytes = payload.len();
    if payload[..known] != cookie[..known] {
        return Content::Damaged;
    }
    let Some(number) = payload.get(8..MARK_BYTES).and_then(|bytes| bytes.try_into().ok()) else {
        return Content::Whole { number: None, bytes };
    };
    let number = u64::from_be_bytes(number);
    let all = all_bytes(number);
    let mut positions = (MARK_BYTES..).zip(payload.iter().skip(MARK_BYTES));
    let filled = positions.all(|(position, byte)| *byte == filling(position) ^ all);
    if !filled {
        return Content::Damaged;
    }
    Content::Whole {
        number: Some(number),
        bytes,
    }
}

/// Builds a whole request, see [`write_request`].
#[must_use]
pub fn request(to: IpAddr, identifier: u16, mark: Mark, payload_bytes: u16) -> Vec<u8> {
    let mut packet = Vec::with_capacity(HEADER_BYTES + usize::from(payload_bytes));
    write_request(to, identifier, mark, payload_bytes, &mut packet);
    packet
}

/// Appends a whole request to `buffer`. The kernel replaces identifier and checksum on datagram sockets, and fills in the checksum
/// of every `ICMPv6` packet; on a raw IPv4 socket both are used as they are.
pub fn write_request(to: IpAddr, identifier: u16, mark: Mark, payload_bytes: u16, buffer: &mut Vec<u8>) {
    let kind = match to {
        IpAddr::V4(_) => ECHO_REQUEST_V4,
        IpAddr::V6(_) => ECHO_REQUEST_V6,
    };
    let start = buffer.len();
    buffer.extend_from_slice(&[kind, 0, 0, 0]);
    buffer.extend_from_slice(&identifier.to_be_bytes());
    buffer.extend_from_slice(&sequence(mark.number).to_be_bytes());
    write_payload(mark, payload_bytes, buffer);
    if to.is_ipv4() {
        let sum = checksum(&buffer[start..]).to_be_bytes();
        buffer[start + 2..start + 4].copy_from_slice(&sum);
    }
}

/// The sequence on the wire of probe `number`.
#[must_use]
pub const fn sequence(number: u64) -> u16 {
    let bytes = number.to_be_bytes();
    u16::from_be_bytes([bytes[6], bytes[7]])
}

/// Computes the Internet checksum (RFC 1071).
#[must_use]
pub fn checksum(packet: &[u8]) -> u16 {
    // Words of any size add up to the same (section 2); 2^32 of four bytes fit.
    let (words, rest) = packet.as_chunks::<4>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    let words = words.iter().chain(std::iter::once(&last));
    let mut sum: u64 = words.map(|word| u64::from(u32::from_be_bytes(*word))).sum();
    while let high @ 1.. = sum >> 16 {
        sum = (sum & 0xffff) + high;
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

const fn filling(position: usize) -> u8 {
    position.to_le_bytes()[0]
}

fn all_bytes(number: u64) -> u8 {
    number.to_be_bytes().into_iter().fold(0, |all, byte| all ^ byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark {
        cookie: 0x0102_0304_0506_0708,
        number: 0x1_0005,
    };

    #[test]
    fn a_request_has_the_layout_of_the_rfc_and_a_checksum_that_adds_up() {
        let packet = request("10.0.0.1".parse().unwrap(), 0xbeef, MARK, 20);
        assert_eq!(packet.len(), 28);
        assert_eq!(packet[..2], [8, 0]);
        assert_eq!(packet[4..8], [0xbe, 0xef, 0, 5]);
        assert_eq!(packet[24..], [0x10 ^ 4, 0x11 ^ 4, 0x12 ^ 4, 0x13 ^ 4]);
        assert_eq!(checksum(&packet), 0);
        assert_eq!(request("::1".parse().unwrap(), 0, MARK, 0), [128, 0, 0, 0, 0, 0, 0, 5]);
    }

    #[test]
    fn a_byte_alone_at_the_end_counts_as_if_a_zero_followed() {
        for length in 0..20 {
            let mut packet = vec![0xf7; length];
            let sum = checksum(&packet);
            packet.resize(length.next_multiple_of(2), 0);
            assert_eq!(sum, checksum(&packet));
            packet.extend_from_slice(&sum.to_be_bytes());
            assert_eq!(checksum(&packet), 0, "{length} bytes and their checksum");
        }
    }

    #[test]
    fn the_checksum_of_the_rfc_1071_example_is_right() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }

    proptest::proptest! {
        #[test]
        fn a_payload_reads_back_whole_and_any_flipped_bit_before_the_filling_ends_shows(
            cookie: u64, number: u64, bytes in 0u16..2000, bit: usize,
        ) {
            let mut sent = Vec::new();
            write_payload(Mark { cookie, number }, bytes, &mut sent);
            let known = (bytes >= 16).then_some(number);
            proptest::prop_assert_eq!(
                read(&sent, cookie),
                Content::Whole { number: known, bytes: usize::from(bytes) }
            );
            if bytes > 0 {
                let mut spoilt = sent;
                let bit = bit % (usize::from(bytes) * 8);
                spoilt[bit / 8] ^= 1 << (bit % 8);
                let other = read(&spoilt, cookie) != Content::Whole { number: known, bytes: usize::from(bytes) };
                // Eight to fifteen bytes carry a cut number that nobody can check.
                proptest::prop_assert!(other || (8..16).contains(&(bit / 8)) && bytes < 16);
                proptest::prop_assert!(bytes <= 16 || read(&spoilt, cookie) == Content::Damaged);
            }
        }
    }
}
