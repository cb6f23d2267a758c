//! Damage to echo packets: one bit of their payload flipped, the ICMP checksum mended or not.
//!
//! ```text
//! | Ethernet 14 | IPv4 20.. or IPv6 40 | type, code, checksum, identifier, sequence: 8 | payload: damaged here |
//! ```

use super::packet::{ETHERNET_LENGTH, TYPE_IPV4, TYPE_IPV6};

const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_ICMP_V6: u8 = 58;
const ECHO_TYPES: [u8; 2] = [8, 0];
const ECHO_TYPES_V6: [u8; 2] = [128, 129];
const ICMP_HEADER_LENGTH: usize = 8;
const IPV6_HEADER_LENGTH: usize = 40;

/// What happens to a packet's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// Chooses the bit: this number modulo the payload's bits.
    pub choice: u64,
    /// Whether the checksum is mended afterwards, so that the receiving kernel hands the packet up as if it were whole;
    /// else that kernel drops it.
    pub mended: bool,
}

/// Damages an Ethernet frame and answers whether it did: whole echo requests and replies with a payload are damaged,
/// everything else is left alone.
pub fn damage(frame: &mut [u8], damage: Damage) -> bool {
    let Some(message) = echo_message(frame) else {
        return false;
    };
    let Ok(bits) = u64::try_from(message.len().saturating_sub(ICMP_HEADER_LENGTH) * 8) else {
        return false;
    };
    let Some(chosen) = damage.choice.checked_rem(bits) else {
        return false;
    };
    let Ok(place) = usize::try_from(chosen / 8) else {
        return false;
    };
    flip(message, ICMP_HEADER_LENGTH + place, 1 << (chosen % 8), damage.mended);
    true
}

/// The ICMP message of a frame, without what may follow it, if it is an unfragmented echo request or reply.
fn echo_message(frame: &mut [u8]) -> Option<&mut [u8]> {
    let kind: [u8; 2] = frame.get(12..14)?.try_into().ok()?;
    let packet = frame.get_mut(ETHERNET_LENGTH..)?;
    let word = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
    let (start, end, protocol, types) = match kind {
        TYPE_IPV4 => {
            // More fragments or an offset: the message is not whole.
            if word(6)? & 0x3fff != 0 {
                return None;
            }
            let start = usize::from(packet.first()? & 0x0f) * 4;
            (start, usize::from(word(2)?), PROTOCOL_ICMP, ECHO_TYPES)
        }
        TYPE_IPV6 => {
            let end = IPV6_HEADER_LENGTH + usize::from(word(4)?);
            (IPV6_HEADER_LENGTH, end, PROTOCOL_ICMP_V6, ECHO_TYPES_V6)
        }
        _ => return None,
    };
    let carried = *packet.get(if kind == TYPE_IPV4 { 9 } else { 6 })?;
    let message = packet.get_mut(start..end)?;
    (carried == protocol && types.contains(message.first()?)).then_some(message)
}

