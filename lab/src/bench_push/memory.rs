//! `make bench-push-memory`: how much the agent grows while nobody takes what it pushes.
//!
//! The agent's pipeline as a process of its own (see [`super::child`]) with its queue on disk pushes into the sink until its
//! memory is steady. Then the sink answers 503 for as many snapshots as an hour has, which come faster than in real time, and
//! then takes everything again.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use super::contender::pusher;
use super::measure::count;
use super::report::PLACE;
use super::sink::{self, Sink};
use crate::bench::document::hardware;
use crate::bench::kernel::Memory;
use crate::bench::report::{BOUNDS_HEAD, measured_with};
use crate::document::{Section, table};
use crate::enter::Inside;
use crate::error::LabError;
use crate::process::Process;
use crate::topology::Topology;
use crate::world::Lab;

/// Largest growth that is allowed, in megabytes.
const BOUND: f64 = 20.0;
/// Time for the pipeline to begin, and to make up for the outage.
const LIMIT: Duration = Duration::from_mins(3);
/// Snapshots with the sink there: memory is steady after some dozens.
const WARM_UP: u32 = 100;
/// Parts of a time of which the most is taken.
const LOOKS: u32 = 12;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);
/// Samples that are not older come from a queue that is all but empty.
const FRESH: Duration = Duration::from_secs(1);
/// Samples of a target in one snapshot.
const LEAST_PER_TARGET: u64 = 7;

/// Options of `xprober-lab push-memory`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Targets, each with some seven series.
    #[arg(long, default_value_t = 10_000)]
    pub targets: usize,
    /// Snapshots without a receiver; 720 are an hour at the default interval of 5 s.
    #[arg(long, default_value_t = 720, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pub snapshots: u32,
    /// Milliseconds between two snapshots.
    #[arg(long, default_value_t = 150, value_parser = clap::value_parser!(u64).range(100..=5000))]
    pub interval: u64,
    /// The agent's `protocol` setting.
    #[arg(long, default_value = "rw1")]
    pub protocol: String,
    /// Document into which the result is written, e.g. docs/benchmarks-push.md; without it it is only printed.
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
}

/// What was found; resident bytes.
#[derive(Debug, Clone, PartialEq)]
struct Growth {
    before: u64,
    /// Most in each part of the outage.
    curve: Vec<u64>,
    after: u64,
    /// Samples that were sealed meanwhile, and how many it should have been.
    sealed: f64,
    expected: f64,
}

impl Growth {
    fn megabytes(&self) -> f64 {
        let most = self.curve.iter().copied().max().unwrap_or_default();
        (count(most) - count(self.before)) / 1e6
    }
}

/// Measures, prints and writes; answers what is wrong.
///
/// # Errors
/// The first step that failed.
pub async fn run(inside: &Inside, options: &Options) -> Result<Vec<String>, LabError> {
    let lab = Lab::start(inside, Topology::new(), 1).await?;
    let sink = Sink::start(lab.hub().namespace())?;
    sink.set_zstd(options.protocol == "zstd");
    let stop = lab.stop_token();
    let growth = stop.run_until_cancelled(measure(&lab, &sink, options)).await;
    sink.stop().await;
    lab.stop().await;
    let Some(growth) = growth else {
        return Ok(vec!["stopped".to_owned()]);
    };
    let growth = growth?;
    let mut machine = hardware()?;
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    machine.push(("command".to_owned(), format!("`xprober-lab {}`", arguments.join(" "))));
    let sections = [section(&growth, options, &machine)];
    let _gone = writeln!(std::io::stdout(), "{}", Section::join(&sections));
    if let Some(file) = &options.write {
        PLACE.merge(file, &sections)?;
    }
    Ok(complaints(&growth))
}

fn complaints(growth: &Growth) -> Vec<String> {
    let mut complaints = Vec::new();
    if growth.megabytes() >= BOUND {
        complaints.push(format!("memory grew by {:.1} MB", growth.megabytes()));
    }
    if growth.sealed < 0.9 * growth.expected {
        complaints.push(format!(
            "{:.0} samples were sealed, {:.0} should have been: this machine is too slow for the interval",
            growth.sealed, growth.expected
        ));
    }
    complaints
}

