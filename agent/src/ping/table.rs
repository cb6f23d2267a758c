//! What a person or a script sees of the echoes: the table, the JSON, the exit status.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::summary::Summary;
use crate::probe::Outcome;

/// Titles of the columns; the first and the last are aligned to the left. One unit stands for all times: a terminal of 80
/// columns has to do.
const TITLES: [&str; 11] = [
    "host", "sent", "loss", "last ms", "avg", "min", "max", "p99", "jitter", "stamp", "",
];

/// One host and what is known of it.
#[derive(Debug, Clone)]
pub struct Row {
    /// As it was typed.
    pub host: String,
    /// Where it is; `None` until the name server has answered, the error is a line for people.
    pub address: Option<Result<IpAddr, String>>,
    /// Its echoes.
    pub summary: Summary,
}

/// How it went; the number is the exit status, as `ping` of iputils has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Every host answered at least once.
    Answered = 0,
    /// Some host did not answer at all.
    Silent = 1,
    /// Some host could not be asked.
    Failed = 2,
}

/// Judges all hosts: the worst decides.
#[must_use]
pub fn status(rows: &[Row]) -> Status {
    rows.iter().map(Row::status).max().unwrap_or(Status::Failed)
}

impl Row {
    /// Starts without an address.
    #[must_use]
    pub fn new(host: String) -> Self {
        Self {
            host,
            address: None,
            summary: Summary::default(),
        }
    }

    /// The host and the error, if it has no address.
    #[must_use]
    pub fn unknown(&self) -> Option<(&str, &str)> {
        match &self.address {
            Some(Err(error)) => Some((&self.host, error)),
            Some(Ok(_)) | None => None,
        }
    }

    fn status(&self) -> Status {
        if matches!(self.address, Some(Err(_))) || self.summary.nothing_left() {
            Status::Failed
        } else if self.summary.received() == 0 {
            Status::Silent
        } else {
            Status::Answered
        }
    }

    /// The host, with its address if it is a name.
    fn label(&self) -> String {
        match &self.address {
            Some(Ok(address)) if self.host.parse::<IpAddr>().is_err() => format!("{} ({address})", self.host),
            Some(Ok(_) | Err(_)) | None => self.host.clone(),
        }
    }

    fn cells(&self) -> [String; TITLES.len()] {
        let (summary, times) = (&self.summary, self.summary.times());
        let loss = summary.loss().map(|loss| format!("{:.1} %", loss * 100.0));
        [
            self.label(),
            summary.sent().to_string(),
            loss.unwrap_or_else(|| "-".to_owned()),
            millis(times.last()),
            millis(times.average()),
            millis(times.min()),
            millis(times.max()),
            millis(times.p99()),
            millis(times.jitter()),
            summary.stamp().unwrap_or("-").to_owned(),
            self.remarks(),
        ]
    }

    /// What is not as it should be, with reasons; nothing where all is well.
    fn remarks(&self) -> String {
        if let Some(Err(error)) = &self.address {
            return error.clone();
        }
        let all_well = self.summary.counts().all(|(outcome, _, _)| outcome == Outcome::Ok);
        let counts = self.summary.counts().filter(|_| !all_well);
        let mut remarks: Vec<String> = counts
            .map(|(outcome, reason, count)| match reason {
                Some(reason) => format!("{} {} {count}", outcome.as_str(), reason.as_str()),
                None => format!("{} {count}", outcome.as_str()),
            })
            .collect();
        if self.summary.duplicates() > 0 {
            remarks.push(format!("duplicates {}", self.summary.duplicates()));
        }
        remarks.join(", ")
    }

    fn to_json(&self) -> Value {
        let (summary, times) = (&self.summary, self.summary.times());
        let (address, error) = match &self.address {
            Some(Ok(address)) => (Some(address.to_string()), None),
            Some(Err(error)) => (None, Some(error)),
            None => (None, None),
        };
        let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
        let mut reasons: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
        for (outcome, reason, count) in summary.counts() {
            *outcomes.entry(outcome.as_str()).or_default() += count;
            if let Some(reason) = reason {
                let of_outcome = reasons.entry(outcome.as_str()).or_default();
                *of_outcome.entry(reason.as_str()).or_default() += count;
            }
        }
        json!({
            "host": self.host,
            "address": address,
            "error": error,
            "sent": summary.sent(),
            "received": summary.received(),
            "loss_ratio": summary.loss(),
            "rtt_last_seconds": seconds(times.last()),
            "rtt_avg_seconds": seconds(times.average()),
            "rtt_min_seconds": seconds(times.min()),
            "rtt_max_seconds": seconds(times.max()),
            "rtt_p99_seconds": seconds(times.p99()),
            "jitter_seconds": seconds(times.jitter()),
            "stamp": summary.stamp(),
            "outcomes": outcomes,
            "reasons": reasons,
            "duplicates": summary.duplicates(),
        })
    }
}

