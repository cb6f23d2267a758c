//! Contenders that live in this program: `xprober-lab contender KIND`, a process of its own each, so that its CPU time can
//! be told from the lab's. They run until SIGTERM, wait for what is still unanswered, and write one line: a [`Summary`].

pub mod bare;

pub mod surge;

pub mod engine;

use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Args, ValueEnum};
use nix::sys::signal::{SigSet, Signal};
use serde::{Deserialize, Serialize};
use xprober_config::agent::IcmpBackend;

use super::rtt::{self, Reported};
use crate::error::LabError;

/// Which contender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The bare loop.
    Bare,
    /// The loop on surge-ping.
    SurgePing,
    /// The agent's engine on its Linux backend.
    Engine,
    /// The agent's engine on its portable backend.
    Portable,
    /// Keeps one CPU busy.
    Spin,
}

/// Options of `xprober-lab contender`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Which one.
    pub kind: Kind,
    /// File with the addresses to probe, one per line.
    #[arg(long, value_name = "FILE")]
    pub targets: Option<PathBuf>,
    /// Tick in milliseconds of those that have one.
    #[arg(long, default_value_t = 50)]
    pub tick: u64,
    /// As fast as it can, instead of one echo per target and second.
    #[arg(long)]
    pub flat_out: bool,
    /// File for the round-trip times, see `bench::rtt`.
    #[arg(long, value_name = "FILE")]
    pub rtts: Option<PathBuf>,
}

/// What a contender says of itself at its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Echo requests that it sent.
    pub sent: u64,
    /// Replies that it took for answers to them, in time.
    pub received: u64,
}

impl Summary {
    /// Finds the line of a summary in what a contender wrote.
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        text.lines().rev().find_map(|line| serde_json::from_str(line).ok())
    }
}

/// What a contender has to do, until when.
#[derive(Debug, Clone)]
pub struct Task {
    /// Addresses to probe.
    pub targets: Vec<Ipv4Addr>,
    /// Tick of those that have one.
    pub tick: Duration,
    /// As fast as it can, instead of one echo per target and second.
    pub flat_out: bool,
    /// File for the round-trip times; none are kept without it.
    pub rtts: Option<PathBuf>,
    /// Set when SIGTERM came.
    pub stop: Arc<AtomicBool>,
}

impl Task {
    /// Whether it is time to end.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn write_rtts(&self, reported: &[Reported]) -> Result<(), LabError> {
        let Some(file) = &self.rtts else { return Ok(()) };
        fs::write(file, rtt::write(reported)).map_err(LabError::io(format!("writing {}", file.display())))
    }
}

/// Runs a contender until SIGTERM.
///
/// # Errors
/// [`LabError::Io`] without targets or a socket.
pub fn run(options: &Options) -> Result<(), LabError> {
    let task = Task {
        targets: options.targets.as_ref().map_or(Ok(Vec::new()), read_targets)?,
        tick: Duration::from_millis(options.tick),
        flat_out: options.flat_out,
        rtts: options.rtts.clone(),
        stop: stop_on_signal()?,
    };
    let summary = match options.kind {
        Kind::Bare => bare::run(&task)?,
        Kind::SurgePing => surge::run(&task)?,
        Kind::Engine => engine::run(&task, IcmpBackend::Linux)?,
        Kind::Portable => engine::run(&task, IcmpBackend::Portable)?,
        Kind::Spin => spin(&task),
    };
    let line = serde_json::to_string(&summary).unwrap_or_default();
    writeln!(std::io::stdout(), "{line}").map_err(LabError::io("writing the summary"))
}

fn read_targets(file: &PathBuf) -> Result<Vec<Ipv4Addr>, LabError> {
    let text = fs::read_to_string(file).map_err(LabError::io(format!("reading {}", file.display())))?;
    let targets: Result<_, _> = text.lines().map(str::parse).collect();
    targets.map_err(|error: std::net::AddrParseError| LabError::Config {
        file: file.clone(),
        reason: error.to_string(),
    })
}

/// A thread that does nothing but wait for SIGTERM, so that no contender spends a system call on looking for it.
fn stop_on_signal() -> Result<Arc<AtomicBool>, LabError> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.thread_block().map_err(LabError::errno("blocking SIGTERM"))?;
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    let wait = move || {
        let _any_end_is_one = signals.wait();
        seen.store(true, Ordering::Relaxed);
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)
        .map_err(LabError::io("starting a thread"))?;
    Ok(stop)
}

fn spin(task: &Task) -> Summary {
    while !task.stopped() {
        std::hint::spin_loop();
    }
    Summary::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_is_found_behind_other_lines() {
        let text = "a warning\n{\"sent\":12,\"received\":11}\n";
        assert_eq!(Summary::find(text), Some(Summary { sent: 12, received: 11 }));
        assert_eq!(Summary::find("a warning\n"), None);
    }
}
