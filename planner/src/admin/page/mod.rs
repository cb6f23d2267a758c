//! The live page: what a person wants to know at a glance, on a phone too. Everything is escaped by maud.
//!
//! In: [`Page`], everything that is known. Out: HTML that needs nothing else: no other file, no script to be readable. The
//! script only asks for the page again; without it the browser does, more seldom.

use std::collections::BTreeSet;
use std::time::{Instant, SystemTime};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::matrix::{Facts, Matrix, State};
use crate::metrics::VERSION;
use crate::plan::task::{Description, Published};
use crate::query::Reading;
use crate::reload::ConfigState;

mod agents;

mod configuration;

mod http;

mod lines;

mod matrix;

mod plan;

mod policy;

mod text;

mod view;

pub(super) use policy::policy;
pub(super) use view::View;

/// Pause between two loads by a browser that runs no script, seconds.
const RELOAD_SECONDS: u8 = 15;

/// What the page shows.
pub(super) struct Page<'a> {
    pub(super) view: View,
    pub(super) members: &'a [Description],
    pub(super) published: &'a Published,
    pub(super) config: &'a ConfigState,
    pub(super) reading: &'a Reading,
    pub(super) now: Instant,
}

/// The regions that have a member.
pub(super) fn regions(members: &[Description]) -> BTreeSet<String> {
    let region = |description: &Description| description.member.hello.region.to_string();
    members.iter().map(region).collect()
}

pub(super) fn render(page: &Page<'_>) -> Markup {
    let values = page.reading.values(page.now);
    let regions = regions(page.members);
    let matrix = Matrix::build(&Facts {
        regions: &regions,
        lines: &page.published.settings.lines,
        probe: page.view.probe.as_str(),
        values: values.map(AsRef::as_ref),
    });
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                link rel="icon" href="data:,";
                title { "xprober: " (title(&matrix)) }
                noscript { meta http-equiv="refresh" content=(RELOAD_SECONDS); }
                style { (PreEscaped(policy::STYLE)) }
            }
            body {
                header { h1 { "xprober" } }
                p #stale .notice role="alert" hidden {
                    "The planner does not answer: this page is as it was when it last did."
                }
                main {
                    (summary(page, &matrix))
                    (configuration::warning(page.config))
                    (source(page.reading, values.is_some_and(|values| values.rules_are_missing())))
                    (matrix::render(page.view, &page.published.settings.mesh.probes, &matrix))
                    (lines::render(&matrix))
                    @if let Some(values) = values { (http::render(values)) }
                    (agents::render(page.members, page.published, values.map(AsRef::as_ref)))
                    (plan::render(page.members, page.published))
                    (configuration::render(page.config))
                    p.dim {
                        "xprober planner " (VERSION) ": " a href="/metrics" { "metrics" } ", "
                        a href="/api/v1/matrix" { "values as JSON" } ", " a href="/api/v1/plan" { "plan as JSON" }
                    }
                }
                script { (PreEscaped(policy::SCRIPT)) }
            }
        }
    }
}

/// For the tab of the browser, which may be all that is seen.
fn title(matrix: &Matrix<'_>) -> String {
    match (matrix.count(State::Down), matrix.count(State::Over)) {
        (0, 0) => "region matrix".to_owned(),
        (down, 0) => format!("{down} down"),
        (0, over) => format!("{over} over budget"),
        (down, over) => format!("{down} down, {over} over budget"),
    }
}

fn summary(page: &Page<'_>, matrix: &Matrix<'_>) -> Markup {
    let connected = page.members.iter().filter(|one| one.member.stream.is_some()).count();
    let lost = page.members.len() - connected;
    let states = [State::Down, State::Over, State::Strained, State::NoData];
    html! {
        ul.facts aria-label="Summary" {
            li { b { (matrix.pairs.len()) } " region pairs" }
            @for (state, count) in states.map(|state| (state, matrix.count(state))) {
                @if count > 0 { li.bad[state != State::NoData] { (matrix::mark(state)) " " (count) " " (matrix::name(state)) } }
            }
            li {
                b { (connected) } " agents connected"
                @if lost > 0 { ", " span.bad { (lost) " lost" } }
            }
            li {
                "plan " b { (page.published.revision) } ", " (page.published.plan.pairs()) " targets"
                @if page.published.settling { ", waiting for agents to come back after the start" }
            }
        }
    }
}

/// Where the values come from, and what is wrong if there are none.
fn source(reading: &Reading, rules_are_missing: bool) -> Markup {
    let since = |at: Option<SystemTime>| match at {
        Some(at) => format!("{} ({} ago)", text::clock(at), text::ago(at)),
        None => "the planner started".to_owned(),
    };
    html! {
        @if !reading.configured {
            p.notice {
                "No values: set " code { "query_url" } " in planner.yml to the base URL of Prometheus or VictoriaMetrics, as in "
                code { "query_url: http://prometheus:9090" } ". Agents, plan and lines are shown all the same."
            }
        } @else if let Some(reason) = &reading.failure {
            p.notice { b { "No values since " (since(reading.values_at())) ": " } (reason) }
        } @else if rules_are_missing {
            p.notice {
                b { "No values from the recording rules" } ", though agents of several regions report: load "
                code { "grafana/rules/recording.yml" }
                " into Prometheus or vmalert. Right after a start they take some seconds."
            }
        } @else if let Some(at) = reading.values_at() {
            p.dim { "Values of " (text::clock(at)) ", p99, p50 and loss over the last minute." }
        } @else {
            p.dim { "Asking the store for values." }
        }
    }
}

#[cfg(test)]
mod tests;
