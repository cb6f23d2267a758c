//! Echoes in flight: the ledger's first half. What leaves comes out again with exactly one outcome, when its window
//! closes.
//!
//! ```text
//!   sent        +timeout      +grace
//!    |------ ok ----|--- late ---|  closed: the outcome is counted
//!    |   a copy of a reply counts as a duplicate until here
//! ```
//!
//! Pure: stamps come with the events.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use xprober_proto::Target;

use super::packet::{Content, sequence};
use crate::probe::{EchoResult, Outcome};

/// Most echoes in flight: half of the sequences of one address, so that a free one is found at once.
pub const MAX_IN_FLIGHT: usize = 32_768;
/// The grace for late replies is as long as the timeout, but no longer than this: a reply so late helps nobody, and the
/// results of the whole window wait for it.
pub const MAX_GRACE: Duration = Duration::from_secs(1);
/// When we are behind by more than this, silence and slow replies are our own fault.
pub const STALLED_AFTER: Duration = Duration::from_millis(100);

/// Identifies an echo on the wire while it is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// Where it went.
    pub to: IpAddr,
    /// Its sequence.
    pub sequence: u16,
}

#[derive(Debug)]
struct Flight {
    target: Arc<Target>,
    number: u64,
    payload_bytes: u16,
    sent: Instant,
    closes: Instant,
    verdict: Option<(Outcome, Option<Duration>)>,
    duplicates: u32,
}

/// Every echo whose window is open.
#[derive(Debug, Default)]
pub struct Flights {
    open: HashMap<Key, Flight>,
    closing: BinaryHeap<Reverse<(Instant, u64, IpAddr)>>,
    last_number: u64,
}

impl Flights {
    /// Starts empty; `first_number` is random, so that a restart does not repeat its sequences.
    #[must_use]
    pub fn new(first_number: u64) -> Self {
        Self {
            last_number: first_number,
            ..Self::default()
        }
    }

    /// Number of open windows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Tells whether nothing is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Chooses the number of the next echo to `to`: its sequence is not in flight to that address. `None` when too many
    /// echoes are in flight.
    pub fn next_number(&mut self, to: IpAddr) -> Option<u64> {
        if self.open.len() >= MAX_IN_FLIGHT {
            return None;
        }
        loop {
            self.last_number = self.last_number.wrapping_add(1);
            let key = Key {
                to,
                sequence: sequence(self.last_number),
            };
            if !self.open.contains_key(&key) {
                return Some(self.last_number);
            }
        }
    }

    /// Opens the window of the echo `number` that left at `sent`.
    pub fn depart(&mut self, to: IpAddr, number: u64, payload_bytes: u16, target: Arc<Target>, sent: Instant) {
        let closes = sent + target.timeout + target.timeout.min(MAX_GRACE);
        let key = Key {
            to,
            sequence: sequence(number),
        };
        self.closing.push(Reverse((closes, number, to)));
        let flight = Flight {
            target,
            number,
            payload_bytes,
            sent,
            closes,
            verdict: None,
            duplicates: 0,
        };
        self.open.insert(key, flight);
    }

    /// Takes a reply that arrived at `at`; `behind` is how much of that may be our own delay.
    ///
    /// The first whole reply decides; what was said before by a damaged one or an error is overruled.
    pub fn reply(&mut self, key: Key, content: Content, at: Instant, behind: Duration) {
        let Some(flight) = self.open.get_mut(&key) else { return };
        let whole = match content {
            // The answer to an older echo with the same sequence.
            Content::Whole {
                number: Some(number), ..
            } if number != flight.number => return,
            Content::Whole { bytes, .. } => bytes == usize::from(flight.payload_bytes),
            Content::Damaged => false,
        };
        if !whole {
            flight.verdict.get_or_insert((Outcome::Corrupt, None));
            return;
        }
        let decided = flight
            .verdict
            .is_some_and(|(outcome, _)| outcome.received() || outcome == Outcome::Stalled);
        if decided {
            flight.duplicates = flight.duplicates.saturating_add(1);
            return;
        }
        let rtt = at.saturating_duration_since(flight.sent);
        // A reply before its request: somebody set the clock.
        flight.verdict = Some(if behind > STALLED_AFTER || at < flight.sent {
            (Outcome::Stalled, None)
        } else if rtt <= flight.target.timeout {
            (Outcome::Ok, Some(rtt))
        } else {
            (Outcome::Late, Some(rtt))
        });
    }

    /// Takes the network's word that the echo cannot arrive.
    pub fn unreachable(&mut self, key: Key) {
        if let Some(flight) = self.open.get_mut(&key) {
            flight.verdict.get_or_insert((Outcome::Unreachable, None));
        }
    }

    /// When the next window closes.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.closing.peek().map(|Reverse((closes, _, _))| *closes)
    }

    /// Takes the next result whose window has closed at `now`.
    pub fn close(&mut self, now: Instant) -> Option<EchoResult> {
        if self.next_deadline()? > now {
            return None;
        }
        let Reverse((_, number, to)) = self.closing.pop()?;
        let flight = self.open.remove(&Key {
            to,
            sequence: sequence(number),
        })?;
        let silence = if now.saturating_duration_since(flight.closes) > STALLED_AFTER {
            Outcome::Stalled
        } else {
            Outcome::Lost
        };
        let (outcome, rtt) = flight.verdict.unwrap_or((silence, None));
        Some(EchoResult {
            rtt,
            duplicates: flight.duplicates,
            ..EchoResult::failed(flight.target, outcome, None)
        })
    }
}

#[cfg(test)]
mod tests;
