//! `/api/v1/matrix`: the values of the page as JSON.
//!
//! Times are seconds, shares are ratios from 0 to 1; what is not known is `null`. `state` is one of `no_data`, `unjudged`,
//! `within`, `strained`, `over` and `down`, see [`State`](crate::matrix::State).

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use serde::Serialize;

use crate::matrix::{Direction, Facts, Matrix, Pair};
use crate::query::{HttpValues, PairKey, Reading};

#[derive(Serialize)]
struct Document<'a> {
    /// Unix time of the values, `null` when there are none that are still good.
    values_at: Option<f64>,
    /// Why the last question brought nothing.
    failure: Option<&'a str>,
    /// Whether agents report and the recording rules gave nothing.
    rules_missing: bool,
    probe: &'a str,
    pairs: Vec<PairDocument<'a>>,
    lines: Vec<LineDocument<'a>>,
    http: Vec<HttpDocument<'a>>,
}

#[derive(Serialize)]
struct PairDocument<'a> {
    source_region: &'a str,
    target_region: &'a str,
    state: &'static str,
    rtt_p50_seconds: Option<f64>,
    rtt_p99_seconds: Option<f64>,
    loss_ratio: Option<f64>,
    over_budget_ratio: Option<f64>,
}

#[derive(Serialize)]
struct LineDocument<'a> {
    line: &'a str,
    source_region: &'a str,
    target_region: &'a str,
    circuit: &'a str,
    carrier: &'a str,
    owner: &'a str,
    state: &'static str,
    rtt_budget_seconds: Option<f64>,
    loss_budget_ratio: Option<f64>,
    rtt_p50_seconds: Option<f64>,
    rtt_p99_seconds: Option<f64>,
    loss_ratio: Option<f64>,
    over_budget_ratio: Option<f64>,
}

#[derive(Serialize)]
struct HttpDocument<'a> {
    target: &'a str,
    source_region: &'a str,
    target_region: &'a str,
    success_ratio: Option<f64>,
    duration_seconds: Option<f64>,
    stages_seconds: &'a BTreeMap<String, f64>,
}

/// Writes pairs by source and target, lines in the order of the settings, HTTP targets by name and region.
pub(in crate::admin) fn json(facts: &Facts<'_>, reading: &Reading, now: Instant) -> serde_json::Result<String> {
    let matrix = Matrix::build(facts);
    let values = reading.values(now);
    let unix = |at: SystemTime| {
        at.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64()
    };
    serde_json::to_string(&Document {
        values_at: values.and(reading.values_at()).map(unix),
        failure: reading.failure.as_deref(),
        rules_missing: values.is_some_and(|values| values.rules_are_missing()),
        probe: facts.probe,
        pairs: matrix.pairs.iter().map(pair).collect(),
        lines: matrix.lines.iter().map(line).collect(),
        http: facts
            .values
            .into_iter()
            .flat_map(|values| &values.http)
            .map(http)
            .collect(),
    })
}

fn pair<'a>(((source, target), pair): (&'a PairKey, &Pair)) -> PairDocument<'a> {
    PairDocument {
        source_region: source,
        target_region: target,
        state: pair.judgement.state.as_str(),
        rtt_p50_seconds: pair.values.rtt_p50_seconds,
        rtt_p99_seconds: pair.values.rtt_p99_seconds,
        loss_ratio: pair.values.loss_ratio,
        over_budget_ratio: pair.over_budget_ratio,
    }
}

fn line<'a>(direction: &'a Direction<'_>) -> LineDocument<'a> {
    let line = direction.line;
    LineDocument {
        line: &line.name,
        source_region: &direction.pair.0,
        target_region: &direction.pair.1,
        circuit: &line.circuit,
        carrier: &line.carrier,
        owner: &line.owner,
        state: direction.judgement.state.as_str(),
        rtt_budget_seconds: line.rtt_budget.map(|budget| budget.as_secs_f64()),
        loss_budget_ratio: line.loss_budget,
        rtt_p50_seconds: direction.values.rtt_p50_seconds,
        rtt_p99_seconds: direction.values.rtt_p99_seconds,
        loss_ratio: direction.values.loss_ratio,
        over_budget_ratio: direction.over_budget_ratio,
    }
}

fn http<'a>(((target, (source, region)), http): (&'a (String, PairKey), &'a HttpValues)) -> HttpDocument<'a> {
    HttpDocument {
        target,
        source_region: source,
        target_region: region,
        success_ratio: http.success_ratio,
        duration_seconds: http.duration_seconds,
        stages_seconds: &http.stages,
    }
}
