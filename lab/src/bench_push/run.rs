//! The course of `make bench-push`.

use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

use super::contender;
use super::measure::{Measured, Sheet};
use super::page::Page;
use super::plan::{Contender, Job, Options};
use super::report;
use super::sink::{self, Sink, Taken};
use crate::bench::document::{first_line, hardware};
use crate::bench::kernel::cpu_time;
use crate::document::Section;
use crate::enter::Inside;
use crate::error::LabError;
use crate::process::{Process, find};
use crate::remote_write::message::TimeSeries;
use crate::testing::chain;
use crate::topology::Topology;
use crate::world::Lab;

/// Time between two samples of a series while costs are measured: short, so that much is pushed in a short time.
const COST_INTERVAL: Duration = Duration::from_secs(1);
/// Samples of a target in one snapshot.
const LEAST_PER_TARGET: u64 = 7;
/// The agent's default, for the catch-up.
const USUAL_INTERVAL: Duration = Duration::from_secs(5);
/// Targets of the catch-up.
const CATCH_UP_TARGETS: usize = 10_000;
/// Time for a contender to begin.
const START_LIMIT: Duration = Duration::from_secs(40);
/// Time until the agent sends the same series again and again.
const SERIES_LIMIT: Duration = Duration::from_mins(2);
/// From its first request on until it is measured: caches fill, the first snapshot is special.
const WARM_UP: Duration = Duration::from_secs(5);
/// Time to make up for an outage, the longest back-off among it.
const CATCH_UP_LIMIT: Duration = Duration::from_mins(2);

/// Measures everything that the options ask for, prints the tables, and writes them where asked to.
///
/// # Errors
/// The first step that failed; a contender that does not push is told in the tables instead.
pub async fn run(inside: &Inside, options: &Options) -> Result<(), LabError> {
    let lab = Lab::start(inside, Topology::new(), 1).await?;
    let sink = Sink::start(lab.hub().namespace())?;
    let mut bench = Bench {
        lab: &lab,
        sink: &sink,
        options,
        sheet: Sheet::default(),
        number: 0,
    };
    let stop = lab.stop_token();
    let whole = stop
        .run_until_cancelled(bench.measure_all())
        .await
        .transpose()?
        .is_some();
    let sheet = std::mem::take(&mut bench.sheet);
    let sections = report::sections(&sheet, options.seconds, &machine()?);
    say(&format!("\n{}", Section::join(&sections)));
    if let (Some(file), true) = (&options.write, whole) {
        report::PLACE.merge(file, &sections)?;
        say(&format!("written to {}", file.display()));
    }
    sink.stop().await;
    lab.stop().await;
    Ok(())
}

struct Bench<'a> {
    lab: &'a Lab,
    sink: &'a Sink,
    options: &'a Options,
    sheet: Sheet,
    number: u32,
}

