//! A valid answer to one of three echoes in flight, spoilt on its way: none of the three may profit.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use xprober_agent::probe::Outcome;
use xprober_agent::probe::icmp::clock::{Reading, Wall};
use xprober_agent::probe::icmp::decode::{self, Said};
use xprober_agent::probe::icmp::flight::{Arrival, Flights};
use xprober_agent::probe::icmp::packet::{self, Mark};
use xprober_proto::{IcmpSpec, ProbeSpec};

use crate::Target;
use crate::frame::{self, COOKIE, IDENTIFIER, Internet};
use crate::input::Input;
use crate::received::{message, ours};

/// `| flags | which echo | random 2 | payload 3 x 1 | edits.. |`, see `Case::read`.
pub const TARGET: Target = Target {
    name: "spoilt",
    run,
    seeds,
};

const TIMEOUT: Duration = Duration::from_millis(900);

/// An echo in flight.
#[derive(Debug, Clone, Copy)]
struct Sent {
    to: IpAddr,
    number: u64,
    payload_bytes: u16,
}

impl Sent {
    fn mark(self) -> Mark {
        Mark {
            cookie: COOKIE,
            number: self.number,
        }
    }

    fn request(self) -> Vec<u8> {
        packet::request(self.to, IDENTIFIER, self.mark(), self.payload_bytes)
    }

    /// Whether a message from `from` is the reply to this echo, as far as anybody can tell.
    fn answered_by(self, message: &[u8], from: IpAddr, raw: bool) -> bool {
        let reply = frame::reply(self.to, self.mark(), self.payload_bytes);
        // The code has no meaning; a payload too short for the whole number is compared up to the cookie.
        let known = if self.payload_bytes < 16 {
            reply.len().min(16)
        } else {
            reply.len()
        };
        let spoilt = raw && self.to.is_ipv4() && packet::checksum(message) != 0;
        from == self.to
            && !spoilt
            && message.len() == reply.len()
            && message[0] == reply[0]
            && (!raw || message[4..6] == reply[4..6])
            && message[6..known] == reply[6..known]
    }

    /// Whether a message is an error that quotes this echo's request.
    fn refused_by(self, message: &[u8], raw: bool) -> bool {
        let has = |part: &[u8]| message.windows(part.len()).any(|window| window == part);
        let address = match self.to {
            IpAddr::V4(address) => has(&address.octets()),
            IpAddr::V6(address) => has(&address.octets()),
        };
        let spoilt = raw && self.to.is_ipv4() && packet::checksum(message) != 0;
        address && !spoilt && has(&packet::sequence(self.number).to_be_bytes())
    }
}

/// Lets three echoes leave, answers one of them, spoils the answer, and looks how the three end.
///
/// # Panics
///
/// When an echo is answered or refused by a packet that is no answer to it, or the untouched answer is not taken.
pub fn run(bytes: &[u8]) {
    let case = Case::read(bytes);
    let now = Reading {
        at: Instant::now(),
        wall: Wall(1_700_000_000_000_000_000),
    };
    let mut flights = Flights::new(case.random, None);
    let mut sent = Vec::new();
    for (number, payload_bytes) in case.payloads.into_iter().enumerate() {
        let to = case.target(number);
        let target = Arc::clone(&TARGETS[number]);
        let number = flights.open(target, to, payload_bytes, now).expect("there is room");
        sent.push(Sent {
            to,
            number,
            payload_bytes,
        });
    }
    let (packet, from) = case.answer(&sent);
    match decode::received(&packet, from, ours(case.raw)) {
        None => {}
        Some(Said::Unreachable { key, reason }) => flights.unreachable(&key, reason),
        Some(Said::Reply { key, content, ttl }) => {
            let arrival = Arrival {
                read: now,
                stamp: None,
                ttl,
                behind: Duration::ZERO,
            };
            flights.reply(&key, content, arrival);
        }
    }
    case.judge(flights, &sent, now, &packet, from);
}

/// What happens.
#[expect(clippy::struct_excessive_bools, reason = "independent choices of the fuzzer")]
#[derive(Debug)]
struct Case<'a> {
    v6: bool,
    raw: bool,
    /// Answered with an error instead of a reply.
    refused: bool,
    /// The checksum is made right after the edits.
    mended: bool,
    /// The answer comes from the third target whatever it answers.
    foreign: bool,
    which: usize,
    random: u64,
    payloads: [u16; 3],
    edits: Input<'a>,
}

