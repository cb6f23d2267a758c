//! What an hour without a receiver costs: `queue_footprint FOLDER` prints memory and time of a queue on disk.
//!
//! An hour of 10,000 targets is 25,200 requests of 53 kB with 2,000 samples each; they are pushed as an agent pushes them,
//! 35 every five seconds, only that each burst comes as soon as the one before is on disk. The queue holds 1 GiB, so the
//! oldest are dropped in the end. Then the process "restarts", which is a second queue on the same files, and the receiver is back and takes
//! whatever comes. Run it as a release build; it needs 1.1 GiB in FOLDER, and leaves nothing there.

#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use xprober_agent::queue::{Bounds, QueueHandle, QueueSettings, QueueStatus, SealedRequest};
use xprober_agent::wire::Protocol;

const BURSTS: usize = 720;
const BURST: usize = 35;
const SAMPLES: u64 = 2000;
const BODY_BYTES: usize = 53_000;
const BOUNDS: Bounds = Bounds {
    max_bytes: 1 << 30,
    max_age: Duration::from_hours(24),
};
/// What the issue allows.
const MAX_GROWTH_KILOBYTES: u64 = 20_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let parent = env::args().nth(1).context("which folder?")?;
    let folder = PathBuf::from(parent).join(format!("queue_footprint-{}", std::process::id()));
    let measured = measure(&folder).await;
    fs::remove_dir_all(&folder).context("remove the folder")?;
    measured
}

async fn measure(folder: &Path) -> Result<()> {
    let queue = open(folder);
    wait_until(&queue, |status| status.storage.is_disk()).await?;
    let before = memory("VmRSS")?;

    let begin = Instant::now();
    let mut most = before;
    for burst in 0..BURSTS {
        for number in 0..BURST {
            queue.push(request(burst * BURST + number));
        }
        queue.flush();
        wait_until(&queue, |status| status.unsaved_samples == 0).await?;
        most = most.max(memory("VmRSS")?);
    }
    let growth = most - before;
    let status = queue.status();
    let dropped = status.dropped.total() / SAMPLES;
    println!(
        "receiver down: {} requests in {:.1} s, {} wait ({} MB), {dropped} dropped, {growth} kB more memory at most",
        BURSTS * BURST,
        begin.elapsed().as_secs_f64(),
        status.requests,
        status.bytes / 1_000_000,
    );
    queue.finish().await;
    drop(queue);

    let begin = Instant::now();
    let queue = open(folder);
    wait_until(&queue, |found| found.requests == status.requests).await?;
    let opened = begin.elapsed();
    println!(
        "restart: all found after {:.1} s, {} kB",
        opened.as_secs_f64(),
        memory("VmRSS")?
    );

    queue.close();
    let begin = Instant::now();
    let mut samples = 0;
    let mut most = 0;
    while let Some((id, request)) = queue.lease().await {
        ensure!(request.bytes.len() == BODY_BYTES, "a request came back changed");
        samples += request.samples;
        queue.ack(id);
        if samples % (1000 * SAMPLES) == 0 {
            most = most.max(memory("VmRSS")?);
        }
    }
    let per_second = f64::from(u32::try_from(samples)?) / begin.elapsed().as_secs_f64();
    println!(
        "receiver back: {samples} samples in {:.1} s, {per_second:.0} samples/s, {most} kB",
        begin.elapsed().as_secs_f64()
    );
    ensure!(samples == status.samples, "{} samples were left", status.samples);
    queue.finish().await;
    ensure!(growth < MAX_GROWTH_KILOBYTES, "memory grew by {growth} kB");
    Ok(())
}

fn open(folder: &Path) -> QueueHandle {
    QueueHandle::open(QueueSettings::new("default", BOUNDS, Some(folder.to_owned())))
}

fn request(number: usize) -> SealedRequest {
    let text = number.to_le_bytes();
    SealedRequest {
        bytes: text.into_iter().cycle().take(BODY_BYTES).collect(),
        protocol: Protocol::V1Snappy,
        samples: SAMPLES,
        min_timestamp: 0,
        max_timestamp: 0,
        sealed_at: Instant::now(),
    }
}

async fn wait_until(queue: &QueueHandle, reached: impl Fn(&QueueStatus) -> bool) -> Result<()> {
    let begin = Instant::now();
    while !reached(&queue.status()) {
        ensure!(begin.elapsed() < Duration::from_mins(1), "stuck: {:?}", queue.status());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// A line of the process's status, kB.
fn memory(name: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes.with_context(|| format!("no {name}"))?.parse()?)
}
