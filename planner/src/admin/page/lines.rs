//! The dedicated lines, each direction on its own.

use maud::{Markup, html};
use xprober_config::duration;

use super::matrix::{mark, name};
use super::text::{allowed, percent, time};
use crate::matrix::{Direction, Matrix};

/// Most directions that are shown; the JSON has all.
const MAX_ROWS: usize = 600;

pub(super) fn render(matrix: &Matrix<'_>) -> Markup {
    let numbers = ["p50", "p99", "loss", "over budget", "RTT budget", "loss budget"];
    html! {
        section aria-labelledby="lines" {
            h2 #lines { "Dedicated lines" }
            @if matrix.lines.is_empty() {
                p { "None: " code { "lines:" } " in planner.yml names them with their budgets." }
            } @else {
                div #lines-scroll .scroll tabindex="0" role="region" aria-labelledby="lines" {
                    table {
                        caption { "Both directions of every dedicated line beside its budgets" }
                        thead { tr {
                            th scope="col" { "line" }
                            th scope="col" { "direction" }
                            th scope="col" { "state" }
                            @for heading in numbers { th.n scope="col" { (heading) } }
                            @for heading in ["circuit", "carrier", "owner"] { th scope="col" { (heading) } }
                        } }
                        tbody { @for line in matrix.lines.iter().take(MAX_ROWS) { (row(line)) } }
                    }
                }
                @if matrix.lines.len() > MAX_ROWS {
                    p.dim { (matrix.lines.len() - MAX_ROWS) " more are in " a href="/api/v1/matrix" { "the JSON" } "." }
                }
            }
        }
    }
}

fn row(direction: &Direction<'_>) -> Markup {
    let (line, values, state) = (direction.line, &direction.values, direction.judgement.state);
    let number = |value: Option<f64>, format: fn(f64) -> String| {
        html! { td.n { @match value { Some(value) => (format(value)), None => span.dim { "–" } } } }
    };
    html! {
        tr data-line=(line.name) data-source=(direction.pair.0) data-target=(direction.pair.1) {
            th scope="row" { (line.name) }
            td { (direction.pair.0) " → " (direction.pair.1) }
            td.state class=(state.as_str()) { (mark(state)) " " (name(state)) }
            (number(values.rtt_p50_seconds, time))
            (number(values.rtt_p99_seconds, time))
            (number(values.loss_ratio, percent))
            (number(direction.over_budget_ratio, percent))
            td.n { (line.rtt_budget.map(duration::format).unwrap_or_default()) }
            td.n { (line.loss_budget.map(allowed).unwrap_or_default()) }
            td { (line.circuit) }
            td { (line.carrier) }
            td { (line.owner) }
        }
    }
}
