//! What each verb does.

use std::io::{self, IsTerminal as _, Write as _, stderr, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use ipnet::IpNet;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;
use tracing_logfmt::{EventsFormatter, FieldsFormatter};
use tracing_subscriber::fmt::layer;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, Registry};
use xprober_config::agent::AgentSettings;
use xprober_proto::{HttpSpec, ProbeSpec, Target};

use crate::cli::{Format, HttpArgs, Level, PingArgs, RunArgs, SettingsArgs, Verb};
use crate::ping::table::{self, Row, Status};
use crate::ping::task::Stop;
use crate::probe::http::client::HttpProber;
use crate::probe::http::report;
use crate::probe::icmp::task::Backend;
use crate::{identity, ping, privilege, random, run, samples};

/// Performs one verb and tells the exit status.
///
/// # Errors
///
/// It could not be done; the chain says why.
pub fn perform(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Run(args) => perform_run(&args)?,
        Verb::Check(args) => check(&args)?,
        Verb::Ping(args) => return Ok(ping(&args)),
        Verb::Http(args) => http(args)?,
        Verb::Metrics => print(&samples::catalogue::table())?,
    }
    Ok(ExitCode::SUCCESS)
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

/// Its exit status is that of `ping`; what is our own fault is told here, since 1 means silence.
fn ping(args: &PingArgs) -> ExitCode {
    let status = try_ping(args).unwrap_or_else(|error| {
        let _ = writeln!(stderr(), "{error:#}");
        Status::Failed
    });
    ExitCode::from(status as u8)
}

fn try_ping(args: &PingArgs) -> Result<Status> {
    let ping = args.ping()?;
    let live = !args.json && stdout().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb");
    // Why an echo could not leave, unless that would tear the table.
    let torn = live && stderr().is_terminal();
    log(if torn { Level::Error } else { Level::Warn }, Format::Logfmt)?;
    let runtime = runtime()?;
    let rows = runtime.block_on(async {
        let random = random::word();
        let stop = Stop::default();
        let signals = stop.on_signals()?;
        let backend = Backend::open(ping.backend, random)?;
        privilege::drop_all();
        tokio::select! {
            rows = ping::task::run(&ping, backend, random, live, &stop) => anyhow::Ok(rows),
            never = async { signals.await; std::future::pending().await } => never,
        }
    })?;
    // A name server that is still asked is not waited for.
    runtime.shutdown_background();
    if args.json {
        print(&format!("{}\n", table::to_json(&rows)))?;
    } else if !live && rows.iter().any(|row| row.unknown().is_none()) {
        print(&table::render(&rows))?;
    }
    for (host, error) in rows.iter().filter_map(Row::unknown) {
        let _ = writeln!(stderr(), "{host}: {error}");
    }
    Ok(table::status(&rows))
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
