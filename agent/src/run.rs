//! Builds every task, joins them by their channels, and takes them down in order.

use std::num::NonZeroU16;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use xprober_config::agent::{AgentSettings, RemoteWrite};
use xprober_proto::Limits;

use crate::identity::{Identity, KINDS};
use crate::pipeline::{Pipeline, Source, Totals};
use crate::plan::admission::HardLimits;
use crate::plan::dial::Dialer;
use crate::plan::{self, PlanState};
use crate::probe::http::client::{HttpProber, HttpProberError};
use crate::probe::icmp::open::OpenError;
use crate::probe::icmp::task::Backend;
use crate::probe::{http, icmp, tcp};
use crate::push::{self, PushError};
use crate::responder::{Responder, ResponderError};
use crate::schedule::task::Probers;
use crate::{VERSION, privilege, random, schedule, thread};

/// Changes that wait for the schedule: a large plan passes in pieces.
const CHANGES_QUEUE: usize = 1024;
/// Ticks whose probes wait for their prober.
const DUE_QUEUE: usize = 64;
/// Events that wait for the ledger.
const EVENTS_QUEUE: usize = 8192;
/// The lease before a planner named one: the planner's default.
const FIRST_LEASE: std::time::Duration = std::time::Duration::from_secs(30);

/// Says why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No echo can be sent.
    #[error(transparent)]
    Icmp(#[from] OpenError),
    /// Other agents cannot connect to this one.
    #[error(transparent)]
    Responder(#[from] ResponderError),
    /// The schedule cannot have its thread.
    #[error("start the thread of the probes")]
    Thread(#[source] std::io::Error),
    /// HTTPS targets cannot be judged.
    #[error("prepare the HTTP prober")]
    Http(#[from] HttpProberError),
    /// Samples cannot be pushed.
    #[error("prepare the push")]
    Push(#[from] PushError),
    /// A part that must run for ever ended: a fault of ours.
    #[error("the {0} task ended unexpectedly")]
    Ended(&'static str),
    /// A part failed: a fault of ours.
    #[error("a task failed")]
    Failed(#[from] tokio::task::JoinError),
}

/// Parts of the agent; each says which one it was when it ends.
enum Part {
    Plan,
    Probes,
    Tcp,
    Responder,
    Http,
    Pipeline(Totals),
}

impl Part {
    const fn name(&self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Probes => "schedule and ICMP prober",
            Self::Tcp => "TCP prober",
            Self::Responder => "TCP responder",
            Self::Http => "HTTP prober",
            Self::Pipeline(_) => "sample",
        }
    }
}

/// Runs the agent until `shutdown`, then lets the open probe windows close and pushes what was measured, all within
/// about the drain timeout. Answers with what became of the samples.
///
/// The order of the end follows the flow: the schedule stops, its channels close, the probers finish, theirs close, and
/// the pipeline takes the last snapshot.
///
/// # Errors
///
/// Something that was needed at the start is missing, or a task ended by itself; what was measured is pushed all the same.
pub async fn run(settings: AgentSettings, identity: Identity, shutdown: CancellationToken) -> Result<Totals, RunError> {
    let mut parts = build(settings, &identity, &shutdown)?;
    let mut totals = Totals::default();
    let mut result = Ok(());
    while let Some(part) = parts.join_next().await {
        let unexpected = !shutdown.is_cancelled();
        match part {
            Ok(part) => {
                if unexpected {
                    error!(task = part.name(), "task ended unexpectedly, the agent stops");
                    result = Err(RunError::Ended(part.name()));
                }
                if let Part::Pipeline(end) = part {
                    totals = end;
                    // Whoever still probes has nobody left to tell.
                    break;
                }
            }
            Err(error) => {
                error!(%error, "task failed, the agent stops");
                result = Err(error.into());
            }
        }
        if unexpected {
            shutdown.cancel();
        }
    }
    shutdown.cancel();
    parts.shutdown().await;
    let sum = totals.sum();
    info!(
        sealed = sum.sealed,
        stale_markers = sum.stale_markers,
        inherited = sum.inherited,
        pushed = sum.pushed,
        dropped = sum.dropped.values().sum::<u64>(),
        left = sum.left,
        unsaved = sum.unsaved,
        "agent stopped"
    );
    result.map(|()| totals)
}

fn build(
    settings: AgentSettings,
    identity: &Identity,
    shutdown: &CancellationToken,
) -> Result<JoinSet<Part>, RunError> {
    let networks: Arc<[_]> = settings.limits.allowed_networks.clone().into();
    let random = random::word();
    let echo = Backend::open(settings.icmp.backend, random)?;
    let responder = settings.responder_tcp.map(Responder::bind).transpose()?;
    privilege::drop_all();
    let http = HttpProber::new(settings.limits.http_ca_file.as_deref(), networks.to_vec())?;
    let (changes, change_queue) = mpsc::channel(CHANGES_QUEUE);
    let (icmp_due, icmp_queue) = mpsc::channel(DUE_QUEUE);
    let (tcp_due, tcp_queue) = mpsc::channel(DUE_QUEUE);
    let (http_due, http_queue) = mpsc::channel(DUE_QUEUE);
    let (events, happened) = mpsc::channel(EVENTS_QUEUE);
    let state = PlanState::new(hard_limits(settings.limits.limits, &networks), FIRST_LEASE);
    let (status, published) = watch::channel(state.status(false));
    let source = Source {
        region: identity.region.clone(),
        agent_id: identity.agent_id.clone(),
        version: VERSION,
    };
    let pipeline = Pipeline::build(&settings, source, published, happened)?;
    let dialer = Dialer::new(
        settings.grpc_server_address,
        identity.clone(),
        &settings.probe_addresses,
        responder
            .as_ref()
            .and_then(|responder| NonZeroU16::new(responder.local_port())),
    );
    info!(
        version = VERSION,
        agent = %identity.agent_id,
        region = %identity.region,
        zone = identity.zone.as_ref().map(tracing::field::display),
        planner = %dialer.planner(),
        remote_write = %urls(&settings.remote_write),
        "agent started"
    );

    let probers = Probers {
        icmp: icmp_due,
        tcp: tcp_due,
        http: http_due,
    };
    let mut parts = JoinSet::new();
    let planning = plan::task::run(dialer, state, changes, status, shutdown.clone());
    parts.spawn(async move {
        planning.await;
        Part::Plan
    });
    let connecting = tcp::task::run(Arc::clone(&networks), tcp_queue, events.clone(), shutdown.clone());
    parts.spawn(async move {
        connecting.await;
        Part::Tcp
    });
    if let Some(responder) = responder {
        let answering = responder.run(shutdown.clone());
        parts.spawn(async move {
            answering.await;
            Part::Responder
        });
    }
    let agent_id = identity.agent_id.clone();
    let scheduling = schedule::task::run(agent_id, change_queue, probers, events.clone(), shutdown.clone());
    let pinging = icmp::task::run(echo, random, networks, icmp_queue, events.clone());
    let probing = thread::run("probes", async {
        // In the order of the flow: what is due leaves in the same turn.
        tokio::join!(scheduling, pinging);
    })
    .map_err(RunError::Thread)?;
    parts.spawn(async move {
        let _ended = probing.await;
        Part::Probes
    });
    let fetching = http::task::run(Arc::new(http), http_queue, events, shutdown.clone());
    parts.spawn(async move {
        fetching.await;
        Part::Http
    });
    let pipeline = pipeline.run(shutdown.clone());
    parts.spawn(async move { Part::Pipeline(pipeline.await) });
    Ok(parts)
}

fn urls(endpoints: &[RemoteWrite]) -> String {
    let urls: Vec<String> = endpoints
        .iter()
        .map(|endpoint| push::report::plain(&endpoint.url))
        .collect();
    urls.join(",")
}

fn hard_limits(limits: Limits, networks: &Arc<[ipnet::IpNet]>) -> HardLimits {
    HardLimits {
        limits,
        allowed_networks: Arc::clone(networks),
        kinds: KINDS.to_vec(),
    }
}
