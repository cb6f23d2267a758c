//! `run`: the planner until SIGTERM or Ctrl-C.

use std::io::stderr;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;
use tracing::level_filters::LevelFilter;
use tracing_logfmt::{EventsFormatter, FieldsFormatter};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::prelude::*;

use super::{LogFormat, LogLevel, RunArgs};
use crate::Planner;
use crate::metrics::VERSION;

/// Sends the log to standard error; libraries only warn.
pub fn log(args: &RunArgs) {
    let level = match args.log_level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let filter = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("xprober_planner", level);
    let registry = tracing_subscriber::registry().with(filter);
    match args.log_format {
        LogFormat::Logfmt => registry
            .with(
                layer()
                    .event_format(EventsFormatter::default())
                    .fmt_fields(FieldsFormatter::default())
                    .with_ansi(false)
                    .with_writer(stderr),
            )
            .init(),
        LogFormat::Json => registry.with(layer().json().with_writer(stderr)).init(),
    }
}

/// Runs the planner until the process is told to end, then drains.
///
/// # Errors
///
/// When the configuration is wrong, a port is taken or a server fails.
#[tokio::main]
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    let source = args.source();
    let settings = source.load()?;
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let planner = Planner::bind(settings).await?.reloading(source);
    info!(version = VERSION, config = %args.file.config_file.display(), "planner starts");
    let tasks = TaskTracker::new();
    let stop = shutdown.clone();
    tasks.spawn(async move {
        tokio::select! {
            _ = terminate.recv() => info!("SIGTERM, draining"),
            _ = interrupt.recv() => info!("interrupted, draining"),
            () = stop.cancelled() => {}
        }
        stop.cancel();
    });
    let ended = planner.run(shutdown.clone()).await;
    shutdown.cancel();
    tasks.close();
    tasks.wait().await;
    info!("planner ended");
    Ok(ended?)
}
