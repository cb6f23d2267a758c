//! The loop of the TCP prober: due probes in, results out.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use ipnet::IpNet;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use xprober_proto::{Family, HostName, ProbeSpec, Target, TcpSpec};

use super::connect::{self, Departure, Flight, NotSent, Route};
use super::gaps::{Gaps, WATCH_EVERY};
use super::judge::{Landing, judge, window};
use super::limit;
use super::ports::Ports;
use crate::probe::lookup::{Found, Lookups};
use crate::probe::resolve::NoAddress;
use crate::probe::{Due, EchoResult, Reason};
use crate::samples::Event;

/// How often one kind of send error is logged.
const WARN_EVERY: Duration = Duration::from_mins(1);

struct Landed {
    target: Arc<Target>,
    sent: Instant,
    landing: Landing,
}

/// What the loop gives away at the end of a turn.
#[derive(Default)]
struct Outbox {
    ended: Vec<EchoResult>,
    missed: Vec<Arc<Target>>,
}

struct Prober {
    most: usize,
    flights: FuturesUnordered<BoxFuture<'static, Landed>>,
    ports: Ports,
    lookups: Lookups,
    gaps: Gaps,
    outbox: Outbox,
    warned: HashMap<Reason, (Instant, u64)>,
}

/// Probes what is due until `shutdown`, or until the sender of `due` is gone, then waits for the open windows, a second at
/// most. Probes that still wait for their host name then have not left and have no result.
///
/// Each result leaves as soon as it is known, together with those that are known at the same time. A probe that comes
/// here a whole interval late is reported as missed. See [`limit`] for the sockets that this takes.
pub async fn run(
    allowed_networks: Arc<[IpNet]>,
    due: mpsc::Receiver<Vec<Due>>,
    events: mpsc::Sender<Event>,
    shutdown: CancellationToken,
) {
    run_at_most(limit::in_flight(), allowed_networks, due, events, shutdown).await;
}

/// [`run`] with at most `most` connections being opened.
async fn run_at_most(
    most: usize,
    allowed_networks: Arc<[IpNet]>,
    mut due: mpsc::Receiver<Vec<Due>>,
    events: mpsc::Sender<Event>,
    shutdown: CancellationToken,
) {
    info!(max_in_flight = most, "TCP prober ready");
    let mut prober = Prober::new(most, allowed_networks);
    let mut landed = Vec::new();
    let mut open = true;
    while open || !prober.flights.is_empty() {
        let flying = !prober.flights.is_empty();
        let mut batch = Vec::new();
        tokio::select! {
            () = shutdown.cancelled(), if open => open = false,
            next = due.recv(), if open => match next {
                Some(next) => batch = next,
                None => open = false,
            },
            Some(first) = prober.flights.next(), if flying => landed.push(first),
            Some(found) = prober.lookups.answered(), if open => {
                for found in found {
                    prober.probe_found(&found);
                }
            }
            () = sleep(WATCH_EVERY), if flying => {}
        }
        while let Some(Some(next)) = prober.flights.next().now_or_never() {
            landed.push(next);
        }
        prober.gaps.look(flying, Instant::now());
        prober.land(&mut landed);
        prober.depart(batch);
        if prober.outbox.send(&events).await.is_err() {
            debug!("nobody takes results any more");
            return;
        }
    }
}

impl Outbox {
    async fn send(&mut self, events: &mpsc::Sender<Event>) -> Result<(), mpsc::error::SendError<Event>> {
        for target in self.missed.drain(..) {
            events.send(Event::Missed { target, ticks: 1 }).await?;
        }
        if self.ended.is_empty() {
            return Ok(());
        }
        events.send(Event::Echoes(std::mem::take(&mut self.ended))).await
    }
}

impl Prober {
    fn new(most: usize, allowed_networks: Arc<[IpNet]>) -> Self {
        Self {
            most,
            flights: FuturesUnordered::new(),
            ports: Ports::default(),
            lookups: Lookups::new(allowed_networks),
            gaps: Gaps::default(),
            outbox: Outbox::default(),
            warned: HashMap::new(),
        }
    }

    fn land(&mut self, landed: &mut Vec<Landed>) {
        for Landed { target, sent, landing } in landed.drain(..) {
            let gap = self.gaps.since(sent);
            self.outbox.ended.push(judge(target, landing, gap));
        }
    }

    fn depart(&mut self, batch: Vec<Due>) {
        for Due { target, scheduled } in batch {
            // Its next probe is due already: two at once say nothing more.
            if scheduled.elapsed() >= target.interval {
                self.outbox.missed.push(target);
            } else {
                self.probe(&target);
            }
        }
    }

    fn probe(&mut self, target: &Arc<Target>) {
        let ProbeSpec::Tcp(spec) = &target.probe else {
            return;
        };
        let family = spec.packet.family;
        match &spec.host {
            HostName::Address(address) => {
                let address = address.to_canonical();
                if family.is_none_or(|family| family == Family::of(address)) {
                    self.connect(target, spec, address);
                } else {
                    self.send_error(target, Reason::Unresolved, "an address of the other family");
                }
            }
            HostName::Name(name) => {
                if let Some(found) = self.lookups.look_up(name, family, Arc::clone(target)) {
                    self.probe_found(&found);
                }
            }
        }
    }

    fn probe_found(&mut self, Found { target, to }: &Found) {
        let ProbeSpec::Tcp(spec) = &target.probe else {
            return;
        };
        match to {
            Ok(address) => self.connect(target, spec, *address),
            Err(why @ NoAddress::Unanswered) => self.send_error(target, why.reason(), "no answer yet"),
            Err(why) => self.send_error(target, why.reason(), &spec.host.to_string()),
        }
    }

    fn connect(&mut self, target: &Arc<Target>, spec: &TcpSpec, to: IpAddr) {
        if self.flights.len() >= self.most {
            self.send_error(target, Reason::InFlight, "too many connections are being opened");
            return;
        }
        let route = Route {
            to: SocketAddr::new(to, spec.port),
            packet: &spec.packet,
            source_port: self.ports.next(&target.id, &spec.source_ports, Instant::now()),
        };
        match connect::depart(route) {
            Ok(Departure::Flying(flight)) => self.flights.push(fly(flight, Arc::clone(target)).boxed()),
            Ok(Departure::Landed(landing)) => self.outbox.ended.push(judge(Arc::clone(target), landing, false)),
            Err(NotSent { reason, error }) => self.send_error(target, reason, &error.to_string()),
        }
    }

    /// Ends a probe that never left, and says why, but not every time.
    fn send_error(&mut self, target: &Arc<Target>, reason: Reason, error: &str) {
        let now = Instant::now();
        let (since, again) = self.warned.entry(reason).or_insert((now, 0));
        if *again == 0 || now.saturating_duration_since(*since) >= WARN_EVERY {
            warn!(reason = reason.as_str(), target = %target.id, error, again = *again, "connect probe not sent");
            (*since, *again) = (now, 0);
        }
        *again += 1;
        let result = judge(Arc::clone(target), Landing::not_sent(reason), false);
        self.outbox.ended.push(result);
    }
}

async fn fly(flight: Flight, target: Arc<Target>) -> Landed {
    let sent = flight.sent();
    let landing = flight.land(window(target.timeout)).await;
    Landed { target, sent, landing }
}

#[cfg(test)]
mod tests;