impl<'a> Case<'a> {
    fn read(bytes: &'a [u8]) -> Self {
        let mut input = Input::new(bytes);
        let flags = input.byte();
        Self {
            v6: flags & 1 != 0,
            raw: flags & 2 != 0,
            refused: flags & 4 != 0,
            mended: flags & 8 != 0,
            foreign: flags & 16 != 0,
            which: usize::from(input.byte() % 3),
            random: u64::from(input.word()),
            payloads: input.take::<3>().map(u16::from),
            edits: input,
        }
    }

    /// The first two echoes go to the same target.
    fn target(&self, number: usize) -> IpAddr {
        let last = if number < 2 { 1 } else { 2 };
        if self.v6 {
            [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last].into()
        } else {
            [10, 0, 0, last].into()
        }
    }

    fn answer(&self, sent: &[Sent]) -> (Vec<u8>, IpAddr) {
        let echo = sent[self.which];
        let us = if self.v6 {
            [0xfd; 16].into()
        } else {
            [10, 9, 9, 9].into()
        };
        let request = Internet::plain(us, echo.to).around(&echo.request());
        let mut message = match (self.refused, self.v6) {
            (false, _) => frame::reply(echo.to, echo.mark(), echo.payload_bytes),
            (true, false) => frame::error(true, 3, 1, &request),
            (true, true) => frame::error(false, 1, 3, &request),
        };
        self.spoil(&mut message);
        let from = if self.foreign { sent[2].to } else { echo.to };
        let packet = if self.raw && !self.v6 {
            Internet::plain(from, us).around(&message)
        } else {
            message
        };
        (packet, from)
    }

    /// Edits are `| what | where 2 | byte |`.
    fn spoil(&self, message: &mut Vec<u8>) {
        let mut edits = self.edits;
        while !edits.is_empty() {
            let (what, place, byte) = (edits.byte(), usize::from(edits.word()), edits.byte());
            let at = place.checked_rem(message.len());
            match (what % 4, at) {
                (0, Some(at)) => message[at] ^= 1 << (byte % 8),
                (1, Some(at)) => message[at] = byte,
                (2, Some(at)) => message.truncate(at),
                (_, _) if message.len() < 2_000 => message.push(byte),
                (_, _) => {}
            }
        }
        if self.mended {
            frame::mend(message, !self.v6);
        }
    }

    fn judge(&self, mut flights: Flights, sent: &[Sent], now: Reading, packet: &[u8], from: IpAddr) {
        let message = message(packet, self.raw && !self.v6).unwrap_or_default();
        let mut ended = 0;
        while let Some(result) = flights.close(now.at + TIMEOUT * 3) {
            let which: usize = result.target.name.parse().expect("names are numbers");
            let echo = sent[which];
            let untouched = self.edits.is_empty() && which == self.which && !self.foreign;
            match result.outcome {
                Outcome::Ok => assert!(echo.answered_by(message, from, self.raw), "{echo:?} took {self:?}"),
                Outcome::Unreachable => assert!(echo.refused_by(message, self.raw), "{echo:?} took {self:?}"),
                Outcome::Lost | Outcome::Corrupt => assert!(!untouched, "{echo:?} did not take {self:?}"),
                other @ (Outcome::Late | Outcome::SendError | Outcome::Stalled) => unexpected(other),
            }
            ended += 1;
        }
        assert_eq!((ended, flights.len()), (sent.len(), 0), "every echo ends once");
    }
}

fn unexpected(outcome: Outcome) {
    assert_eq!(outcome, Outcome::Lost, "nothing was late, and nothing of ours failed");
}

/// Named after their positions; only names and timeouts of theirs matter here.
static TARGETS: LazyLock<[Arc<xprober_proto::Target>; 3]> = LazyLock::new(|| {
    ["0", "1", "2"].map(|name| {
        Arc::new(xprober_proto::Target {
            id: "echo".parse().expect("a valid id"),
            name: name.to_owned(),
            region: "region-b".parse().expect("a valid region"),
            interval: TIMEOUT,
            timeout: TIMEOUT,
            probe: ProbeSpec::Icmp(IcmpSpec::new("10.0.0.1".parse().expect("an address"), 56)),
        })
    })
});

fn seeds() -> Vec<Vec<u8>> {
    let edits: [&[u8]; 4] = [&[], &[0, 0, 7, 0], &[0, 0, 20, 3], &[2, 0, 12, 0]];
    let mut seeds = Vec::new();
    for flags in 0..16 {
        for payload in [4, 8, 56] {
            for edit in edits {
                seeds.push([&[flags, 1, 0, 9, payload, payload, payload], edit].concat());
            }
        }
    }
    seeds
}
