//! The course of `make accuracy`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use super::band::whole;
use super::cases::{CROWD, CROWD_REGION, Case, FAR, FAR_REGION, cases, topology};
use super::judge::{self, Crowd, Judged, Row, Tolerance};
use super::report;
use super::stage::{Stage, probing_hosts};
use super::told::{self, Pair, Told};
use super::wire::{most_within, observe};
use crate::capture::{Captured, Packet};
use crate::enter::Inside;
use crate::error::LabError;
use crate::wan::control::PathCounts;
use crate::world::Lab;

/// How long the agent of the many targets is stopped each time: longer than any window is open.
const STOP: Duration = Duration::from_millis(2_200);
/// How often: each time it is caught at another of its steps.
const STOPS: u32 = 8;
/// How long it runs in between.
const RUN: Duration = Duration::from_millis(1_337);
/// The window in which departures are counted.
const BURST_WINDOW: Duration = Duration::from_millis(100);
/// Decides the WAN's dice; which packet gets which number still depends on the order in which they come.
const SEED: u64 = 1;

/// Options of `xprober-lab accuracy`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Seconds that are measured.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(10..=7200))]
    pub seconds: u64,
    /// Milliseconds between two probes of a case.
    #[arg(long, value_name = "MS", default_value_t = 50, value_parser = clap::value_parser!(u64).range(10..=1000))]
    pub interval: u64,
    /// Targets without a fault, each probed once a second.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=20_000))]
    pub targets: u16,
    /// Document whose tables are replaced, e.g. docs/accuracy.md; without it they are only printed.
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
}

/// Everything that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// Case by case.
    pub cases: Vec<Judged>,
    /// The many targets.
    pub crowd: Crowd,
    /// What is wrong, one sentence each; empty when everything is right.
    pub complaints: Vec<String>,
}

/// Builds the lab, measures, prints the tables, and writes them where asked to; answers what is wrong.
///
/// # Errors
/// The first step that failed.
pub async fn run(inside: &Inside, options: &Options) -> Result<Vec<String>, LabError> {
    let lab = Lab::start(inside, topology(options.targets), SEED).await?;
    let stop = lab.stop_token();
    let measured = stop
        .run_until_cancelled(measure(&lab, options, &Tolerance::STRICT))
        .await;
    let Some(findings) = measured.transpose()? else {
        lab.stop().await;
        return Ok(vec!["stopped before the end".to_owned()]);
    };
    let text = report::text(&findings, options.seconds, &report::machine()?);
    say(&text);
    if let Some(file) = &options.write {
        report::PLACE.write(file, &text)?;
    }
    lab.stop().await;
    Ok(findings.complaints)
}

/// Measures in a lab of [`topology`].
///
/// # Errors
/// The first step that failed.
pub async fn measure(lab: &Lab, options: &Options, tolerance: &Tolerance) -> Result<Findings, LabError> {
    let mut stage = Stage::start(lab, Duration::from_millis(options.interval)).await?;
    let paths = cases().len() * 2 + usize::from(options.targets);
    stage.wait_for_targets(paths).await?;
    say(&format!(
        "{paths} targets are probed; measuring for {} s",
        options.seconds
    ));
    let half = Duration::from_secs(options.seconds) / 2;
    tokio::time::sleep(half).await;
    let stopped = stop_now_and_then(&stage).await?;
    tokio::time::sleep(half).await;
    let wires = stage.finish().await?;
    let told = told::read(&stage.client()).await?;
    let told_stopped = stage
        .client()
        .number("last_over_time(xprober_agent_stalled_seconds_total{instance=\"crowd\"}[6h])")
        .await?;
    stage.stop().await?;
    let mut findings = Findings {
        cases: judged(lab, &wires, &told)?,
        crowd: crowd(lab, &wires, &told, stopped, told_stopped)?,
        complaints: Vec::new(),
    };
    findings.complaints = complaints(&findings, &wires, tolerance);
    Ok(findings)
}

