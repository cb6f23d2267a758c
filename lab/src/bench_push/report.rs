//! The tables, as Markdown that also reads well in a terminal, and their place in the committed document.

use std::fmt::Write as _;

use clap::ValueEnum as _;

use super::measure::{Measured, Sheet};
use super::plan::Contender;
use super::sink::times_real_time;
use crate::bench::report::table;
use crate::document::Markers;

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

/// All tables; `seconds` is the length of one measurement.
#[must_use]
pub fn text(sheet: &Sheet, seconds: u64, machine: &[(String, String)]) -> String {
    let mut text = String::new();
    let mut targets: Vec<_> = sheet.rounds.keys().map(|(targets, _)| *targets).collect();
    targets.dedup();
    for targets in targets {
        let rows: Vec<_> = Contender::value_variants()
            .iter()
            .filter_map(|who| row(sheet, targets, *who, seconds))
            .collect();
        let _infallible = writeln!(text, "### {targets} targets\n\n{}", table(&HEAD, &rows));
    }
    let rows: Vec<_> = sheet
        .catch_up
        .keys()
        .filter_map(|who| {
            let rate = sheet.catch_up_rate(*who)?;
            let times = times_real_time(rate);
            Some([who.to_string(), format!("{rate:.0}"), format!("{times:.0}")])
        })
        .collect();
    if !rows.is_empty() {
        let head = ["contender", "samples/s", "times real time of 10,000 targets"];
        let _infallible = writeln!(text, "### Catching up after an outage\n\n{}", table(&head, &rows));
    }
    let _infallible = writeln!(
        text,
        "### Bounds\n\n{}",
        table(&["what", "required", "found", ""], &bounds(sheet))
    );
    if !sheet.missing.is_empty() {
        let rows: Vec<_> = sheet
            .missing
            .iter()
            .map(|(who, why)| [who.to_string(), why.clone()])
            .collect();
        let _infallible = writeln!(text, "### Not measured\n\n{}", table(&["contender", "why"], &rows));
    }
    let rows: Vec<_> = machine
        .iter()
        .map(|(name, value)| [name.clone(), value.clone()])
        .collect();
    let _infallible = write!(text, "### Measured with\n\n{}", table(&["", ""], &rows));
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

fn bounds(sheet: &Sheet) -> Vec<[String; 4]> {
    let verdict = |met: bool| if met { "met" } else { "**missed**" }.to_owned();
    let mut rows = Vec::new();
    for (targets, who) in sheet.rounds.keys().filter(|(_, who)| who.is_ours()) {
        for other in [Contender::Prometheus2, Contender::Prometheus3] {
            if let Some(ratio) = sheet.ratio(*targets, *who, other, Measured::push_nanos) {
                rows.push([
                    format!("CPU of the push / {other}, {who}, {targets} targets"),
                    "<= 1".to_owned(),
                    format!("{ratio:.2}"),
                    verdict(ratio <= 1.0),
                ]);
            }
        }
        if let (Some(bound), Some(bytes)) = (
            who.wire_bound(),
            sheet.median(*targets, *who, Measured::bytes_per_sample),
        ) {
            rows.push([
                format!("bytes per sample, {who}, {targets} targets"),
                format!("<= {bound:.0}"),
                format!("{bytes:.1}"),
                verdict(bytes <= bound),
            ]);
        }
    }
    for who in sheet.catch_up.keys().filter(|who| who.is_ours()) {
        if let Some(times) = sheet.catch_up_rate(*who).map(times_real_time) {
            rows.push([
                format!("catching up, {who}"),
                format!(">= {CATCH_UP_BOUND:.0} times real time"),
                format!("{times:.0}"),
                verdict(times >= CATCH_UP_BOUND),
            ]);
        }
    }
    rows
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
        insta::assert_snapshot!(text(&sheet, 10, &[("date".to_owned(), "2001-02-03".to_owned())]));
    }
}
