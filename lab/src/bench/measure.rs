//! Figures of one contender, and what many of them say together; values only.

use std::collections::BTreeMap;
use std::time::Duration;

use super::kernel::{IcmpCounts, Memory};
use super::plan::{Contender, Load, Place};

/// One contender in one round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Length of the measurement.
    pub window: Duration,
    /// CPU time of the contender in it.
    pub cpu: Duration,
    /// Echo requests that left in it.
    pub echoes: u64,
    /// Memory at its end.
    pub memory: Memory,
    /// Messages from the contender's start to its end.
    pub whole: IcmpCounts,
    /// Echoes that the contender calls lost, or otherwise not answered, from its start to its end; `None` where it does not tell.
    pub reported_lost: Option<u64>,
    /// CPUs that everything else on the machine used during the measurement, the lab included.
    pub others: f64,
}

impl Measured {
    /// CPU time per echo in microseconds.
    #[must_use]
    pub fn cpu_per_echo(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / count(self.echoes.max(1))
    }

    /// Echoes per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        count(self.echoes) / self.window.as_secs_f64()
    }

    /// Echoes called lost although the reply came to the machine; negative would be a loss that nobody reported.
    #[must_use]
    pub fn false_loss(&self) -> Option<i64> {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let real = signed(self.whole.requests) - signed(self.whole.replies);
        self.reported_lost.map(|reported| signed(reported) - real)
    }
}

/// Which measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// Where.
    pub place: Place,
    /// How much.
    pub load: Load,
    /// Who.
    pub contender: Contender,
}

/// All measurements, a row of rounds for each cell.
#[derive(Debug, Clone, Default)]
pub struct Sheet(BTreeMap<Cell, Vec<Measured>>);

impl Sheet {
    /// Adds the measurement of the next round.
    pub fn add(&mut self, cell: Cell, measured: Measured) {
        self.0.entry(cell).or_default().push(measured);
    }

    /// Places and loads that were measured, in order.
    #[must_use]
    pub fn tables(&self) -> Vec<(Place, Load)> {
        let mut tables: Vec<_> = self.0.keys().map(|cell| (cell.place, cell.load)).collect();
        tables.dedup();
        tables
    }

    /// Rounds of a cell, empty when it was not measured.
    #[must_use]
    pub fn rounds(&self, cell: Cell) -> &[Measured] {
        self.0.get(&cell).map_or(&[], Vec::as_slice)
    }

    /// Median of the CPUs that everything else used, over all measurements.
    #[must_use]
    pub fn others(&self) -> Option<f64> {
        median(self.0.values().flatten().map(|one| one.others))
    }

    /// Median of a figure over the rounds of a cell.
    pub fn median(&self, cell: Cell, figure: impl Fn(&Measured) -> f64) -> Option<f64> {
        median(self.rounds(cell).iter().map(figure))
    }

    /// Median of the ratios of a figure that a cell and another contender have in the same round.
    pub fn ratio(&self, cell: Cell, other: Contender, figure: impl Fn(&Measured) -> f64) -> Option<f64> {
        let others = self.rounds(Cell {
            contender: other,
            ..cell
        });
        let pairs = self.rounds(cell).iter().zip(others);
        median(pairs.map(|(ours, theirs)| figure(ours) / figure(theirs)))
    }
}

/// The middle of the values, the mean of the two middle ones for an even number.
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        even if even % 2 == 0 => Some(f64::midpoint(values[middle - 1], values[middle])),
        _ => Some(values[middle]),
    }
}

/// Counts are far below the 2^53 up to which this is exact.
#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are below 2^53")]
pub(super) fn count(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::bench) fn measured(cpu_micros: u64, echoes: u64) -> Measured {
        Measured {
            window: Duration::from_secs(10),
            cpu: Duration::from_micros(cpu_micros),
            echoes,
            memory: Memory::default(),
            whole: IcmpCounts {
                requests: echoes,
                replies: echoes,
            },
            reported_lost: Some(0),
            others: 0.0,
        }
    }

    const fn cell(contender: Contender) -> Cell {
        Cell {
            place: Place::Loopback,
            load: Load::Paced(1000),
            contender,
        }
    }

    #[test]
    fn median_is_the_middle_and_of_nothing_is_nothing() {
        assert_eq!(median([].into_iter()), None);
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
        assert_eq!(median([f64::NAN, 1.0].into_iter()), Some(1.0));
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let mut sheet = Sheet::default();
        // The machine is twice as slow in the second round, which no ratio must show.
        for slowness in [1, 2, 1] {
            sheet.add(cell(Contender::Agent), measured(100 * slowness, 10));
            sheet.add(cell(Contender::Fping), measured(400 * slowness, 10));
        }
        let ratio = sheet.ratio(cell(Contender::Agent), Contender::Fping, Measured::cpu_per_echo);
        assert_eq!(ratio, Some(0.25));
        assert_eq!(
            sheet.ratio(cell(Contender::Agent), Contender::Bare, Measured::cpu_per_echo),
            None
        );
        assert_eq!(sheet.median(cell(Contender::Agent), Measured::cpu_per_echo), Some(10.0));
        assert_eq!(sheet.tables(), [(Place::Loopback, Load::Paced(1000))]);
    }

    #[test]
    fn loss_that_the_kernel_saw_too_is_no_false_loss() {
        let mut one = measured(1, 100);
        one.whole.replies = 98;
        one.reported_lost = Some(3);
        assert_eq!(one.false_loss(), Some(1));
        one.reported_lost = None;
        assert_eq!(one.false_loss(), None);
    }
}
