//! The agent's push path as a process of its own: ledger, samples, queue and push, fed with results that nobody measured.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use xprober_agent::pipeline::{Pipeline, Source};
use xprober_agent::plan::{Change, PlanStatus};
use xprober_agent::probe::{EchoResult, Outcome, Stamp};
use xprober_agent::samples::Event;
use xprober_config::agent::{AgentOverrides, AgentSettings};
use xprober_proto::{HostName, IcmpSpec, ProbeSpec, Region, Revision, Target};

use crate::error::LabError;
use crate::wan::random::Random;

/// The agent's own size of this channel.
const EVENTS_QUEUE: usize = 8192;
/// Results in one event, about what the engine hands over at once.
const BATCH: usize = 64;
/// Regions over which the targets are spread.
const REGIONS: usize = 10;
/// Results of a target in one interval, as with a probe a second and a snapshot every five: least, mean and most differ.
const RESULTS: u32 = 5;
/// Between two snapshots of a run that makes none.
const NEVER: Duration = Duration::from_hours(1);

/// Options of `xprober-lab pusher`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Number of targets.
    #[arg(long)]
    pub targets: usize,
    /// Where samples go.
    #[arg(long)]
    pub url: String,
    /// Milliseconds between two snapshots.
    #[arg(long)]
    pub interval: u64,
    /// Makes no snapshots: what is left is what feeding and the ledger cost.
    #[arg(long)]
    pub idle: bool,
    /// The agent's `protocol` setting.
    #[arg(long)]
    pub protocol: Option<String>,
    /// Folder in which requests wait; in memory without it.
    #[arg(long, value_name = "FOLDER")]
    pub queue: Option<PathBuf>,
}

/// Runs until it is killed.
///
/// # Errors
/// [`LabError::Io`] when the agent's parts do not start.
pub fn run(options: &Options) -> Result<(), LabError> {
    let runtime = tokio::runtime::Runtime::new().map_err(LabError::io("starting a runtime"))?;
    runtime.block_on(push(options))
}

async fn push(options: &Options) -> Result<(), LabError> {
    let interval = Duration::from_millis(options.interval);
    let snapshots = if options.idle { NEVER } else { interval };
    let protocol = options.protocol.as_ref();
    let protocol = protocol.map(|name| format!(", protocol: {name}")).unwrap_or_default();
    let queue = options.queue.as_ref();
    let queue = queue.map(|folder| format!("queue: {{directory: '{}'}}\n", folder.display()));
    let text = format!(
        "grpc_server_address: '127.0.0.1:1'\nremote_write: {{url: '{}'{protocol}}}\npush: {{interval: {}ms}}\n{}",
        options.url,
        snapshots.as_millis(),
        queue.unwrap_or_default(),
    );
    let settings =
        AgentSettings::parse("bench", &text, &AgentOverrides::default()).map_err(failed("reading settings"))?;
    let source = Source {
        region: "eu-central-1".parse::<Region>().map_err(failed("naming the region"))?,
        agent_id: "vm-eu-central-1a-17".parse().map_err(failed("naming the agent"))?,
        version: xprober_agent::VERSION,
    };
    let (_planner, plan) = watch::channel(PlanStatus {
        connected: true,
        revision: Revision::NONE,
        targets: options.targets,
        last_heard: None,
        rejected: BTreeMap::new(),
    });
    let (events, events_out) = mpsc::channel(EVENTS_QUEUE);
    let pipeline = Pipeline::build(&settings, source, plan, events_out).map_err(failed("building the pipeline"))?;
    let pushing = tokio::spawn(pipeline.run(CancellationToken::new()));
    feed(&events, &targets(options.targets, interval)?, interval).await;
    pushing.await.map(drop).map_err(failed("pushing"))
}

/// [`RESULTS`] of every target in each interval, spread over it, until nobody takes them any more.
async fn feed(events: &mpsc::Sender<Event>, targets: &[Arc<Target>], interval: Duration) {
    let mut random = Random::new(1);
    for target in targets {
        let _ended_if_it_fails = events.send(Event::Change(Change::Upsert(Arc::clone(target)))).await;
    }
    let batches = u32::try_from(targets.len().div_ceil(BATCH).max(1)).unwrap_or(u32::MAX);
    let mut ticks = tokio::time::interval(interval / batches.saturating_mul(RESULTS));
    loop {
        for batch in targets.chunks(BATCH) {
            ticks.tick().await;
            let results = batch.iter().map(|target| EchoResult {
                target: Arc::clone(target),
                outcome: Outcome::Ok,
                reason: None,
                rtt: Some(Duration::from_micros(10_000 + random.next_bits() % 5_000)),
                stamp: Stamp::Kernel,
                reply_ttl: Some(60),
                duplicates: 0,
            });
            if events.send(Event::Echoes(results.collect())).await.is_err() {
                return;
            }
        }
    }
}

fn targets(count: usize, interval: Duration) -> Result<Vec<Arc<Target>>, LabError> {
    let target = |number: usize| {
        let name = format!("vm-ap-southeast-{number:05}");
        let region = format!("ap-southeast-{}", number % REGIONS);
        Ok(Arc::new(Target {
            id: number.to_string().parse().map_err(failed("naming a target"))?,
            region: region.parse().map_err(failed("naming a region"))?,
            name,
            interval,
            timeout: interval / 2,
            probe: ProbeSpec::Icmp(IcmpSpec::new(HostName::Address(Ipv4Addr::LOCALHOST.into()), 56)),
        }))
    };
    (0..count).map(target).collect()
}

fn failed<E>(doing: &'static str) -> impl FnOnce(E) -> LabError
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    move |error| LabError::io(doing)(std::io::Error::other(error))
}