impl Bench<'_> {
    async fn measure_all(&mut self) -> Result<(), LabError> {
        for &targets in &self.options.targets {
            let page = self.page(targets, COST_INTERVAL).await?;
            for round in 0..self.options.rounds {
                for who in self.order(round) {
                    let job = Job {
                        targets,
                        interval: COST_INTERVAL,
                        drops_all: false,
                        on_disk: false,
                    };
                    let measured = self.cost(who, job, &page).await;
                    let line = match measured {
                        Ok(measured) => {
                            self.sheet.rounds.entry((targets, who)).or_default().push(measured);
                            format!(
                                "{:6.0} ns, {:5.1} B per sample",
                                measured.push_nanos(),
                                measured.bytes_per_sample()
                            )
                        }
                        Err(error) => self.miss(who, &error),
                    };
                    say(&format!("{targets} targets, round {}, {who:<22} {line}", round + 1));
                }
            }
            page.stop().await;
        }
        if self.options.outage > 0 {
            self.catch_up_all().await?;
        }
        Ok(())
    }

    async fn catch_up_all(&mut self) -> Result<(), LabError> {
        let page = self.page(CATCH_UP_TARGETS, USUAL_INTERVAL).await?;
        for round in 0..self.options.rounds {
            for who in self.order(round) {
                let line = match self.catch_up(who, &page).await {
                    Ok(rate) => {
                        self.sheet.catch_up.entry(who).or_default().push(rate);
                        format!("{rate:.0} samples/s")
                    }
                    Err(error) => self.miss(who, &error),
                };
                say(&format!("catching up, round {}, {who:<22} {line}", round + 1));
            }
        }
        page.stop().await;
        Ok(())
    }

    /// Another one goes first each time; who does not push at all is not asked again.
    fn order(&self, round: u32) -> Vec<Contender> {
        let known = self.options.contenders.iter().copied();
        let mut order: Vec<_> = known.filter(|who| !self.sheet.missing.contains_key(who)).collect();
        let first = round as usize % order.len().max(1);
        order.rotate_left(first);
        order
    }

    fn miss(&mut self, who: Contender, error: &LabError) -> String {
        let why = chain(error);
        // Of a process that ended early, the last that it said.
        let why = why.trim_end().lines().last().unwrap_or_default().replace('|', "/");
        self.sheet.missing.insert(who, why.clone());
        format!("not measured: {why}")
    }

    /// The page with the agent's own series.
    async fn page(&mut self, targets: usize, interval: Duration) -> Result<Page, LabError> {
        let nothing = Page::start(self.lab.hub().namespace(), &[])?;
        let job = Job {
            targets,
            interval,
            drops_all: false,
            on_disk: false,
        };
        let mut process = self.start(Contender::Agent, job, &nothing)?;
        self.sink.wait_for(1, START_LIMIT).await?;
        let series = self.all_series(targets, interval).await?;
        process.kill().await?;
        nothing.stop().await;
        Page::start(self.lab.hub().namespace(), &series)
    }

    /// Waits until the same series come as before, and those of all targets among them.
    async fn all_series(&self, targets: usize, interval: Duration) -> Result<Vec<TimeSeries>, LabError> {
        let least = targets as u64 * LEAST_PER_TARGET;
        let deadline = tokio::time::Instant::now() + SERIES_LIMIT;
        let mut before = Vec::new();
        loop {
            // A whole snapshot comes in that time, wherever in one it begins.
            tokio::time::sleep(2 * interval).await;
            let series = sink::series(&self.sink.collect())?;
            if series.len() as u64 >= least && sink::are_the_same(&before, &series) {
                return Ok(series);
            }
            if tokio::time::Instant::now() > deadline {
                return Err(LabError::Timeout {
                    what: format!("a second snapshot of the same {least} series or more"),
                    limit: SERIES_LIMIT,
                    detail: format!("; the last were {} after {}", series.len(), before.len()),
                });
            }
            before = series;
        }
    }

    fn start(&mut self, who: Contender, job: Job, page: &Page) -> Result<Process, LabError> {
        self.number += 1;
        self.sink.set_zstd(who == Contender::AgentZstd);
        let _of_the_one_before = self.sink.collect();
        contender::start(self.lab, who, job, self.sink, page, self.number)
    }

    async fn cost(&mut self, who: Contender, job: Job, page: &Page) -> Result<Measured, LabError> {
        let mut process = self.start(who, job, page)?;
        let begun = self.sink.wait_for(1, START_LIMIT).await;
        process.check_running()?;
        begun?;
        let (pushing, taken) = self.window(&mut process).await?;
        process.kill().await?;
        let mut process = self.start(who, Job { drops_all: true, ..job }, page)?;
        tokio::time::sleep(2 * job.interval).await;
        let (idle, nothing) = self.window(&mut process).await?;
        process.kill().await?;
        if let Some(other) = taken.iter().find(|one| one.spelling != who.spelling()) {
            let reason = format!("requests came as {:?}", other.spelling);
            return Err(LabError::io("measuring")(std::io::Error::other(reason)));
        }
        let (samples, bytes) = total(&taken)?;
        let (sent_while_idle, _) = total(&nothing)?;
        let expected = job.targets as u64 * LEAST_PER_TARGET * self.options.seconds;
        if samples < expected / 2 || sent_while_idle * 20 > samples {
            let reason = format!(
                "{samples} samples came while it pushed, about {expected} should, and {sent_while_idle} while it should send none"
            );
            return Err(LabError::io("measuring")(std::io::Error::other(reason)));
        }
        Ok(Measured {
            pushing,
            idle,
            samples,
            bytes,
        })
    }

    /// CPU time of a window, and what came in it.
    async fn window(&self, process: &mut Process) -> Result<(Duration, Vec<Taken>), LabError> {
        tokio::time::sleep(WARM_UP).await;
        process.check_running()?;
        let pid = process.pid().unwrap_or_default();
        let _before = self.sink.collect();
        let before = cpu_time(pid)?;
        tokio::time::sleep(Duration::from_secs(self.options.seconds)).await;
        let used = cpu_time(pid)?.saturating_sub(before);
        Ok((used, self.sink.collect()))
    }

    async fn catch_up(&mut self, who: Contender, page: &Page) -> Result<f64, LabError> {
        let job = Job {
            targets: CATCH_UP_TARGETS,
            interval: USUAL_INTERVAL,
            drops_all: false,
            on_disk: true,
        };
        let mut process = self.start(who, job, page)?;
        let begun = self.sink.wait_for(1, START_LIMIT).await;
        process.check_running()?;
        begun?;
        self.sink.set_away(true);
        tokio::time::sleep(Duration::from_secs(self.options.outage)).await;
        let _before = self.sink.collect();
        self.sink.set_away(false);
        let waited = self.sink.wait_for(1, CATCH_UP_LIMIT).await;
        let deadline = tokio::time::Instant::now() + CATCH_UP_LIMIT;
        let mut taken = Vec::new();
        let rate = loop {
            // Bodies are read while nothing is measured but the times that they came at.
            tokio::time::sleep(2 * USUAL_INTERVAL).await;
            taken.extend(self.sink.collect());
            let rate = sink::catch_up_rate(&taken, 2 * USUAL_INTERVAL)?;
            if rate.is_some() || tokio::time::Instant::now() > deadline {
                break rate;
            }
        };
        process.kill().await?;
        waited?;
        rate.ok_or_else(|| LabError::Timeout {
            what: "a fresh sample".to_owned(),
            limit: CATCH_UP_LIMIT,
            detail: String::new(),
        })
    }
}

/// Samples and bytes.
fn total(taken: &[Taken]) -> Result<(u64, u64), LabError> {
    let mut samples = 0;
    for one in taken {
        samples += sink::samples(&one.read()?);
    }
    Ok((samples, taken.iter().map(|one| one.body.len() as u64).sum()))
}

fn machine() -> Result<Vec<(String, String)>, LabError> {
    let mut rows = hardware()?;
    for (name, release, program, flag) in [
        ("Prometheus 2", "bookworm", "prometheus", "--version"),
        ("Prometheus 3", "sid", "prometheus", "--version"),
        ("vmagent", "trixie", "vmagent", "-version"),
    ] {
        let version = first_line(&mut Command::new(find::tool_of(release, program)?), &[flag]);
        rows.push((name.to_owned(), version));
    }
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    rows.push(("command".to_owned(), format!("`xprober-lab {}`", arguments.join(" "))));
    rows.retain(|(_, value)| !value.is_empty());
    Ok(rows)
}

fn say(text: &str) {
    let _gone = writeln!(std::io::stdout(), "{text}");
}
