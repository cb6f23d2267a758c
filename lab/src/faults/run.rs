//! The course of `make faults`: many cases, some at a time, and one table.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::cases::{Case, cases};
use super::course::Outcome;
use super::report;
use crate::accuracy::report::machine;
use crate::error::LabError;
use crate::side_by_side::{self, Job};
use crate::stack::{Database, Pace};
use crate::testing::chain;

/// Options of `xprober-lab faults`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Cases, all of them by default; --list shows their names.
    #[arg(long, value_delimiter = ',', value_parser = known)]
    pub case: Vec<String>,
    /// The settings that are shipped: the defaults, and those that tell sooner. Without it every case runs with the defaults, and
    /// those with a promise with the fast ones, too.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub settings: Vec<Pace>,
    /// Databases. Without it every case runs on Prometheus, and those with a promise on `VictoriaMetrics`, too.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub database: Vec<Database>,
    /// Cases that run at a time.
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub at_once: u8,
    /// Multiplies the times that are promised; above 1 for a machine that has other work.
    #[arg(long, value_name = "FACTOR", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10))]
    pub slack: u32,
    /// Document whose table is replaced, e.g. docs/faults.md; without it the table is only printed.
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Lists the cases and runs none.
    #[arg(long)]
    pub list: bool,
}

fn known(name: &str) -> Result<String, String> {
    if cases().iter().any(|case| case.name == name) {
        return Ok(name.to_owned());
    }
    let names: Vec<_> = cases().iter().map(|case| case.name).collect();
    Err(format!("one of {}", names.join(", ")))
}

/// Runs the cases, prints the table, and writes it where asked to; answers what is wrong. Call it outside any lab.
///
/// # Errors
/// What could not be started or written.
pub fn run(options: &Options) -> Result<Vec<String>, LabError> {
    let cases = chosen(options);
    if options.list {
        for case in &cases {
            say(&format!("{:<22} {}", case.name, case.fault));
        }
        return Ok(Vec::new());
    }
    let jobs = jobs(&cases, options);
    say(&format!("faults: {} cases, {} at a time", jobs.len(), options.at_once));
    let mut over = 0;
    let results = side_by_side::run(&jobs, options.at_once.into(), |job, _: &Result<Outcome, LabError>| {
        over += 1;
        say(&format!(
            "faults: {over} of {} are over, the last one {}",
            jobs.len(),
            job.name
        ));
    })?;
    let mut complaints = Vec::new();
    let mut outcomes = Vec::new();
    for (job, result) in jobs.iter().zip(results) {
        match result {
            Some(Ok(outcome)) => {
                let told = outcome.complaints.iter().map(|one| format!("{}: {one}", job.name));
                complaints.extend(told);
                outcomes.push(outcome);
            }
            Some(Err(error)) => complaints.push(format!("{}: {}", job.name, chain(&error))),
            None => complaints.push(format!("{} was not started", job.name)),
        }
    }
    outcomes.sort_by_key(|outcome| {
        let place = cases.iter().position(|case| case.name == outcome.case);
        (outcome.pace, outcome.database, place)
    });
    let text = format!(
        "{}\n{}",
        report::text(&cases, &outcomes),
        report::measured_with(&machine()?)
    );
    say(&text);
    if let Some(file) = &options.write {
        report::PLACE.write(file, &text)?;
    }
    Ok(complaints)
}

fn chosen(options: &Options) -> Vec<Case> {
    let mut all = cases();
    all.retain(|case| options.case.is_empty() || options.case.iter().any(|name| name == case.name));
    all
}

/// The longest first, so that none of them is alone at the end.
fn jobs(cases: &[Case], options: &Options) -> Vec<Job> {
    let all = cases.iter().flat_map(|case| {
        let databases = databases(case, options);
        paces(case, options).into_iter().flat_map(move |pace| {
            databases
                .clone()
                .into_iter()
                .map(move |database| (case, pace, database))
        })
    });
    let mut runs: Vec<_> = all.filter(|(case, pace, _)| case.runs_with(*pace)).collect();
    runs.sort_by_key(|(case, pace, _)| Reverse(case.timing(*pace).sum()));
    let jobs = runs.into_iter();
    jobs.map(|(case, pace, database)| job(case, pace, database, options.slack))
        .collect()
}

fn paces(case: &Case, options: &Options) -> BTreeSet<Pace> {
    match (options.settings.is_empty(), case.promise) {
        (false, _) => options.settings.iter().copied().collect(),
        (true, Some(_)) => [Pace::Default, Pace::Fast].into(),
        (true, None) if case.fast_only => [Pace::Fast].into(),
        (true, None) => [Pace::Default].into(),
    }
}

fn databases(case: &Case, options: &Options) -> BTreeSet<Database> {
    match (options.database.is_empty(), case.promise) {
        (false, _) => options.database.iter().copied().collect(),
        (true, Some(_)) => [Database::Prometheus, Database::VictoriaMetrics].into(),
        (true, None) => [Database::Prometheus].into(),
    }
}

fn job(case: &Case, pace: Pace, database: Database, slack: u32) -> Job {
    let (pace, database) = (pace.name(), database.name());
    let arguments = [
        "fault".to_owned(),
        format!("--case={}", case.name),
        format!("--settings={pace}"),
        format!("--database={database}"),
        format!("--slack={slack}"),
    ];
    Job {
        name: format!("{}, {pace}, {database}", case.name),
        arguments: arguments.map(Into::into).to_vec(),
    }
}

fn say(text: &str) {
    let _gone = writeln!(std::io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(line: &[&str]) -> Result<Options, String> {
        let line = Line::try_parse_from(["faults"].iter().chain(line));
        line.map(|line| line.options).map_err(|error| error.to_string())
    }

    #[test]
    fn a_job_is_made_of_each_case_with_each_setting_and_each_database_once() {
        let options = options(&[
            "--case=line-slow,planner-gone,line-slow",
            "--settings=default,fast",
            "--database=prometheus,victoriametrics",
        ])
        .unwrap();
        let jobs = jobs(&chosen(&options), &options);
        let names: BTreeSet<_> = jobs.iter().map(|job| job.name.as_str()).collect();
        assert_eq!((jobs.len(), names.len()), (8, 8), "{names:?}");
        assert!(names.contains("line-slow, fast, victoriametrics"));
    }

    #[test]
    fn everything_runs_by_default_and_an_unknown_case_is_refused() {
        let all = options(&[]).unwrap();
        let jobs = jobs(&chosen(&all), &all);
        for case in cases() {
            let runs = jobs
                .iter()
                .filter(|job| job.name.starts_with(&format!("{},", case.name)));
            assert_eq!(
                runs.count(),
                if case.promise.is_some() { 4 } else { 1 },
                "{}",
                case.name
            );
        }
        assert!(options(&["--case=nothing"]).unwrap_err().contains("one of line-slow"));
    }
}
