//! The loop of one stream. Ends when the agent leaves, falls silent, is replaced, or the planner stops.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{debug, info, warn};
use xprober_proto::wire::{AgentMessage, PlannerMessage, agent_message::Body};
use xprober_proto::{Hello, PlanUpdate, Revision};

use super::{Session, check_addresses};
use crate::members::{MemberKey, StreamId};
use crate::metrics::{Metrics, Rejection, Sent};
use crate::plan::task::{Ending, Event, Published};

/// How long a stream may stay silent before its first message: many round trips, far below a lease.
pub const HELLO_DEADLINE: Duration = Duration::from_secs(10);
/// Plans that wait for a slow agent; what comes on top is folded into the next one.
pub const OUTBOUND_QUEUE: usize = 4;
/// Longest reason of a refusal that is kept, bytes; the protocol's limit.
const MAX_REASON_BYTES: usize = 1024;

/// What every stream needs.
#[derive(Debug, Clone)]
pub struct Shared {
    /// To the owner of the registry.
    pub events: mpsc::Sender<Event>,
    /// The latest plan.
    pub published: watch::Receiver<Published>,
    /// The catalogue.
    pub metrics: Arc<Metrics>,
    /// Ends every stream with UNAVAILABLE.
    pub stop: CancellationToken,
}

/// What goes to tonic.
pub type Outbound = mpsc::Sender<Result<PlannerMessage, Status>>;

/// Serves one stream from its first message to its end.
pub async fn serve(
    shared: Shared,
    peer: IpAddr,
    stream: StreamId,
    inbound: impl Stream<Item = Result<AgentMessage, Status>> + Send,
    outbound: Outbound,
) {
    let mut inbound = pin!(inbound);
    shared.metrics.streams.inc();
    let hello = tokio::select! {
        hello = introduction(&shared, peer, inbound.as_mut()) => hello,
        () = shared.stop.cancelled() => Err(stopping()),
        () = outbound.closed() => Err(Status::cancelled("the agent left")),
    };
    let status = match hello {
        Ok(hello) => member(&shared, stream, hello, inbound, &outbound).await.err(),
        Err(status) => {
            warn!(%peer, reason = status.message(), "agent stream refused");
            Some(status)
        }
    };
    if let Some(status) = status {
        // An agent that does not read does not learn why; it must not keep this task.
        let _ = outbound.try_send(Err(status));
    }
    shared.metrics.streams.dec();
}

fn stopping() -> Status {
    Status::unavailable("the planner stops")
}

async fn introduction(
    shared: &Shared,
    peer: IpAddr,
    inbound: impl Stream<Item = Result<AgentMessage, Status>>,
) -> Result<Hello, Status> {
    let reject = |reason: Rejection, status: Status| {
        shared.metrics.rejected(reason);
        status
    };
    let mut inbound = pin!(inbound);
    let first = match timeout(HELLO_DEADLINE, inbound.next()).await {
        Ok(Some(Ok(message))) => message.body,
        Ok(Some(Err(status))) => return Err(reject(Rejection::malformed, status)),
        Ok(None) => None,
        Err(_) => {
            let status = Status::deadline_exceeded("no hello within 10 s");
            return Err(reject(Rejection::missing, status));
        }
    };
    let Some(Body::Hello(hello)) = first else {
        let status = Status::invalid_argument("the first message of a stream must be a hello");
        return Err(reject(Rejection::missing, status));
    };
    let hello = Hello::try_from(hello)
        .map_err(|error| reject(Rejection::malformed, Status::invalid_argument(error.to_string())))?;
    let settings = Arc::clone(&shared.published.borrow().settings);
    check_addresses(&settings.agents, peer, &hello.addresses)
        .map_err(|error| reject(Rejection::address, Status::permission_denied(error.to_string())))?;
    Ok(hello)
}

async fn member(
    shared: &Shared,
    stream: StreamId,
    hello: Hello,
    inbound: impl Stream<Item = Result<AgentMessage, Status>>,
    outbound: &Outbound,
) -> Result<(), Status> {
    let key = MemberKey::of(&hello);
    let (end, ended) = oneshot::channel();
    let (reply, joined) = oneshot::channel();
    let join = Event::Join {
        hello,
        stream,
        end,
        reply,
    };
    shared.events.send(join).await.map_err(|_| stopping())?;
    if let Err(full) = joined.await.map_err(|_| stopping())? {
        shared.metrics.rejected(Rejection::full);
        return Err(Status::resource_exhausted(full.to_string()));
    }
    let member = Connected {
        shared,
        key: &key,
        stream,
        session: Session::default(),
        dirty: true,
    };
    let result = member.run(inbound, outbound, ended).await;
    info!(agent = %key, reason = result.as_ref().err().map_or("the agent left", Status::message), "stream ended");
    // The owner is gone only when the planner stops.
    let _ = shared.events.send(Event::Lost(key, stream)).await;
    result
}

