//! `check`: every problem of a file at once.

use anyhow::Context as _;
use xprober_config::planner::PlannerSettings;

use super::FileArgs;

/// Loads the file and says what it holds.
///
/// # Errors
///
/// Every problem of the file, or that it cannot be read.
pub fn check(args: &FileArgs, out: &mut impl std::io::Write) -> anyhow::Result<()> {
    let settings = PlannerSettings::load(&args.config_file)?;
    writeln!(
        out,
        "{}: valid, {} targets, {} lines",
        args.config_file.display(),
        settings.targets.len(),
        settings.lines.len()
    )
    .context("cannot write to standard output")
}
