//! The course of `make chaos`.

use std::io::Write as _;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::time::Instant;

use super::agent::now_millis;
use super::pushing::{Histograms, Protocol, Pushing, Queue};
use super::scene::{Scene, topology};
use super::script::script;
use super::verdict::{Findings, check_lives, check_stored, histograms_of, series_of};
use crate::enter::Inside;
use crate::error::LabError;
use crate::judge::book::Points;
use crate::process::receiver::{Kind, Maker};
use crate::remote_write::message::Label;
use crate::world::Lab;

/// Time in which agents get rid of their queues once nothing is broken any more: the longest back-off and some.
const SETTLE_LIMIT: Duration = Duration::from_secs(90);
/// So far back the database is asked; longer than any run.
const WHOLE_RUN: Duration = Duration::from_hours(3);
/// Complaints about one database that are told.
const TOLD: usize = 20;

/// Options of `xprober-lab chaos`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Seconds in which things break.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(45..=7200))]
    pub seconds: u64,
    /// Agents, all of whom push to each database.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(2..=50))]
    pub agents: u16,
    /// Databases; several run beside each other.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "prometheus,prometheus3,victoriametrics"
    )]
    pub tsdb: Vec<Tsdb>,
    /// Where agents keep what is not pushed yet.
    #[arg(long, value_enum, default_value_t = Queue::Disk)]
    pub queue: Queue,
    /// The agents' `protocol` setting.
    #[arg(long, value_enum, default_value_t = Protocol::Rw1)]
    pub protocol: Protocol,
    /// The agents' `histograms` setting; for all but classic ones Prometheus is started with what it needs to take them.
    #[arg(long, value_enum, default_value_t = Histograms::Classic)]
    pub histograms: Histograms,
    /// Most samples in one request: few, so that snapshots are of several requests, which are on their way together.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..=10_000))]
    pub max_samples: u32,
    /// Decides what breaks when; printed, so that a run can be repeated.
    #[arg(long)]
    pub seed: Option<u64>,
}

/// A database that can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tsdb {
    /// Prometheus 2.42, of bookworm.
    Prometheus,
    /// Prometheus 3.x, of sid.
    Prometheus3,
    /// `VictoriaMetrics`, of trixie.
    Victoriametrics,
}

impl Tsdb {
    const fn kind(self) -> Kind {
        let (maker, release) = match self {
            Self::Prometheus => (Maker::Prometheus, "bookworm"),
            Self::Prometheus3 => (Maker::Prometheus, "sid"),
            Self::Victoriametrics => (Maker::VictoriaMetrics, "trixie"),
        };
        Kind { maker, release }
    }
}

/// The topology that a run with these options needs.
#[must_use]
pub fn lab_topology(options: &Options) -> crate::topology::Topology {
    topology(options.agents.into())
}

/// Builds the lab, breaks things, prints what came of it, and answers what is wrong.
///
/// # Errors
/// What could not be started or asked.
pub async fn run(inside: &Inside, options: &Options) -> Result<Vec<String>, LabError> {
    let lab = Lab::start(inside, lab_topology(options), 1).await?;
    let complaints = run_in(&lab, options).await?;
    lab.stop().await;
    Ok(complaints)
}

/// The same in a lab that is there, of [`lab_topology`].
///
/// # Errors
/// As [`run`].
pub async fn run_in(lab: &Lab, options: &Options) -> Result<Vec<String>, LabError> {
    let seed = options.seed.unwrap_or_else(|| now_millis().unsigned_abs());
    say(&format!("chaos: repeat with --seed={seed}"));
    if options.queue == Queue::Memory {
        say("chaos: queues are in memory, so agents are neither killed nor stopped before the end");
    }
    let numbered = (0..).zip(&options.tsdb);
    let runs = numbered.map(|(number, tsdb)| play(lab, options, tsdb.kind(), number, seed + u64::from(number)));
    let reports = futures_util::future::try_join_all(runs).await?;
    let mut complaints = Vec::new();
    say(&format!("\n{HEAD}"));
    for report in reports {
        say(&report.row);
        complaints.extend(report.complaints);
    }
    Ok(complaints)
}

const HEAD: &str = "| database | steps | agents killed, stopped | requests taken, refused, disturbed | samples taken | again | \
                    stored | gaps compared | last snapshots lost |\n|---|---|---|---|---|---|---|---|---|";

struct Report {
    row: String,
    complaints: Vec<String>,
}

