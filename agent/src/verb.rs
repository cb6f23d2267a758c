//! What each verb does.

use std::io::{self, Write as _, stderr, stdout};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use ipnet::IpNet;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::info;
use tracing_logfmt::{EventsFormatter, FieldsFormatter};
use tracing_subscriber::fmt::layer;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, Registry};
use xprober_config::agent::{AgentSettings, IcmpBackend};
use xprober_proto::{HostName, HttpSpec, IcmpSpec, ProbeSpec, Target};

use crate::cli::{Format, HttpArgs, Level, PingArgs, RunArgs, SettingsArgs, Verb};
use crate::probe::http::client::HttpProber;
use crate::probe::http::report;
use crate::probe::icmp::report::Summary;
use crate::probe::{Due, icmp};
use crate::samples::Event;
use crate::{identity, privilege, random, run, samples};

/// Performs one verb.
///
/// # Errors
///
/// It could not be done; the chain says why.
pub fn perform(verb: Verb) -> Result<()> {
    match verb {
        Verb::Run(args) => perform_run(&args),
        Verb::Check(args) => check(&args),
        Verb::Ping(args) => ping(&args),
        Verb::Http(args) => http(args),
        Verb::Metrics => print(&samples::catalogue::table()),
    }
}

fn perform_run(args: &RunArgs) -> Result<()> {
    log(args.level, args.format)?;
    let settings = load(&args.settings)?;
    runtime()?.block_on(async {
        let shutdown = CancellationToken::new();
        let signals = stop_on_signal(&shutdown)?;
        let agent = async {
            let identity = identity::find(&settings).await?;
            run::run(settings, identity, shutdown.clone()).await?;
            Ok(())
        };
        let agent = async {
            let ended = agent.await;
            shutdown.cancel();
            ended
        };
        tokio::join!(agent, signals).0
    })
}

fn check(args: &SettingsArgs) -> Result<()> {
    load(args)?;
    let what = args
        .file()
        .map_or_else(|| "settings".to_owned(), |file| file.display().to_string());
    print(&format!("{what}: ok\n"))
}

fn ping(args: &PingArgs) -> Result<()> {
    // Why an echo could not leave.
    log(Level::Warn, Format::Logfmt)?;
    let random = random::word();
    let results = runtime()?.block_on(async {
        let socket = icmp::task::Backend::open(IcmpBackend::Auto, random)?;
        let (due, queue) = mpsc::channel(args.hosts.len());
        let (events, results) = mpsc::channel(args.hosts.len());
        let prober = icmp::task::run(socket, random, everywhere()?.into(), queue, events);
        let (results, (), ()) = tokio::join!(summarise(args, results), prober, send_each(args, due));
        anyhow::Ok(results)
    })?;
    if args.json {
        print(&format!("{}\n", icmp::report::to_json(&results)))?;
    } else {
        print(&icmp::report::render(&results))?;
    }
    match results.iter().find(|(_, summary)| summary.received() == 0) {
        None => Ok(()),
        Some((host, _)) => bail!("{host} did not answer"),
    }
}

/// Makes every host due, `count` times.
async fn send_each(args: &PingArgs, due: mpsc::Sender<Vec<Due>>) {
    let targets: Vec<Arc<Target>> = args.hosts.iter().filter_map(|host| echo_target(args, host)).collect();
    let mut ticks = tokio::time::interval(args.interval);
    for _ in 0..args.count {
        let scheduled = ticks.tick().await.into_std();
        let batch = targets.iter().map(|target| Due {
            target: Arc::clone(target),
            scheduled,
        });
        // Closed only when the prober is gone, and then nothing comes back either.
        let _ = due.send(batch.collect()).await;
    }
}

async fn summarise(args: &PingArgs, mut events: mpsc::Receiver<Event>) -> Vec<(String, Summary)> {
    let hosts = args.hosts.iter().map(|host| (host.to_string(), Summary::default()));
    let mut summaries: Vec<(String, Summary)> = hosts.collect();
    while let Some(event) = events.recv().await {
        let Event::Echoes(results) = event else {
            continue;
        };
        for result in results {
            for (_, summary) in summaries.iter_mut().filter(|(host, _)| *host == result.target.name) {
                summary.add(&result);
            }
        }
    }
    summaries
}

fn echo_target(args: &PingArgs, host: &HostName) -> Option<Arc<Target>> {
    Some(Arc::new(Target {
        id: host.to_string().parse().ok()?,
        name: host.to_string(),
        region: "here".parse().ok()?,
        interval: args.interval,
        timeout: args.timeout,
        probe: ProbeSpec::Icmp(IcmpSpec::new(host.clone(), args.payload)),
    }))
}

/// A person at the command line may probe what the machine can reach.
fn everywhere() -> Result<Vec<IpNet>> {
    Ok(vec!["0.0.0.0/0".parse()?, "::/0".parse()?])
}

fn http(args: HttpArgs) -> Result<()> {
    install_tls();
    let prober = HttpProber::new(args.ca_file.as_deref(), everywhere()?)?;
    let target = Arc::new(Target {
        id: "http".parse()?,
        name: args.url.to_string(),
        region: "here".parse()?,
        interval: Duration::from_hours(1),
        timeout: args.timeout,
        probe: ProbeSpec::Http(HttpSpec::get(args.url)),
    });
    let result = runtime()?.block_on(prober.probe(target));
    if args.json {
        print(&format!("{}\n", report::to_json(&result)))?;
    } else {
        print(&report::render(&result))?;
    }
    match result.failure {
        None => Ok(()),
        Some(failure) => bail!("{} failed: {}", failure.stage, failure.reason.as_str()),
    }
}

fn load(args: &SettingsArgs) -> Result<AgentSettings> {
    Ok(AgentSettings::load(args.file(), args.overrides())?)
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    install_tls();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    // Sockets that need a right are opened by the main thread, before it gives the right up, too.
    builder.on_thread_start(privilege::drop_all);
    builder.enable_all().build().context("start the runtime")
}

/// One TLS implementation for the whole process, whatever crate asks.
fn install_tls() {
    // Refused only when it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Listens at once; the answer waits for the first signal, or for the end of the agent.
fn stop_on_signal(shutdown: &CancellationToken) -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let shutdown = shutdown.clone();
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            () = shutdown.cancelled() => return,
        };
        info!(signal = name, "stopping");
        shutdown.cancel();
    })
}

fn log(level: Level, format: Format) -> Result<()> {
    let registry = Registry::default().with(EnvFilter::try_new(level.filter())?);
    let started = match format {
        Format::Logfmt => registry
            .with(
                layer()
                    .event_format(EventsFormatter::default())
                    .fmt_fields(FieldsFormatter::default())
                    .with_ansi(false)
                    .with_writer(stderr),
            )
            .try_init(),
        Format::Json => registry
            .with(layer().json().flatten_event(true).with_writer(stderr))
            .try_init(),
    };
    started.context("start the log")
}

fn print(text: &str) -> Result<()> {
    match stdout().write_all(text.as_bytes()) {
        // `xprober-agent metrics | head` is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.context("write to standard output"),
    }
}
