//! Holds the stream to the planner: keeps it open, opens it again, and lets the plan die when nobody renews it.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};
use tracing::{debug, error, info, warn};
use xprober_proto::wire::{self, agent_message::Body, planner_message};
use xprober_proto::{PlanUpdate, Revision};

use super::dial::{DialError, Dialer};
use super::{Answer, Change, PlanState, PlanStatus};
use crate::backoff::Backoff;
use crate::random;

/// First and longest wait between two attempts to reach the planner: a restart is over in a moment, and a whole fleet at
/// 5 s is a load that a planner does not notice.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// How long the planner may take to accept a stream.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);
/// A planner that is silent for a lease, but at least for this long, is taken for dead.
const MIN_SILENCE: Duration = Duration::from_secs(15);
/// Our messages that wait for the planner to read; more means that it does not.
const OUTBOUND_QUEUE: usize = 16;
/// How often the same failure is logged.
const WARN_EVERY: Duration = Duration::from_mins(1);
/// Reason of a message that could not be understood.
const REASON_MALFORMED: &str = "malformed";
/// Reason of a stream that the planner refused because of what the Hello says.
const REASON_HELLO: &str = "hello";

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Ending {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the planner did not accept the stream within {} s", JOIN_TIMEOUT.as_secs())]
    JoinTimeout,
    #[error("the planner ended the stream: {}", sentence(.0))]
    Status(Box<Status>),
    #[error("the planner ended the stream")]
    Closed,
    #[error("the planner was silent for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("the planner does not read")]
    Congested,
    #[error("the agent stops")]
    Shutdown,
}

impl From<Status> for Ending {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

impl Ending {
    /// Tells whether only a person can help: the planner refuses this agent, and will do so again.
    fn refused(&self) -> bool {
        matches!(self, Self::Status(status) if matches!(status.code(), Code::PermissionDenied | Code::InvalidArgument))
    }
}

fn sentence(status: &Status) -> String {
    let message: String = status.message().chars().take(512).collect();
    if message.is_empty() {
        return "connection lost".to_owned();
    }
    format!("{message} ({:?})", status.code())
}

/// Runs until `shutdown`; the plan in force survives lost streams until its time to live has passed.
pub async fn run(
    dialer: Dialer,
    state: PlanState,
    changes: mpsc::Sender<Change>,
    status: watch::Sender<PlanStatus>,
    shutdown: CancellationToken,
) {
    let mut link = Link {
        state,
        changes,
        status,
        shutdown,
        connected: false,
    };
    let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
    let mut complaints = Complaints::default();
    loop {
        let ending = match link.stream(&dialer).await {
            Ok(never) => match never {},
            Err(ending) => ending,
        };
        if matches!(ending, Ending::Shutdown) {
            return;
        }
        if link.connected {
            backoff.reset();
            complaints.reset();
        }
        link.connected = false;
        let pause = if ending.refused() {
            link.state.count_rejected(REASON_HELLO);
            BACKOFF.1
        } else {
            backoff.next(random::unit())
        };
        link.publish();
        complaints.tell(&dialer, &ending, pause);
        if link.watched(sleep(pause)).await.is_err() {
            return;
        }
    }
}

struct Link {
    state: PlanState,
    changes: mpsc::Sender<Change>,
    status: watch::Sender<PlanStatus>,
    shutdown: CancellationToken,
    /// Whether this stream has brought a word from the planner.
    connected: bool,
}

impl Link {
    /// Opens one stream and serves it to its end.
    async fn stream(&mut self, dialer: &Dialer) -> Result<std::convert::Infallible, Ending> {
        let (mut client, hello) = self.watched(dialer.dial()).await??;
        let (outbound, messages) = mpsc::channel(OUTBOUND_QUEUE);
        self.state.start_stream();
        say(&outbound, Body::Hello((&hello).into()))?;
        // At once, so that a planner that was restarted knows whether this agent has a plan to lose.
        self.beat(&outbound)?;
        let join = async move { timeout(JOIN_TIMEOUT, client.join(ReceiverStream::new(messages))).await };
        let inbound = self
            .watched(join)
            .await?
            .map_err(|_| Ending::JoinTimeout)??
            .into_inner();
        self.serve(inbound, &outbound).await
    }

