//! The course of the benchmark: place by place, load by load, round by round, one contender after the other.

use std::io::Write as _;
use std::time::Duration;

use tokio::time::Instant;

use super::arena::Arena;
use super::contender::Job;
use super::kernel::{self, IcmpCounts, Memory};
use super::measure::{Cell, Measured, Sheet};
use super::plan::{Contender, Load, Options, Place};
use super::rtt::RttSheet;
use super::{bounds, document, report, rtt_run};
use crate::document::Section;
use crate::enter::Inside;
use crate::error::LabError;
use crate::process::Process;

/// Time for a contender to probe every target once.
const START_LIMIT: Duration = Duration::from_secs(40);
/// Time for a contender that ends by itself.
const BURST_LIMIT: Duration = Duration::from_mins(1);
/// Pause between two looks at the counters.
const POLL_PAUSE: Duration = Duration::from_millis(100);

/// Measures everything that the options ask for, prints the tables, and writes them where asked to.
///
/// # Errors
/// The first step that failed.
pub async fn run(inside: &Inside, options: &Options) -> Result<(), LabError> {
    let arena = Arena::start(inside, options.most_targets()).await?;
    let stop = arena.lab().stop_token();
    let mut bench = Bench {
        arena: &arena,
        options,
        sheet: Sheet::default(),
        rtts: RttSheet::default(),
        number: 0,
        start: Instant::now(),
    };
    let stopped = stop
        .run_until_cancelled(bench.measure_all())
        .await
        .transpose()?
        .is_none();
    let (sheet, rtts) = (std::mem::take(&mut bench.sheet), std::mem::take(&mut bench.rtts));
    if stopped {
        say("stopped; the tables hold what was measured until then");
    }
    let mut machine = document::machine()?;
    if let Some(others) = sheet.others() {
        machine.push((
            "busy elsewhere".to_owned(),
            format!("{others:.2} CPUs, the lab's own among them"),
        ));
    }
    let sections = report::sections(&sheet, &rtts, &bounds::judge(&sheet, &rtts), &machine);
    say(&format!("\n{}", Section::join(&sections)));
    if let (Some(file), false) = (&options.write, stopped) {
        document::PLACE.merge(file, &sections)?;
        say(&format!("written to {}", file.display()));
    }
    arena.stop().await
}

struct Bench<'a> {
    arena: &'a Arena,
    options: &'a Options,
    sheet: Sheet,
    rtts: RttSheet,
    number: u32,
    start: Instant,
}

impl Bench<'_> {
    async fn measure_all(&mut self) -> Result<(), LabError> {
        if !self.options.no_cost {
            self.measure_cost().await?;
        }
        if !self.options.no_rtt {
            self.rtts = rtt_run::measure(self.arena, self.options, self.number).await?;
        }
        Ok(())
    }

    async fn measure_cost(&mut self) -> Result<(), LabError> {
        for &place in &self.options.places {
            for load in self.options.loads() {
                self.measure_load(place, load).await?;
            }
        }
        Ok(())
    }

    async fn measure_load(&mut self, place: Place, load: Load) -> Result<(), LabError> {
        let contenders: Vec<_> = self
            .options
            .contenders()
            .into_iter()
            .filter(|one| load.suits(*one))
            .collect();
        let planner = if contenders.contains(&Contender::Agent) {
            Some(self.arena.start_planner(&self.arena.targets(place, load)?).await?)
        } else {
            None
        };
        for round in 1..=self.options.rounds {
            // Another one goes first each time, so that nobody always follows the same neighbour.
            let mut order = contenders.clone();
            order.rotate_left((round as usize - 1) % contenders.len().max(1));
            for contender in order {
                self.measure_one(Cell { place, load, contender }, round).await?;
            }
        }
        match planner {
            Some(mut planner) => planner.stop().await.map(drop),
            None => Ok(()),
        }
    }

    async fn measure_one(&mut self, cell: Cell, round: u32) -> Result<(), LabError> {
        self.number += 1;
        let Cell { place, load, contender } = cell;
        let job = Job {
            arena: self.arena,
            options: self.options,
            place,
            load,
            contender,
            number: self.number,
            rtts: false,
        };
        let measured = if (contender, load) == (Contender::Fping, Load::FlatOut) {
            burst(&job).await?
        } else {
            window(&job).await?
        };
        let seconds = self.start.elapsed().as_secs_f64();
        let figures = report::line(&measured);
        say(&format!(
            "[{seconds:6.1} s] {place}, {load}, round {round}: {contender:<13} {figures}"
        ));
        self.sheet.add(cell, measured);
        Ok(())
    }
}

