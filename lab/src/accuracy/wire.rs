//! What a capture at the prober's own wire says about its echoes; pure.
//!
//! ```text
//!  request       timeout          window closes
//!    |--- in time --|---- late ------|--- doubtful ...     so is a reply within SLACK of an edge: the capture and the agent's
//!                                                         socket do not stamp at the same moment, and a window may close
//!                                                         late
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::capture::{Kind, Packet, Payload};

/// Timeout of the echoes, as in the planner's file.
pub const TIMEOUT: Duration = Duration::from_secs(1);
/// When the agent gives a probe up: its grace for late replies is as long as the timeout.
const WINDOW: Duration = Duration::from_secs(2);
/// Replies this close to an edge may count on either side of it.
const SLACK: Duration = Duration::from_millis(20);
/// Payload of the echoes: as much as a capture keeps, so that it sees every damage.
pub const PAYLOAD_BYTES: u16 = 32;

/// What became of the echoes that one host sent to some addresses.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wire {
    /// Echo requests that left.
    pub requests: u64,
    /// Answered whole and in time.
    pub in_time: u64,
    /// Answered whole after the timeout, before the window closed.
    pub late: u64,
    /// No answer.
    pub silent: u64,
    /// Only answered with a payload that is not the request's.
    pub damaged: u64,
    /// Answered within a hair's breadth of an edge, or after the window, when the agent may still have looked.
    pub doubtful: u64,
    /// Further copies of whole answers.
    pub copies: u64,
    /// Answers that came before that to an earlier request.
    pub overtaking: u64,
    /// Mean round-trip time of those in time, seconds; none if there were none.
    pub rtt: Option<f64>,
    /// Longest round-trip time.
    pub slowest: Duration,
    /// Mean difference between the round-trip times of consecutive requests that were answered, seconds.
    pub jitter: Option<f64>,
}

#[derive(Debug)]
struct Trip {
    at: Duration,
    payload: Payload,
    reply: Option<Duration>,
    copies: u64,
    damaged: bool,
}

/// Matches requests and replies of the given peers. A sequence comes back only after its window has closed, so the latest
/// request with a sequence is the one that a reply answers.
#[must_use]
pub fn observe(packets: &[Packet], peers: &BTreeSet<IpAddr>) -> Wire {
    let mut trips: Vec<Trip> = Vec::new();
    let mut latest: BTreeMap<(IpAddr, u16), usize> = BTreeMap::new();
    for packet in packets {
        match packet.kind {
            Kind::EchoRequest { sequence, .. } if packet.outgoing && peers.contains(&packet.destination) => {
                latest.insert((packet.destination, sequence), trips.len());
                trips.push(Trip {
                    at: packet.at,
                    payload: packet.payload,
                    reply: None,
                    copies: 0,
                    damaged: false,
                });
            }
            Kind::EchoReply { sequence, .. } if !packet.outgoing => {
                let place = latest.get(&(packet.source, sequence));
                if let Some(trip) = place.and_then(|place| trips.get_mut(*place)) {
                    trip.take(packet);
                }
            }
            Kind::EchoRequest { .. } | Kind::EchoReply { .. } | Kind::Syn { .. } | Kind::SynAck { .. } => {}
        }
    }
    summary(&trips)
}

impl Trip {
    fn take(&mut self, reply: &Packet) {
        if reply.payload != self.payload {
            self.damaged = true;
        } else if self.reply.is_none() {
            self.reply = Some(reply.at);
        } else {
            self.copies += 1;
        }
    }

    fn time(&self) -> Option<Duration> {
        Some(self.reply?.saturating_sub(self.at))
    }
}

fn summary(trips: &[Trip]) -> Wire {
    let mut wire = Wire::default();
    let mut sum = Duration::ZERO;
    for trip in trips {
        wire.requests += 1;
        wire.copies += trip.copies;
        match trip.time() {
            None if trip.damaged => wire.damaged += 1,
            None => wire.silent += 1,
            Some(time) if time + SLACK < TIMEOUT => {
                wire.in_time += 1;
                sum += time;
            }
            Some(time) if time > TIMEOUT + SLACK && time + SLACK < WINDOW => wire.late += 1,
            Some(_) => wire.doubtful += 1,
        }
    }
    wire.rtt = mean(sum.as_secs_f64(), wire.in_time);
    let times: Vec<_> = trips.iter().filter_map(Trip::time).collect();
    let differences = times.windows(2).map(|pair| pair[0].abs_diff(pair[1]).as_secs_f64());
    wire.slowest = times.iter().copied().max().unwrap_or_default();
    wire.jitter = mean(differences.sum(), super::band::whole(times.len()).saturating_sub(1));
    wire.overtaking = overtaking(trips);
    wire
}

