//! What each verb does.

use std::io::{self, Write as _, stderr, stdout};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;
use tracing_logfmt::{EventsFormatter, FieldsFormatter};
use tracing_subscriber::fmt::layer;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, Registry};
use xprober_config::agent::AgentSettings;
use xprober_proto::{HttpSpec, ProbeSpec, Target};

use crate::cli::{Format, HttpArgs, RunArgs, SettingsArgs, Verb};
use crate::probe::http::client::HttpProber;
use crate::probe::http::report;
use crate::{identity, run, samples};

/// Performs one verb.
///
/// # Errors
///
/// It could not be done; the chain says why.
pub fn perform(verb: Verb) -> Result<()> {
    match verb {
        Verb::Run(args) => perform_run(&args),
        Verb::Check(args) => check(&args),
        Verb::Http(args) => http(args),
        Verb::Metrics => print(&samples::catalogue::table()),
    }
}

fn perform_run(args: &RunArgs) -> Result<()> {
    log(args)?;
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

fn http(args: HttpArgs) -> Result<()> {
    install_tls();
    let everywhere = vec!["0.0.0.0/0".parse()?, "::/0".parse()?];
    let prober = HttpProber::new(args.ca_file.as_deref(), everywhere)?;
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

fn log(args: &RunArgs) -> Result<()> {
    let registry = Registry::default().with(EnvFilter::try_new(args.level.filter())?);
    let started = match args.format {
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
