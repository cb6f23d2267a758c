//! How fast a backlog goes out: `catch_up URL|sink [SNAPSHOTS] [TARGETS] [rw1|rw2|zstd]` prints samples per second.
//!
//! Fills a queue on disk with snapshots of so many targets, five seconds apart and the last one now, and pushes it to a
//! receiver, or to a sink of its own that answers at once, as an agent does after an outage. Run it as a release build.

#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::convert::Infallible;
use std::env;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use xprober_agent::push::PushStatus;
use xprober_agent::push::task::{Pushing, run};
use xprober_agent::queue::{Bounds, QueueHandle, QueueSettings};
use xprober_agent::samples::series::SeriesSet;
use xprober_agent::samples::snapshot;
use xprober_agent::wire::{Encoder, EncoderSettings, Histograms, Protocol};
use xprober_config::agent::{AgentOverrides, AgentSettings, Detail};

#[path = "../tests/mesh/mod.rs"]
mod mesh;

const MAX_SAMPLES: usize = 2000;
const INTERVAL_MILLIS: i64 = 5000;
/// Samples per second of 10,000 targets.
const REAL_TIME: f64 = 14_000.0;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let url = arguments.next().context("which URL? or sink")?;
    let mut number = |default: u64| arguments.next().map_or(Ok(default), |text| text.parse());
    let (snapshots, targets) = (number(60)?, number(10_000)?);
    let (protocol, name) = match arguments.next().as_deref() {
        None | Some("rw1") => (Protocol::V1Snappy, "rw1"),
        Some("rw2") => (Protocol::V2Snappy, "rw2"),
        Some("zstd") => (Protocol::V1Zstd, "zstd"),
        Some(other) => bail!("no protocol {other}"),
    };
    // No network with a process that was told nothing: TLS is set up all the same.
    rustls::crypto::ring::default_provider().install_default().ok();
    let url = if url == "sink" { sink()? } else { url };

    let folder = env::temp_dir().join(format!("catch_up-{}", std::process::id()));
    let bounds = Bounds {
        max_bytes: 4 << 30,
        max_age: Duration::from_hours(24),
    };
    let queue = QueueHandle::open(QueueSettings::new("default", bounds, Some(folder.clone())));
    let measured = push(&queue, protocol, snapshots, targets, &url, name).await;
    queue.finish().await;
    drop(queue);
    std::fs::remove_dir_all(&folder).context("remove the folder")?;
    measured
}

async fn push(
    queue: &QueueHandle,
    protocol: Protocol,
    snapshots: u64,
    targets: u64,
    url: &str,
    name: &str,
) -> Result<()> {
    fill(queue, protocol, snapshots, targets)?;
    while queue.status().unsaved_samples > 0 || !queue.status().storage.is_disk() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let samples = queue.status().samples;
    queue.close();
    let text = format!("grpc_server_address: '127.0.0.1:1'\nremote_write: {{url: '{url}', protocol: {name}}}");
    let settings = AgentSettings::parse("catch_up", &text, &AgentOverrides::default())?;
    let endpoint = settings.remote_write.first().context("an endpoint")?;
    let pushing = Pushing::new(endpoint, "0.0.0", Duration::from_secs(1))?;
    let (sender, status) = watch::channel(PushStatus::default());
    let begin = Instant::now();
    run(pushing, queue.clone(), sender, CancellationToken::new()).await;
    let rate = f64::from(u32::try_from(samples)?) / begin.elapsed().as_secs_f64();
    let counters = status.borrow().counters;
    println!(
        "{samples} samples, {} requests, {} more attempts: {rate:.0} samples/s, {:.0} times real time of 10,000 targets",
        counters.ok,
        counters.retry + counters.drop,
        rate / REAL_TIME,
    );
    ensure!(
        counters.pushed == samples,
        "{} were taken, {:?}",
        counters.pushed,
        queue.status().dropped
    );
    Ok(())
}

/// Seals the snapshots as an agent does.
fn fill(queue: &QueueHandle, protocol: Protocol, snapshots: u64, targets: u64) -> Result<()> {
    let now = Instant::now();
    let (ledger, agent) = (mesh::ledger(targets, now)?, mesh::agent());
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let first = i64::try_from(wall.as_millis())? - i64::try_from(snapshots)? * INTERVAL_MILLIS;
    let mut series = SeriesSet::new(["xprober", "vm1", "eu-central-1"].map(str::to_owned), first);
    let mut encoder = Encoder::new(&EncoderSettings {
        protocol,
        histograms: Histograms::Classic,
        labels: [].into(),
        max_samples: MAX_SAMPLES,
    });
    for number in 1..=i64::try_from(snapshots)? {
        series.begin(first + number * INTERVAL_MILLIS);
        for group in snapshot(&ledger, &agent, Detail::Target, now) {
            encoder.append(series.stamp(&group), now, |request| queue.push(request));
        }
        series.end(|_| {});
        encoder.finish(now, |request| queue.push(request));
        queue.flush();
        // The queue's thread writes what is in memory; more than 64 MiB of it would be dropped.
        while queue.status().unsaved_samples > 500_000 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

/// Starts a receiver that answers at once, on a thread of its own; answers its URL.
fn sink() -> Result<String> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let url = format!("http://{}/api/v1/write", listener.local_addr()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            while let Ok((stream, _)) = listener.accept().await {
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service_fn(take)));
            }
            anyhow::Ok(())
        })
    });
    Ok(url)
}

/// Says that everything is understood and stored.
async fn take(request: Request<Incoming>) -> Result<Response<http_body_util::combinators::BoxBody<Bytes, Infallible>>> {
    let method = request.method().clone();
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    if method == Method::GET {
        let one = http_body_util::Full::new(Bytes::from_static(b"1"));
        return Ok(Response::new(one.boxed()));
    }
    let mut response = Response::new(Empty::new().boxed());
    *response.status_mut() = StatusCode::NO_CONTENT;
    for kind in ["samples", "histograms", "exemplars"] {
        let name = format!("x-prometheus-remote-write-{kind}-written");
        response
            .headers_mut()
            .insert(name.parse::<http::HeaderName>()?, 2000.into());
    }
    Ok(response)
}
