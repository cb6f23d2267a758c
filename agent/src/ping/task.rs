//! The loop of `xprober-agent ping`: echoes out in turn, results in, the table redrawn.

use std::collections::BTreeMap;
use std::io::{Write as _, stdout};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use terminal_size::terminal_size;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{MissedTickBehavior, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use xprober_proto::{HostName, IcmpSpec, ProbeSpec, Target};

use super::Ping;
use super::pace::Pace;
use super::resolve;
use super::screen::{Screen, Size};
use super::table::Row;
use crate::probe::icmp::prober::Request;
use crate::probe::icmp::task::{Backend, REQUESTS_QUEUE};
use crate::probe::{EchoResult, Outcome, Reason, Stamp};
use crate::samples::Event;

/// Most names asked for at once.
const MAX_QUESTIONS: usize = 64;
/// Batches of results that wait for the table.
const RESULTS_QUEUE: usize = 64;
/// Copies of a reply are counted for so long after it; a person does not wait for the end of the window.
const SETTLE: Duration = Duration::from_millis(100);
/// The kernel turns the stamps of receipt on a moment after a socket asked for them; a reply before that has none.
const UNTIL_STAMPS: Duration = Duration::from_millis(20);
/// What comes so soon after a signal is the same one, relayed by the program that started us.
const SAME_SIGNAL: Duration = Duration::from_millis(200);
/// Often enough to look alive, seldom enough to read.
const REDRAW_EVERY: Duration = Duration::from_millis(250);
/// What a terminal that does not tell its size has at least.
const SMALLEST: Size = Size { lines: 24, columns: 80 };

type Sender = mpsc::Sender<Vec<Request>>;

/// How a person ends it.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// No echo leaves any more; the open windows are waited for.
    pub gently: CancellationToken,
    /// Nothing is waited for.
    pub at_once: CancellationToken,
}

impl Stop {
    /// Listens to SIGINT and SIGTERM from now on: the first is gentle, the next is not. The answer waits for them.
    ///
    /// # Errors
    ///
    /// The system does not tell us of signals.
    pub fn on_signals(&self) -> Result<impl Future<Output = ()>> {
        let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        let stop = self.clone();
        Ok(async move {
            for token in [stop.gently, stop.at_once] {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                token.cancel();
                sleep(SAME_SIGNAL).await;
                while interrupt.recv().now_or_never().is_some() || terminate.recv().now_or_never().is_some() {}
            }
        })
    }
}

/// Sends what `ping` asks for and tells what became of it, host by host; with `live`, the table stands on the terminal and
/// is redrawn all the while, and the last one stays.
pub async fn run(ping: &Ping, backend: Backend, random: u64, live: bool, stop: &Stop) -> Vec<Row> {
    let (events, results) = mpsc::channel(RESULTS_QUEUE);
    let (requests, queue) = mpsc::channel(REQUESTS_QUEUE);
    let wait = match backend.stamp() {
        Stamp::Kernel => UNTIL_STAMPS,
        Stamp::User => Duration::ZERO,
    };
    let session = Session::new(ping, live, Instant::now() + wait);
    let echoes = async {
        backend.probe(random, Some(SETTLE), queue, events).await;
        // The session ends when it has taken the last results.
        std::future::pending().await
    };
    tokio::select! {
        rows = session.run(requests, results, stop) => rows,
        never = echoes => never,
    }
}

struct Session<'a> {
    ping: &'a Ping,
    rows: Vec<Row>,
    /// What is sent, once the address is known; in the order of `rows`.
    targets: Vec<Option<Arc<Target>>>,
    /// The place of each host in `rows`.
    places: BTreeMap<String, usize>,
    /// Hosts whose address is awaited.
    unknown: usize,
    pace: Pace,
    screen: Option<Screen>,
}

impl<'a> Session<'a> {
    fn new(ping: &'a Ping, live: bool, start: Instant) -> Self {
        let names = ping.hosts.iter().map(ToString::to_string);
        Self {
            ping,
            rows: names.clone().map(Row::new).collect(),
            targets: vec![None; ping.hosts.len()],
            places: names.zip(0..).collect(),
            unknown: ping.hosts.len(),
            pace: Pace::new(ping.hosts.len(), ping.count, ping.interval, start),
            screen: live.then(Screen::default),
        }
    }