fn mean(sum: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| sum / super::band::double(count))
}

fn overtaking(trips: &[Trip]) -> u64 {
    let replies: Vec<_> = trips.iter().filter_map(|trip| trip.reply).collect();
    let mut earliest_of_later = Duration::MAX;
    let mut count = 0;
    for reply in replies.iter().rev() {
        count += u64::from(*reply > earliest_of_later);
        earliest_of_later = earliest_of_later.min(*reply);
    }
    count
}

/// Most requests that left within any `window`.
#[must_use]
pub fn most_within(packets: &[Packet], window: Duration) -> u64 {
    let own = packets
        .iter()
        .filter(|packet| packet.outgoing && matches!(packet.kind, Kind::EchoRequest { .. }));
    let mut left: Vec<_> = own.map(|packet| packet.at).collect();
    left.sort_unstable();
    let mut first = 0;
    let mut most = 0;
    for (place, at) in left.iter().enumerate() {
        while left[first] + window <= *at {
            first += 1;
        }
        most = most.max(place + 1 - first);
    }
    super::band::whole(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "10.3.0.1";

    fn packet(milliseconds: u64, request: bool, sequence: u16, payload: &[u8]) -> Packet {
        let (here, peer): (IpAddr, IpAddr) = ("10.2.0.1".parse().unwrap(), PEER.parse().unwrap());
        let kind = |identifier| {
            if request {
                Kind::EchoRequest { identifier, sequence }
            } else {
                Kind::EchoReply { identifier, sequence }
            }
        };
        Packet {
            at: Duration::from_millis(milliseconds),
            outgoing: request,
            source: if request { here } else { peer },
            destination: if request { peer } else { here },
            kind: kind(1),
            hop_limit: 64,
            dscp: 0,
            dont_fragment: false,
            ip_length: 60,
            payload: Payload::new(payload),
        }
    }

    fn peers() -> BTreeSet<IpAddr> {
        BTreeSet::from([PEER.parse().unwrap()])
    }

    #[test]
    fn every_request_ends_in_one_column() {
        let packets = [
            packet(0, true, 1, b"a"),
            packet(0, true, 2, b"b"),
            packet(0, true, 3, b"c"),
            packet(0, true, 4, b"d"),
            packet(0, true, 5, b"e"),
            packet(0, true, 6, b"f"),
            packet(10, false, 1, b"a"),
            packet(11, false, 1, b"a"),
            packet(12, false, 3, b"x"),
            packet(995, false, 5, b"e"),
            packet(1300, false, 4, b"d"),
            packet(2500, false, 6, b"f"),
        ];
        let wire = observe(&packets, &peers());
        let columns = [
            wire.requests,
            wire.in_time,
            wire.late,
            wire.silent,
            wire.damaged,
            wire.doubtful,
        ];
        assert_eq!(columns, [6, 1, 1, 1, 1, 2]);
        assert_eq!((wire.copies, wire.rtt), (1, Some(0.01)));
        assert_eq!(observe(&packets, &BTreeSet::new()), Wire::default());
    }

    #[test]
    fn jitter_is_the_mean_difference_and_replies_that_were_overtaken_are_counted() {
        let packets = [
            packet(0, true, 1, b"a"),
            packet(100, true, 2, b"b"),
            packet(110, false, 2, b"b"),
            packet(130, false, 1, b"a"),
            packet(200, true, 1, b"c"),
            packet(230, false, 1, b"c"),
        ];
        let wire = observe(&packets, &peers());
        assert_eq!(wire.overtaking, 1);
        // 130, 10 and 30 ms.
        assert!((wire.jitter.unwrap() - 0.07).abs() < 1e-9, "{wire:?}");
    }

    #[test]
    fn a_sequence_that_comes_back_belongs_to_the_latest_request() {
        let packets = [
            packet(0, true, 1, b"a"),
            packet(50_000, true, 1, b"b"),
            packet(50_010, false, 1, b"b"),
        ];
        let wire = observe(&packets, &peers());
        assert_eq!((wire.silent, wire.in_time, wire.damaged), (1, 1, 0));
    }

    #[test]
    fn the_fullest_window_is_found_wherever_it_begins() {
        let at = [0, 90, 95, 180, 185, 300];
        let packets = at.map(|at| packet(at, true, 1, b""));
        assert_eq!(most_within(&packets, Duration::from_millis(100)), 4);
        assert_eq!(most_within(&[], Duration::from_millis(100)), 0);
    }
}
