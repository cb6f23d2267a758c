//! Measures how far reported round-trip times are from the wire, idle and with busy processes on the machine.

use std::fs;
use std::time::Duration;

use super::arena::{Arena, FAR, PROBE};
use super::contender::Job;
use super::kernel::IcmpCounts;
use super::measure::count;
use super::plan::{Contender, Load, Options, Place};
use super::rtt::{self, Reported, RttSheet};
use super::run::{say, wait_for_all_targets};
use crate::capture::{Capture, Filter, round_trips};
use crate::error::LabError;
use crate::namespace::device::HOST_DEVICE;
use crate::process::{Process, ProcessPlan};

/// Who reports every single time.
const CONTENDERS: [Contender; 4] = [
    Contender::Engine,
    Contender::Portable,
    Contender::Fping,
    Contender::SurgePing,
];
/// Targets, each probed once a second.
const LOAD: Load = Load::Paced(1000);
/// One-way delay of the path: fping writes three digits, which are microseconds below one millisecond only.
const LATENCY: Duration = Duration::from_micros(100);

/// Measures all contenders that were asked for.
pub(super) async fn measure(arena: &Arena, options: &Options, mut number: u32) -> Result<RttSheet, LabError> {
    let (lab, mut sheet) = (arena.lab(), RttSheet::default());
    let before = lab.topology().path_between(PROBE, FAR).latency;
    lab.wan().change_both(PROBE, FAR, |path| path.latency = LATENCY)?;
    let wanted: Vec<_> = CONTENDERS
        .into_iter()
        .filter(|one| options.contenders().contains(one))
        .collect();
    for &busy in &options.busy {
        let mut processes = start_busy(arena, busy)?;
        for &contender in &wanted {
            number += 1;
            let job = Job {
                arena,
                options,
                place: Place::Wan,
                load: LOAD,
                contender,
                number,
                rtts: true,
            };
            let errors = compare(&job).await?;
            let figure = |part| rtt::quantile(&errors, part).unwrap_or(f64::NAN);
            say(&format!(
                "RTT against the capture, {busy} busy processes: {contender:<13} p50 {:.1} us, p99 {:.1} us of {} echoes",
                figure(0.5),
                figure(0.99),
                count(errors.len() as u64)
            ));
            sheet.add(contender, busy, errors);
        }
        for process in &mut processes {
            process.kill().await?;
        }
    }
    lab.wan().change_both(PROBE, FAR, |path| path.latency = before)?;
    Ok(sheet)
}

fn start_busy(arena: &Arena, count: u32) -> Result<Vec<Process>, LabError> {
    let program = std::env::current_exe().map_err(LabError::io("finding this program"))?;
    let start = |number| {
        let plan = ProcessPlan::new(&format!("busy-{number}"), &program, ["contender", "spin"]);
        Process::start(arena.lab().hub(), &plan)
    };
    (0..count).map(start).collect()
}

/// Runs one contender and answers how far its times are from the captured ones, in microseconds.
async fn compare(job: &Job<'_>) -> Result<Vec<f64>, LabError> {
    let capture = Capture::start(job.arena.namespace()?, HOST_DEVICE, Filter::OwnEchoes)?;
    let before = IcmpCounts::of(job.arena.namespace()?)?;
    let mut process = job.start()?;
    wait_for_all_targets(job, &mut process, before).await?;
    tokio::time::sleep(Duration::from_secs(job.options.warm_up + job.options.seconds)).await;
    process.check_running()?;
    let log = process.log().to_owned();
    job.finish(process).await?;
    let captured = capture.stop()?;
    if captured.dropped > 0 {
        say(&format!(
            "the capture missed {} packets: their neighbours may be compared with the wrong echo",
            captured.dropped
        ));
    }
    let reported = reported(job, &log)?;
    let skip = usize::try_from(job.options.warm_up).unwrap_or_default();
    Ok(rtt::errors(&reported, &round_trips(&captured.packets), skip))
}

fn reported(job: &Job<'_>, log: &std::path::Path) -> Result<Vec<Reported>, LabError> {
    let read =
        |file: &std::path::Path| fs::read_to_string(file).map_err(LabError::io(format!("reading {}", file.display())));
    if job.contender == Contender::Fping {
        return read(log).map(|text| rtt::read_fping(&text));
    }
    read(&job.rtts_file()).map(|text| rtt::read(&text))
}
