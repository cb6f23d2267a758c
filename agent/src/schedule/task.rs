//! Keeps the schedule's time: changes in, due probes out.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use xprober_proto::{AgentId, ProbeKind};

use super::{Schedule, Tick};
use crate::plan::Change;
use crate::probe::Due;
use crate::samples::Event;

/// How often lateness is reported: well inside the shortest sensible push interval.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Where due probes go, by kind.
#[derive(Debug, Clone)]
pub struct Probers {
    /// The ICMP prober.
    pub icmp: mpsc::Sender<Due>,
    /// The HTTP prober.
    pub http: mpsc::Sender<Due>,
}

impl Probers {
    fn of(&self, kind: ProbeKind) -> Option<&mpsc::Sender<Due>> {
        match kind {
            ProbeKind::Icmp => Some(&self.icmp),
            ProbeKind::Http => Some(&self.http),
            // Not announced in the Hello and refused by admission; no prober takes it.
            ProbeKind::Tcp => None,
        }
    }
}

#[derive(Debug, Default)]
struct Lateness {
    skipped: u64,
    max: Duration,
}

/// Runs until `shutdown`, or until the sender of `changes` is gone.
///
/// Every change goes on to `events` before anything is sent to a target it names. A prober that does not keep up never
/// blocks the others: what does not fit into its channel counts as a skipped tick. Dropping `probers` at the end tells
/// the probers that nothing follows.
pub async fn run(
    agent: AgentId,
    mut changes: mpsc::Receiver<Change>,
    probers: Probers,
    events: mpsc::Sender<Event>,
    shutdown: CancellationToken,
) {
    let mut schedule = Schedule::new(agent, Instant::now());
    let mut lateness = Lateness::default();
    let mut report_at = Instant::now() + REPORT_EVERY;
    loop {
        let wake = schedule.next_deadline().map_or(report_at, |next| next.min(report_at));
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            change = changes.recv() => {
                let Some(change) = change else { break };
                if events.send(Event::Change(change.clone())).await.is_err() {
                    break;
                }
                schedule.apply(&change, Instant::now());
                continue;
            }
            () = sleep_until(wake.into()) => {}
        }
        let now = Instant::now();
        while let Some(tick) = schedule.pop(now) {
            match tick {
                Tick::Skipped(ticks) => lateness.skipped += ticks,
                Tick::Due(due) => dispatch(due, &probers, &mut lateness),
            }
        }
        if now >= report_at {
            report_at = now + REPORT_EVERY;
            let Lateness { skipped, max } = std::mem::take(&mut lateness);
            let event = Event::Lateness {
                skipped,
                max_lateness: max,
            };
            if events.send(event).await.is_err() {
                break;
            }
            if skipped > 0 {
                warn!(ticks = skipped, max_lateness = ?max, "probes skipped: this agent was behind its schedule");
            }
        }
    }
    debug!(targets = schedule.len(), "schedule stopped");
}

fn dispatch(due: Due, probers: &Probers, lateness: &mut Lateness) {
    lateness.max = lateness
        .max
        .max(Instant::now().saturating_duration_since(due.scheduled));
    let Some(prober) = probers.of(due.target.probe.kind()) else {
        lateness.skipped += 1;
        return;
    };
    match prober.try_send(due) {
        Ok(()) => {}
        Err(TrySendError::Full(_) | TrySendError::Closed(_)) => lateness.skipped += 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::time::timeout_at;
    use xprober_proto::{IcmpSpec, ProbeSpec, Target};

    fn target(id: &str) -> Arc<Target> {
        Arc::new(Target {
            id: id.parse().unwrap(),
            name: id.to_owned(),
            region: "region-b".parse().unwrap(),
            interval: Duration::from_millis(100),
            timeout: Duration::from_millis(90),
            probe: ProbeSpec::Icmp(IcmpSpec::new("10.0.0.1".parse().unwrap(), 56)),
        })
    }

    #[tokio::test]
    async fn a_change_reaches_the_ledger_before_the_first_probe_and_a_full_prober_blocks_nobody() {
        let (changes, receiver) = mpsc::channel(8);
        let (icmp, mut due) = mpsc::channel(1);
        let (http, _keep) = mpsc::channel(1);
        let (events, mut seen) = mpsc::channel(8);
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(run(
            "vm1".parse().unwrap(),
            receiver,
            Probers { icmp, http },
            events,
            shutdown.clone(),
        ));
        changes.send(Change::Upsert(target("a"))).await.unwrap();
        let first = due.recv().await.unwrap();
        assert_eq!(first.target.id.as_str(), "a");
        assert!(matches!(seen.try_recv(), Ok(Event::Change(Change::Upsert(_)))));
        // Nobody takes further probes: the channel of one fills, the rest is counted, and the task lives on.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        let skipped = timeout_at(deadline, async {
            loop {
                if let Some(Event::Lateness { skipped: 1.., .. }) = seen.recv().await {
                    break;
                }
            }
        });
        skipped.await.expect("a full prober is counted");
        shutdown.cancel();
        task.await.unwrap();
    }
}
