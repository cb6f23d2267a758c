//! The tables, as Markdown that also reads well in a terminal, and their place in the committed document.

use std::fmt::Write as _;

use clap::ValueEnum as _;

use super::measure::{Measured, Sheet};
use super::plan::Contender;
use super::sink::times_real_time;
use crate::bench::report::{BOUNDS_HEAD, measured_with};
use crate::document::{Markers, Section, table};

/// Where the tables stand in the document.
pub const PLACE: Markers = Markers {
    begin: "<!-- bench-push: from here to the end mark the text is written by `make bench-push` -->",
    end: "<!-- bench-push: end -->",
};

/// The catch-up that is asked for, in multiples of real time.
const CATCH_UP_BOUND: f64 = 100.0;

const HEAD: [&str; 7] = [
    "contender",
    "push, ns CPU per sample",
    "(range)",
    "/ agent",
    "all, ns CPU per sample",
    "bytes per sample",
    "samples/s",
];

/// A section per number of targets and one for the catch-up, each with its tables, its bounds and what it was measured with, so
/// that it stands for itself; `seconds` is the length of one measurement.
#[must_use]
pub fn sections(sheet: &Sheet, seconds: u64, machine: &[(String, String)]) -> Vec<Section> {
    let section = |title: String, figures: String, bounds: Vec<[String; 4]>| {
        let bounds = if bounds.is_empty() {
            String::new()
        } else {
            format!("\n{}", table(&BOUNDS_HEAD, &bounds))
        };
        let body = format!("{figures}{bounds}\n{}{}", missing(sheet), measured_with(machine));
        Section { title, body }
    };
    let mut targets: Vec<_> = sheet.rounds.keys().map(|(targets, _)| *targets).collect();
    targets.dedup();
    let costs = targets.into_iter().map(|targets| {
        let rows = Contender::value_variants()
            .iter()
            .filter_map(|who| row(sheet, targets, *who, seconds));
        let figures = table(&HEAD, &rows.collect::<Vec<_>>());
        section(format!("{targets} targets"), figures, cost_bounds(sheet, targets))
    });
    let rows = sheet.catch_up.keys().filter_map(|who| {
        let rate = sheet.catch_up_rate(*who)?;
        let times = times_real_time(rate);
        Some([who.to_string(), format!("{rate:.0}"), format!("{times:.0}")])
    });
    let rows: Vec<_> = rows.collect();
    let catch_up = (!rows.is_empty()).then(|| {
        let head = ["contender", "samples/s", "times real time of 10,000 targets"];
        let title = "Catching up after an outage".to_owned();
        section(title, table(&head, &rows), catch_up_bounds(sheet))
    });
    costs.chain(catch_up).collect()
}

/// Who could not be measured; nothing where all could.
fn missing(sheet: &Sheet) -> String {
    let mut text = String::new();
    for (who, why) in &sheet.missing {
        let _infallible = writeln!(text, "Not measured: {who}: {why}.\n");
    }
    text
}

fn row(sheet: &Sheet, targets: usize, who: Contender, seconds: u64) -> Option<[String; 7]> {
    let rounds = sheet.rounds.get(&(targets, who))?;
    let push: Vec<_> = rounds.iter().map(Measured::push_nanos).collect();
    let (low, high) = (
        push.iter().copied().fold(f64::INFINITY, f64::min),
        push.iter().copied().fold(0.0, f64::max),
    );
    let figure = |figure: fn(&Measured) -> f64| sheet.median(targets, who, figure).unwrap_or(f64::NAN);
    let ratio = sheet.ratio(targets, who, Contender::Agent, Measured::push_nanos);
    let rate = figure(|one| super::measure::count(one.samples)) / super::measure::count(seconds);
    Some([
        who.to_string(),
        format!("{:.0}", figure(Measured::push_nanos)),
        format!("{low:.0}-{high:.0}"),
        ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
        format!("{:.0}", figure(Measured::whole_nanos)),
        format!("{:.1}", figure(Measured::bytes_per_sample)),
        format!("{rate:.0}"),
    ])
}

fn cost_bounds(sheet: &Sheet, targets: usize) -> Vec<[String; 4]> {
    let mut rows = Vec::new();
    let ours = sheet.rounds.keys().filter(|(of, who)| *of == targets && who.is_ours());
    for (_, who) in ours {
        for other in [Contender::Prometheus2, Contender::Prometheus3] {
            if let Some(ratio) = sheet.ratio(targets, *who, other, Measured::push_nanos) {
                rows.push([
                    format!("{who}: CPU of the push / {other}"),
                    "<= 1".to_owned(),
                    format!("{ratio:.2}"),
                    state(ratio <= 1.0),
                ]);
            }
        }
        if let (Some(bound), Some(bytes)) = (
            who.wire_bound(),
            sheet.median(targets, *who, Measured::bytes_per_sample),
        ) {
            rows.push([
                format!("{who}: bytes per sample"),
                format!("<= {bound:.0}"),
                format!("{bytes:.1}"),
                state(bytes <= bound),
            ]);
        }
    }
    rows
}

fn catch_up_bounds(sheet: &Sheet) -> Vec<[String; 4]> {
    let ours = sheet.catch_up.keys().filter(|who| who.is_ours());
    let rows = ours.filter_map(|who| {
        let times = times_real_time(sheet.catch_up_rate(*who)?);
        Some([
            who.to_string(),
            format!(">= {CATCH_UP_BOUND:.0} times real time"),
            format!("{times:.0}"),
            state(times >= CATCH_UP_BOUND),
        ])
    });
    rows.collect()
}

fn state(met: bool) -> String {
    if met { "met" } else { "**missed**" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::measure::tests::measured;
    use super::*;

    #[test]
    fn tables_show_medians_ratios_and_verdicts() {
        let mut sheet = Sheet::default();
        for (who, micros) in [(Contender::Agent, 3_000), (Contender::Prometheus2, 9_000)] {
            for round in 1..=3 {
                let rounds = sheet.rounds.entry((1000, who)).or_default();
                rounds.push(measured(micros * round, 1000));
            }
        }
        sheet.catch_up.insert(Contender::Agent, vec![280_000.0]);
        sheet
            .missing
            .insert(Contender::AgentRw2, "it does not start".to_owned());
        let sections = sections(&sheet, 10, &[("date".to_owned(), "2001-02-03".to_owned())]);
        insta::assert_snapshot!(Section::join(&sections));
    }
}
