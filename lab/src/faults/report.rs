//! The table, as Markdown that also reads well in a terminal, and its place in the committed document.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::cases::Case;
use super::course::{Alert, Outcome};
use crate::document::{Markers, table};

/// Where the table stands in the document.
pub const PLACE: Markers = Markers {
    begin: "<!-- faults: from here to the end mark the text is written by `make faults` -->",
    end: "<!-- faults: end -->",
};

const HEAD: [&str; 7] = [
    "fault",
    "settings",
    "database",
    "alerts",
    "messages",
    "told after, s",
    "over after, s",
];

/// The table of all outcomes, and what is wrong.
#[must_use]
pub fn text(cases: &[Case], outcomes: &[Outcome]) -> String {
    let rows: Vec<Vec<String>> = outcomes.iter().map(|outcome| row(cases, outcome)).collect();
    let mut text = table(&HEAD, &rows);
    let complaints = outcomes.iter().flat_map(|outcome| {
        let name = format!("{}, {}, {}", outcome.case, outcome.pace.name(), outcome.database.name());
        outcome
            .complaints
            .iter()
            .map(move |complaint| format!("{name}: {complaint}"))
    });
    for complaint in complaints {
        let _infallible = writeln!(text, "\n- {complaint}");
    }
    text
}

/// What it was measured on.
#[must_use]
pub fn measured_with(machine: &[[String; 2]]) -> String {
    let rows: Vec<Vec<String>> = machine.iter().map(|row| row.to_vec()).collect();
    format!("### Measured with\n\n{}", table(&["", ""], &rows))
}

fn row(cases: &[Case], outcome: &Outcome) -> Vec<String> {
    let case = cases.iter().find(|case| case.name == outcome.case);
    let [firing, over] = outcome.messages;
    vec![
        case.map_or_else(|| outcome.case.clone(), |case| case.fault.to_string()),
        outcome.pace.name().to_owned(),
        outcome.database.name().to_owned(),
        alerts(&outcome.alerts),
        format!("{firing} + {over}"),
        span(outcome.alerts.iter().map(|alert| alert.told)),
        span(outcome.alerts.iter().map(|alert| alert.over)),
    ]
}

/// Names with how many of each.
fn alerts(alerts: &[Alert]) -> String {
    let mut counts = BTreeMap::new();
    for alert in alerts {
        *counts.entry(alert.name.as_str()).or_insert(0) += 1;
    }
    let names: Vec<_> = counts
        .into_iter()
        .map(|(name, count)| {
            if count == 1 {
                name.to_owned()
            } else {
                format!("{name} x {count}")
            }
        })
        .collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

/// From the first to the last.
fn span(times: impl Iterator<Item = Option<f64>>) -> String {
    let times: Option<Vec<f64>> = times.collect();
    let Some(times) = times else {
        return "missing".to_owned();
    };
    let first = times.iter().copied().reduce(f64::min);
    let last = times.iter().copied().reduce(f64::max);
    match (first, last) {
        (Some(first), Some(last)) if last - first >= 0.05 => format!("{first:.1} - {last:.1}"),
        (Some(first), Some(_)) => format!("{first:.1}"),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::cases::cases;
    use crate::stack::{Database, Pace};

    #[test]
    fn a_row_says_what_came_when_and_in_how_many_messages() {
        let alert = |told, over| Alert {
            name: "LineLatencyOverBudget".to_owned(),
            told,
            over,
        };
        let outcome = |alerts, complaints: &[&str]| Outcome {
            case: "line-slow".to_owned(),
            pace: Pace::Default,
            database: Database::Prometheus,
            alerts,
            messages: [1, 1],
            complaints: complaints.iter().map(|one| (*one).to_owned()).collect(),
        };
        let outcomes = [
            outcome(
                vec![alert(Some(31.21), Some(20.0)), alert(Some(31.21), Some(25.04))],
                &[],
            ),
            outcome(vec![alert(None, None)], &["it never came"]),
            outcome(Vec::new(), &[]),
        ];
        insta::assert_snapshot!(text(&cases(), &outcomes));
    }
}