    async fn serve(
        &mut self,
        mut inbound: Streaming<wire::PlannerMessage>,
        outbound: &mpsc::Sender<wire::AgentMessage>,
    ) -> Result<std::convert::Infallible, Ending> {
        let mut heard = Instant::now();
        let mut beaten = heard;
        loop {
            let silence = self.state.lease().max(MIN_SILENCE);
            let beat_at = beaten + self.state.lease() / 3;
            let message = async {
                tokio::select! {
                    message = inbound.message() => Some(message),
                    () = sleep_until(beat_at.into()) => None,
                }
            };
            match self.watched(message).await? {
                Some(message) => {
                    let message = message?.ok_or(Ending::Closed)?;
                    heard = Instant::now();
                    self.take(message, outbound).await?;
                }
                None if heard.elapsed() >= silence => return Err(Ending::Silent(silence)),
                None => {
                    beaten = Instant::now();
                    self.beat(outbound)?;
                }
            }
        }
    }

    async fn take(
        &mut self,
        message: wire::PlannerMessage,
        outbound: &mpsc::Sender<wire::AgentMessage>,
    ) -> Result<(), Ending> {
        if !self.connected {
            self.connected = true;
            info!("planner heard");
        }
        let revision = revision_of(&message);
        let step = match PlanUpdate::try_from(message) {
            Ok(update) => self.state.apply(update, Instant::now()),
            Err(error) => {
                // The planner lives, but what it said is refused whole.
                let mut step = self.state.apply(PlanUpdate::KeepAlive, Instant::now());
                self.state.count_rejected(REASON_MALFORMED);
                let reason = error.to_string();
                step.answer = Some(Answer::Nack { revision, reason });
                step
            }
        };
        let changed = step.changes.len();
        self.carry_out(step.changes).await?;
        match step.answer {
            Some(Answer::Ack(revision)) => {
                info!(%revision, changes = changed, targets = self.state.in_force().len(), "plan in force");
                say(outbound, Body::Ack(wire::Ack { revision: revision.0 }))?;
            }
            Some(Answer::Nack { revision, reason }) => {
                warn!(%revision, reason, targets = self.state.in_force().len(), "plan refused as a whole or in part");
                let revision = revision.0;
                say(outbound, Body::Nack(wire::Nack { revision, reason }))?;
            }
            None => {}
        }
        self.publish();
        Ok(())
    }

    /// Does `work`, and meanwhile watches over the plan's time to live and the end of the process.
    async fn watched<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Ending> {
        let mut work = pin!(work);
        let shutdown = self.shutdown.clone();
        loop {
            let deadline = self.state.next_deadline();
            let expiry = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Err(Ending::Shutdown),
                done = &mut work => return Ok(done),
                () = expiry => {
                    let changes = self.state.expire(Instant::now());
                    let targets = changes.iter().filter(|change| matches!(change, Change::Remove(_))).count();
                    warn!(targets, "no planner for the plan's whole time to live: probing stops");
                    self.carry_out(changes).await?;
                    self.publish();
                }
            }
        }
    }

    async fn carry_out(&mut self, changes: Vec<Change>) -> Result<(), Ending> {
        for change in changes {
            // The schedule ends only when the agent does.
            self.changes.send(change).await.map_err(|_| Ending::Shutdown)?;
        }
        Ok(())
    }

    fn beat(&self, outbound: &mpsc::Sender<wire::AgentMessage>) -> Result<(), Ending> {
        let revision = self.state.revision().0;
        say(outbound, Body::Heartbeat(wire::Heartbeat { revision }))
    }

    fn publish(&self) {
        self.status.send_replace(self.state.status(self.connected));
    }
}

fn say(outbound: &mpsc::Sender<wire::AgentMessage>, body: Body) -> Result<(), Ending> {
    let message = wire::AgentMessage { body: Some(body) };
    outbound.try_send(message).map_err(|_| Ending::Congested)
}

fn revision_of(message: &wire::PlannerMessage) -> Revision {
    match &message.body {
        Some(planner_message::Body::Full(full)) => Revision(full.revision),
        Some(planner_message::Body::Delta(delta)) => Revision(delta.revision),
        Some(planner_message::Body::KeepAlive(_)) | None => Revision::NONE,
    }
}

/// Tells why there is no planner: each reason at once, the same one again only now and then.
#[derive(Debug, Default)]
struct Complaints {
    last: Option<(String, Instant)>,
}

impl Complaints {
    fn reset(&mut self) {
        self.last = None;
    }

    fn tell(&mut self, dialer: &Dialer, ending: &Ending, pause: Duration) {
        let text = crate::chain(ending);
        let repeated = matches!(&self.last, Some((last, at)) if *last == text && at.elapsed() < WARN_EVERY);
        let planner = dialer.planner();
        if repeated {
            debug!(%planner, error = text, ?pause, "still no planner");
            return;
        }
        if ending.refused() {
            error!(%planner, error = text, ?pause, "the planner refuses this agent");
        } else {
            warn!(%planner, error = text, ?pause, "no planner, trying again");
        }
        self.last = Some((text, Instant::now()));
    }
}
