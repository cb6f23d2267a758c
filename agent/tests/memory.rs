//! Memory of the whole push path while nobody takes anything: it goes to disk. `make bench-push-memory` shows the same for an hour
//! of 10,000 targets.

#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::net::TcpSocket;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use xprober_agent::pipeline::{Pipeline, Source};
use xprober_agent::plan::{Change, PlanStatus};
use xprober_agent::probe::{EchoResult, Outcome};
use xprober_agent::samples::Event;
use xprober_config::agent::{AgentOverrides, AgentSettings};
use xprober_proto::{IcmpSpec, ProbeSpec, Revision, Target};

const TARGETS: u64 = 3000;
/// Bytes on disk before the first look and between that and the second: what waits would show.
const WARM_UP_BYTES: u64 = 8_000_000;
const OUTAGE_BYTES: u64 = 32_000_000;
const MAX_GROWTH_BYTES: u64 = 20_000_000;
/// Far longer than it takes where others compile.
const LIMIT: Duration = Duration::from_mins(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_receiver_that_is_away_is_not_in_memory() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // Kept from others, and whoever connects is refused.
    let kept = TcpSocket::new_v4()?;
    kept.bind(([127, 0, 0, 1], 0).into())?;
    let closed = kept.local_addr()?;
    let text = format!(
        "grpc_server_address: '127.0.0.1:1'\nremote_write: {{url: 'http://{closed}/'}}\n\
         queue: {{directory: '{}'}}\npush: {{interval: 100ms}}\ndrain_timeout: 1s\n",
        folder.path().display()
    );
    let settings = AgentSettings::parse("agent.yml", &text, &AgentOverrides::default())?;
    let (_plan, plan) = watch::channel(PlanStatus {
        connected: true,
        revision: Revision(1),
        targets: 0,
        last_heard: None,
        rejected: BTreeMap::new(),
    });
    let source = Source {
        region: "eu-central-1".parse()?,
        agent_id: "vm1".parse()?,
        version: "1.2.3",
    };
    let (events, received) = mpsc::channel(64);
    // As the program does when it starts.
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    let shutdown = CancellationToken::new();
    let pipeline = Pipeline::build(&settings, source, plan, received)?;
    let running = tokio::spawn(pipeline.run(shutdown.clone()));
    for number in 0..TARGETS {
        let target = target(number)?;
        events.send(Event::Change(Change::Upsert(Arc::clone(&target)))).await?;
        let result = EchoResult {
            rtt: Some(Duration::from_micros(10_000 + number)),
            ..EchoResult::failed(target, Outcome::Ok, None)
        };
        events.send(Event::Echoes(vec![result])).await?;
    }

    wait_for_bytes(folder.path(), WARM_UP_BYTES).await?;
    let before = resident_bytes()?;
    wait_for_bytes(folder.path(), WARM_UP_BYTES + OUTAGE_BYTES).await?;
    let growth = resident_bytes()?.saturating_sub(before);
    ensure!(growth < MAX_GROWTH_BYTES, "memory grew by {growth} bytes");

    drop(events);
    shutdown.cancel();
    let totals = running.await?.sum();
    ensure!(totals.sealed == totals.left && totals.unsaved == 0, "{totals:?}");
    Ok(())
}

fn target(number: u64) -> Result<Arc<Target>> {
    let name = format!("10.0.{}.{}", number / 250, number % 250 + 1);
    Ok(Arc::new(Target {
        id: format!("icmp/{name}").parse()?,
        region: format!("region-{}", number % 10).parse()?,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        probe: ProbeSpec::Icmp(IcmpSpec::new(name.parse()?, 56)),
        name,
    }))
}

async fn wait_for_bytes(folder: &Path, bytes: u64) -> Result<()> {
    let begin = Instant::now();
    while size(folder)? < bytes {
        ensure!(begin.elapsed() < LIMIT, "{} bytes on disk", size(folder)?);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Bytes of all files below a folder.
fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // A file that is replaced at this moment is gone.
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() {
            size(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(bytes)
}

fn resident_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes.context("no VmRSS")?.parse::<u64>()? * 1024)
}
