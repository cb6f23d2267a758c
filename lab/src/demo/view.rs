//! Draws what was read: the region matrix and the HTTP stages, as text for a terminal.

use std::fmt::Write as _;
use std::time::Duration;

use xprober_agent::probe::Stage;

use super::reading::Reading;

/// Width of a cell of the region matrix.
const CELL: usize = 22;

/// Draws the matrix: a row per source region, a column per target region; mean round-trip time, in brackets what the WAN
/// emulates, then loss.
#[must_use]
pub fn matrix(reading: &Reading) -> String {
    let mut regions: Vec<&str> = reading.pairs.iter().map(|pair| pair.source.as_str()).collect();
    regions.dedup();
    let mut text = format!("{:<14}", "from \\ to");
    for region in &regions {
        let _infallible = write!(text, "{region:>CELL$}");
    }
    text.push('\n');
    for source in &regions {
        let _infallible = write!(text, "{source:<14}");
        for target in &regions {
            let found = reading
                .pairs
                .iter()
                .find(|pair| pair.source == *source && pair.target == *target);
            let cell = found.map_or_else(
                || "-".to_owned(),
                |pair| cell(pair.rtt_seconds, pair.emulated, pair.loss),
            );
            let _infallible = write!(text, "{cell:>CELL$}");
        }
        text.push('\n');
    }
    text
}

fn cell(rtt_seconds: Option<f64>, emulated: Duration, loss: Option<f64>) -> String {
    let rtt = rtt_seconds.map_or("no data".to_owned(), |seconds| format!("{:.2}", seconds * 1e3));
    let loss = loss.map_or("?".to_owned(), |ratio| format!("{:.1}%", ratio * 100.0));
    format!("{rtt} ({:.0}) {loss}", emulated.as_secs_f64() * 1e3)
}

/// Draws the HTTP stages: a row per target and source region; measured milliseconds, in brackets what the lab spends.
#[must_use]
pub fn stages(reading: &Reading) -> String {
    let mut text = String::new();
    let mut last_target = "";
    for http in &reading.http {
        if http.target != last_target {
            last_target = &http.target;
            let _infallible = write!(text, "{last_target}\n  {:<12}", "from");
            for stage in Stage::ALL {
                let _infallible = write!(text, "{:>16}", stage.as_str());
            }
            let _infallible = writeln!(text, "{:>10}", "success");
        }
        let _infallible = write!(text, "  {:<12}", http.source);
        for (measured, emulated) in http.stage_seconds.iter().zip(http.emulated) {
            let measured = measured.map_or("no data".to_owned(), |seconds| format!("{:.1}", seconds * 1e3));
            let cell = format!("{measured} ({:.0})", emulated.as_secs_f64() * 1e3);
            let _infallible = write!(text, "{cell:>16}");
        }
        let success = http
            .success
            .map_or("?".to_owned(), |ratio| format!("{:.0}%", ratio * 100.0));
        let _infallible = writeln!(text, "{success:>10}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::reading::{Http, Pair};
    use super::*;

    #[test]
    fn missing_values_are_shown_as_missing() {
        let pair = |source: &str, target: &str, rtt_seconds| Pair {
            source: source.to_owned(),
            target: target.to_owned(),
            emulated: Duration::from_millis(10),
            disturbed: false,
            rtt_seconds,
            loss: rtt_seconds.map(|_| 0.005),
        };
        let http = Http {
            source: "a".to_owned(),
            target: "http://web/".to_owned(),
            emulated: [1, 2, 0, 4, 5].map(Duration::from_millis),
            stage_seconds: [Some(0.001), Some(0.002), Some(0.0), None, Some(0.005)],
            success: Some(1.0),
        };
        let reading = Reading {
            pairs: vec![pair("a", "b", Some(0.010_12)), pair("b", "a", None)],
            http: vec![http],
        };
        insta::assert_snapshot!(format!("{}\n{}", matrix(&reading), stages(&reading)));
    }
}
