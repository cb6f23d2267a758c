//! Keeps the schedule's time: changes in, due probes out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{SendError, TrySendError};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use xprober_proto::{AgentId, ProbeKind, Target};

use super::{Schedule, Tick};
use crate::plan::Change;
use crate::probe::Due;
use crate::samples::Event;
use crate::thread::sleep_until;

/// How often lateness is reported: well inside the shortest sensible push interval.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Where due probes go, by kind: those of one tick together.
#[derive(Debug, Clone)]
pub struct Probers {
    /// The ICMP prober.
    pub icmp: mpsc::Sender<Vec<Due>>,
    /// The TCP prober.
    pub tcp: mpsc::Sender<Vec<Due>>,
    /// The HTTP prober.
    pub http: mpsc::Sender<Vec<Due>>,
}

impl Probers {
    const fn of(&self, kind: ProbeKind) -> &mpsc::Sender<Vec<Due>> {
        match kind {
            ProbeKind::Icmp => &self.icmp,
            ProbeKind::Tcp => &self.tcp,
            ProbeKind::Http => &self.http,
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
/// blocks the others: what does not fit into its channel counts as skipped. Dropping `probers` at the end tells
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
        let tick = schedule.next_tick();
        let wake = tick.map_or(report_at, |next| next.min(report_at));
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
            () = sleep_until(wake) => {}
        }
        let now = Instant::now();
        if let Some(tick) = tick.filter(|tick| *tick <= now) {
            lateness.max = lateness.max.max(now - tick);
            for (target, ticks) in serve(&mut schedule, now, &probers) {
                lateness.skipped += ticks;
                if events.send(Event::Missed { target, ticks }).await.is_err() {
                    break;
                }
            }
        }
        if now >= report_at {
            report_at = now + REPORT_EVERY;
            if report(&mut lateness, &events).await.is_err() {
                break;
            }
        }
    }
    debug!(targets = schedule.len(), "schedule stopped");
}

/// Hands every probe that is due to the prober of its kind; answers with those that will never leave.
fn serve(schedule: &mut Schedule, now: Instant, probers: &Probers) -> Vec<(Arc<Target>, u64)> {
    let mut missed = Vec::new();
    let mut due: BTreeMap<ProbeKind, Vec<Due>> = BTreeMap::new();
    let most = schedule.due(now);
    while let Some(tick) = schedule.pop(now) {
        match tick {
            Tick::Skipped { target, ticks } => missed.push((target, ticks)),
            Tick::Due(probe) => {
                let batch = due.entry(probe.target.probe.kind());
                batch.or_insert_with(|| Vec::with_capacity(most)).push(probe);
            }
        }
    }
    for (kind, batch) in due {
        match probers.of(kind).try_send(batch) {
            Ok(()) => {}
            Err(TrySendError::Full(batch) | TrySendError::Closed(batch)) => {
                missed.extend(batch.into_iter().map(|due| (due.target, 1)));
            }
        }
    }
    missed
}

async fn report(lateness: &mut Lateness, events: &mpsc::Sender<Event>) -> Result<(), SendError<Event>> {
    let Lateness { skipped, max } = std::mem::take(lateness);
    if skipped > 0 {
        warn!(ticks = skipped, max_lateness = ?max, "probes skipped: this agent was behind its schedule");
    }
    let event = Event::Lateness {
        skipped,
        max_lateness: max,
    };
    events.send(event).await
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let (tcp, _keep_too) = mpsc::channel(1);
        let (events, mut seen) = mpsc::channel(8);
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(run(
            "vm1".parse().unwrap(),
            receiver,
            Probers { icmp, tcp, http },
            events,
            shutdown.clone(),
        ));
        changes.send(Change::Upsert(target("a"))).await.unwrap();
        let first = due.recv().await.unwrap();
        assert_eq!(first[0].target.id.as_str(), "a");
        assert!(matches!(seen.try_recv(), Ok(Event::Change(Change::Upsert(_)))));
        // Nobody takes further probes: the channel of one fills, the rest is counted, and the task lives on.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        let skipped = timeout_at(deadline, async {
            loop {
                if let Some(Event::Missed { ticks: 1.., .. }) = seen.recv().await {
                    break;
                }
            }
        });
        skipped.await.expect("a full prober is counted");
        shutdown.cancel();
        task.await.unwrap();
    }
}
