//! How a pair or a line is: measured values in, one of six states and its causes out.

use std::time::Duration;

use xprober_config::planner::LineSettings;

use crate::query::PairValues;

/// Share of probes over budget above which a line is over it; `LineLatencyOverBudget` fires there, too.
pub const OVER_SHARE: f64 = 0.5;

/// Share of probes over budget above which the 99th percentile is over it. The agents count this with the exact budget, so
/// it says more than the percentile itself, which is only as exact as the buckets of the histogram.
pub const STRAINED_SHARE: f64 = 0.01;

/// Width of the histogram's buckets, ten for each decade: a percentile is only as exact.
const BUCKET_WIDTH: f64 = 1.259;

/// How a pair or a line is, from the least to the most alarming of what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Nothing is known.
    NoData,
    /// Measured, and there is no budget to hold it against.
    Unjudged,
    /// Inside every budget.
    Within,
    /// More than one probe in a hundred is over the round-trip time budget, or was within the last minute.
    Strained,
    /// More than half of the probes are over the round-trip time budget, or more are lost than allowed.
    Over,
    /// Every probe of the last minute was lost.
    Down,
}

impl State {
    /// The name in `/api/v1/matrix` and of the style class.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoData => "no_data",
            Self::Unjudged => "unjudged",
            Self::Within => "within",
            Self::Strained => "strained",
            Self::Over => "over",
            Self::Down => "down",
        }
    }
}

/// What a line is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Budget {
    /// Round-trip time above which a probe is over budget.
    pub rtt: Option<Duration>,
    /// Share of probes, 0 to 1, that may be lost.
    pub loss: Option<f64>,
}

impl Budget {
    /// What one line is allowed.
    #[must_use]
    pub const fn of(line: &LineSettings) -> Self {
        Self {
            rtt: line.rtt_budget,
            loss: line.loss_budget,
        }
    }

    /// The smaller of each.
    #[must_use]
    pub fn tightest(self, other: Self) -> Self {
        let smaller = |one: f64, other: f64| one.min(other);
        Self {
            rtt: [self.rtt, other.rtt].into_iter().flatten().min(),
            loss: [self.loss, other.loss].into_iter().flatten().reduce(smaller),
        }
    }
}

/// Why a state is worse than [`State::Within`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cause {
    /// This share of the probes took longer than the budget.
    Rtt {
        /// 0 to 1.
        share: f64,
        /// What is allowed.
        budget: Duration,
    },
    /// The 99th percentile of the last minute is over the budget, though lately no more than one probe in a hundred was.
    Percentile {
        /// What is allowed.
        budget: Duration,
    },
    /// More was lost than this budget allows.
    Loss {
        /// 0 to 1.
        budget: f64,
    },
}

/// A state and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// How it is.
    pub state: State,
    /// Why, if that is worse than [`State::Within`].
    pub causes: Vec<Cause>,
}

impl Judgement {
    /// Takes the judgement of a further line in: the worst counts.
    pub fn add(&mut self, other: &Self) {
        self.state = self.state.max(other.state);
        for cause in &other.causes {
            if !self.causes.contains(cause) {
                self.causes.push(*cause);
            }
        }
    }
}

/// Holds what was measured against a budget.
#[must_use]
pub fn judge(values: &PairValues, over_budget_ratio: Option<f64>, budget: Budget) -> Judgement {
    let mut causes = Vec::new();
    let Some(loss) = values.loss_ratio else {
        // The loss is known of whatever was probed in the last minute.
        return Judgement {
            state: State::NoData,
            causes,
        };
    };
    if loss >= 1.0 {
        return Judgement {
            state: State::Down,
            causes,
        };
    }
    let mut state = State::Unjudged;
    if let Some(budget) = budget.rtt {
        let (judged, cause) = judge_rtt(values.rtt_p99_seconds, over_budget_ratio, budget);
        causes.extend(cause);
        state = state.max(judged);
    }
    if let Some(budget) = budget.loss {
        let judged = if loss > budget { State::Over } else { State::Within };
        if judged == State::Over {
            causes.push(Cause::Loss { budget });
        }
        state = state.max(judged);
    }
    Judgement { state, causes }
}