    async fn run(mut self, requests: Sender, mut results: mpsc::Receiver<Event>, stop: &Stop) -> Vec<Row> {
        let mut requests = Some(requests);
        let family = self.ping.packet.family;
        let questions = self.ping.hosts.iter().cloned().enumerate();
        let mut answers = stream::iter(questions)
            .map(|(place, host)| async move { (place, resolve::find(host, family).await) })
            .buffer_unordered(MAX_QUESTIONS);
        let mut redraw = tokio::time::interval(REDRAW_EVERY);
        redraw.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let next = self.pace.next();
            if next.is_none() && self.unknown == 0 {
                // The backend tells the last results and ends.
                requests = None;
            }
            tokio::select! {
                Some((place, found)) = answers.next(), if self.unknown > 0 => self.found(place, found),
                () = sleep_until(next.unwrap_or_else(Instant::now).into()), if next.is_some() => {
                    self.send(requests.as_ref());
                }
                event = results.recv() => match event {
                    Some(event) => self.take(event),
                    None => break,
                },
                () = stop.gently.cancelled(), if requests.is_some() => {
                    self.pace.stop();
                    self.unknown = 0;
                }
                () = stop.at_once.cancelled() => break,
                _ = redraw.tick(), if self.screen.is_some() => self.redraw(),
            }
        }
        self.finish()
    }

    fn found(&mut self, place: usize, found: Result<IpAddr, String>) {
        self.unknown -= 1;
        if let Ok(address) = &found {
            self.targets[place] = target(self.ping, &self.ping.hosts[place], *address);
            self.pace.admit(place, Instant::now());
        }
        self.rows[place].address = Some(found);
    }

    fn send(&mut self, requests: Option<&Sender>) {
        let due = self.pace.take(Instant::now());
        let mut batch = Vec::with_capacity(due.len());
        for place in due {
            let Some(target) = self.targets[place].clone() else {
                continue;
            };
            self.rows[place].summary.depart();
            let to = match self.rows[place].address {
                Some(Ok(address)) => Ok(address),
                Some(Err(_)) | None => Err(Reason::Unresolved),
            };
            batch.push(Request { target, to });
        }
        let refused = requests.and_then(|requests| requests.try_send(batch).err());
        for request in refused.map(TrySendError::into_inner).unwrap_or_default() {
            let (outcome, reason) = (Outcome::Stalled, Some(Reason::Skipped));
            self.add(&EchoResult::failed(request.target, outcome, reason));
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Echoes(results) => results.iter().for_each(|result| self.add(result)),
            Event::Change(_) | Event::Http(_) | Event::Missed { .. } | Event::Engine(_) | Event::Lateness { .. } => {}
        }
    }

    fn add(&mut self, result: &EchoResult) {
        if let Some(place) = self.places.get(&result.target.name) {
            self.rows[*place].summary.add(result);
        }
    }

    fn redraw(&mut self) {
        if let Some(screen) = &mut self.screen {
            show(&screen.redraw(&self.rows, size()));
        }
    }

    fn finish(mut self) -> Vec<Row> {
        self.rows.iter_mut().for_each(|row| row.summary.forget_in_flight());
        if let Some(screen) = self.screen.take() {
            show(&screen.finish(&self.rows));
        }
        self.rows
    }
}

fn target(ping: &Ping, host: &HostName, address: IpAddr) -> Option<Arc<Target>> {
    let host = host.to_string();
    Some(Arc::new(Target {
        id: host.parse().ok()?,
        name: host,
        region: "here".parse().ok()?,
        interval: ping.interval,
        timeout: ping.timeout,
        probe: ProbeSpec::Icmp(IcmpSpec {
            packet: ping.packet.clone(),
            ..IcmpSpec::new(HostName::Address(address), ping.payload_bytes)
        }),
    }))
}

fn size() -> Size {
    terminal_size().map_or(SMALLEST, |(columns, lines)| Size {
        lines: usize::from(lines.0),
        columns: usize::from(columns.0),
    })
}

/// A terminal that is gone shows nothing; its signal ends us.
fn show(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
