//! The front of the ICMP prober: due probes in, addresses looked up, requests out to the backend.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Instant;

use ipnet::IpNet;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{error, info};
use xprober_config::agent::IcmpBackend;
use xprober_proto::{HostName, ProbeSpec, Target};

use super::open::OpenError;
use super::portable::{self, PortableSocket};
use super::prober::{Prober, Request};
use super::socket::EchoSocket;
use crate::probe::resolve::{self, Answer, Names, NoAddress};
use crate::probe::{Due, Reason};
use crate::samples::Event;

#[cfg(target_os = "linux")]
use super::linux::{LinuxSocket, thread};

/// Most names asked for at once.
const MAX_QUESTIONS: usize = 64;
/// Batches of requests that wait for the backend: several seconds of ticks.
pub const REQUESTS_QUEUE: usize = 256;

/// The backend that was opened.
#[derive(Debug)]
pub enum Backend {
    /// Batches, kernel stamps, a thread of its own.
    #[cfg(target_os = "linux")]
    Linux(LinuxSocket),
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
            IcmpBackend::Auto | IcmpBackend::Linux => LinuxSocket::open(random).map(Self::Linux),
            #[cfg(not(target_os = "linux"))]
            IcmpBackend::Auto => portable(),
            #[cfg(not(target_os = "linux"))]
            IcmpBackend::Linux => Err(OpenError::Backend),
        }
    }
}

/// Where requests go; the backend ends when this is gone and the last window has closed.
#[derive(Debug)]
pub enum Requests {
    /// The thread of the Linux backend.
    Thread(SyncSender<Vec<Request>>),
    /// The task of the portable backend.
    Task(mpsc::Sender<Vec<Request>>),
}

impl Requests {
    /// Hands over a batch; what the backend has no room for comes back.
    #[must_use]
    pub fn offer(&self, batch: Vec<Request>) -> Vec<Request> {
        match self {
            Self::Thread(sender) => match sender.try_send(batch) {
                Ok(()) => Vec::new(),
                Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) => batch,
            },
            Self::Task(sender) => match sender.try_send(batch) {
                Ok(()) => Vec::new(),
                Err(error) => error.into_inner(),
            },
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
    match backend {
        #[cfg(target_os = "linux")]
        Backend::Linux(socket) => {
            let prober = announce(Prober::new(socket, random));
            let (requests, queue) = std::sync::mpsc::sync_channel(REQUESTS_QUEUE);
            let thread = match thread::spawn(prober, queue, events.clone()) {
                Ok(thread) => thread,
                Err(error) => return error!(%error, "no thread for echoes"),
            };
            Front::new(allowed_networks, Requests::Thread(requests), events)
                .run(due)
                .await;
            // The windows that are still open are waited for where waiting hurts nobody.
            let ended = tokio::task::spawn_blocking(move || thread.join().is_ok()).await;
            if !ended.unwrap_or(false) {
                error!("the echo thread failed");
            }
        }
        Backend::Portable(socket) => {
            let prober = announce(Prober::new(socket, random));
            let (requests, queue) = mpsc::channel(REQUESTS_QUEUE);
            let front = Front::new(allowed_networks, Requests::Task(requests), events.clone());
            tokio::join!(front.run(due), portable::run(prober, queue, events));
        }
    }
}

fn announce<S: EchoSocket>(mut prober: Prober<S>) -> Prober<S> {
    info!(stamp = prober.socket().stamp().as_str(), "ICMP prober ready");
    prober
}

struct Front {
    names: Names,
    /// Probes that wait for the first answer about their host; at most one for each target.
    waiting: HashMap<String, BTreeMap<String, Arc<Target>>>,
    questions: JoinSet<(String, Vec<IpAddr>)>,
    requests: Requests,
    events: mpsc::Sender<Event>,
}

impl Front {
    fn new(allowed: Arc<[IpNet]>, requests: Requests, events: mpsc::Sender<Event>) -> Self {
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
        for refused in self.requests.offer(batch) {
            let target = refused.target;
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
        let (answer, ask) = self.names.look_up(&name, spec.packet.family, Instant::now());
        if ask && self.questions.len() < MAX_QUESTIONS {
            self.questions.spawn(resolve::ask(name.clone()));
        } else if ask {
            self.names.resolved(&name, &[], Instant::now());
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
