//! `run`: the planner until SIGTERM or Ctrl-C.

use std::io::stderr;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;
use tracing::level_filters::LevelFilter;
use tracing_logfmt::{EventsFormatter, FieldsFormatter};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::prelude::*;

use super::{LogFormat, LogLevel, RunArgs};
use crate::Planner;
use crate::metrics::VERSION;

/// For file reads that hang.
const LAST_WAIT: Duration = Duration::from_secs(1);

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
pub fn run(args: &RunArgs) -> anyhow::Result<()> {
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(serve(args));
    // A file on a dead network share must not keep the process.
    runtime.shutdown_timeout(LAST_WAIT);
    ended
}

async fn serve(args: &RunArgs) -> anyhow::Result<()> {
    let source = args.source();
    let settings = source.load()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let planner = Planner::bind(settings).await?.reloading(source);
    info!(version = VERSION, config = %args.file.config_file.display(), "planner starts");
    let shutdown = CancellationToken::new();
    let told = async {
        tokio::select! {
            _ = terminate.recv() => info!("SIGTERM, draining"),
            _ = interrupt.recv() => info!("interrupted, draining"),
        }
        shutdown.cancel();
        // The planner ends by itself now.
        std::future::pending().await
    };
    let ended = tokio::select! {
        ended = planner.run(shutdown.clone()) => ended,
        never = told => never,
    };
    info!("planner ended");
    Ok(ended?)
}
