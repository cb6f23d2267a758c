//! Opens connections to the planner.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tracing::debug;
use xprober_config::agent::ServerAddress;
use xprober_proto::wire::planner_client::PlannerClient;
use xprober_proto::{Addresses, Hello};

use crate::identity::Identity;
use crate::identity::route::{RouteError, source_towards};

/// How long name resolution may take, and then each attempt to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A ping every 5 s that has to be answered within 5 s: a cut line is noticed after 10 s.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Room for the largest plan: 200,000 targets of some 300 bytes.
const MAX_PLAN_BYTES: usize = 64 << 20;

/// Says why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The planner's name does not resolve.
    #[error("resolve the planner's host name {0}")]
    Resolve(String, #[source] std::io::Error),
    /// The name server did not answer.
    #[error("no address for the planner's host name {0} within {n} s", n = CONNECT_TIMEOUT.as_secs())]
    NoAddress(String),
    /// There is no usable route.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// Nobody accepted.
    #[error("connect to the planner at {0}")]
    Connect(SocketAddr, #[source] tonic::transport::Error),
}

/// Knows where the planner is and who calls.
#[derive(Debug, Clone)]
pub struct Dialer {
    planner: ServerAddress,
    identity: Identity,
    addresses: Option<Addresses>,
    tcp_port: Option<NonZeroU16>,
}

impl Dialer {
    /// Introduces `identity` to `planner`, reachable at `probe_addresses`; without any, at the source address of each
    /// connection's route. `tcp_port` is that of its responder.
    #[must_use]
    pub fn new(
        planner: ServerAddress,
        identity: Identity,
        probe_addresses: &[IpAddr],
        tcp_port: Option<NonZeroU16>,
    ) -> Self {
        let v4 = probe_addresses.iter().find_map(|address| match address {
            IpAddr::V4(v4) => Some(*v4),
            IpAddr::V6(_) => None,
        });
        let v6 = probe_addresses.iter().find_map(|address| match address {
            IpAddr::V6(v6) => Some(*v6),
            IpAddr::V4(_) => None,
        });
        Self {
            planner,
            identity,
            addresses: Addresses::new(v4, v6),
            tcp_port,
        }
    }

    /// Where the planner is, as configured.
    #[must_use]
    pub const fn planner(&self) -> &ServerAddress {
        &self.planner
    }

    /// Resolves the planner's name, connects to the first address that accepts, and makes up the Hello for it.
    ///
    /// Only the address of the connection's own family is announced: a planner accepts no other without being told to.
    ///
    /// # Errors
    ///
    /// The last failure, when no address accepts.
    pub async fn dial(&self) -> Result<(PlannerClient<Channel>, Hello), DialError> {
        let host = &self.planner.host;
        let lookup = tokio::net::lookup_host((host.as_str(), self.planner.port));
        let found = timeout(CONNECT_TIMEOUT, lookup)
            .await
            .map_err(|_| DialError::NoAddress(host.clone()))?
            .map_err(|error| DialError::Resolve(host.clone(), error))?;
        let mut failure = DialError::NoAddress(host.clone());
        for address in found {
            match self.connect(address).await {
                Ok(connected) => return Ok(connected),
                Err(error) => {
                    debug!(%address, %error, "planner's address does not accept");
                    failure = error;
                }
            }
        }
        Err(failure)
    }

    async fn connect(&self, address: SocketAddr) -> Result<(PlannerClient<Channel>, Hello), DialError> {
        let refused = |error| DialError::Connect(address, error);
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .map_err(refused)?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true)
            .connect()
            .await
            .map_err(refused)?;
        let addresses = match self.addresses {
            Some(addresses) => addresses,
            None => source_towards(address).await?,
        };
        let client = PlannerClient::new(channel).max_decoding_message_size(MAX_PLAN_BYTES);
        Ok((client, self.identity.hello(addresses, self.tcp_port)))
    }
}
