//! [`packet::read`] against a second statement of what a payload of ours is.

use xprober_agent::probe::icmp::packet::{self, Content, MARK_BYTES, Mark};

use crate::Target;
use crate::frame::{self, COOKIE};

/// Payloads of replies.
pub const TARGET: Target = Target {
    name: "payload",
    run,
    seeds,
};

/// Reads a payload.
///
/// # Panics
///
/// When it is called whole and is not what we send, byte for byte, or the other way round.
pub fn run(payload: &[u8]) {
    assert_eq!(packet::read(payload, COOKIE), expected(payload));
}

/// Builds the only payload of ours with that length and number, and compares.
#[must_use]
pub fn expected(payload: &[u8]) -> Content {
    let cookie = COOKIE.to_be_bytes();
    let number = payload.get(8..MARK_BYTES).map(|number| {
        let number = number.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
        Mark { cookie: COOKIE, number }
    });
    let ours = match number {
        Some(mark) => u16::try_from(payload.len()).is_ok_and(|bytes| frame::payload(mark, bytes) == payload),
        // A cut number cannot be checked.
        None => payload.iter().zip(cookie).all(|(byte, sent)| *byte == sent),
    };
    if !ours {
        return Content::Damaged;
    }
    Content::Whole {
        number: number.map(|mark| mark.number),
        bytes: payload.len(),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mark = Mark {
        cookie: COOKIE,
        number: 0x1_0005,
    };
    [0, 4, 8, 12, 16, 17, 56, 300]
        .map(|bytes| frame::payload(mark, bytes))
        .to_vec()
}