/// Draws a table, one line for each host in the order given.
#[must_use]
pub fn render<'a>(rows: impl IntoIterator<Item = &'a Row>) -> String {
    let cells: Vec<_> = std::iter::once(TITLES.map(str::to_owned))
        .chain(rows.into_iter().map(Row::cells))
        .collect();
    let width_of = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; TITLES.len()] = std::array::from_fn(width_of);
    let line = |row: &[String; TITLES.len()]| {
        let padded = row.iter().zip(widths).enumerate();
        let padded = padded.map(|(column, (cell, width))| match column {
            0 => format!("{cell:width$}"),
            _ if column == TITLES.len() - 1 => cell.clone(),
            _ => format!("{cell:>width$}"),
        });
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    cells.iter().map(line).collect()
}

/// Writes an array of objects, one for each host: times in seconds, absent values as null.
#[must_use]
pub fn to_json(rows: &[Row]) -> Value {
    rows.iter().map(Row::to_json).collect()
}

fn seconds(time: Option<Duration>) -> Option<f64> {
    time.map(|time| time.as_secs_f64())
}

fn millis(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{:.3}", time.as_secs_f64() * 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ping::summary::tests::summary;
    use crate::probe::Reason;

    fn row(host: &str, address: Result<&str, &str>, summary: Summary) -> Row {
        let address = address.map(|address| address.parse().unwrap()).map_err(str::to_owned);
        Row {
            host: host.to_owned(),
            address: Some(address),
            summary,
        }
    }

    fn good() -> Row {
        let replies = [10, 20, 15].map(|rtt| (Outcome::Ok, None, Some(rtt)));
        row("db.example.com", Ok("10.0.0.1"), summary(&replies))
    }

    fn shaky() -> Row {
        let results = [
            (Outcome::Ok, None, Some(1)),
            (Outcome::Lost, None, None),
            (Outcome::Unreachable, Some(Reason::HostUnreachable), None),
            (Outcome::Unreachable, Some(Reason::HostUnreachable), None),
        ];
        row("10.0.0.2", Ok("10.0.0.2"), summary(&results))
    }

    fn unknown() -> Row {
        row("nowhere", Err("Name or service not known"), Summary::default())
    }

    #[test]
    fn the_table_shows_what_came_back_and_what_did_not() {
        let mut asked = Row::new("slow.example.com".to_owned());
        asked.summary.depart();
        let expected = "\
host                       sent    loss  last ms     avg     min     max     p99  jitter   stamp
db.example.com (10.0.0.1)     3   0.0 %   15.000  15.000  10.000  20.000  20.000   0.898  kernel
10.0.0.2                      4  75.0 %    1.000   1.000   1.000   1.000   1.000       -  kernel  ok 1, lost 1, unreachable host_unreachable 2
nowhere                       0       -        -       -       -       -       -       -       -  Name or service not known
slow.example.com              1       -        -       -       -       -       -       -       -
";
        assert_eq!(render(&[good(), shaky(), unknown(), asked]), expected);
    }

    #[test]
    fn the_json_has_every_value_in_seconds_and_null_where_there_is_none() {
        let json = to_json(&[shaky(), unknown()]);
        let expected = json!([
            {
                "host": "10.0.0.2", "address": "10.0.0.2", "error": null,
                "sent": 4, "received": 1, "loss_ratio": 0.75,
                "rtt_last_seconds": 0.001, "rtt_avg_seconds": 0.001, "rtt_min_seconds": 0.001,
                "rtt_max_seconds": 0.001, "rtt_p99_seconds": 0.001, "jitter_seconds": null, "stamp": "kernel",
                "outcomes": {"ok": 1, "lost": 1, "unreachable": 2},
                "reasons": {"unreachable": {"host_unreachable": 2}},
                "duplicates": 0,
            },
            {
                "host": "nowhere", "address": null, "error": "Name or service not known",
                "sent": 0, "received": 0, "loss_ratio": null,
                "rtt_last_seconds": null, "rtt_avg_seconds": null, "rtt_min_seconds": null,
                "rtt_max_seconds": null, "rtt_p99_seconds": null, "jitter_seconds": null, "stamp": null,
                "outcomes": {}, "reasons": {}, "duplicates": 0,
            },
        ]);
        assert_eq!(json, expected);
    }

    #[test]
    fn the_worst_host_decides_the_exit_status() {
        let silent = row("10.0.0.3", Ok("10.0.0.3"), summary(&[(Outcome::Lost, None, None)]));
        let unsent = summary(&[(Outcome::SendError, Some(Reason::NoRoute), None)]);
        let unsent = row("10.0.0.4", Ok("10.0.0.4"), unsent);
        for (rows, expected) in [
            (vec![good(), shaky()], Status::Answered),
            (vec![good(), silent.clone()], Status::Silent),
            (vec![good(), Row::new("10.0.0.5".to_owned())], Status::Silent),
            (vec![unsent, silent.clone()], Status::Failed),
            (vec![silent, unknown(), good()], Status::Failed),
        ] {
            assert_eq!(status(&rows), expected, "{rows:?}");
        }
    }
}
