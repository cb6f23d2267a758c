//! Echoes out, results in: what both backends do between waiting.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;
use xprober_proto::{ProbeSpec, Target};

use super::clock::Reading;
use super::flight::{Arrival, Flights, STALLED_AFTER};
use super::socket::{Departure, Echo, EchoEvent, EchoSocket};
use crate::probe::errno::reason_of;
use crate::probe::{EchoResult, Outcome, Reason};
use crate::samples::{EngineCounters, Event};

/// Most echoes sent before replies are taken, so that neither queue of the socket fills up: stamps of departures wait in the
/// same memory as replies.
const CHUNK: usize = 80;
/// How often replies are taken while some are outstanding. Only the memory of the socket depends on it, no time does where
/// the kernel stamps.
pub const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often windows are closed; results go on together.
const CLOSE_EVERY: Duration = Duration::from_millis(200);
/// How often one kind of send error is logged.
const WARN_EVERY: Duration = Duration::from_mins(1);

/// A probe whose name has been looked up.
#[derive(Debug, Clone)]
pub struct Request {
    /// What to probe; an ICMP target.
    pub target: Arc<Target>,
    /// Where to, never an IPv4-mapped IPv6 address; or why no address is known.
    pub to: Result<IpAddr, Reason>,
}

/// The echoes of one socket.
#[derive(Debug)]
pub struct Prober<S> {
    socket: S,
    flights: Flights,
    arrived: Vec<EchoEvent>,
    departures: Vec<Departure>,
    results: Vec<EchoResult>,
    counters: EngineCounters,
    warned: HashMap<&'static str, (Instant, u64)>,
    /// When replies were last taken.
    looked: Instant,
    /// What had come back by then has been taken: windows that ended before may close.
    complete: Instant,
    /// The last moment at which this thread is known to have run.
    ran: Instant,
    close_at: Instant,
}

impl<S: EchoSocket> Prober<S> {
    /// Starts with nothing in flight; `random` distinguishes this process' echoes from an earlier one's. With `settle`,
    /// results come so long after the reply instead of at the end of the window, see [`Flights::new`].
    #[must_use]
    pub fn new(socket: S, random: u64, settle: Option<Duration>) -> Self {
        let now = Instant::now();
        Self {
            socket,
            flights: Flights::new(random, settle),
            arrived: Vec::new(),
            departures: Vec::new(),
            results: Vec::new(),
            counters: EngineCounters::default(),
            warned: HashMap::new(),
            looked: now,
            complete: now,
            ran: now,
            close_at: now + CLOSE_EVERY,
        }
    }

    /// The socket, for whoever waits for it.
    pub const fn socket(&mut self) -> &mut S {
        &mut self.socket
    }