async fn play(lab: &Lab, options: &Options, kind: Kind, number: u16, seed: u64) -> Result<Report, LabError> {
    let pushing = Pushing {
        queue: options.queue,
        protocol: options.protocol,
        histograms: options.histograms,
        max_samples: options.max_samples,
    };
    let mut scene = Scene::start(lab, kind, number, pushing, seed).await?;
    let begin = Instant::now();
    let length = Duration::from_secs(options.seconds);
    let steps = script(seed, length, options.agents.into(), options.queue == Queue::Disk);
    for step in &steps {
        tokio::time::sleep_until(begin + step.at).await;
        say(&format!("{:>4} s {kind}: {step}", step.at.as_secs()));
        scene.play(lab, step).await?;
    }
    let mut complaints = Vec::new();
    let late = scene.settle(SETTLE_LIMIT).await;
    say(&format!(
        "{:>4} s {kind}: everything works again",
        begin.elapsed().as_secs()
    ));
    if !late.is_empty() {
        complaints.push(format!(
            "{kind}: after {SETTLE_LIMIT:?} requests still wait in {}",
            late.join(", ")
        ));
    }
    scene.stop_agents(lab).await?;
    scene.receiver.flush().await?;
    let report = judge(&scene, steps.len(), complaints).await?;
    scene.stop().await?;
    Ok(report)
}

/// Agents' words, the judge's account and the database, beside each other.
async fn judge(scene: &Scene, steps: usize, mut complaints: Vec<String>) -> Result<Report, LabError> {
    let kind = scene.receiver.kind();
    let account = scene.judge.account(Clone::clone);
    complaints.extend(account.breaches.iter().map(|breach| format!("{kind}: {breach}")));
    let more = account.breach_count - account.breaches.len();
    if more > 0 {
        complaints.push(format!("{kind}: {more} breaches more"));
    }
    let (mut stored, mut lost) = (0, 0);
    let (mut killed, mut stopped) = (0, 0);
    for agent in &scene.agents {
        let series = series_of(&account.book, &agent.name);
        let histograms = histograms_of(&account.book, &agent.name);
        let all = [series.as_slice(), histograms.as_slice()].concat();
        let lives = check_lives(&agent.name, &agent.lives, &all);
        let selector = format!("{{job=\"xprober\", instance=\"{}\"}}", agent.name);
        let answer = scene.receiver.client().stored(&selector, WHOLE_RUN).await?;
        let mut database = check_stored(kind.maker, &series, &answer);
        check_histograms(scene, &agent.name, &histograms, &mut database).await?;
        stored += database.stored;
        lost += lives.lost_flushes;
        for life in &agent.lives {
            match life.end {
                super::life::End::Killed => killed += 1,
                super::life::End::Stopped(_) => stopped += 1,
                super::life::End::Alive => {}
            }
        }
        let told = lives.complaints.into_iter().chain(database.complaints);
        complaints.extend(told.map(|one| format!("{kind}: {one}")));
    }
    let row = format!(
        "| {kind} | {steps} | {killed}, {stopped} | {}, {}, {} | {} | {} | {stored} | {} | {lost} |",
        account.taken,
        account.refused,
        account.disturbed,
        account.book.samples(),
        account.book.replayed(),
        account.attempts.gaps(),
    );
    let more = complaints.len().saturating_sub(TOLD);
    complaints.truncate(TOLD);
    if more > 0 {
        complaints.push(format!("{kind}: and {more} complaints more"));
    }
    Ok(Report { row, complaints })
}

/// Counts native histograms where the database keeps them as what they are.
async fn check_histograms(
    scene: &Scene,
    agent: &str,
    taken: &[(&[Label], &Points)],
    findings: &mut Findings,
) -> Result<(), LabError> {
    if taken.is_empty() || scene.receiver.kind().maker != Maker::Prometheus {
        return Ok(());
    }
    // The only metric of ours that is one, and no series of numbers has its bare name. Stale markers do not count.
    let window = WHOLE_RUN.as_secs();
    let expression = format!("sum(count_over_time(xprober_rtt_seconds{{instance=\"{agent}\"}}[{window}s]))");
    let stored = scene.receiver.client().number(&expression).await?.unwrap_or_default();
    let points = taken.iter().flat_map(|(_, points)| points.values());
    let taken = points.filter(|bits| !f64::from_bits(**bits).is_nan()).count();
    findings.stored += taken;
    if stored.to_string() != taken.to_string() {
        let complaint = format!("{agent}: {taken} native histograms were taken and {stored} are stored");
        findings.complaints.push(complaint);
    }
    Ok(())
}

fn say(text: &str) {
    let _gone = writeln!(std::io::stdout(), "{text}");
}
