//! The one owner of registry and settings: takes what happens, publishes the plan.
//!
//! ```text
//!   streams, reload --Event (bounded)--> [owner] --watch--> Published (streams, pages)
//! ```
//!
//! A change is published after a short pause, so that a thousand agents joining at once cost a handful of plans.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use xprober_config::planner::PlannerSettings;
use xprober_proto::{Hello, Revision};

use super::MeshPlan;
use crate::members::{Member, MemberKey, Members, RegistryFull, StreamId};
use crate::metrics::Metrics;

/// Events that may wait for the owner; a stream that finds the queue full waits, and with it only its own agent.
pub const EVENT_QUEUE: usize = 1024;

/// Pause between a change and its plan: joins come in swarms, and 50 ms is far below any probe interval that matters.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// The owner rests this many times as long as the last plan took, so that planning takes at most a fifth of its time.
const REST: u32 = 4;

/// How long after its start the planner withholds plans from agents that may already hold one.
///
/// A planner that was restarted knows nobody, and a plan from a half-filled registry would make the first agents that
/// come back drop targets. Agents try again after 0.2 s doubling to 5 s, so every agent that is alive is back within 5 s
/// of the port being open; one more second is for the handshake. An agent that says it holds no plan is not kept waiting.
pub const SETTLE: Duration = Duration::from_secs(6);

/// Why the owner ends a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// A newer stream with the same region and agent id took over.
    Replaced,
    /// Nothing was heard for a whole lease.
    LeaseEnded,
}

/// What happens to the fleet.
#[derive(Debug)]
pub enum Event {
    /// An agent whose hello was accepted wants in.
    Join {
        /// Who it is.
        hello: Hello,
        /// The stream that speaks for it.
        stream: StreamId,
        /// Ends that stream.
        end: oneshot::Sender<Ending>,
        /// Told whether there was room.
        reply: oneshot::Sender<Result<(), RegistryFull>>,
    },
    /// A sign of life.
    Heartbeat(MemberKey, StreamId),
    /// A plan was accepted, or refused with a reason.
    Answered(MemberKey, StreamId, Result<Revision, String>),
    /// A stream ended.
    Lost(MemberKey, StreamId),
    /// New settings are in force.
    Settings(Arc<PlannerSettings>),
    /// Somebody wants to see the members.
    Describe(oneshot::Sender<Vec<Description>>),
}

/// One member, for people.
#[derive(Debug, Clone)]
pub struct Description {
    /// Its state in the registry.
    pub member: Member,
    /// What is left of its lease.
    pub lease_remaining: Duration,
}

/// The latest plan.
#[derive(Debug, Clone)]
pub struct Published {
    /// How many plans came before, plus one; 0 before the first.
    pub revision: u64,
    /// Whether the registry may still be filling up after the start; see [`SETTLE`].
    pub settling: bool,
    /// The settings it was made from.
    pub settings: Arc<PlannerSettings>,
    /// Who probes what.
    pub plan: Arc<MeshPlan>,
}

/// Registry, settings and the means to publish.
#[derive(Debug)]
pub struct Owner {
    members: Members,
    settings: Arc<PlannerSettings>,
    endings: BTreeMap<StreamId, oneshot::Sender<Ending>>,
    published: watch::Sender<Published>,
    metrics: Arc<Metrics>,
    settles_at: Option<Instant>,
    publish_at: Option<Instant>,
    expire_at: Option<Instant>,
    rest: Duration,
}

impl Owner {
    /// Starts with an empty registry; `settle` is [`SETTLE`] but in tests.
    #[must_use]
    pub fn new(
        settings: Arc<PlannerSettings>,
        settle: Duration,
        metrics: Arc<Metrics>,
    ) -> (Self, watch::Receiver<Published>) {
        let (published, latest) = watch::channel(Published {
            revision: 0,
            settling: !settle.is_zero(),
            settings: Arc::clone(&settings),
            plan: Arc::default(),
        });
        let owner = Self {
            members: Members::new(settings.agents.lease),
            settings,
            endings: BTreeMap::new(),
            published,
            metrics,
            settles_at: (!settle.is_zero()).then(|| Instant::now() + settle),
            publish_at: None,
            expire_at: None,
            rest: Duration::ZERO,
        };
        (owner, latest)
    }