    /// Tells whether nothing is in flight and no result waits.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.flights.is_empty() && self.results.is_empty()
    }

    /// Number of echoes of which nothing has come back.
    #[must_use]
    pub const fn unanswered(&self) -> usize {
        self.flights.unanswered()
    }

    /// When something has to be done next at the latest, without a new request; `None` when nothing will. Windows are
    /// closed on the way where requests come often enough.
    #[must_use]
    pub fn wake(&self) -> Option<Instant> {
        let look = (self.flights.unanswered() > 0).then_some(self.looked + LOOK_EVERY);
        let due = if self.results.is_empty() {
            let closes = self.flights.next_deadline();
            closes.map(|closes| closes.max(self.close_at) + LOOK_EVERY)
        } else {
            Some(self.close_at)
        };
        look.into_iter().chain(due).min()
    }

    /// Sends the requests that can leave, the others end here; then takes what has come back. `behind` is by how much that
    /// may be too late, see [`Prober::check`].
    pub fn send(&mut self, requests: &[Request], behind: Duration) {
        for chunk in requests.chunks(CHUNK) {
            self.send_chunk(chunk);
            self.receive(behind);
        }
    }

    /// Takes what has come back. `expected` is when this should have happened at the latest.
    pub fn look(&mut self, expected: Option<Instant>) {
        let behind = self.check(expected);
        self.receive(behind);
    }

    /// Notes for how long we slept although we should have run; answers with that time.
    pub fn check(&mut self, expected: Option<Instant>) -> Duration {
        let now = Instant::now();
        self.behind(expected.unwrap_or(now), now)
    }

    /// Takes note that we ran at `now`, and of a gap where that is much later than `expected`; answers with the time between.
    fn behind(&mut self, expected: Instant, now: Instant) -> Duration {
        self.ran = now;
        let behind = now.saturating_duration_since(expected);
        if behind > STALLED_AFTER {
            self.counters.gaps += 1;
            self.counters.gap_time += behind;
            self.flights.fault(expected, now, Reason::Gap);
        }
        behind
    }

    /// Closes windows, now and then, and tells what came of them.
    ///
    /// None closes before replies were taken after its end: this thread may have been stopped since it last took any.
    pub fn close(&mut self, now: Instant) -> Vec<Event> {
        if now < self.close_at {
            return Vec::new();
        }
        self.close_at = now + CLOSE_EVERY;
        while let Some(result) = self.flights.close(self.complete) {
            let unstamped = result.rtt.is_some() && result.stamp != self.socket.stamp();
            self.counters.unstamped += u64::from(unstamped);
            self.results.push(result);
        }
        let counters = std::mem::take(&mut self.counters);
        let room = Vec::with_capacity(self.results.len());
        let results = std::mem::replace(&mut self.results, room);
        let results = (!results.is_empty()).then_some(Event::Echoes(results));
        let counters = (counters != EngineCounters::default()).then_some(Event::Engine(counters));
        results.into_iter().chain(counters).collect()
    }

    fn send_chunk(&mut self, requests: &[Request]) {
        let sent = Reading::now();
        let mut echoes = Vec::with_capacity(requests.len());
        for request in requests {
            let ProbeSpec::Icmp(spec) = &request.target.probe else {
                continue;
            };
            let opened = request.to.and_then(|to| {
                let target = Arc::clone(&request.target);
                let number = self.flights.open(target, to, spec.payload_bytes, sent);
                Ok((to, number.ok_or(Reason::InFlight)?))
            });
            match opened {
                Ok((to, number)) => echoes.push(Echo {
                    to,
                    number,
                    payload_bytes: spec.payload_bytes,
                    reply_ttl: spec.reply_ttl,
                    packet: &spec.packet,
                }),
                Err(reason) => self.fail(&request.target, reason, reason.as_str()),
            }
        }
        let mut departures = std::mem::take(&mut self.departures);
        self.socket.send(&echoes, &mut departures);
        for (echo, departure) in echoes.iter().zip(departures.drain(..)) {
            match departure {
                Ok(departed) => self.flights.sent(echo.number, departed),
                Err(error) => self.not_sent(echo, &error),
            }
        }
        self.departures = departures;
    }

    fn not_sent(&mut self, echo: &Echo<'_>, error: &io::Error) {
        if let Some(target) = self.flights.abort(echo.number) {
            self.fail(&target, reason_of(error), &error.to_string());
        }
    }

    /// Ends a probe that never left, and says why, but not every time.
    fn fail(&mut self, target: &Arc<Target>, reason: Reason, error: &str) {
        let now = Instant::now();
        let (since, count) = self.warned.entry(reason.as_str()).or_insert((now, 0));
        if *count == 0 || now.saturating_duration_since(*since) >= WARN_EVERY {
            warn!(reason = reason.as_str(), target = %target.id, error, again = *count, "echo not sent");
            (*since, *count) = (now, 0);
        }
        *count += 1;
        let result = EchoResult::failed(Arc::clone(target), Outcome::SendError, Some(reason));
        self.results.push(result);
    }

    fn receive(&mut self, behind: Duration) {
        let mut arrived = std::mem::take(&mut self.arrived);
        let before = self.ran;
        let all = self.socket.receive(&mut arrived);
        let now = Instant::now();
        // Stopped while it sent or received: what was read may have waited for so long.
        let behind = self.behind(before, now).max(behind);
        if all {
            self.complete = before;
        }
        for event in arrived.drain(..) {
            match event {
                EchoEvent::Left { key, at } => self.flights.left(&key, at),
                EchoEvent::Replied { key, arrival, content } => {
                    self.flights.reply(&key, content, Arrival { behind, ..arrival });
                }
                EchoEvent::Unreachable { key, reason } => self.flights.unreachable(&key, reason),
                EchoEvent::Dropped(packets) => {
                    self.counters.receive_drops += packets;
                    self.flights.fault(self.looked, now, Reason::Overflow);
                }
            }
        }
        self.looked = now;
        self.arrived = arrived;
    }
}

#[cfg(test)]
mod tests;
