//! Wiring: binds both ports, starts the tasks, ends them in order.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::TcpIncoming;
use tracing::{info, warn};
use xprober_config::planner::PlannerSettings;
use xprober_proto::FILE_DESCRIPTOR_SET;
use xprober_proto::wire::planner_server::PlannerServer;

use crate::admin::listener::LimitedListener;
use crate::admin::{Admin, routes};
use crate::metrics::Metrics;
use crate::plan::task::{EVENT_QUEUE, Owner, SETTLE};
use crate::query::task::Asker;
use crate::reload::ConfigState;
use crate::reload::task::{Reloader, Source};
use crate::stream::service::JoinService;
use crate::stream::task::Shared;

/// How long streams and pages may take to end; agents do not wait for more than a round trip.
const DRAIN: Duration = Duration::from_secs(5);
/// Reload requests that may wait: each answers all the same, so a person with a script needs no more.
const RELOAD_QUEUE: usize = 4;
/// Most connections to the pages: a few scrapers and people.
const MAX_WEB_CONNECTIONS: usize = 128;
/// Finds half-open connections from the planner's side, well within a lease.
const PING: Duration = Duration::from_secs(10);
/// Agents use one stream per connection; a few more for health checks and reflection.
const STREAMS_PER_CONNECTION: u32 = 64;

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
        source: io::Error,
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
    source: Option<Source>,
    settle: Duration,
    rpc: TcpListener,
    rpc_addr: SocketAddr,
    web: TcpListener,
    web_addr: SocketAddr,
}

impl Planner {
    /// Binds the ports of `settings`; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// When an address cannot be bound.
    pub async fn bind(settings: PlannerSettings) -> Result<Self, PlannerError> {
        let (rpc, rpc_addr) = listen("rpc_listen_addr", settings.rpc_listen_addr).await?;
        let (web, web_addr) = listen("metrics_listen_addr", settings.metrics_listen_addr).await?;
        Ok(Self {
            settings: Arc::new(settings),
            source: None,
            settle: SETTLE,
            rpc,
            rpc_addr,
            web,
            web_addr,
        })
    }

    /// Names the file that the settings came from; without one every reload is refused.
    #[must_use]
    pub fn reloading(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
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

    /// Says where the pages are.
    #[must_use]
    pub const fn web_addr(&self) -> SocketAddr {
        self.web_addr
    }

    /// Serves until `shutdown`, then ends all streams with UNAVAILABLE and waits for every task, at most 5 s.
    ///
    /// # Errors
    ///
    /// When the gRPC server cannot be built or fails.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), PlannerError> {
        // A server that fails ends the others too.
        let stop = shutdown.child_token();
        let tasks = TaskTracker::new();
        let metrics = Arc::new(Metrics::new());
        let loaded_at = SystemTime::now();
        metrics.reloaded(Some(loaded_at));
        let (events, queue) = mpsc::channel(EVENT_QUEUE);
        let (owner, published) = Owner::new(Arc::clone(&self.settings), self.settle, Arc::clone(&metrics));
        let shared = Shared {
            events: events.clone(),
            published: published.clone(),
            metrics: Arc::clone(&metrics),
            stop: stop.clone(),
        };
        let rpc = rpc_server(self.rpc, shared, &tasks).await?;

        let file = self.source.as_ref().map(|source| source.file.clone());
        let (state, config) = watch::channel(ConfigState::loaded(file, loaded_at));
        let (reload, requests) = mpsc::channel(RELOAD_QUEUE);
        let reloader = Reloader {
            source: self.source,
            bound: self.settings,
            events: events.clone(),
            state,
            metrics: Arc::clone(&metrics),
        };
        let (asker, values) = Asker::new(published.clone());
        let admin = Admin {
            events,
            published,
            config,
            reload,
            values,
            metrics,
            stop: stop.clone(),
        };
        let web = axum::serve(LimitedListener::new(self.web, MAX_WEB_CONNECTIONS), routes(admin))
            .with_graceful_shutdown(stop.clone().cancelled_owned());

        tasks.spawn(owner.run(queue, stop.clone()));
        tasks.spawn(reloader.run(requests, stop.clone()));
        tasks.spawn(asker.run(stop.clone()));
        tasks.spawn(async move { web.await });
        info!(service = "rpc", addr = %self.rpc_addr, "listening");
        info!(service = "web", addr = %self.web_addr, "listening");
        let served = tasks.spawn(rpc(stop.clone()));
        let ended = tokio::select! {
            () = stop.cancelled() => Ok(()),
            // A task that is gone without a result was ended with the runtime.
            ended = served => ended.unwrap_or(Ok(())),
        };
        stop.cancel();
        tasks.close();
        if timeout(DRAIN, tasks.wait()).await.is_err() {
            warn!(
                seconds = DRAIN.as_secs(),
                "connections were cut that did not end in time"
            );
        }
        ended.map_err(PlannerError::Rpc)
    }
}

/// Puts the planner service, health and reflection on one port; the result serves until its token is cancelled.
async fn rpc_server(
    listener: TcpListener,
    shared: Shared,
    tasks: &TaskTracker,
) -> Result<impl FnOnce(CancellationToken) -> Serving, PlannerError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<PlannerServer<JoinService>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(PlannerError::Reflection)?;
    let router = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(PING))
        .http2_keepalive_timeout(Some(PING))
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .add_service(JoinService::server(shared, tasks.clone()))
        .add_service(health)
        .add_service(reflection);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Ok(|stop: CancellationToken| -> Serving {
        Box::pin(router.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()))
    })
}

type Serving = Pin<Box<dyn Future<Output = Result<(), tonic::transport::Error>> + Send>>;

async fn listen(setting: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), PlannerError> {
    let failed = |source| PlannerError::Listen {
        setting,
        address,
        source,
    };
    let listener = match TcpListener::bind(address).await {
        // `:6001` means every interface; on a kernel without IPv6 those are the IPv4 ones.
        Err(error) if address.ip().is_unspecified() && no_such_family(&error) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    }
    .map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn no_such_family(error: &io::Error) -> bool {
    /// Linux' number for it; `ErrorKind` has no name.
    const EAFNOSUPPORT: i32 = 97;
    // EADDRNOTAVAIL is what a kernel says whose IPv6 is there but switched off.
    matches!(
        error.kind(),
        io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable
    ) || error.raw_os_error() == Some(EAFNOSUPPORT)
}
