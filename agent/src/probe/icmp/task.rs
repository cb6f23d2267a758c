//! The front of the ICMP prober: due probes in, addresses looked up, requests out to the backend.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tracing::info;
use xprober_config::agent::IcmpBackend;
use xprober_proto::{HostName, ProbeSpec, Target};

use super::engine;
use super::open::OpenError;
use super::portable::PortableSocket;
use super::prober::{Prober, Request};
use super::socket::EchoSocket;
use crate::probe::lookup::{Found, Lookups};
use crate::probe::resolve::NoAddress;
use crate::probe::{Due, Stamp};
use crate::samples::Event;

#[cfg(target_os = "linux")]
use super::linux::LinuxSocket;

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
    run_settling(backend, random, None, allowed_networks, due, events).await;
}

/// [`run`], and with `settle` results leave so long after a reply.
async fn run_settling(
    backend: Backend,
    random: u64,
    settle: Option<Duration>,
    allowed_networks: Arc<[IpNet]>,
    due: mpsc::Receiver<Vec<Due>>,
    events: mpsc::Sender<Event>,
) {
    info!(stamp = backend.stamp().as_str(), "ICMP prober ready");
    let (requests, queue) = mpsc::channel(REQUESTS_QUEUE);
    let front = Front::new(allowed_networks, requests, events.clone());
    tokio::join!(front.run(due), backend.probe(random, settle, queue, events));
}

struct Front {
    lookups: Lookups,
    requests: mpsc::Sender<Vec<Request>>,
    events: mpsc::Sender<Event>,
}

impl Front {
    fn new(allowed: Arc<[IpNet]>, requests: mpsc::Sender<Vec<Request>>, events: mpsc::Sender<Event>) -> Self {
        Self {
            lookups: Lookups::new(allowed),
            requests,
            events,
        }
    }

    async fn run(mut self, mut due: mpsc::Receiver<Vec<Due>>) {
        let mut open = true;
        while open || self.lookups.is_waiting() {
            let mut batch = Vec::new();
            tokio::select! {
                next = due.recv(), if open => match next {
                    Some(due) => batch.extend(due.into_iter().filter_map(|due| self.look_up(due.target))),
                    None => open = false,
                },
                Some(found) = self.lookups.answered() => batch.extend(found.into_iter().map(request)),
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

    fn look_up(&mut self, target: Arc<Target>) -> Option<Request> {
        let ProbeSpec::Icmp(spec) = &target.probe else {
            return None;
        };
        match &spec.host {
            HostName::Address(address) => {
                let to = Ok(address.to_canonical());
                Some(Request { target, to })
            }
            HostName::Name(name) => {
                let found = self.lookups.look_up(name, spec.packet.family, Arc::clone(&target));
                found.map(request)
            }
        }
    }
}

fn request(Found { target, to }: Found) -> Request {
    let to = to.map_err(NoAddress::reason);
    Request { target, to }
}

#[cfg(test)]
mod tests;
