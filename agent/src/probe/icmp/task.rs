//! The front of the ICMP prober: due probes in, addresses looked up, requests out to the backend.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinSet;
use tracing::info;
use xprober_config::agent::IcmpBackend;
use xprober_proto::{HostName, ProbeSpec, Target};

use super::engine;
use super::open::OpenError;
use super::portable::PortableSocket;
use super::prober::{Prober, Request};
use super::socket::EchoSocket;
use crate::probe::resolve::{self, Answer, Names, NoAddress};
use crate::probe::{Due, Reason, Stamp};
use crate::samples::Event;

#[cfg(target_os = "linux")]
use super::linux::LinuxSocket;

/// Most names asked for at once.
const MAX_QUESTIONS: usize = 64;
/// Batches of requests that wait for the backend: several seconds of ticks.
pub const REQUESTS_QUEUE: usize = 256;

/// The backend that was opened.
#[derive(Debug)]
pub enum Backend {
    /// Batches, kernel stamps, a thread of its own.
    #[cfg(target_os = "linux")]
    Linux(Box<LinuxSocket>),
    /// surge-ping.
    Portable(PortableSocket),
}

impl Backend {
    /// Opens the backend that was asked for; must be called inside a runtime. `random` distinguishes this process from
    /// others.
    ///
    /// # Errors
    ///
    /// No socket can be opened, or the backend is not there on this system.
    pub fn open(choice: IcmpBackend, random: u64) -> Result<Self, OpenError> {
        let portable = || PortableSocket::open(random).map(Self::Portable);
        match choice {
            IcmpBackend::Portable => portable(),
            #[cfg(target_os = "linux")]
            IcmpBackend::Auto | IcmpBackend::Linux => LinuxSocket::open(random).map(Box::new).map(Self::Linux),
            #[cfg(not(target_os = "linux"))]
            IcmpBackend::Auto => portable(),
            #[cfg(not(target_os = "linux"))]
            IcmpBackend::Linux => Err(OpenError::Backend),
        }
    }

    /// Tells who takes the times, when all is well.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        match self {
            #[cfg(target_os = "linux")]
            Self::Linux(socket) => socket.stamp(),
            Self::Portable(socket) => socket.stamp(),
        }
    }

    /// Probes what is requested until the sender of `requests` is gone, then waits for the open windows; with `settle`, no
    /// longer than that after a reply.
    pub async fn probe(
        self,
        random: u64,
        settle: Option<Duration>,
        requests: mpsc::Receiver<Vec<Request>>,
        events: mpsc::Sender<Event>,
    ) {
        match self {
            #[cfg(target_os = "linux")]
            Self::Linux(socket) => engine::run(Prober::new(*socket, random, settle), requests, events).await,
            Self::Portable(socket) => engine::run(Prober::new(socket, random, settle), requests, events).await,
        }
    }
}

/// Probes what is due until the senders of `due` are gone, then waits for the open windows.
///
/// Results leave when their window has closed. `random` distinguishes this process' echoes from an earlier one's.
pub async fn run(
    backend: Backend,
    random: u64,
    allowed_networks: Arc<[IpNet]>,
    due: mpsc::Receiver<Vec<Due>>,
    events: mpsc::Sender<Event>,
) {
    info!(stamp = backend.stamp().as_str(), "ICMP prober ready");
    let (requests, queue) = mpsc::channel(REQUESTS_QUEUE);
    let front = Front::new(allowed_networks, requests, events.clone());
    tokio::join!(front.run(due), backend.probe(random, None, queue, events));
}

struct Front {
    names: Names,
    /// Probes that wait for the first answer about their host; at most one for each target.
    waiting: HashMap<String, BTreeMap<String, Arc<Target>>>,
    questions: JoinSet<(String, Vec<IpAddr>)>,
    requests: mpsc::Sender<Vec<Request>>,
    events: mpsc::Sender<Event>,
}

impl Front {
    fn new(allowed: Arc<[IpNet]>, requests: mpsc::Sender<Vec<Request>>, events: mpsc::Sender<Event>) -> Self {
        Self {
            names: Names::new(allowed),
            waiting: HashMap::new(),
            questions: JoinSet::new(),
            requests,
            events,
        }
    }

    async fn run(mut self, mut due: mpsc::Receiver<Vec<Due>>) {
        let mut open = true;
        while open || !self.waiting.is_empty() {
            let mut batch = Vec::new();
            tokio::select! {
                next = due.recv(), if open => match next {
                    Some(due) => due.into_iter().for_each(|due| self.look_up(due.target, &mut batch)),
                    None => open = false,
                },
                Some(answer) = self.questions.join_next() => {
                    if let Ok((name, addresses)) = answer {
                        self.answered(&name, &addresses, &mut batch);
                    }
                }
            }
            if !batch.is_empty() {
                self.hand_over(batch).await;
            }
        }
    }

    async fn hand_over(&self, batch: Vec<Request>) {
        let refused = self.requests.try_send(batch).err().map(TrySendError::into_inner);
        for Request { target, .. } in refused.unwrap_or_default() {
            // Refused only when the consumer is gone, and then nobody is left to tell.
            let _ = self.events.send(Event::Missed { target, ticks: 1 }).await;
        }
    }

    fn look_up(&mut self, target: Arc<Target>, batch: &mut Vec<Request>) {
        let ProbeSpec::Icmp(spec) = &target.probe else {
            return;
        };
        let name = match &spec.host {
            HostName::Address(address) => {
                let to = Ok(address.to_canonical());
                return batch.push(Request { target, to });
            }
            HostName::Name(name) => name.clone(),
        };
        let (now, family) = (Instant::now(), spec.packet.family);
        let (mut answer, ask) = self.names.look_up(&name, family, now);
        if ask && self.questions.len() < MAX_QUESTIONS {
            self.questions.spawn(resolve::ask(name.clone()));
        } else if ask {
            // Nobody would answer those who wait for it.
            answer = self.names.put_off(&name, family, now);
        }
        self.settle(name, answer, target, batch);
    }

    fn settle(&mut self, name: String, answer: Answer, target: Arc<Target>, batch: &mut Vec<Request>) {
        let to = match answer {
            Answer::Address(address) => Ok(address),
            Answer::None(NoAddress::Unresolved) => Err(Reason::Unresolved),
            Answer::None(NoAddress::Forbidden) => Err(Reason::Forbidden),
            Answer::Pending => {
                let id = target.id.as_str().to_owned();
                let overtaken = self.waiting.entry(name).or_default().insert(id, target);
                let to = Err(Reason::Unresolved);
                return batch.extend(overtaken.map(|target| Request { target, to }));
            }
        };
        batch.push(Request { target, to });
    }

    fn answered(&mut self, name: &str, addresses: &[IpAddr], batch: &mut Vec<Request>) {
        let now = Instant::now();
        self.names.resolved(name, addresses, now);
        for target in self.waiting.remove(name).unwrap_or_default().into_values() {
            let ProbeSpec::Icmp(spec) = &target.probe else {
                continue;
            };
            let (answer, _) = self.names.look_up(name, spec.packet.family, now);
            self.settle(name.to_owned(), answer, target, batch);
        }
    }
}

#[cfg(test)]
mod tests;
