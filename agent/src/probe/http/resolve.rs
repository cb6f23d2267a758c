//! Name resolution as the machine does it (`getaddrinfo`: hosts file, search domains, the resolver's order).

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Most lookups at a time.
///
/// `getaddrinfo` cannot be cancelled, so a lookup outlives the probe that gave up on it, for half a minute with the usual
/// resolver settings. The bound leaves half of tokio's 512 blocking threads to everyone else when the resolver hangs.
const MAX_LOOKUPS: usize = 256;

type Lookup = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Turns names into addresses, on threads that may block.
#[derive(Clone)]
pub(super) struct Resolver {
    lookup: Arc<Lookup>,
    permits: Arc<Semaphore>,
}

impl Resolver {
    /// Resolves as every other program of the machine does.
    pub(super) fn system() -> Self {
        Self::with(|host, port| Ok((host, port).to_socket_addrs()?.collect()))
    }

    /// Resolves by `lookup`, which may block.
    pub(super) fn with(lookup: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Self {
            lookup: Arc::new(lookup),
            permits: Arc::new(Semaphore::new(MAX_LOOKUPS)),
        }
    }

    /// Resolves `host`, in the order of the system's preference.
    ///
    /// # Errors
    /// The name does not exist or the resolver does not answer.
    pub(super) async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let lookup = Arc::clone(&self.lookup);
        let host = host.to_owned();
        spawn_blocking(move || {
            // Held by the thread, not by the probe: see `MAX_LOOKUPS`.
            let _permit = permit;
            lookup(&host, port)
        })
        .await
        .map_err(io::Error::other)?
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}
