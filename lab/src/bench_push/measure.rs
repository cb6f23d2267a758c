//! Figures of one contender, and what many of them say together; values only.

use std::collections::BTreeMap;
use std::time::Duration;

use super::plan::Contender;
use crate::bench::measure::median;

/// One contender in one round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// CPU time of the window in which it pushed.
    pub pushing: Duration,
    /// CPU time of an equal window in which it did all but that.
    pub idle: Duration,
    /// Samples that came in the former.
    pub samples: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
}

impl Measured {
    /// CPU time of the push alone per sample, in nanoseconds.
    #[must_use]
    pub fn push_nanos(&self) -> f64 {
        (self.pushing.as_secs_f64() - self.idle.as_secs_f64()) * 1e9 / count(self.samples.max(1))
    }

    /// CPU time of everything per sample, in nanoseconds.
    #[must_use]
    pub fn whole_nanos(&self) -> f64 {
        self.pushing.as_secs_f64() * 1e9 / count(self.samples.max(1))
    }

    /// Bytes on the wire per sample, headers not counted.
    #[must_use]
    pub fn bytes_per_sample(&self) -> f64 {
        count(self.bytes) / count(self.samples.max(1))
    }
}

/// All measurements.
#[derive(Debug, Clone, Default)]
pub struct Sheet {
    /// Rounds by targets and contender.
    pub rounds: BTreeMap<(usize, Contender), Vec<Measured>>,
    /// Samples per second after an outage.
    pub catch_up: BTreeMap<Contender, Vec<f64>>,
    /// Who could not be measured, and why.
    pub missing: BTreeMap<Contender, String>,
}

impl Sheet {
    /// Median of a figure over the rounds.
    pub fn median(&self, targets: usize, who: Contender, figure: impl Fn(&Measured) -> f64) -> Option<f64> {
        median(self.rounds.get(&(targets, who))?.iter().map(figure))
    }

    /// Median of the ratios of a contender's figure to that of another in the same round; rounds in which the noise was larger
    /// than the other's figure say nothing.
    pub fn ratio(
        &self,
        targets: usize,
        who: Contender,
        to: Contender,
        figure: impl Fn(&Measured) -> f64,
    ) -> Option<f64> {
        let pairs = self
            .rounds
            .get(&(targets, who))?
            .iter()
            .zip(self.rounds.get(&(targets, to))?);
        let figures = pairs.map(|(one, other)| (figure(one), figure(other)));
        median(
            figures
                .filter(|(_, other)| *other > 0.0)
                .map(|(one, other)| one / other),
        )
    }

    /// Median of the rates after an outage.
    #[must_use]
    pub fn catch_up_rate(&self, who: Contender) -> Option<f64> {
        median(self.catch_up.get(&who)?.iter().copied())
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

    pub(in crate::bench_push) fn measured(micros: u64, samples: u64) -> Measured {
        Measured {
            pushing: Duration::from_micros(micros),
            idle: Duration::from_micros(micros / 2),
            samples,
            bytes: 26 * samples,
        }
    }

    #[test]
    fn push_is_what_dropping_everything_saves() {
        let one = measured(1000, 100);
        assert!((one.push_nanos() - 5000.0).abs() < 1e-6);
        assert!((one.whole_nanos() - 10_000.0).abs() < 1e-6);
        assert!((one.bytes_per_sample() - 26.0).abs() < 1e-9);
    }

    #[test]
    fn a_round_with_more_noise_than_figure_says_nothing() {
        let mut sheet = Sheet::default();
        let noise = Measured {
            idle: Duration::from_micros(900),
            ..measured(400, 10)
        };
        sheet.rounds.insert((10, Contender::Agent), vec![measured(100, 10)]);
        sheet.rounds.insert((10, Contender::Vmagent), vec![noise]);
        let ratio = sheet.ratio(10, Contender::Agent, Contender::Vmagent, Measured::push_nanos);
        assert_eq!(ratio, None);
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let mut sheet = Sheet::default();
        for slowness in [1, 3, 1] {
            for (who, micros) in [(Contender::Agent, 100), (Contender::Vmagent, 400)] {
                let rounds = sheet.rounds.entry((10, who)).or_default();
                rounds.push(measured(micros * slowness, 10));
            }
        }
        let ratio = sheet.ratio(10, Contender::Agent, Contender::Vmagent, Measured::push_nanos);
        assert!(ratio.is_some_and(|ratio| (ratio - 0.25).abs() < 1e-9), "{ratio:?}");
        assert_eq!(
            sheet.ratio(10, Contender::Agent, Contender::Prometheus2, Measured::push_nanos),
            None
        );
    }
}
