//! HTTP targets: where the time of a request goes, from each region.

use maud::{Markup, html};

use super::text::{percent, time};
use crate::query::{HttpValues, PairKey, Values};

/// Stages in the order of time, as the `stage` label spells them.
const STAGES: [&str; 5] = ["resolve", "connect", "tls", "processing", "transfer"];

/// Most rows that are shown; the JSON has all.
const MAX_ROWS: usize = 400;

pub(super) fn render(values: &Values) -> Markup {
    if values.http.is_empty() {
        return html! {};
    }
    html! {
        section aria-labelledby="http" {
            h2 #http { "HTTP targets" }
            div #http-scroll .scroll tabindex="0" role="region" aria-labelledby="http" {
                table {
                    caption { "Mean time of each stage of the last probes, by target and source region" }
                    thead { tr {
                        th scope="col" { "target" }
                        th scope="col" { "from" }
                        th scope="col" { "success" }
                        th.n scope="col" { "total" }
                        @for stage in STAGES { th.n scope="col" { (stage) } }
                    } }
                    tbody { @for (key, http) in values.http.iter().take(MAX_ROWS) { (row(key, http)) } }
                }
            }
            @if values.http.len() > MAX_ROWS {
                p.dim { (values.http.len() - MAX_ROWS) " more are in " a href="/api/v1/matrix" { "the JSON" } "." }
            }
        }
    }
}

fn row((target, (source, _)): &(String, PairKey), http: &HttpValues) -> Markup {
    let number =
        |value: Option<f64>| html! { td.n { @match value { Some(value) => (time(value)), None => span.dim { "–" } } } };
    html! {
        tr data-target=(target) data-source=(source) {
            th scope="row" { (target) }
            td { (source) }
            @match http.success_ratio {
                Some(ratio) if ratio >= 1.0 => td.within { "✓ " (percent(ratio)) },
                Some(ratio) => td.over { "▲ " (percent(ratio)) },
                None => td.no_data { "no data" },
            }
            (number(http.duration_seconds))
            @for stage in STAGES { (number(http.stages.get(stage).copied())) }
        }
    }
}