/// Measures a contender that runs until it is stopped.
async fn window(job: &Job<'_>) -> Result<Measured, LabError> {
    let namespace = job.arena.namespace()?;
    let before = IcmpCounts::of(namespace)?;
    let mut process = job.start()?;
    wait_for_all_targets(job, &mut process, before).await?;
    tokio::time::sleep(Duration::from_secs(job.options.warm_up)).await;
    let pid = pid(&process)?;
    let look = || {
        Ok::<_, LabError>((
            Instant::now(),
            kernel::cpu_time(pid)?,
            IcmpCounts::of(namespace)?,
            kernel::machine_busy()?,
        ))
    };
    let from = look()?;
    tokio::time::sleep(Duration::from_secs(job.options.seconds)).await;
    process.check_running()?;
    let to = look()?;
    let memory = Memory::of(pid)?;
    let reported_lost = job.finish(process).await?;
    let (window, cpu) = (to.0 - from.0, to.1.saturating_sub(from.1));
    Ok(Measured {
        window,
        cpu,
        echoes: to.2.since(from.2).requests,
        memory,
        whole: IcmpCounts::of(namespace)?.since(before),
        reported_lost,
        others: others(window, to.3.saturating_sub(from.3), cpu),
    })
}

pub(super) async fn wait_for_all_targets(
    job: &Job<'_>,
    process: &mut Process,
    before: IcmpCounts,
) -> Result<(), LabError> {
    let (deadline, targets) = (Instant::now() + START_LIMIT, job.load.targets() as u64);
    while IcmpCounts::of(job.arena.namespace()?)?.since(before).requests < targets {
        process.check_running()?;
        if Instant::now() > deadline {
            let what = format!("{} probing all of {targets} targets", process.name());
            return Err(LabError::Timeout {
                what,
                limit: START_LIMIT,
                detail: String::new(),
            });
        }
        tokio::time::sleep(POLL_PAUSE).await;
    }
    Ok(())
}

/// Measures a contender that sends so many echoes and ends, from its start to its end.
async fn burst(job: &Job<'_>) -> Result<Measured, LabError> {
    let namespace = job.arena.namespace()?;
    let look = || {
        Ok::<_, LabError>((
            kernel::ended_children_cpu_time()?,
            IcmpCounts::of(namespace)?,
            kernel::machine_busy()?,
        ))
    };
    let (from, start) = (look()?, Instant::now());
    let mut process = job.start()?;
    process.wait(BURST_LIMIT).await?;
    let (window, to) = (start.elapsed(), look()?);
    let (cpu, whole) = (to.0.saturating_sub(from.0), to.1.since(from.1));
    Ok(Measured {
        window,
        cpu,
        echoes: whole.requests,
        memory: Memory::default(),
        whole,
        reported_lost: job.finish(process).await?,
        others: others(window, to.2.saturating_sub(from.2), cpu),
    })
}

/// CPUs that were busy with something else.
fn others(window: Duration, busy: Duration, cpu: Duration) -> f64 {
    busy.saturating_sub(cpu).as_secs_f64() / window.as_secs_f64()
}

fn pid(process: &Process) -> Result<u32, LabError> {
    process.pid().ok_or_else(|| LabError::Io {
        doing: format!("measuring {}", process.name()),
        source: std::io::ErrorKind::NotFound.into(),
    })
}

/// A terminal that went away is no reason to stop.
pub(super) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _gone = writeln!(out, "{text}").and_then(|()| out.flush());
}
