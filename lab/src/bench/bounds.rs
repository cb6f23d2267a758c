//! What the figures must be, and whether they are.

use super::measure::{Cell, Measured, Sheet};
use super::plan::{Contender, Load, Place};
use super::rtt::RttSheet;

/// A condition on one contender under one load.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bound {
    /// Whose figure.
    contender: Contender,
    /// Under which load.
    load: Load,
    /// What is required.
    require: Require,
}

/// What is required of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Require {
    /// CPU per echo at most that many times another contender's.
    CpuAtMost(f64, Contender),
    /// Resident memory at most that many megabytes.
    MegabytesAtMost(f64),
    /// Echoes per second at least that many times another contender's.
    RateAtLeast(f64, Contender),
    /// No reply that reached the machine is called lost.
    NoFalseLoss,
}

/// A bound with what was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Where and under which load the figure was measured; `None` for round-trip times.
    pub at: Option<(Place, Load)>,
    /// In words: what is bound.
    pub what: String,
    /// In words: what is required.
    pub required: String,
    /// In words: what was measured.
    pub found: String,
    /// Whether it is met.
    pub met: bool,
}

/// All bounds.
const BOUNDS: [Bound; 13] = {
    use Contender::{Agent, Bare, Engine, Fping, Smokeping, SurgePing};
    const fn bound(contender: Contender, load: Load, require: Require) -> Bound {
        Bound {
            contender,
            load,
            require,
        }
    }
    [
        bound(Engine, Load::Paced(1000), Require::CpuAtMost(0.40, Fping)),
        bound(Engine, Load::Paced(1000), Require::CpuAtMost(0.35, SurgePing)),
        bound(Engine, Load::Paced(1000), Require::CpuAtMost(1.4, Bare)),
        bound(Engine, Load::Paced(10_000), Require::CpuAtMost(0.6, SurgePing)),
        bound(Engine, Load::FlatOut, Require::RateAtLeast(1.3, SurgePing)),
        bound(Engine, Load::Paced(1000), Require::NoFalseLoss),
        bound(Engine, Load::Paced(10_000), Require::NoFalseLoss),
        bound(Engine, Load::FlatOut, Require::NoFalseLoss),
        bound(Agent, Load::Paced(1000), Require::CpuAtMost(0.6, Fping)),
        bound(Agent, Load::Paced(1000), Require::CpuAtMost(0.10, Smokeping)),
        bound(Agent, Load::Paced(1000), Require::MegabytesAtMost(25.0)),
        bound(Agent, Load::Paced(10_000), Require::MegabytesAtMost(40.0)),
        bound(Agent, Load::Paced(1000), Require::NoFalseLoss),
    ]
};

/// Judges every bound for which there are figures, place by place.
#[must_use]
pub fn judge(sheet: &Sheet, rtts: &RttSheet) -> Vec<Verdict> {
    let places: Vec<Place> = {
        let mut places: Vec<_> = sheet.tables().into_iter().map(|(place, _)| place).collect();
        places.dedup();
        places
    };
    let pairs = places
        .into_iter()
        .flat_map(|place| BOUNDS.into_iter().map(move |bound| (place, bound)));
    let costs = pairs.filter_map(|(place, bound)| bound.judge(sheet, place));
    let times = rtts.busy().into_iter().filter_map(|busy| judge_rtts(rtts, busy));
    costs.chain(times).collect()
}

/// Largest p99 of what the engine's round-trip times are off, microseconds: alone, and beside busy processes.
const RTT_ERROR: [f64; 2] = [20.0, 30.0];

fn judge_rtts(rtts: &RttSheet, busy: u32) -> Option<Verdict> {
    let found = rtts.quantile(Contender::Engine, busy, 0.99)?;
    let [idle, disturbed] = RTT_ERROR;
    let limit = if busy == 0 { idle } else { disturbed };
    Some(Verdict {
        at: None,
        what: format!("engine, {busy} busy processes: p99 of the RTT's error, us"),
        required: format!("<= {limit:.0}"),
        found: format!("{found:.1}"),
        met: found <= limit,
    })
}

impl Bound {
    fn judge(self, sheet: &Sheet, place: Place) -> Option<Verdict> {
        let Self {
            contender,
            load,
            require,
        } = self;
        let cell = Cell { place, load, contender };
        let (what, required, found, met) = match require {
            Require::CpuAtMost(limit, other) => {
                let ratio = sheet.ratio(cell, other, Measured::cpu_per_echo)?;
                let what = format!("CPU per echo / {other}");
                (what, format!("<= {limit:.2}"), format!("{ratio:.2}"), ratio <= limit)
            }
            Require::RateAtLeast(limit, other) => {
                let ratio = sheet.ratio(cell, other, Measured::rate)?;
                let what = format!("echoes per second / {other}");
                (what, format!(">= {limit:.2}"), format!("{ratio:.2}"), ratio >= limit)
            }
            Require::MegabytesAtMost(limit) => {
                let found = sheet.median(cell, |one| megabytes(one.memory.resident_bytes))?;
                (
                    "RSS, MB".to_owned(),
                    format!("<= {limit:.0}"),
                    format!("{found:.1}"),
                    found <= limit,
                )
            }
            Require::NoFalseLoss => {
                let counts = sheet.rounds(cell).iter().map(Measured::false_loss);
                let worst = counts.collect::<Option<Vec<_>>>()?.into_iter().max()?;
                (
                    "false loss, echoes".to_owned(),
                    "0".to_owned(),
                    worst.to_string(),
                    worst <= 0,
                )
            }
        };
        Some(Verdict {
            at: Some((place, load)),
            what: format!("{contender}: {what}"),
            required,
            found,
            met,
        })
    }
}

/// Megabytes of a million bytes.
pub(super) fn megabytes(bytes: u64) -> f64 {
    super::measure::count(bytes) / 1e6
}

#[cfg(test)]
mod tests {
    use super::super::measure::tests::measured;
    use super::*;

    fn sheet(agent_micros: u64) -> Sheet {
        let mut sheet = Sheet::default();
        let cell = |contender| Cell {
            place: Place::Loopback,
            load: Load::Paced(1000),
            contender,
        };
        sheet.add(cell(Contender::Agent), measured(agent_micros, 100));
        sheet.add(cell(Contender::Fping), measured(1000, 100));
        sheet
    }

    #[test]
    fn ratio_at_the_bound_is_met_and_above_is_missed() {
        let met = |micros| {
            judge(&sheet(micros), &RttSheet::default())
                .into_iter()
                .find(|verdict| verdict.what.contains("/ fping"))
                .unwrap()
                .met
        };
        assert!(met(600));
        assert!(!met(610));
    }

    #[test]
    fn bounds_without_figures_are_not_judged() {
        let verdicts = judge(&sheet(1), &RttSheet::default());
        assert!(
            verdicts.iter().all(|verdict| !verdict.what.contains("smokeping")
                && verdict.at == Some((Place::Loopback, Load::Paced(1000))))
        );
        assert!(judge(&Sheet::default(), &RttSheet::default()).is_empty());
    }

    #[test]
    fn false_loss_of_one_round_counts() {
        let mut sheet = sheet(1);
        let mut bad = measured(1, 100);
        bad.reported_lost = Some(1);
        sheet.add(
            Cell {
                place: Place::Loopback,
                load: Load::Paced(1000),
                contender: Contender::Agent,
            },
            bad,
        );
        let verdict = judge(&sheet, &RttSheet::default())
            .into_iter()
            .find(|verdict| verdict.what.contains("false loss"))
            .unwrap();
        assert!(!verdict.met, "{verdict:?}");
    }
}
