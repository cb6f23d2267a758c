//! The loop on surge-ping as its documentation shows it: one client, a task per target with an interval and
//! `Pinger::ping`, on the usual multi-threaded runtime. The tasks' starts are spread over the interval, as every other
//! contender spreads its echoes.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use surge_ping::{Client, Config, PingIdentifier, PingSequence};
use tokio::time::Instant;

use super::{Summary, Task};
use crate::bench::plan::{PAYLOAD_BYTES, PERIOD};
use crate::bench::rtt::Reported;
use crate::error::LabError;

/// Runs until the task is stopped.
pub(super) fn run(task: &Task) -> Result<Summary, LabError> {
    let runtime = tokio::runtime::Runtime::new().map_err(LabError::io("starting a runtime"))?;
    runtime.block_on(all(task))
}

async fn all(task: &Task) -> Result<Summary, LabError> {
    let client = Client::new(&Config::default()).map_err(LabError::io("opening an ICMP socket"))?;
    let start = Instant::now();
    let task = Arc::new(task.clone());
    let gap = PERIOD / u32::try_from(task.targets.len()).unwrap_or(u32::MAX).max(1);
    let tasks: Vec<_> = (0..)
        .zip(&task.targets)
        .map(|(index, target)| tokio::spawn(one(client.clone(), *target, start + gap * index, Arc::clone(&task))))
        .collect();
    let (mut total, mut reported) = (Summary::default(), Vec::new());
    for one in tasks {
        let (one, mut times) = one.await.unwrap_or_default();
        reported.append(&mut times);
        total.sent += one.sent;
        total.received += one.received;
    }
    task.write_rtts(&reported)?;
    Ok(total)
}

async fn one(client: Client, target: Ipv4Addr, start: Instant, task: Arc<Task>) -> (Summary, Vec<Reported>) {
    let payload = [0; PAYLOAD_BYTES];
    let mut pinger = client.pinger(target.into(), PingIdentifier(1)).await;
    pinger.timeout(Duration::from_secs(1));
    let mut interval = tokio::time::interval_at(start, PERIOD);
    let (mut summary, mut reported) = (Summary::default(), Vec::new());
    for (ordinal, sequence) in (0..=u16::MAX).cycle().enumerate() {
        if task.stopped() {
            break;
        }
        if !task.flat_out {
            interval.tick().await;
        }
        summary.sent += 1;
        if let Ok((_, rtt)) = pinger.ping(PingSequence(sequence), &payload).await {
            summary.received += 1;
            if task.rtts.is_some() {
                reported.push(Reported {
                    destination: target,
                    ordinal,
                    rtt,
                });
            }
        }
    }
    (summary, reported)
}
