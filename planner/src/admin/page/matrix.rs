//! The region matrix: a row per source, a column per target. A state is told by mark and words, colour only repeats it.

use maud::{Markup, html};
use xprober_config::duration;
use xprober_proto::ProbeKind;

use super::text::{allowed, percent, time};
use super::view::{Show, View};
use crate::matrix::{Cause, Matrix, Pair, State};

/// Most rows and columns: more would be more than a browser shows in time, five thousand cells.
const MAX_REGIONS: usize = 70;

/// A sign that says the state without colour.
pub(super) const fn mark(state: State) -> &'static str {
    match state {
        State::NoData => "?",
        State::Unjudged => "–",
        State::Within => "✓",
        State::Strained => "△",
        State::Over => "▲",
        State::Down => "✕",
    }
}

/// A state in words.
pub(super) const fn name(state: State) -> &'static str {
    match state {
        State::NoData => "no data",
        State::Unjudged => "no budget",
        State::Within => "in budget",
        State::Strained => "partly over",
        State::Over => "over budget",
        State::Down => "no reply",
    }
}

pub(super) fn render(view: View, probes: &[ProbeKind], matrix: &Matrix<'_>) -> Markup {
    let shown = |regions: &[String]| regions.iter().take(MAX_REGIONS).cloned().collect::<Vec<_>>();
    let (sources, targets) = (shown(&matrix.sources), shown(&matrix.targets));
    let hidden = matrix
        .sources
        .len()
        .max(matrix.targets.len())
        .saturating_sub(MAX_REGIONS);
    html! {
        section aria-labelledby="matrix" {
            h2 #matrix { "Regions" }
            (switches(view, probes))
            @if matrix.pairs.is_empty() {
                p { "Agents probe each other once two regions have one." }
            } @else {
                div #matrix-scroll .scroll tabindex="0" role="region" aria-labelledby="matrix" {
                    table.matrix {
                        caption { (view.show.title()) " from each row's region to each column's region, by " (view.probe.as_str()) }
                        thead { tr {
                            th scope="col" { "from \\ to" }
                            @for target in &targets { th scope="col" { (target) } }
                        } }
                        tbody { @for source in &sources { tr {
                            th scope="row" { (source) }
                            @for target in &targets {
                                @match matrix.pairs.get(&(source.clone(), target.clone())) {
                                    Some(pair) => (cell(view.show, source, target, pair)),
                                    None => td.same {},
                                }
                            }
                        } } }
                    }
                }
                (legend())
                @if hidden > 0 {
                    p.dim { (hidden) " more regions are not shown here, but in " a href="/api/v1/matrix" { "the JSON" } "." }
                }
            }
        }
    }
}

fn switches(view: View, probes: &[ProbeKind]) -> Markup {
    let link = |to: View, id: &str, title: &str| {
        html! {
            li {
                a id={ "choose-" (id) } href=(to.link()) aria-current=[(to == view).then_some("page")] { (title) }
            }
        }
    };
    html! {
        nav aria-label="Value in the matrix" {
            ul.switch {
                @for show in Show::ALL { (link(View { show, ..view }, show.as_str(), show.title())) }
            }
        }
        @if probes.len() > 1 {
            nav aria-label="Kind of probe" {
                ul.switch { @for &probe in probes { (link(View { probe, ..view }, probe.as_str(), probe.as_str())) } }
            }
        }
    }
}

fn legend() -> Markup {
    let meanings = [
        (State::Within, "inside the line's budgets"),
        (
            State::Strained,
            "over 1 % of the probes, or the p99, above the RTT budget",
        ),
        (State::Over, "over half above the RTT budget, or loss over budget"),
        (State::Down, "all probes lost"),
        (State::Unjudged, "no budget"),
        (State::NoData, "no data"),
    ];
    html! {
        ul.legend aria-label="Legend" {
            @for (state, meaning) in meanings { li class=(state.as_str()) { (mark(state)) " " (meaning) } }
        }
    }
}

fn cell(show: Show, source: &str, target: &str, pair: &Pair) -> Markup {
    let state = pair.judgement.state;
    html! {
        td class=(state.as_str()) data-source=(source) data-target=(target) title=(everything(pair)) {
            b { (main_value(show, pair)) }
            small { (note(pair)) }
        }
    }
}

fn main_value(show: Show, pair: &Pair) -> String {
    let state = pair.judgement.state;
    match (state, show) {
        (State::NoData, _) => "no data".to_owned(),
        (State::Down, Show::Rtt | Show::OverBudget) => "no reply".to_owned(),
        (_, Show::Rtt) => pair.values.rtt_p99_seconds.map_or("no RTT".to_owned(), time),
        (_, Show::Loss) => pair.values.loss_ratio.map_or("no data".to_owned(), percent),
        (_, Show::OverBudget) => match (pair.budget.rtt, pair.over_budget_ratio) {
            (None, _) => "no budget".to_owned(),
            (Some(_), None) => "no data".to_owned(),
            (Some(_), Some(share)) => percent(share),
        },
    }
}

/// The second line of a cell: the mark, and why.
fn note(pair: &Pair) -> String {
    let state = pair.judgement.state;
    let causes: Vec<String> = pair.judgement.causes.iter().map(cause).collect();
    match state {
        State::NoData => mark(state).to_owned(),
        State::Down => format!("{} loss 100 %", mark(state)),
        State::Strained | State::Over => format!("{} {}", mark(state), causes.join(", ")),
        State::Within => match pair.budget.rtt {
            Some(budget) => format!("{} of {}", mark(state), duration::format(budget)),
            None => format!("{} in budget", mark(state)),
        },
        State::Unjudged => format!("{} no budget", mark(state)),
    }
}

fn cause(cause: &Cause) -> String {
    match cause {
        Cause::Rtt { share, budget } => format!("{} over {}", percent(*share), duration::format(*budget)),
        Cause::Percentile { budget } => format!("p99 over {}", duration::format(*budget)),
        Cause::Loss { budget } => format!("loss over {}", allowed(*budget)),
    }
}

fn everything(pair: &Pair) -> String {
    let values = &pair.values;
    let optional = |value: Option<f64>, format: fn(f64) -> String| value.map_or("none".to_owned(), format);
    format!(
        "{}; p50 {}, p99 {}, loss {}, over budget {}",
        name(pair.judgement.state),
        optional(values.rtt_p50_seconds, time),
        optional(values.rtt_p99_seconds, time),
        optional(values.loss_ratio, percent),
        optional(pair.over_budget_ratio, percent),
    )
}