/// Flips bits of one byte of a message whose checksum is its second word; mends the checksum by RFC 1624, equation 3,
/// which needs neither the rest of the message nor the pseudo header of IPv6.
fn flip(message: &mut [u8], place: usize, bits: u8, mended: bool) {
    let Some(byte) = message.get_mut(place) else {
        return;
    };
    let old = *byte;
    *byte ^= bits;
    let in_word = |byte: u8| u16::from(byte) << if place.is_multiple_of(2) { 8 } else { 0 };
    let (before, after) = (in_word(old), in_word(*byte));
    if let Some([high, low]) = message.get_mut(2..4).filter(|_| mended) {
        let checksum = u16::from_be_bytes([*high, *low]);
        let sum = u32::from(!checksum) + u32::from(!before) + u32::from(after);
        let folded = (sum & 0xffff) + (sum >> 16);
        let folded = (folded & 0xffff) + (folded >> 16);
        [*high, *low] = (!u16::try_from(folded).unwrap_or(u16::MAX)).to_be_bytes();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One's complement sum with the carries folded in (RFC 1071).
    fn sum(bytes: &[u8]) -> u32 {
        let word = |pair: &[u8]| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        let mut sum: u32 = bytes.chunks(2).map(word).sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum
    }

    /// What the checksum of an ICMP message covers.
    fn covered(frame: &[u8], payload: usize) -> Vec<u8> {
        let length = ICMP_HEADER_LENGTH + payload;
        if frame[12..14] == TYPE_IPV4 {
            return frame[34..34 + length].to_vec();
        }
        let mut covered = frame[22..54].to_vec();
        covered.extend(u32::try_from(length).unwrap().to_be_bytes());
        covered.extend([0, 0, 0, PROTOCOL_ICMP_V6]);
        covered.extend(&frame[54..54 + length]);
        covered
    }

    fn echo(v6: bool, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(ICMP_HEADER_LENGTH + payload.len()).unwrap();
        let mut frame = vec![0; 14];
        if v6 {
            frame[12..14].copy_from_slice(&TYPE_IPV6);
            frame.extend([0x60, 0, 0, 0]);
            frame.extend(length.to_be_bytes());
            frame.extend([PROTOCOL_ICMP_V6, 64]);
            frame.extend([0xfd; 32]);
            frame.push(128);
        } else {
            frame[12..14].copy_from_slice(&TYPE_IPV4);
            frame.extend([0x45, 0]);
            frame.extend((20 + length).to_be_bytes());
            frame.extend([0, 0, 0x40, 0, 64, PROTOCOL_ICMP, 0, 0, 10, 2, 0, 1, 10, 3, 0, 1]);
            frame.push(8);
        }
        let checksum = frame.len() + 1;
        frame.extend([0, 0, 0, 0x12, 0x34, 0, 7]);
        frame.extend(payload);
        let right = !u16::try_from(sum(&covered(&frame, payload.len()))).unwrap();
        frame[checksum..checksum + 2].copy_from_slice(&right.to_be_bytes());
        frame
    }

    fn differing_bits(one: &[u8], other: &[u8]) -> u32 {
        one.iter().zip(other).map(|(a, b)| (a ^ b).count_ones()).sum()
    }

    proptest! {
        #[test]
        fn one_bit_of_the_payload_changes_and_the_mended_checksum_holds(
            v6: bool,
            payload in prop::collection::vec(any::<u8>(), 1..80),
            padding in 0_usize..9,
            choice: u64,
            mended: bool,
        ) {
            let mut frame = echo(v6, &payload);
            frame.resize(frame.len() + padding, 0);
            let whole = frame.clone();
            let damaged = damage(&mut frame, Damage { choice, mended });
            prop_assert!(damaged);
            let start = frame.len() - padding - payload.len();
            prop_assert_eq!(differing_bits(&frame[start..], &whole[start..]), 1);
            prop_assert_eq!(&frame[start + payload.len()..], &whole[start + payload.len()..]);
            prop_assert_eq!(&frame[..start - 6], &whole[..start - 6]);
            prop_assert_eq!(&frame[start - 4..start], &whole[start - 4..start]);
            prop_assert_eq!(sum(&covered(&frame, payload.len())) == 0xffff, mended);
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..120), v6: bool, choice: u64) {
            damage(&mut bytes, Damage { choice, mended: true });
            if bytes.len() >= 14 {
                bytes[12..14].copy_from_slice(if v6 { &TYPE_IPV6 } else { &TYPE_IPV4 });
                damage(&mut bytes, Damage { choice, mended: true });
            }
        }
    }

    #[test]
    fn everything_but_whole_echoes_with_a_payload_is_left_alone() {
        let changed = |at: usize, value: u8| {
            let mut frame = echo(false, b"payload");
            frame[at] = value;
            frame
        };
        for (what, frame) in [
            ("no payload", echo(false, b"")),
            ("cut short", echo(true, b"payload")[..56].to_vec()),
            ("another protocol", changed(23, 6)),
            ("an unreachable", changed(34, 3)),
            ("a first fragment", changed(20, 0x20)),
            ("a later fragment", changed(21, 1)),
            ("another Ethernet type", changed(13, 6)),
        ] {
            let mut touched = frame.clone();
            let anything = Damage {
                choice: 5,
                mended: true,
            };
            assert!(!damage(&mut touched, anything), "{what}");
            assert_eq!(touched, frame, "{what}");
        }
    }
}