/// Nothing can be judged by half a truth: where a capture missed packets, that is all there is to say.
fn complaints(findings: &Findings, wires: &BTreeMap<String, Captured>, tolerance: &Tolerance) -> Vec<String> {
    let (mut wrong, mut blind_to_the_crowd) = (Vec::new(), false);
    for (host, captured) in wires.iter().filter(|(_, captured)| captured.dropped > 0) {
        let missed = format!(
            "the capture on {host} missed {} packets: the lab's own fault",
            captured.dropped
        );
        if host == CROWD && !tolerance.lab {
            // An ordinary user's socket buffers are too small for a busy machine.
            say(&format!("{missed}; the many targets are not judged"));
            blind_to_the_crowd = true;
        } else {
            wrong.push(missed);
        }
    }
    if !wrong.is_empty() {
        return wrong;
    }
    let rows = 2 * whole(findings.cases.iter().filter(|one| one.is_up_to_the_dice()).count());
    wrong.extend(findings.cases.iter().flat_map(|one| judge::case(one, tolerance, rows)));
    if !blind_to_the_crowd {
        wrong.extend(judge::crowd(&findings.crowd, tolerance));
    }
    wrong
}

/// Stops the agent of the many targets some times; answers since when, on the wall clock as captures stamp it, and how long.
async fn stop_now_and_then(stage: &Stage) -> Result<Stopped, LabError> {
    let at = std::time::SystemTime::now()
        .duration_since(std::time::SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let mut length = Duration::ZERO;
    for _ in 0..STOPS {
        let start = Instant::now();
        stage.crowd()?.freeze()?;
        tokio::time::sleep(STOP).await;
        stage.crowd()?.thaw()?;
        length += start.elapsed();
        tokio::time::sleep(RUN).await;
    }
    Ok(Stopped { at, length })
}

/// Since when and how long an agent was stopped.
#[derive(Debug, Clone, Copy)]
struct Stopped {
    at: Duration,
    length: Duration,
}

fn judged(lab: &Lab, wires: &BTreeMap<String, Captured>, told: &BTreeMap<Pair, Told>) -> Result<Vec<Judged>, LabError> {
    let each = cases().into_iter().map(|case| {
        let [one, other] = case.regions.clone();
        let rows = [
            row(lab, wires, told, [&one, &other]),
            row(lab, wires, told, [&other, &one]),
        ];
        let [first, second] = rows;
        Ok(Judged {
            wan: both_ways(lab, &case)?,
            rows: [first?, second?],
            case,
        })
    });
    each.collect()
}

fn both_ways(lab: &Lab, case: &Case) -> Result<PathCounts, LabError> {
    let [one, other] = &case.regions;
    let (there, back) = (lab.wan().counts(one, other)?, lab.wan().counts(other, one)?);
    Ok(PathCounts {
        forwarded: there.forwarded + back.forwarded,
        lost: there.lost + back.lost,
        cut: there.cut + back.cut,
        duplicated: there.duplicated + back.duplicated,
        corrupted: there.corrupted + back.corrupted,
        overflowed: there.overflowed + back.overflowed,
    })
}

fn row(
    lab: &Lab,
    wires: &BTreeMap<String, Captured>,
    told: &BTreeMap<Pair, Told>,
    [from, to]: [&str; 2],
) -> Result<Row, LabError> {
    let host_of = |region: &str| {
        let host = probing_hosts(lab).find(|host| host.plan().region == region);
        host.ok_or_else(|| LabError::NoRegion(region.to_owned()))
    };
    let peers = BTreeSet::from([IpAddr::V4(host_of(to)?.plan().address)]);
    Ok(Row {
        pair: [from.to_owned(), to.to_owned()],
        told: told.get(&(from.to_owned(), to.to_owned())).cloned().unwrap_or_default(),
        wire: observe(packets(wires, host_of(from)?.name()), &peers),
    })
}

fn packets<'a>(wires: &'a BTreeMap<String, Captured>, host: &str) -> &'a [Packet] {
    wires.get(host).map_or(&[], |captured| captured.packets.as_slice())
}

fn crowd(
    lab: &Lab,
    wires: &BTreeMap<String, Captured>,
    told: &BTreeMap<Pair, Told>,
    stopped: Stopped,
    told_stopped: Option<f64>,
) -> Result<Crowd, LabError> {
    let far = lab.host(FAR)?.plan();
    let peers = far.further.iter().copied().map(IpAddr::V4).collect();
    let packets = packets(wires, CROWD);
    let place = packets.partition_point(|packet| packet.at < stopped.at);
    let (before, after) = packets.split_at(place);
    Ok(Crowd {
        targets: whole(far.further.len()),
        told: told
            .get(&(CROWD_REGION.to_owned(), FAR_REGION.to_owned()))
            .cloned()
            .unwrap_or_default(),
        wire: observe(packets, &peers),
        stops: STOPS,
        stopped: stopped.length,
        told_stopped,
        bursts: [before, after].map(|part| most_within(part, BURST_WINDOW)),
    })
}

fn say(text: &str) {
    let _gone = writeln!(std::io::stdout(), "{text}");
}
