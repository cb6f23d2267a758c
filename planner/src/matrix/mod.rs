//! The region matrix and the lines as people and `/api/v1/matrix` see them: measured values held against the budgets.
//!
//! In: the lines of the settings, the regions of the members and what the store said. Out: one [`Pair`] per ordered pair of
//! regions and one [`Direction`] per line and direction. A pure function; what is not known stays unknown.

use std::collections::{BTreeMap, BTreeSet};

use xprober_config::planner::LineSettings;

use crate::query::{PairKey, PairValues, Values};

pub mod state;

pub use state::{Budget, Cause, Judgement, State};

/// Everything that the matrix is made of.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Regions that have a member.
    pub regions: &'a BTreeSet<String>,
    /// Dedicated lines.
    pub lines: &'a [LineSettings],
    /// The kind of probe that is looked at, the `probe` label.
    pub probe: &'a str,
    /// What the store said; `None` when it said nothing, or not lately.
    pub values: Option<&'a Values>,
}

/// One ordered pair of regions.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// What was measured.
    pub values: PairValues,
    /// Share of probes over the round-trip time budget, of the line that is worst off.
    pub over_budget_ratio: Option<f64>,
    /// The tightest budgets of its lines.
    pub budget: Budget,
    /// How the pair is, the worst of its lines.
    pub judgement: Judgement,
}

/// One direction of one line.
#[derive(Debug, Clone, PartialEq)]
pub struct Direction<'a> {
    /// The line.
    pub line: &'a LineSettings,
    /// Source and target region.
    pub pair: PairKey,
    /// What was measured between the regions.
    pub values: PairValues,
    /// Share of probes over this line's round-trip time budget.
    pub over_budget_ratio: Option<f64>,
    /// How this direction is.
    pub judgement: Judgement,
}

/// All pairs and lines.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix<'a> {
    /// Rows, ordered.
    pub sources: Vec<String>,
    /// Columns, ordered.
    pub targets: Vec<String>,
    /// Every pair of a row and a column but those of a region with itself.
    pub pairs: BTreeMap<PairKey, Pair>,
    /// Two per line, in the order of the settings.
    pub lines: Vec<Direction<'a>>,
}

impl<'a> Matrix<'a> {
    /// Holds what was measured against what is allowed.
    #[must_use]
    pub fn build(facts: &Facts<'a>) -> Self {
        let measured = facts.values.and_then(|values| values.pairs.get(facts.probe));
        let lines: Vec<Direction<'a>> = facts.lines.iter().flat_map(|line| directions(line, facts)).collect();
        let named = |side: fn(&PairKey) -> &String| {
            let ends = facts
                .lines
                .iter()
                .flat_map(|line| &line.between)
                .map(ToString::to_string);
            let seen = measured
                .into_iter()
                .flat_map(BTreeMap::keys)
                .map(|key| side(key).clone());
            let all: BTreeSet<String> = facts.regions.iter().cloned().chain(ends).chain(seen).collect();
            all.into_iter().collect::<Vec<_>>()
        };
        let (sources, targets) = (named(|key| &key.0), named(|key| &key.1));
        let keys = sources
            .iter()
            .flat_map(|source| targets.iter().map(move |target| (source.clone(), target.clone())));
        let pairs = keys
            .filter(|(source, target)| source != target)
            .map(|key| {
                let values = measured.and_then(|pairs| pairs.get(&key)).copied().unwrap_or_default();
                let pair = pair(values, lines.iter().filter(|line| line.pair == key));
                (key, pair)
            })
            .collect();
        Self {
            sources,
            targets,
            pairs,
            lines,
        }
    }

    /// Counts the pairs in a state.
    #[must_use]
    pub fn count(&self, state: State) -> usize {
        self.pairs.values().filter(|pair| pair.judgement.state == state).count()
    }
}

fn directions<'a>(line: &'a LineSettings, facts: &Facts<'a>) -> [Direction<'a>; 2] {
    let [one, other] = line.between.each_ref().map(ToString::to_string);
    [(one.clone(), other.clone()), (other, one)].map(|pair| {
        let measured = facts
            .values
            .and_then(|values| values.pairs.get(facts.probe)?.get(&pair));
        let values = measured.copied().unwrap_or_default();
        let key = (line.name.clone(), pair.clone());
        let over_budget_ratio = facts.values.and_then(|values| values.over_budget.get(&key).copied());
        Direction {
            judgement: state::judge(&values, over_budget_ratio, Budget::of(line)),
            line,
            pair,
            values,
            over_budget_ratio,
        }
    })
}

fn pair<'l, 'a: 'l>(values: PairValues, lines: impl Iterator<Item = &'l Direction<'a>>) -> Pair {
    let mut pair = Pair {
        values,
        over_budget_ratio: None,
        budget: Budget::default(),
        judgement: state::judge(&values, None, Budget::default()),
    };
    for line in lines {
        pair.over_budget_ratio = larger(pair.over_budget_ratio, line.over_budget_ratio);
        pair.budget = pair.budget.tightest(Budget::of(line.line));
        pair.judgement.add(&line.judgement);
    }
    pair
}

fn larger(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.max(other)),
        (known, None) | (None, known) => known,
    }
}

#[cfg(test)]
mod tests;