/// The share counts first: it is exact, and of the last 30 s. The percentile looks back for a minute.
fn judge_rtt(p99_seconds: Option<f64>, share: Option<f64>, budget: Duration) -> (State, Option<Cause>) {
    let above = |share: &f64, border: f64| *share > border;
    if let Some(share) = share.filter(|share| above(share, STRAINED_SHARE)) {
        let state = if above(&share, OVER_SHARE) {
            State::Over
        } else {
            State::Strained
        };
        return (state, Some(Cause::Rtt { share, budget }));
    }
    if p99_seconds.is_some_and(|p99| p99 > budget.as_secs_f64() * BUCKET_WIDTH) {
        return (State::Strained, Some(Cause::Percentile { budget }));
    }
    match share {
        Some(_) => (State::Within, None),
        None => (State::Unjudged, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget {
        rtt: Some(Duration::from_millis(15)),
        loss: Some(0.01),
    };

    fn state(loss: Option<f64>, over: Option<f64>, budget: Budget) -> State {
        let values = PairValues {
            rtt_p50_seconds: loss.filter(|loss| *loss < 1.0).map(|_| 0.010),
            loss_ratio: loss,
            ..PairValues::default()
        };
        judge(&values, over, budget).state
    }

    #[test]
    fn states_follow_budgets() {
        let no_rtt_budget = Budget { rtt: None, ..BUDGET };
        let no_loss_budget = Budget { loss: None, ..BUDGET };
        for (loss, over, budget, expected) in [
            (None, None, BUDGET, State::NoData),
            (None, Some(0.0), BUDGET, State::NoData),
            (Some(1.0), None, BUDGET, State::Down),
            (Some(1.0), Some(0.0), Budget::default(), State::Down),
            (Some(0.0), Some(0.0), BUDGET, State::Within),
            (Some(0.01), Some(0.01), BUDGET, State::Within),
            (Some(0.0), Some(0.011), BUDGET, State::Strained),
            (Some(0.0), Some(0.5), BUDGET, State::Strained),
            (Some(0.0), Some(0.51), BUDGET, State::Over),
            (Some(0.011), Some(0.0), BUDGET, State::Over),
            (Some(0.9), Some(0.0), no_loss_budget, State::Within),
            (Some(0.0), Some(0.9), no_rtt_budget, State::Within),
            (Some(0.0), None, no_loss_budget, State::Unjudged),
            (Some(0.5), Some(0.5), Budget::default(), State::Unjudged),
        ] {
            assert_eq!(state(loss, over, budget), expected, "{loss:?} {over:?} {budget:?}");
        }
    }

    #[test]
    fn a_percentile_clearly_over_the_budget_is_never_told_as_within_it() {
        for (milliseconds, share, expected) in [
            (15.1, Some(0.0), State::Within),
            (18.8, Some(0.0), State::Within),
            (19.0, Some(0.0), State::Strained),
            (19.0, None, State::Strained),
            (18.8, None, State::Unjudged),
            (900.0, Some(0.6), State::Over),
        ] {
            let values = PairValues {
                rtt_p99_seconds: Some(milliseconds / 1e3),
                loss_ratio: Some(0.0),
                ..PairValues::default()
            };
            let budget = Budget { loss: None, ..BUDGET };
            let judgement = judge(&values, share, budget);
            assert_eq!(judgement.state, expected, "{milliseconds} ms, {share:?}");
        }
    }

    #[test]
    fn causes_name_each_budget_that_is_exceeded() {
        let values = PairValues {
            loss_ratio: Some(0.2),
            ..PairValues::default()
        };
        let judgement = judge(&values, Some(0.03), BUDGET);
        assert_eq!(judgement.state, State::Over);
        let rtt = Cause::Rtt {
            share: 0.03,
            budget: Duration::from_millis(15),
        };
        assert_eq!(judgement.causes, [rtt, Cause::Loss { budget: 0.01 }]);
    }

    #[test]
    fn the_tightest_budget_of_two_lines_is_the_smaller_of_each() {
        let other = Budget {
            rtt: Some(Duration::from_millis(20)),
            loss: None,
        };
        assert_eq!(BUDGET.tightest(other), BUDGET);
        assert_eq!(Budget::default().tightest(BUDGET), BUDGET);
    }
}
