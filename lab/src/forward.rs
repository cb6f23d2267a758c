//! Lets a browser on the machine open addresses that exist only inside the lab.
//!
//! ```text
//!  browser -> 127.0.0.1:N (Outside) -> <work>/forward/<name>.sock -> (Inside) -> 127.0.0.1:9090 in the hub
//! ```
//! Sockets with a path cross network namespaces; nothing listens anywhere but on the machine's loopback.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::enter;
use crate::error::LabError;

fn socket_path(work: &Path, name: &str) -> PathBuf {
    work.join("forward").join(format!("{name}.sock"))
}

/// The listening ports on the machine's loopback.
#[derive(Debug)]
pub struct Outside {
    ports: BTreeMap<String, u16>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Outside {
    /// Opens one port, chosen by the kernel, for each name.
    ///
    /// # Errors
    /// [`LabError::Io`] when no port can be opened.
    pub async fn open(work: &Path, names: &[String]) -> Result<Self, LabError> {
        let folder = work.join("forward");
        std::fs::create_dir_all(&folder).map_err(LabError::io(format!("making {}", folder.display())))?;
        let mut outside = Self {
            ports: BTreeMap::new(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        for name in names {
            let doing = || LabError::io(format!("opening a port for {name}"));
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(doing())?;
            outside
                .ports
                .insert(name.clone(), listener.local_addr().map_err(doing())?.port());
            let (path, tasks, stop) = (socket_path(work, name), outside.tasks.clone(), outside.stop.clone());
            outside.tasks.spawn(accept_outside(listener, path, tasks, stop));
        }
        Ok(outside)
    }

    /// Ports by name.
    #[must_use]
    pub fn ports(&self) -> &BTreeMap<String, u16> {
        &self.ports
    }

    /// Closes all ports and connections.
    pub async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn accept_outside(listener: TcpListener, path: PathBuf, tasks: TaskTracker, stop: CancellationToken) {
    while let Some(Ok((client, _))) = stop.run_until_cancelled(listener.accept()).await {
        let path = path.clone();
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
            join(client, UnixStream::connect(path).await).await;
        }));
    }
}

/// The inside's ends of the forwarded ports.
#[derive(Debug)]
pub struct Inside {
    place: enter::Inside,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Inside {
    /// Makes the inside's end without offering anything yet.
    #[must_use]
    pub fn new(place: enter::Inside) -> Self {
        Self {
            place,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Connects a name with an address in the hub and answers the URL under which the machine reaches it.
    ///
    /// # Errors
    /// [`LabError::Io`] when the name was not given to [`enter::enter`] or is offered twice.
    pub fn offer(&self, name: &str, target: SocketAddr) -> Result<String, LabError> {
        let doing = || LabError::io(format!("offering {name} at {target} to the outside"));
        let port = self
            .place
            .port(name)
            .ok_or_else(|| doing()(io::ErrorKind::NotFound.into()))?;
        let listener = UnixListener::bind(socket_path(self.place.work(), name)).map_err(doing())?;
        self.tasks
            .spawn(accept_inside(listener, target, self.tasks.clone(), self.stop.clone()));
        Ok(format!("http://127.0.0.1:{port}"))
    }

    /// Closes everything that was offered.
    pub async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn accept_inside(listener: UnixListener, target: SocketAddr, tasks: TaskTracker, stop: CancellationToken) {
    while let Some(Ok((client, _))) = stop.run_until_cancelled(listener.accept()).await {
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
            join(client, TcpStream::connect(target).await).await;
        }));
    }
}

async fn join(mut one: impl AsyncRead + AsyncWrite + Unpin, other: io::Result<impl AsyncRead + AsyncWrite + Unpin>) {
    let copied = match other {
        Ok(mut other) => copy_bidirectional(&mut one, &mut other).await.map(drop),
        Err(error) => Err(error),
    };
    if let Err(error) = copied {
        debug!(%error, "forwarded connection ended");
    }
}