struct Connected<'a> {
    shared: &'a Shared,
    key: &'a MemberKey,
    stream: StreamId,
    session: Session,
    /// There may be something to say.
    dirty: bool,
}

impl Connected<'_> {
    async fn run(
        mut self,
        inbound: impl Stream<Item = Result<AgentMessage, Status>>,
        outbound: &Outbound,
        mut ended: oneshot::Receiver<Ending>,
    ) -> Result<(), Status> {
        let mut inbound = pin!(inbound);
        let mut published = self.shared.published.clone();
        let lease = published.borrow_and_update().settings.agents.lease;
        // A changed lease comes with a full plan, which the agent takes as a sign of life too; three in one lease leave
        // room for two that were lost.
        let mut keep_alive = tokio::time::interval(keep_alive_interval(lease));
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        keep_alive.reset();
        loop {
            tokio::select! {
                () = self.shared.stop.cancelled() => return Err(stopping()),
                ending = &mut ended => return Err(match ending {
                    Ok(Ending::Replaced) => Status::aborted("a newer stream with this region and agent id took over"),
                    Ok(Ending::LeaseEnded) => Status::aborted("nothing was heard for a whole lease"),
                    Err(_) => stopping(),
                }),
                message = inbound.next() => match message {
                    Some(Ok(message)) => self.heard(message).await?,
                    Some(Err(status)) => {
                        debug!(agent = %self.key, error = %status, "stream broke");
                        return Ok(());
                    }
                    None => return Ok(()),
                },
                changed = published.changed() => {
                    changed.map_err(|_| stopping())?;
                    let next = keep_alive_interval(published.borrow_and_update().settings.agents.lease);
                    if next != keep_alive.period() {
                        keep_alive = tokio::time::interval(next);
                        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
                    }
                    self.dirty = true;
                }
                permit = outbound.reserve(), if self.dirty => match permit {
                    Ok(permit) => {
                        self.dirty = false;
                        let latest = self.shared.published.borrow().clone();
                        if let Some(update) = self.next(&latest) {
                            permit.send(Ok((&update).into()));
                            keep_alive.reset();
                        }
                    }
                    Err(_) => return Ok(()),
                },
                _ = keep_alive.tick() => {
                    // A full queue already holds news that the agent has not read.
                    let _ = outbound.try_send(Ok((&PlanUpdate::KeepAlive).into()));
                }
                () = outbound.closed() => return Ok(()),
            }
        }
    }

    fn next(&mut self, latest: &Published) -> Option<PlanUpdate> {
        if latest.settling && !self.session.may_get_partial_plan() {
            return None;
        }
        // Before the plan that knows this agent there is nothing to say.
        let update = self.session.update(latest.plan.agent(self.key)?)?;
        match &update {
            PlanUpdate::Full(_) => self.shared.metrics.sent(Sent::full),
            PlanUpdate::Delta { .. } => self.shared.metrics.sent(Sent::delta),
            PlanUpdate::KeepAlive => {}
        }
        Some(update)
    }

    async fn heard(&mut self, message: AgentMessage) -> Result<(), Status> {
        let (key, stream) = (self.key.clone(), self.stream);
        let event = match message.body {
            Some(Body::Heartbeat(heartbeat)) => {
                self.session.holds(Revision(heartbeat.revision));
                Event::Heartbeat(key, stream)
            }
            Some(Body::Ack(ack)) => {
                self.session.accepted();
                Event::Answered(key, stream, Ok(Revision(ack.revision)))
            }
            Some(Body::Nack(nack)) => {
                self.session.refused(Revision(nack.revision));
                let mut reason: String = nack.reason.chars().filter(|c| !c.is_control()).collect();
                reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
                Event::Answered(key, stream, Err(reason))
            }
            Some(Body::Hello(_)) => return Err(Status::invalid_argument("a stream has one hello, its first message")),
            // A message of a later version is a sign of life.
            None => Event::Heartbeat(key, stream),
        };
        self.dirty = true;
        self.shared.events.send(event).await.map_err(|_| stopping())
    }
}

/// Three times in a lease, at least every 10 s, and never busier than 20 times a second.
fn keep_alive_interval(lease: Duration) -> Duration {
    (lease / 3).clamp(Duration::from_millis(50), Duration::from_secs(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_planner_is_heard_three_times_in_a_lease_and_neither_too_rarely_nor_too_often() {
        for (lease, interval) in [
            (90, 50),
            (1_500, 500),
            (3_000, 1_000),
            (30_000, 10_000),
            (600_000, 10_000),
        ] {
            let [lease, interval] = [lease, interval].map(Duration::from_millis);
            assert_eq!(keep_alive_interval(lease), interval, "{lease:?}");
        }
    }
}
