//! The loop of the ICMP prober: due probes in, results out.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use ipnet::IpNet;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use tracing::{debug, info, warn};
use xprober_proto::{HostName, IcmpSpec, ProbeSpec, Target};

use super::flight::Flights;
use super::resolve::{Answer, Names, NoAddress};
use super::socket::{Echo, EchoEvent, EchoSocket};
use crate::probe::{Due, EchoResult, Outcome, Stamp};
use crate::samples::Event;

/// Longest sleep while something is in flight: it bounds how long a stall of ours can go unnoticed.
const WATCH_EVERY: Duration = Duration::from_millis(100);
/// How often one kind of send error is logged.
const WARN_EVERY: Duration = Duration::from_mins(1);
/// Most names asked for at once.
const MAX_QUESTIONS: usize = 64;

type Resolved = (String, io::Result<Vec<IpAddr>>);

struct Prober<S> {
    socket: S,
    flights: Flights,
    names: Names,
    /// Probes that wait for the first answer about their host; at most one for each target.
    waiting: HashMap<String, BTreeMap<String, (Arc<Target>, u16)>>,
    questions: JoinSet<Resolved>,
    events: mpsc::Sender<Event>,
    warned: HashMap<&'static str, (Instant, u64)>,
}

/// Probes what is due until the senders of `due` are gone, then waits for the open windows.
///
/// Results leave when their window has closed. `random` distinguishes this process' sequences from an earlier one's.
pub async fn run<S: EchoSocket>(
    socket: S,
    random: u64,
    allowed_networks: Arc<[IpNet]>,
    mut due: mpsc::Receiver<Due>,
    events: mpsc::Sender<Event>,
) {
    info!(stamp = socket.stamp().as_str(), "ICMP prober ready");
    let mut prober = Prober {
        socket,
        flights: Flights::new(random),
        names: Names::new(allowed_networks),
        waiting: HashMap::new(),
        questions: JoinSet::new(),
        events,
        warned: HashMap::new(),
    };
    let mut arrived = Vec::new();
    let mut open = true;
    while open || !prober.flights.is_empty() || !prober.waiting.is_empty() {
        let wake = prober.wake(Instant::now());
        tokio::select! {
            () = prober.socket.next(&mut arrived) => {}
            next = due.recv(), if open => match next {
                Some(due) => prober.probe(due.target).await,
                None => open = false,
            },
            Some(answer) = prober.questions.join_next() => {
                if let Ok(answer) = answer {
                    prober.answered(answer).await;
                }
            }
            () = sleep_until(wake.into()) => {}
        }
        let behind = Instant::now().saturating_duration_since(wake);
        // What waits in the socket is read before a window closes: a reply must not be lost because we were late.
        let _ = prober.socket.next(&mut arrived).now_or_never();
        prober.take(&mut arrived, behind);
        if prober.close().await.is_err() {
            debug!("nobody takes results any more");
            return;
        }
    }
}

impl<S: EchoSocket> Prober<S> {
    fn wake(&self, now: Instant) -> Instant {
        let watch = now + WATCH_EVERY;
        self.flights
            .next_deadline()
            .map_or(watch, |closes| closes.clamp(now, watch))
    }

    async fn probe(&mut self, target: Arc<Target>) {
        let ProbeSpec::Icmp(IcmpSpec {
            host, payload_bytes, ..
        }) = &target.probe
        else {
            return;
        };
        let payload_bytes = *payload_bytes;
        match host {
            HostName::Address(address) => self.send(target.clone(), address.to_canonical(), payload_bytes).await,
            HostName::Name(name) => {
                let (mut answer, ask) = self.names.look_up(name, Instant::now());
                if ask && self.questions.len() < MAX_QUESTIONS {
                    self.questions.spawn(ask_for(name.clone()));
                } else if ask {
                    answer = self.names.resolved(name, &[], Instant::now());
                }
                let name = name.clone();
                self.probe_name(name, answer, target, payload_bytes).await;
            }
        }
    }

