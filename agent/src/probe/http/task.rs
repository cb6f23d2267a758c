//! The loop of the HTTP probe.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::client::HttpProber;
use crate::probe::Due;
use crate::samples::event::Event;

/// Most probes under way.
///
/// At 5 s timeouts a full set of hanging targets still starts 50 probes per second; more than that waits in the channel,
/// where the schedule sees and counts it.
const MAX_CONCURRENT: usize = 256;

/// Probes what is due until `shutdown` or until the schedule ends, then waits for the probes under way.
///
/// Every probe that started ends in exactly one result; the last comes at the latest one target timeout after the end. A
/// probe that found no slot for a whole interval is skipped and reported as such.
pub async fn run(
    prober: Arc<HttpProber>,
    due: mpsc::Receiver<Vec<Due>>,
    events: mpsc::Sender<Event>,
    shutdown: CancellationToken,
) {
    run_at_most(MAX_CONCURRENT, prober, due, events, shutdown).await;
}

/// [`run`] with at most `concurrent` probes under way.
pub(super) async fn run_at_most(
    concurrent: usize,
    prober: Arc<HttpProber>,
    mut due: mpsc::Receiver<Vec<Due>>,
    events: mpsc::Sender<Event>,
    shutdown: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(concurrent));
    let mut running = JoinSet::new();
    let mut waiting = VecDeque::new();
    loop {
        while let Some(ended) = running.try_join_next() {
            note(ended);
        }
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await.ok()?;
            while waiting.is_empty() {
                waiting.extend(due.recv().await?);
            }
            Some((waiting.pop_front()?, slot))
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            next = next => {
                let Some((due, slot)) = next else { break };
                let probe = probe(Arc::clone(&prober), due, events.clone());
                running.spawn(async move {
                    probe.await;
                    drop(slot);
                });
            }
        }
    }
    while let Some(ended) = running.join_next().await {
        note(ended);
    }
}

async fn probe(prober: Arc<HttpProber>, due: Due, events: mpsc::Sender<Event>) {
    let lateness = due.scheduled.elapsed();
    let event = if lateness < due.target.interval {
        Event::Http(Box::new(prober.probe(due.target).await))
    } else {
        // All slots were taken for so long that the next probe of this target is due: two at once say nothing more.
        Event::Lateness {
            skipped: 1,
            max_lateness: lateness,
        }
    };
    // Refused only when the consumer is gone, and then nobody is left to tell.
    let _ = events.send(event).await;
}

fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        error!(%error, "an http probe ended without a result");
    }
}
