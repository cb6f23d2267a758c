//! The tables, as Markdown that also reads well in a terminal.

use clap::ValueEnum as _;

use super::bounds::{Verdict, megabytes};
use super::measure::{Cell, Measured, Sheet};
use super::plan::{Contender, Load, Place};
use super::rtt::RttSheet;
use crate::document::{Section, table};

/// One measurement in a line.
#[must_use]
pub fn line(one: &Measured) -> String {
    let lost = one
        .false_loss()
        .map_or("not told".to_owned(), |count| count.to_string());
    format!(
        "{:6.1} us per echo, {:8.0} echoes/s, RSS {:5.1} MB, false loss {lost}, {:.2} CPUs busy elsewhere",
        one.cpu_per_echo(),
        one.rate(),
        megabytes(one.memory.resident_bytes),
        one.others
    )
}

/// A section per place and load and one for round-trip times, each with its tables, its bounds and what it was measured with, so
/// that it stands for itself.
#[must_use]
pub fn sections(sheet: &Sheet, rtts: &RttSheet, verdicts: &[Verdict], machine: &[(String, String)]) -> Vec<Section> {
    let section = |title: String, figures: String, at: Option<(Place, Load)>| {
        let bounds = verdicts.iter().filter(|verdict| verdict.at == at);
        let body = format!("{figures}\n{}{}", bounds_table(bounds), measured_with(machine));
        Section { title, body }
    };
    let costs = sheet.tables().into_iter().map(|(place, load)| {
        let cell = |contender: &Contender| Cell {
            place,
            load,
            contender: *contender,
        };
        let rows = Contender::value_variants()
            .iter()
            .filter_map(|who| row(sheet, cell(who)));
        section(
            title(place, load),
            table(&HEAD, &rows.collect::<Vec<_>>()),
            Some((place, load)),
        )
    });
    let times = (!rtts.contenders().is_empty()).then(|| {
        let title = "Error of the round-trip time, us (p50 / p99)".to_owned();
        section(title, rtt_table(rtts), None)
    });
    costs.chain(times).collect()
}

/// Bounds and whether they are met; nothing where there are none.
fn bounds_table<'a>(verdicts: impl Iterator<Item = &'a Verdict>) -> String {
    let rows = verdicts.map(|verdict| {
        let state = if verdict.met { "met" } else { "**missed**" };
        [
            verdict.what.clone(),
            verdict.required.clone(),
            verdict.found.clone(),
            state.to_owned(),
        ]
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("{}\n", table(&BOUNDS_HEAD, &rows))
}

pub(crate) const BOUNDS_HEAD: [&str; 4] = ["bound", "required", "found", ""];

/// Date, machine, versions and command, in one line.
pub(crate) fn measured_with(machine: &[(String, String)]) -> String {
    let part = |(name, value): &(String, String)| {
        // Many programs begin with their own name.
        if value.starts_with(name.as_str()) {
            value.clone()
        } else {
            format!("{name} {value}")
        }
    };
    let parts: Vec<_> = machine.iter().map(part).collect();
    format!("Measured with: {}.\n", parts.join("; "))
}

const HEAD: [&str; 10] = [
    "contender",
    "CPU per echo, us",
    "(range)",
    "echoes/s",
    "/ fping",
    "/ surge-ping",
    "/ bare",
    "RSS, MB",
    "peak, MB",
    "false loss",
];

fn rtt_table(rtts: &RttSheet) -> String {
    let busy = rtts.busy();
    let head = busy.iter().map(|busy| match busy {
        0 => "idle".to_owned(),
        more => format!("{more} busy"),
    });
    let head: Vec<_> = std::iter::once("contender".to_owned()).chain(head).collect();
    let row = |contender: Contender| {
        let cells = busy.iter().map(|busy| {
            let figure = |part| {
                rtts.quantile(contender, *busy, part)
                    .map_or("-".to_owned(), |error| format!("{error:.1}"))
            };
            format!("{} / {}", figure(0.5), figure(0.99))
        });
        std::iter::once(contender.to_string()).chain(cells).collect::<Vec<_>>()
    };
    table(&head, &rtts.contenders().into_iter().map(row).collect::<Vec<_>>())
}

fn title(place: Place, load: Load) -> String {
    match place {
        Place::Loopback => format!("{load}, loopback"),
        Place::Wan => format!("{load}, WAN of 40 ms"),
    }
}

fn row(sheet: &Sheet, cell: Cell) -> Option<[String; 10]> {
    let rounds = sheet.rounds(cell);
    let cpu = sheet.median(cell, Measured::cpu_per_echo)?;
    let all = || rounds.iter().map(Measured::cpu_per_echo);
    let (least, most) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
    let ratio = |other: Contender| {
        let ratio = sheet
            .ratio(cell, other, Measured::cpu_per_echo)
            .filter(|_| other != cell.contender);
        ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"))
    };
    let memory = |figure: fn(&Measured) -> u64| {
        let found = sheet
            .median(cell, |one| megabytes(figure(one)))
            .filter(|found| *found > 0.0);
        found.map_or("-".to_owned(), |found| format!("{found:.1}"))
    };
    Some([
        cell.contender.to_string(),
        format!("{cpu:.1}"),
        format!("{least:.1}-{most:.1}"),
        format!("{:.0}", sheet.median(cell, Measured::rate)?),
        ratio(Contender::Fping),
        ratio(Contender::SurgePing),
        ratio(Contender::Bare),
        memory(|one| one.memory.resident_bytes),
        memory(|one| one.memory.peak_bytes),
        false_loss(rounds),
    ])
}

/// The sum over all rounds, of as many echoes.
fn false_loss(rounds: &[Measured]) -> String {
    let counts = rounds.iter().map(Measured::false_loss).collect::<Option<Vec<_>>>();
    let sent: u64 = rounds.iter().map(|one| one.whole.requests).sum();
    counts.map_or("-".to_owned(), |counts| {
        format!("{} of {sent}", counts.into_iter().sum::<i64>())
    })
}

#[cfg(test)]
mod tests {
    use super::super::bounds::judge;
    use super::super::measure::tests::measured;
    use super::*;

    #[test]
    fn tables_show_medians_ratios_and_verdicts() {
        let mut sheet = Sheet::default();
        for (contender, micros) in [
            (Contender::Agent, 30_000),
            (Contender::Fping, 40_000),
            (Contender::Bare, 10_000),
        ] {
            for round in 1..=3 {
                let cell = Cell {
                    place: Place::Loopback,
                    load: Load::Paced(1000),
                    contender,
                };
                sheet.add(cell, measured(micros * round, 1000));
            }
        }
        let mut rtts = RttSheet::default();
        rtts.add(Contender::Engine, 0, vec![1.0, 2.0, 25.0]);
        rtts.add(Contender::Fping, 2, vec![50.0]);
        let machine = [("date".to_owned(), "2001-02-03".to_owned())];
        let sections = sections(&sheet, &rtts, &judge(&sheet, &rtts), &machine);
        insta::assert_snapshot!(Section::join(&sections));
    }
}