    async fn probe_name(&mut self, name: String, answer: Answer, target: Arc<Target>, payload_bytes: u16) {
        match answer {
            Answer::Address(address) => self.send(target, address, payload_bytes).await,
            Answer::None(NoAddress::Unresolved) => self.send_error(target, "resolve", &name).await,
            Answer::None(NoAddress::Forbidden) => self.send_error(target, "forbidden", &name).await,
            Answer::Pending => {
                let waiting = self.waiting.entry(name).or_default();
                let id = target.id.as_str().to_owned();
                if let Some((overtaken, _)) = waiting.insert(id, (target, payload_bytes)) {
                    self.send_error(overtaken, "resolve", "no answer yet").await;
                }
            }
        }
    }

    async fn answered(&mut self, (name, addresses): Resolved) {
        if let Err(error) = &addresses {
            debug!(%name, %error, "host name not resolved");
        }
        let answer = self
            .names
            .resolved(&name, &addresses.unwrap_or_default(), Instant::now());
        for (target, payload_bytes) in self.waiting.remove(&name).unwrap_or_default().into_values() {
            self.probe_name(name.clone(), answer, target, payload_bytes).await;
        }
    }

    async fn send(&mut self, target: Arc<Target>, to: IpAddr, payload_bytes: u16) {
        let Some(number) = self.flights.next_number(to) else {
            self.send_error(target, "in_flight", "too many echoes in flight").await;
            return;
        };
        let echo = Echo {
            to,
            number,
            payload_bytes,
        };
        match self.socket.send(echo).await {
            Ok(sent) => self.flights.depart(to, number, payload_bytes, target, sent),
            Err(error) => {
                let kind = name_of(&error);
                self.send_error(target, kind, &error.to_string()).await;
            }
        }
    }

    /// Ends a probe that never left, and says why, but not every time.
    async fn send_error(&mut self, target: Arc<Target>, kind: &'static str, error: &str) {
        let now = Instant::now();
        let (since, count) = self.warned.entry(kind).or_insert((now, 0));
        if *count == 0 || now.saturating_duration_since(*since) >= WARN_EVERY {
            warn!(kind, target = %target.id, error, again = *count, "echo not sent");
            (*since, *count) = (now, 0);
        }
        *count += 1;
        let result = EchoResult::failed(target, Outcome::SendError, None);
        // A closed channel ends the loop at the next result.
        let _ = self.events.send(Event::Echoes(vec![result])).await;
    }

    fn take(&mut self, arrived: &mut Vec<EchoEvent>, behind: Duration) {
        for event in arrived.drain(..) {
            match event {
                EchoEvent::Replied {
                    key,
                    at,
                    stamp,
                    content,
                } => {
                    let behind = match stamp {
                        Stamp::Kernel => Duration::ZERO,
                        Stamp::User => behind,
                    };
                    self.flights.reply(key, content, at, behind);
                }
                EchoEvent::Unreachable { key } => self.flights.unreachable(key),
            }
        }
    }

    async fn close(&mut self) -> Result<(), mpsc::error::SendError<Event>> {
        let now = Instant::now();
        while let Some(result) = self.flights.close(now) {
            self.events.send(Event::Echoes(vec![result])).await?;
        }
        Ok(())
    }
}

async fn ask_for(name: String) -> Resolved {
    let addresses = tokio::net::lookup_host((name.as_str(), 0)).await;
    let addresses = addresses.map(|found| found.map(|address| address.ip()).collect());
    (name, addresses)
}

/// Names the kinds of send error that people meet.
#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum with dozens of arms")]
fn name_of(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NetworkUnreachable => "no_route",
        io::ErrorKind::HostUnreachable => "host_unreachable",
        io::ErrorKind::PermissionDenied => "permission",
        io::ErrorKind::Unsupported => "family",
        io::ErrorKind::OutOfMemory | io::ErrorKind::StorageFull => "buffer",
        _ => "send",
    }
}

#[cfg(test)]
mod tests;
