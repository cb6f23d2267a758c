//! Echoes in flight: the ledger's first half. What leaves comes out again with exactly one outcome, when its window
//! closes.
//!
//! ```text
//!   sent        +timeout      +grace
//!    |------ ok ----|--- late ---|  closed: the outcome is counted
//!    |   a copy of a reply counts as a duplicate until here
//!
//!   number of an echo:  | counter, 48 bits | slot, 16 bits |     the slot is the sequence on the wire,
//!   slots:  [0] [1] [2] ... at most 65,536                       so a reply leads to its echo without a search
//! ```
//!
//! A slot is free again when its window has closed, and goes to the end of the queue of free slots: a sequence comes back
//! as late as it can. Pure: stamps come with the events.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use xprober_proto::Target;

use super::clock::{Reading, Wall};
use super::packet::{Content, sequence};
use super::socket::Departed;
use super::windows::Windows;
use crate::probe::{EchoResult, Outcome, Reason, Stamp};

/// Most echoes in flight: one for each sequence.
pub const MAX_IN_FLIGHT: usize = 1 << 16;
/// So many slots are taken into use before one is used again.
const FIRST_SLOTS: usize = 1024;
/// The grace for late replies is as long as the timeout, but no longer than this: a reply so late helps nobody, and the
/// results of the whole window wait for it.
pub const MAX_GRACE: Duration = Duration::from_secs(1);
/// When we are behind by more than this, silence and slow replies are our own fault.
pub const STALLED_AFTER: Duration = Duration::from_millis(100);
/// Faults of our own are remembered for longer than any window is open.
const REMEMBER_FAULTS: Duration = Duration::from_mins(3);
/// A wall clock that runs differently from the monotonic one by no more than this, and by no more than a thousandth of the
/// time, is being disciplined (NTP slews by up to 500 ppm); beyond, it was set.
const SLEW: Duration = Duration::from_micros(500);

/// Identifies an echo by what a packet about it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Sequence on the wire.
    pub sequence: u16,
    /// Number in the payload, where enough of it came back.
    pub number: Option<u64>,
    /// Where the echo went, where the packet says it.
    pub to: Option<IpAddr>,
}

/// What is known of the arrival of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// When we read it.
    pub read: Reading,
    /// When it arrived, by the kernel.
    pub stamp: Option<Wall>,
    /// Time to live or hop limit that was left.
    pub ttl: Option<u8>,
    /// How much of the time until `read` may be our own delay.
    pub behind: Duration,
}

#[derive(Debug)]
enum Verdict {
    Silent,
    Refused(Outcome, Option<Reason>),
    Replied(Arrival),
}

#[derive(Debug)]
struct Flight {
    target: Arc<Target>,
    to: IpAddr,
    number: u64,
    payload_bytes: u16,
    sent: Reading,
    /// When it left, by the clock of the kernel's stamps.
    left: Option<Wall>,
    closes: Instant,
    verdict: Verdict,
    duplicates: u32,
}

#[derive(Debug)]
struct Fault {
    from: Instant,
    to: Instant,
    reason: Reason,
}

/// Every echo whose window is open.
#[derive(Debug, Default)]
pub struct Flights {
    slots: Vec<Option<Flight>>,
    free: VecDeque<u16>,
    windows: Windows,
    open: usize,
    unanswered: usize,
    counter: u64,
    /// In the order of their ends.
    faults: VecDeque<Fault>,
    /// How long a window stays open after the reply; `None` keeps every one open to its end.
    settle: Option<Duration>,
}

impl Flights {
    /// Starts empty; `random` keeps a restart from repeating the numbers of before. `settle` closes windows so long after
    /// the reply instead of at their end, for whoever waits for results; copies of the reply that come later are then not
    /// counted.
    #[must_use]
    pub fn new(random: u64, settle: Option<Duration>) -> Self {
        Self {
            counter: random,
            settle,
            ..Self::default()
        }
    }

