//! The agents: who is there, what it was told, and how far behind it is.

use std::time::Duration;

use maud::{Markup, html};

use super::text::span;
use crate::members::MemberKey;
use crate::plan::task::{Description, Published};
use crate::query::Values;

/// Most agents that are shown; those in trouble come first when there are more.
const MAX_ROWS: usize = 300;

/// Age of an agent's newest sample from which it is told as trouble: `AgentSilent` and the gauges' windows end at 20 s.
const SILENT_AFTER: Duration = Duration::from_secs(20);

pub(super) fn render(members: &[Description], published: &Published, values: Option<&Values>) -> Markup {
    let mut shown: Vec<&Description> = members.iter().collect();
    if shown.len() > MAX_ROWS {
        shown.sort_by_key(|one| one.member.stream.is_some() && one.member.refusal.is_none());
        shown.truncate(MAX_ROWS);
    }
    html! {
        section aria-labelledby="agents" {
            h2 #agents { "Agents" }
            @if members.is_empty() {
                p { "None has joined yet." }
            } @else {
                div #agents-scroll .scroll tabindex="0" role="region" aria-labelledby="agents" {
                    table {
                        caption { "Agents, their plan and when they were last heard of" }
                        thead { tr {
                            @for heading in ["agent", "region", "zone", "state", "heard", "newest sample", "plan", "targets", "addresses", "version"] {
                                th scope="col" { (heading) }
                            }
                        } }
                        tbody { @for description in &shown { (row(description, published, values)) } }
                    }
                }
                @if members.len() > shown.len() {
                    p.dim { (members.len() - shown.len()) " more agents are not shown; " a href="/api/v1/plan" { "the JSON" } " has all." }
                }
            }
        }
    }
}

fn row(description: &Description, published: &Published, values: Option<&Values>) -> Markup {
    let member = &description.member;
    let hello = &member.hello;
    let plan = published.plan.agent(&MemberKey::of(hello));
    let addresses: Vec<String> = hello.addresses.iter().map(|address| address.to_string()).collect();
    let silent_for = published
        .settings
        .agents
        .lease
        .saturating_sub(description.lease_remaining);
    let key = (hello.region.to_string(), hello.agent_id.to_string());
    html! {
        tr data-agent=(hello.agent_id) {
            th scope="row" { (hello.agent_id) }
            td { (hello.region) }
            td { (hello.zone.as_ref().map(ToString::to_string).unwrap_or_default()) }
            td {
                @if member.stream.is_some() { span.good { "✓ connected" } } @else {
                    span.bad { "✕ lost" } ", kept for " (description.lease_remaining.as_secs()) " s"
                }
            }
            td { (span(silent_for)) " ago" }
            td { (sample_age(values, &key)) }
            td.wrap[member.refusal.is_some()] {
                (member.acked)
                @if let Some(refusal) = &member.refusal { br; span.bad { "refused: " (refusal) } }
            }
            td.n {
                @if let Some(plan) = plan {
                    (plan.assignments.len())
                    @if !plan.left_out.is_empty() { br; span.bad { (plan.left_out.len()) " left out" } }
                }
            }
            td {
                (addresses.join(", "))
                @if let Some(port) = hello.tcp_port { ", tcp port " (port) }
            }
            td.wrap { (hello.version) }
        }
    }
}

fn sample_age(values: Option<&Values>, key: &(String, String)) -> Markup {
    let Some(values) = values else {
        return html! { span.dim { "–" } };
    };
    // Larger than any duration is larger than any age that is shown.
    let age = values
        .sample_age_seconds
        .get(key)
        .map(|age| Duration::try_from_secs_f64(*age).unwrap_or(Duration::MAX));
    html! {
        @match age {
            None => span.bad { "✕ none" },
            Some(age) if age > SILENT_AFTER => { span.bad { "▲ " (span(age)) " ago" } }
            Some(age) => { (span(age)) " ago" }
        }
    }
}
