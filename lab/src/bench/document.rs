//! The committed document: what the tables were measured on, and their place between two markers.

use std::fs;
use std::process::Command;

use crate::document::Markers;
use crate::error::LabError;
use crate::process::find;

/// Where the tables stand in the document.
pub const PLACE: Markers = Markers {
    begin: "<!-- bench-probe: from here to the end mark the text is written by `make bench-probe` -->",
    end: "<!-- bench-probe: end -->",
};

/// Date, kernel, CPU and agent, as rows of a table.
///
/// # Errors
/// [`LabError::Io`], [`LabError::NoProgram`].
pub(crate) fn hardware() -> Result<Vec<(String, String)>, LabError> {
    let read = |path: &str| fs::read_to_string(path).map_err(LabError::io(format!("reading {path}")));
    let cpu_info = read("/proc/cpuinfo")?;
    let model = cpu_info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let rows = [
        (
            "date",
            first_line(&mut Command::new("date"), &["-u", "+%Y-%m-%d %H:%M UTC"]),
        ),
        ("kernel", read("/proc/sys/kernel/osrelease")?.trim().to_owned()),
        (
            "CPU",
            format!("{} cores of {}", cores, model.trim_start_matches([' ', '\t', ':'])),
        ),
        (
            "xprober-agent",
            first_line(&mut Command::new(find::own_program("xprober-agent")?), &["--version"]),
        ),
    ];
    Ok(rows.map(|(name, value)| (name.to_owned(), value)).into())
}

/// Date, machine, versions and command, as rows of a table.
///
/// # Errors
/// [`LabError::Io`], [`LabError::NoProgram`].
pub fn machine() -> Result<Vec<(String, String)>, LabError> {
    let lock = fs::read_to_string(find::repository().join("Cargo.lock")).unwrap_or_default();
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let programs = [
        ("fping", first_line(&mut Command::new(find::tool("fping")?), &["-v"])),
        (
            "surge-ping",
            locked_version(&lock, "surge-ping").unwrap_or_default().to_owned(),
        ),
        (
            "smokeping_prober",
            first_line(
                &mut Command::new(find::tool("prometheus-smokeping-prober")?),
                &["--version"],
            ),
        ),
        (
            "VictoriaMetrics",
            first_line(&mut Command::new(find::tool("victoria-metrics")?), &["-version"]),
        ),
        ("command", format!("`xprober-lab {}`", arguments.join(" "))),
    ];
    let mut rows = hardware()?;
    rows.extend(programs.map(|(name, value)| (name.to_owned(), value)));
    rows.retain(|(_, value)| !value.is_empty());
    Ok(rows)
}

/// First line that a program writes to either output; empty when it cannot be run.
pub(crate) fn first_line(command: &mut Command, arguments: &[&str]) -> String {
    let Ok(output) = command.args(arguments).output() else {
        return String::new();
    };
    let bytes = if output.stdout.is_empty() {
        output.stderr
    } else {
        output.stdout
    };
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().next().unwrap_or_default();
    // fping begins with its own place, `smokeping_prober` ends with where it was built.
    let line = line.split_once(" (branch").map_or(line, |(line, _)| line);
    let words = line.split(' ').map(|word| word.rsplit('/').next().unwrap_or_default());
    words.collect::<Vec<_>>().join(" ").trim().to_owned()
}

fn locked_version<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let (_, rest) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    rest.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_found_in_the_lock_file() {
        let lock = "[[package]]\nname = \"surge-ping\"\nversion = \"0.9.1\"\n";
        assert_eq!(locked_version(lock, "surge-ping"), Some("0.9.1"));
        assert_eq!(locked_version(lock, "other"), None);
    }
}