async fn measure(lab: &Lab, sink: &Sink, options: &Options) -> Result<Growth, LabError> {
    let interval = Duration::from_millis(options.interval);
    let flags = [
        format!("--protocol={}", options.protocol),
        format!("--queue={}", lab.work().join("push-memory").display()),
    ];
    let mut process = pusher(lab, "push-memory", options.targets, interval, sink, flags)?;
    let begun = sink.wait_for(1, LIMIT).await;
    process.check_running()?;
    begun?;
    let warm_up = watch(&mut process, interval * WARM_UP, sink).await?;
    let before = warm_up.iter().rev().take(LOOKS as usize / 2).max();
    let (known, since) = (sealed(sink, interval).await?, Instant::now());
    sink.set_away(true);
    let curve = watch(&mut process, interval * options.snapshots, sink).await?;
    sink.set_away(false);
    wait_until_fresh(sink).await?;
    let sealed = sealed(sink, interval).await? - known;
    let snapshots = since.elapsed().as_secs_f64() / interval.as_secs_f64();
    let after = resident(&mut process)?;
    process.kill().await?;
    Ok(Growth {
        before: before.copied().unwrap_or_default(),
        curve,
        after,
        sealed,
        expected: snapshots * count(options.targets as u64 * LEAST_PER_TARGET),
    })
}

/// Most resident bytes in each of [`LOOKS`] parts of some time.
async fn watch(process: &mut Process, time: Duration, sink: &Sink) -> Result<Vec<u64>, LabError> {
    let begin = Instant::now();
    let mut most = vec![0; LOOKS as usize];
    for (part, most) in (1..).zip(&mut most) {
        while begin.elapsed() < time * part / LOOKS {
            tokio::time::sleep(PAUSE).await;
            *most = resident(process)?.max(*most);
            let _not_needed = sink.collect();
        }
    }
    Ok(most)
}

fn resident(process: &mut Process) -> Result<u64, LabError> {
    process.check_running()?;
    Memory::of(process.pid().unwrap_or_default()).map(|memory| memory.resident_bytes)
}

/// Samples that were sealed so far, by the agent's own count in a snapshot that comes now.
async fn sealed(sink: &Sink, interval: Duration) -> Result<f64, LabError> {
    let _before = sink.collect();
    tokio::time::sleep(4 * interval).await;
    let taken = sink.collect();
    sink::newest(&taken, "xprober_agent_samples_sealed_total")?.ok_or_else(|| LabError::Timeout {
        what: "the agent's count of samples".to_owned(),
        limit: 4 * interval,
        detail: format!("{} requests came", taken.len()),
    })
}

/// Waits until a request comes whose samples are not old.
async fn wait_until_fresh(sink: &Sink) -> Result<(), LabError> {
    let begin = Instant::now();
    while begin.elapsed() < LIMIT {
        tokio::time::sleep(PAUSE).await;
        let taken = sink.collect();
        if let Some(last) = taken.last()
            && last.age()? < FRESH
        {
            return Ok(());
        }
    }
    Err(LabError::Timeout {
        what: "a fresh sample after the outage".to_owned(),
        limit: LIMIT,
        detail: String::new(),
    })
}

fn section(growth: &Growth, options: &Options, machine: &[(String, String)]) -> Section {
    let mut rows = vec![["before".to_owned(), megabytes(growth.before)]];
    for (part, most) in (1..).zip(&growth.curve) {
        let snapshots = options.snapshots * part / LOOKS;
        rows.push([
            format!("after {snapshots} snapshots without a receiver"),
            megabytes(*most),
        ]);
    }
    rows.push(["after catching up".to_owned(), megabytes(growth.after)]);
    let found = growth.megabytes();
    let met = if found < BOUND { "met" } else { "**missed**" };
    let bound = [
        format!("growth, {} targets", options.targets),
        format!("< {BOUND:.0} MB"),
        format!("{found:.1} MB"),
        met.to_owned(),
    ];
    let body = format!(
        "{}\n{}\n{}",
        table(&["resident memory, most", "MB"], &rows),
        table(&BOUNDS_HEAD, &[bound]),
        measured_with(machine)
    );
    Section {
        title: "Memory while the receiver is away".to_owned(),
        body,
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", count(bytes) / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth(megabytes: u64, sealed: f64) -> Growth {
        Growth {
            before: 30_000_000,
            curve: vec![31_000_000, 30_000_000 + megabytes * 1_000_000, 29_000_000],
            after: 32_000_000,
            sealed,
            expected: 1e6,
        }
    }

    #[test]
    fn what_grows_too_much_or_did_too_little_is_told() {
        assert!(complaints(&growth(19, 1e6)).is_empty());
        assert_eq!(complaints(&growth(20, 1e6)), ["memory grew by 20.0 MB"]);
        assert!(complaints(&growth(1, 0.8e6))[0].contains("too slow"));
    }
}