    /// Number of open windows.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.open
    }

    /// Tells whether nothing is in flight.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// Number of open windows in which nothing has come back.
    #[must_use]
    pub const fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// Opens the window of an echo that is about to leave and chooses its number, which is in no other open window and
    /// whose low 16 bits are the sequence. `None` when [`MAX_IN_FLIGHT`] are open.
    pub fn open(&mut self, target: Arc<Target>, to: IpAddr, payload_bytes: u16, sent: Reading) -> Option<u64> {
        let slot = self.free_slot()?;
        self.counter = self.counter.wrapping_add(1);
        let number = (self.counter << 16) | u64::from(slot);
        let window = window(target.timeout);
        let closes = sent.at + window;
        let flight = Flight {
            target,
            to,
            number,
            payload_bytes,
            sent,
            left: None,
            closes,
            verdict: Verdict::Silent,
            duplicates: 0,
        };
        *self.slots.get_mut(usize::from(slot))? = Some(flight);
        self.windows.push(window, closes, number);
        self.open += 1;
        self.unanswered += 1;
        Some(number)
    }

    /// Takes an echo back that could not leave.
    pub fn abort(&mut self, number: u64) -> Option<Arc<Target>> {
        self.vacate(number, None).map(|flight| flight.target)
    }

    /// Takes what is known of an echo that was handed to the kernel.
    pub fn sent(&mut self, number: u64, departed: Departed) {
        let key = Key {
            sequence: sequence(number),
            number: Some(number),
            to: None,
        };
        let Some(flight) = self.find(&key) else { return };
        let held_up = departed.sent.at.saturating_duration_since(flight.sent.at);
        flight.sent = departed.sent;
        flight.left = departed.left;
        if held_up > STALLED_AFTER {
            // Its window is as long as any other; the end that was planned no longer counts.
            let window = window(flight.target.timeout);
            flight.closes = departed.sent.at + window;
            let closes = flight.closes;
            self.windows.push(window, closes, number);
        }
    }

    /// Takes the kernel's stamp of the moment at which an echo left.
    pub fn left(&mut self, key: &Key, stamp: Wall) {
        if let Some(flight) = self.find(key) {
            flight.left = Some(stamp);
        }
    }

    /// Takes a reply.
    ///
    /// The first whole reply decides; what was said before by a damaged one or an error is overruled.
    pub fn reply(&mut self, key: &Key, content: Content, arrival: Arrival) {
        let settle = self.settle;
        let Some(flight) = self.find(key) else { return };
        let silent = matches!(flight.verdict, Verdict::Silent);
        let whole = match content {
            Content::Whole { bytes, .. } => bytes == usize::from(flight.payload_bytes),
            Content::Damaged => false,
        };
        let answered = whole && !matches!(flight.verdict, Verdict::Replied(_));
        match (&flight.verdict, whole) {
            (Verdict::Replied(_), true) => flight.duplicates = flight.duplicates.saturating_add(1),
            (Verdict::Silent | Verdict::Refused(..), true) => flight.verdict = Verdict::Replied(arrival),
            (Verdict::Silent, false) => flight.verdict = Verdict::Refused(Outcome::Corrupt, None),
            (Verdict::Replied(_) | Verdict::Refused(..), false) => {}
        }
        let (before, number) = (flight.closes, flight.number);
        if let Some(settle) = settle.filter(|_| answered) {
            flight.closes = before.min(arrival.read.at + settle);
            let closes = flight.closes;
            self.windows.push(settle, closes, number);
        }
        self.unanswered -= usize::from(silent);
    }

    /// Takes the network's word that the echo cannot arrive.
    pub fn unreachable(&mut self, key: &Key, reason: Reason) {
        if let Some(flight) = self.find(key)
            && matches!(flight.verdict, Verdict::Silent)
        {
            flight.verdict = Verdict::Refused(Outcome::Unreachable, Some(reason));
            self.unanswered -= 1;
        }
    }

    /// Takes note of a fault of our own: between these moments a reply may have come without our seeing it. Silence in a
    /// window that was open then says nothing about the network. `to` is now, never before that of an earlier call.
    pub fn fault(&mut self, from: Instant, to: Instant, reason: Reason) {
        self.faults.retain(|fault| fault.to + REMEMBER_FAULTS > to);
        self.faults.push_back(Fault { from, to, reason });
    }

    /// When the next window closes.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        (self.open > 0).then(|| self.windows.next()).flatten()
    }

    /// Takes the next result whose window has closed at `now`.
    pub fn close(&mut self, now: Instant) -> Option<EchoResult> {
        loop {
            let (closes, number) = self.windows.pop(now)?;
            // Those that ended before their time do not count.
            if let Some(flight) = self.vacate(number, Some(closes)) {
                return Some(self.judge(flight));
            }
        }
    }

    fn free_slot(&mut self) -> Option<u16> {
        let grow = self.slots.len() < FIRST_SLOTS || self.free.is_empty();
        if grow && self.slots.len() < MAX_IN_FLIGHT {
            let slot = u16::try_from(self.slots.len()).ok()?;
            self.slots.push(None);
            return Some(slot);
        }
        self.free.pop_front()
    }

    fn find(&mut self, key: &Key) -> Option<&mut Flight> {
        let flight = self.slots.get_mut(usize::from(key.sequence))?.as_mut()?;
        let same_number = key.number.is_none_or(|number| number == flight.number);
        let same_address = key.to.is_none_or(|to| to == flight.to);
        (same_number && same_address).then_some(flight)
    }

    /// Frees the slot of an echo, if its window closes then.
    fn vacate(&mut self, number: u64, closes: Option<Instant>) -> Option<Flight> {
        let slot = self.slots.get_mut(usize::from(sequence(number)))?;
        let same = |flight: &mut Flight| flight.number == number && closes.is_none_or(|closes| closes == flight.closes);
        let flight = slot.take_if(same)?;
        self.free.push_back(sequence(number));
        self.open -= 1;
        self.unanswered -= usize::from(matches!(flight.verdict, Verdict::Silent));
        Some(flight)
    }

    fn judge(&self, flight: Flight) -> EchoResult {
        let (outcome, reason) = match flight.verdict {
            Verdict::Refused(outcome, reason) => (outcome, reason),
            Verdict::Silent => self.silence(&flight),
            Verdict::Replied(arrival) => return self.judge_reply(flight, arrival),
        };
        EchoResult {
            duplicates: flight.duplicates,
            ..EchoResult::failed(flight.target, outcome, reason)
        }
    }

    fn silence(&self, flight: &Flight) -> (Outcome, Option<Reason>) {
        let overlaps = |fault: &&Fault| fault.from <= flight.closes;
        match self.faults_since(flight.sent.at).filter(overlaps).last() {
            Some(fault) => (Outcome::Stalled, Some(fault.reason)),
            None => (Outcome::Lost, None),
        }
    }

    /// Faults that ended after `moment`, the newest first.
    fn faults_since(&self, moment: Instant) -> impl Iterator<Item = &Fault> {
        self.faults.iter().rev().take_while(move |fault| fault.to > moment)
    }

    fn judge_reply(&self, flight: Flight, arrival: Arrival) -> EchoResult {
        let timed = self.round_trip(&flight, &arrival);
        let (outcome, reason) = match &timed {
            Err(reason) => (Outcome::Stalled, Some(*reason)),
            Ok((rtt, _)) if *rtt <= flight.target.timeout => (Outcome::Ok, None),
            Ok(_) => (Outcome::Late, None),
        };
        let timed = timed.ok();
        EchoResult {
            rtt: timed.map(|(rtt, _)| rtt),
            stamp: timed.map_or(Stamp::User, |(_, stamp)| stamp),
            reply_ttl: arrival.ttl,
            duplicates: flight.duplicates,
            ..EchoResult::failed(flight.target, outcome, reason)
        }
    }

    /// From kernel to kernel where both stamps are there, else from our own send; the error says why there is no time.
    fn round_trip(&self, flight: &Flight, arrival: &Arrival) -> Result<(Duration, Stamp), Reason> {
        let until_read = arrival.read.at.saturating_duration_since(flight.sent.at);
        let Some(arrived) = arrival.stamp else {
            if arrival.behind > STALLED_AFTER || self.left_in_a_gap(flight) {
                return Err(Reason::Gap);
            }
            return Ok((until_read, Stamp::User));
        };
        if arrival.read.step_since(&flight.sent) > SLEW + until_read / 1000 {
            return Err(Reason::ClockStep);
        }
        let Some(left) = flight.left else {
            if self.left_in_a_gap(flight) {
                return Err(Reason::Gap);
            }
            let at = arrival.read.instant_of(arrived).unwrap_or(arrival.read.at);
            return Ok((at.saturating_duration_since(flight.sent.at), Stamp::User));
        };
        match arrived.since(left) {
            // It cannot have taken longer than until we read it.
            Some(rtt) if rtt <= until_read + SLEW => Ok((rtt, Stamp::Kernel)),
            Some(_) | None => Err(Reason::ClockStep),
        }
    }

    /// Tells whether we were stopped around the moment at which we read the clock and sent the echo: then our clock does not
    /// tell when it left.
    fn left_in_a_gap(&self, flight: &Flight) -> bool {
        let around = |fault: &Fault| fault.from <= flight.sent.at && fault.reason == Reason::Gap;
        self.faults_since(flight.sent.at).any(around)
    }
}

/// How long an echo is waited for.
fn window(timeout: Duration) -> Duration {
    timeout + timeout.min(MAX_GRACE)
}

#[cfg(test)]
mod tests;
