//! Receives DNS questions over UDP inside a host's namespace and answers them after the set delay.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tracing::debug;

use super::{DnsSettings, read_question, write_answer};
use crate::error::LabError;
use crate::namespace::Namespace;
use crate::servers::{Spawner, Tasks};

/// Where resolv.conf points, and where the C library asks when there is none.
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 53), Ipv4Addr::LOCALHOST];
const PORT: u16 = 53;
/// Longest message without extensions is 512 bytes (RFC 1035, 4.2.1); questions are shorter.
const MESSAGE_CAPACITY: usize = 1_500;

/// A host's DNS server.
#[derive(Debug)]
pub struct Dns {
    settings: watch::Sender<DnsSettings>,
    tasks: Tasks,
}

impl Dns {
    /// Starts the server on the host's loopback.
    ///
    /// # Errors
    /// [`LabError::Io`] when a socket cannot be bound.
    pub fn start(namespace: &Namespace, settings: DnsSettings) -> Result<Self, LabError> {
        let (sender, receiver) = watch::channel(settings);
        let tasks = Tasks::default();
        for address in ADDRESSES {
            let doing = || LabError::io(format!("opening the DNS socket on {address}"));
            let bound = namespace
                .run(|| std::net::UdpSocket::bind((address, PORT)))?
                .map_err(doing())?;
            bound.set_nonblocking(true).map_err(doing())?;
            let socket = Arc::new(UdpSocket::from_std(bound).map_err(doing())?);
            tasks.spawn(serve(socket, receiver.clone(), tasks.spawner()));
        }
        Ok(Self {
            settings: sender,
            tasks,
        })
    }

    /// Changes names, delay or health; in force for the next question.
    pub fn change(&self, change: impl FnOnce(&mut DnsSettings)) {
        self.settings.send_modify(change);
    }

    /// Ends the server.
    pub async fn stop(&self) {
        self.tasks.stop().await;
    }
}

async fn serve(socket: Arc<UdpSocket>, settings: watch::Receiver<DnsSettings>, spawner: Spawner) {
    let mut buffer = [0; MESSAGE_CAPACITY];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                debug!(%error, "DNS question was not received");
                continue;
            }
        };
        let Some(question) = read_question(&buffer[..length]) else {
            continue;
        };
        let (answer, delay) = {
            let settings = settings.borrow();
            (write_answer(&question, &settings), settings.delay)
        };
        let socket = Arc::clone(&socket);
        spawner.spawn(async move {
            tokio::time::sleep(delay).await;
            send(&socket, &answer, client).await;
        });
    }
}

async fn send(socket: &UdpSocket, answer: &[u8], client: SocketAddr) {
    if let Err(error) = socket.send_to(answer, client).await {
        debug!(%error, %client, "DNS answer was not sent");
    }
}