    /// Runs until `stop`, or until nobody is left who could say anything.
    pub async fn run(mut self, mut events: mpsc::Receiver<Event>, stop: CancellationToken) {
        loop {
            let next = [self.settles_at, self.publish_at, self.expire_at]
                .into_iter()
                .flatten()
                .min();
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                event = events.recv() => match event {
                    Some(event) => self.apply(event, Instant::now()),
                    None => return,
                },
                () = due => self.wake(Instant::now()),
            }
        }
    }

    fn apply(&mut self, event: Event, now: Instant) {
        match event {
            Event::Join {
                hello,
                stream,
                end,
                reply,
            } => {
                let joined = self.join(hello, stream, end, now);
                // A stream that ended meanwhile says so with its own `Lost`.
                let _ = reply.send(joined);
            }
            Event::Heartbeat(key, stream) => self.members.heartbeat(&key, stream, now),
            Event::Answered(key, stream, answer) => {
                if let Err(reason) = &answer {
                    self.metrics.nacks.inc();
                    warn!(agent = %key, %reason, "agent refused its plan");
                }
                self.members.answered(&key, stream, answer, now);
            }
            Event::Lost(key, stream) => {
                self.endings.remove(&stream);
                self.members.lost(&key, stream, now);
            }
            Event::Settings(settings) => {
                self.members.set_lease(settings.agents.lease);
                self.settings = settings;
                self.expire_at = self.members.next_deadline();
                self.changed(now);
            }
            Event::Describe(reply) => {
                let describe = |member: &Member| Description {
                    member: member.clone(),
                    lease_remaining: self.members.remaining(member, now),
                };
                let _ = reply.send(self.members.iter().map(|(_, member)| describe(member)).collect());
            }
        }
    }

    fn join(
        &mut self,
        hello: Hello,
        stream: StreamId,
        end: oneshot::Sender<Ending>,
        now: Instant,
    ) -> Result<(), RegistryFull> {
        let key = MemberKey::of(&hello);
        let version = hello.version.clone();
        let joined = self.members.join(hello, stream, now)?;
        self.endings.insert(stream, end);
        if let Some(older) = joined.replaced {
            warn!(agent = %key, "a newer stream with this agent id took over; two agents with one id would take turns");
            self.end(older, Ending::Replaced);
        }
        info!(agent = %key, ?version, "agent joined");
        if joined.changed {
            self.changed(now);
        }
        let deadline = now + self.settings.agents.lease;
        self.expire_at = Some(self.expire_at.map_or(deadline, |at| at.min(deadline)));
        Ok(())
    }

    fn end(&mut self, stream: StreamId, ending: Ending) {
        if let Some(end) = self.endings.remove(&stream) {
            let _ = end.send(ending);
        }
    }

    fn changed(&mut self, now: Instant) {
        self.publish_at.get_or_insert(now + DEBOUNCE.max(self.rest));
    }

    fn wake(&mut self, now: Instant) {
        // Heartbeats only move deadlines back, so `expire_at` may be early but never late.
        if self.expire_at.is_some_and(|at| at <= now) {
            for (key, member) in self.members.expire(now) {
                warn!(agent = %key, "lease ended, agent leaves every plan");
                self.metrics.evictions.inc();
                if let Some(stream) = member.stream {
                    self.end(stream, Ending::LeaseEnded);
                }
                self.changed(now);
            }
            self.expire_at = self.members.next_deadline();
        }
        if self.settles_at.is_some_and(|at| at <= now) {
            self.settles_at = None;
            self.publish_at = Some(now);
        }
        if self.publish_at.is_some_and(|at| at <= now) {
            self.publish_at = None;
            self.publish();
        }
    }

    fn publish(&mut self) {
        let started = Instant::now();
        let plan = MeshPlan::build(&self.settings, self.members.iter().map(|(_, member)| &member.hello));
        self.rest = started.elapsed() * REST;
        let revision = self.published.borrow().revision + 1;
        let mut by_region = BTreeMap::new();
        for (key, _) in self.members.iter() {
            *by_region.entry(key.region.to_string()).or_default() += 1;
        }
        self.metrics.members(&by_region);
        self.metrics
            .plan_revision
            .set(i64::try_from(revision).unwrap_or(i64::MAX));
        self.metrics
            .plan_pairs
            .set(i64::try_from(plan.pairs()).unwrap_or(i64::MAX));
        info!(
            revision,
            members = self.members.iter().len(),
            pairs = plan.pairs(),
            "plan published"
        );
        self.published.send_replace(Published {
            revision,
            settling: self.settles_at.is_some(),
            settings: Arc::clone(&self.settings),
            plan: Arc::new(plan),
        });
    }
}
