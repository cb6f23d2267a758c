//! The tables, as Markdown that also reads well in a terminal, and their place in the committed document.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use super::band::double;
use super::judge::{Crowd, Judged, Row};
use super::run::Findings;
use crate::document::{Markers, table};
use crate::error::LabError;
use crate::process::find;

/// Where the tables stand in the document.
pub const PLACE: Markers = Markers {
    begin: "<!-- accuracy: from here to the end mark the text is written by `make accuracy` -->",
    end: "<!-- accuracy: end -->",
};

/// All tables, the verdict, and what they were measured on.
#[must_use]
pub fn text(findings: &Findings, seconds: u64, machine: &[[String; 2]]) -> String {
    let mut text = String::new();
    let mut section = |title: &str, head: &[&str], rows: &[Vec<String>]| {
        let _infallible = writeln!(text, "### {title}\n\n{}", table(head, rows));
    };
    section("Loss", &LOSS_HEAD, &rows(findings, loss));
    section("Round-trip time and jitter", &TIME_HEAD, &rows(findings, time));
    section(
        "Duplicates, damage, reordering, lateness",
        &OTHER_HEAD,
        &rows(findings, other),
    );
    let of = &findings.crowd;
    let each = of.stopped.as_secs_f64() / f64::from(of.stops);
    let title = format!(
        "False loss: {} targets x 1/s, {seconds} s and {} stops of {each:.1} s",
        of.targets, of.stops
    );
    section(&title, &["what", "count"], &crowd(of));
    section("Verdict", &["what is wrong"], &verdict(findings));
    let machine: Vec<_> = machine.iter().map(|row| row.to_vec()).collect();
    section("Measured with", &["", ""], &machine);
    text
}

const LOSS_HEAD: [&str; 8] = [
    "case",
    "from, to",
    "probes",
    "injected",
    "measured",
    "lost",
    "99 % band",
    "lost, both agents / WAN",
];
const TIME_HEAD: [&str; 8] = [
    "case",
    "from, to",
    "RTT injected, ms",
    "on the wire",
    "measured",
    "error, us",
    "jitter on the wire, ms",
    "measured",
];
const OTHER_HEAD: [&str; 8] = [
    "case",
    "from, to",
    "probes",
    "duplicates / wire",
    "corrupt / wire",
    "late / wire",
    "replies overtaken",
    "stalled",
];

fn rows(findings: &Findings, line: fn(&Judged, &Row) -> Vec<String>) -> Vec<Vec<String>> {
    let each = findings.cases.iter().flat_map(|judged| {
        judged.rows.iter().map(move |row| {
            let start = [judged.case.name.to_owned(), row.pair.join(", ")];
            start.into_iter().chain(line(judged, row)).collect()
        })
    });
    each.collect()
}

fn loss(judged: &Judged, row: &Row) -> Vec<String> {
    let (lost, probes) = (row.told.count("lost"), row.told.judged());
    let band = judged.plain_band(row).map_or("bursts".to_owned(), |[least, most]| {
        let inside = if (least..=most).contains(&lost) {
            ""
        } else {
            " **outside**"
        };
        format!("{least} - {most}{inside}")
    });
    let both: u64 = judged.rows.iter().map(|row| row.told.count("lost")).sum();
    vec![
        probes.to_string(),
        percent(judged.case.loss()),
        percent(double(lost) / double(probes.max(1))),
        lost.to_string(),
        band,
        format!("{both} / {}", judged.lost_by_the_wan()),
    ]
}

fn time(judged: &Judged, row: &Row) -> Vec<String> {
    let (told, wire) = (row.told.rtt(), row.wire.rtt);
    let error = told.zip(wire).map(|(told, wire)| (told - wire) * 1e6);
    vec![
        milliseconds(Some(judged.case.rtt().as_secs_f64())),
        milliseconds(wire),
        milliseconds(told),
        error.map_or("-".to_owned(), |error| format!("{error:+.1}")),
        milliseconds(row.wire.jitter),
        milliseconds(row.told.jitter),
    ]
}

fn other(_: &Judged, row: &Row) -> Vec<String> {
    let (told, wire) = (&row.told, &row.wire);
    vec![
        told.sent().to_string(),
        format!("{} / {}", told.duplicates, wire.copies),
        format!("{} / {}", told.count("corrupt"), wire.damaged),
        format!("{} / {}", told.count("late"), wire.late),
        wire.overtaking.to_string(),
        told.count("stalled").to_string(),
    ]
}

fn crowd(crowd: &Crowd) -> Vec<Vec<String>> {
    let (told, wire) = (&crowd.told, &crowd.wire);
    let mut rows = vec![
        vec!["requests on the wire".to_owned(), wire.requests.to_string()],
        vec!["probes told".to_owned(), told.sent().to_string()],
    ];
    for outcome in ["ok", "late", "lost", "unreachable", "corrupt", "send_error", "stalled"] {
        rows.push(vec![outcome.to_owned(), told.count(outcome).to_string()]);
    }
    let told_stopped = crowd
        .told_stopped
        .map_or("-".to_owned(), |seconds| format!("{seconds:.2} s"));
    let [least, most] = told.per_target.unwrap_or_default();
    let [before, after] = crowd.bursts;
    rows.extend([
        vec![
            "probes of one target, fewest and most".to_owned(),
            format!("{least}, {most}"),
        ],
        vec![
            "agent stopped for, in all".to_owned(),
            format!("{:.2} s", crowd.stopped.as_secs_f64()),
        ],
        vec!["time that the agent says it stood still".to_owned(), told_stopped],
        vec![
            "most requests within 100 ms, before and after the first stop".to_owned(),
            format!("{before}, {after}"),
        ],
    ]);
    rows
}

fn verdict(findings: &Findings) -> Vec<Vec<String>> {
    if findings.complaints.is_empty() {
        return vec![vec!["nothing".to_owned()]];
    }
    findings.complaints.iter().map(|one| vec![one.clone()]).collect()
}

fn percent(share: f64) -> String {
    format!("{:.3} %", share * 100.0)
}

fn milliseconds(seconds: Option<f64>) -> String {
    seconds.map_or("-".to_owned(), |seconds| format!("{:.3}", seconds * 1e3))
}

/// Date, machine and command, as rows of a table.
///
/// # Errors
/// [`LabError::Io`], [`LabError::NoProgram`].
pub fn machine() -> Result<Vec<[String; 2]>, LabError> {
    let read = |path: &str| fs::read_to_string(path).map_err(LabError::io(format!("reading {path}")));
    let cpu_info = read("/proc/cpuinfo")?;
    let model = cpu_info.lines().find_map(|line| line.strip_prefix("model name"));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let model = model.unwrap_or_default().trim_start_matches([' ', '\t', ':']);
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let rows = [
        ("date", output("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        ("kernel", read("/proc/sys/kernel/osrelease")?.trim().to_owned()),
        ("CPU", format!("{cores} cores of {model}")),
        (
            "xprober-agent",
            output(find::own_program("xprober-agent")?, &["--version"]),
        ),
        ("command", format!("`xprober-lab {}`", arguments.join(" "))),
    ];
    Ok(rows.map(|(name, value)| [name.to_owned(), value]).into())
}

/// What a program says; empty when it cannot be run.
fn output(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
