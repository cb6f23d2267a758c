//! Wiring: binds both ports, starts the tasks, ends them in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;
use xprober_config::planner::PlannerSettings;

use crate::metrics::Metrics;
use crate::plan::task::{EVENT_QUEUE, Owner, SETTLE};
use crate::stream::service::JoinService;
use crate::stream::task::Shared;

/// Says why the planner could not start or run.
#[derive(Debug, thiserror::Error)]
pub enum PlannerError {
    /// A listen address could not be bound.
    #[error("cannot listen on {address} ({setting})")]
    Listen {
        /// The setting the address came from.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// gRPC reflection could not be built from the descriptors.
    #[error("cannot offer gRPC reflection")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// The gRPC server failed.
    #[error("the gRPC server failed")]
    Rpc(#[source] tonic::transport::Error),
}

/// A planner whose ports are bound.
#[derive(Debug)]
pub struct Planner {
    settings: Arc<PlannerSettings>,
    rpc: TcpListener,
    rpc_addr: SocketAddr,
    settle: Duration,
}

impl Planner {
    /// Binds the ports of `settings`; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// When an address cannot be bound.
    pub async fn bind(settings: PlannerSettings) -> Result<Self, PlannerError> {
        let (rpc, rpc_addr) = listen("rpc_listen_addr", settings.rpc_listen_addr).await?;
        Ok(Self {
            settings: Arc::new(settings),
            rpc,
            rpc_addr,
            settle: SETTLE,
        })
    }

    /// Replaces [`SETTLE`].
    #[must_use]
    pub const fn settle_within(mut self, settle: Duration) -> Self {
        self.settle = settle;
        self
    }

    /// Says where agents connect.
    #[must_use]
    pub const fn rpc_addr(&self) -> SocketAddr {
        self.rpc_addr
    }

    /// Serves until `shutdown`, then ends all streams with UNAVAILABLE and waits for every task.
    ///
    /// # Errors
    ///
    /// When a server fails.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), PlannerError> {
        let metrics = Arc::new(Metrics::new());
        let tasks = TaskTracker::new();
        let owner_stop = CancellationToken::new();
        let (events, queue) = mpsc::channel(EVENT_QUEUE);
        let (owner, published) = Owner::new(self.settings, self.settle, Arc::clone(&metrics));
        let owner = tasks.spawn(owner.run(queue, owner_stop.clone()));
        let shared = Shared {
            events,
            published,
            metrics,
            stop: shutdown.clone(),
        };
        let streams = TaskTracker::new();
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter
            .set_serving::<xprober_proto::wire::planner_server::PlannerServer<JoinService>>()
            .await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(xprober_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .map_err(PlannerError::Reflection)?;
        info!(addr = %self.rpc_addr, service = "rpc", "listening");
        let served = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(Duration::from_secs(10)))
            .http2_keepalive_timeout(Some(Duration::from_secs(10)))
            .max_concurrent_streams(64)
            .add_service(JoinService::server(shared, streams.clone()))
            .add_service(health)
            .add_service(reflection)
            .serve_with_incoming_shutdown(TcpListenerStream::new(self.rpc), shutdown.cancelled())
            .await;
        streams.close();
        streams.wait().await;
        owner_stop.cancel();
        tasks.close();
        tasks.wait().await;
        drop(owner);
        served.map_err(PlannerError::Rpc)
    }
}

async fn listen(setting: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), PlannerError> {
    let failed = |source| PlannerError::Listen {
        setting,
        address,
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
