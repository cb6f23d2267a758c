//! The course of `make soak`.

use std::io::Write as _;

use clap::Args;

use super::course::Summary;
use crate::error::LabError;
use crate::side_by_side::{self, Job};
use crate::stack::{Database, Pace};
use crate::testing::chain;

/// Options of `xprober-lab soak`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Seconds that are watched.
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(60..=86_400))]
    pub seconds: u64,
    /// The settings that are shipped: the defaults, and those that tell sooner.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "default")]
    pub settings: Vec<Pace>,
    /// Databases; each has a world of its own beside the others.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "prometheus,victoriametrics"
    )]
    pub database: Vec<Database>,
}

/// Watches all of them side by side, prints what was counted, and answers what is wrong. Call it outside any lab.
///
/// # Errors
/// What could not be started.
pub fn run(options: &Options) -> Result<Vec<String>, LabError> {
    let mut jobs = Vec::new();
    for pace in &options.settings {
        jobs.extend(
            options
                .database
                .iter()
                .map(|database| job(options.seconds, *pace, *database)),
        );
    }
    say(&format!("soak: {} s, {} at a time", options.seconds, jobs.len()));
    let results = side_by_side::run(&jobs, jobs.len(), |_, _: &Result<Summary, LabError>| ())?;
    let mut complaints = Vec::new();
    for (job, result) in jobs.iter().zip(results) {
        match result {
            Some(Ok(summary)) => {
                say(&format!("soak, {}: {}", job.name, describe(&summary)));
                complaints.extend(summary.complaints.iter().map(|one| format!("{}: {one}", job.name)));
            }
            Some(Err(error)) => complaints.push(format!("{}: {}", job.name, chain(&error))),
            None => complaints.push(format!("{} was not started", job.name)),
        }
    }
    Ok(complaints)
}

fn job(seconds: u64, pace: Pace, database: Database) -> Job {
    let (pace, database) = (pace.name(), database.name());
    let arguments = [
        "soaked".to_owned(),
        format!("--for={seconds}"),
        format!("--settings={pace}"),
        format!("--database={database}"),
    ];
    Job {
        name: format!("{pace}, {database}"),
        arguments: arguments.map(Into::into).to_vec(),
    }
}

fn describe(summary: &Summary) -> String {
    let [all, lost, stalled] = summary.echoes;
    let [least, most] = summary.band;
    let pending: Vec<_> = summary
        .pending
        .iter()
        .map(|(name, minutes)| format!("{name} in {minutes} min"))
        .collect();
    let pending = if pending.is_empty() {
        "nothing".to_owned()
    } else {
        pending.join(", ")
    };
    let fired = if summary.complaints.is_empty() {
        "nothing fired"
    } else {
        "NOT as expected"
    };
    format!(
        "{all} echoes, {lost} lost ({least} to {most} expected), {stalled} stalled; about to fire was {pending}; {fired}"
    )
}

fn say(text: &str) {
    let _gone = writeln!(std::io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_says_what_was_counted() {
        let summary = Summary {
            echoes: [5760, 1, 12],
            band: [0, 8],
            pending: [("PairSilent".to_owned(), 2)].into(),
            complaints: Vec::new(),
        };
        assert_eq!(
            describe(&summary),
            "5760 echoes, 1 lost (0 to 8 expected), 12 stalled; about to fire was PairSilent in 2 min; nothing fired"
        );
    }
}
