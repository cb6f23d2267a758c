//! The status page: what a person wants to know at a glance, on a phone too. Everything is escaped by maud.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use xprober_config::duration;
use xprober_config::planner::LineSettings;
use xprober_proto::Region;

use crate::members::MemberKey;
use crate::metrics::VERSION;
use crate::plan::task::{Description, Published};
use crate::plan::{Reason, text};
use crate::reload::ConfigState;

const STYLE: &str = "
:root{color-scheme:light dark;--line:#8884;--soft:#8882;--bad:#c62828;--good:#2e7d32}
@media(prefers-color-scheme:dark){:root{--bad:#ff8a80;--good:#a5d6a7}}
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:0 auto;padding:1rem}
h1{font-size:1.4rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;min-width:100%}
th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600}td.n{text-align:right;font-variant-numeric:tabular-nums}td.same{background:var(--soft)}
.bad{color:var(--bad)}.good{color:var(--good)}.dim{opacity:.7}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--soft);padding:.6rem}
";

/// What the page shows.
pub(super) struct Status<'a> {
    pub(super) members: &'a [Description],
    pub(super) published: &'a Published,
    pub(super) config: &'a ConfigState,
}

pub(super) fn render(status: &Status<'_>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "xprober planner" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "xprober planner" }
                p.dim {
                    "version " (VERSION) ", plan " (status.published.revision) ", "
                    (status.members.len()) " agents, " (status.published.plan.pairs()) " pairs"
                    @if status.published.settling { ", waiting for agents to come back after the start" }
                }
                (configuration(status.config))
                (agents(status))
                (matrix(status))
                (configured(status))
                (lines(&status.published.settings.lines))
                p.dim { a href="/metrics" { "metrics" } " · " a href="/api/v1/plan" { "plan as JSON" } }
            }
        }
    }
}

fn configuration(config: &ConfigState) -> Markup {
    html! {
        h2 { "Configuration" }
        p {
            @match &config.file {
                Some(file) => code { (file.display().to_string()) },
                None => "given directly",
            }
            ", loaded " (ago(config.loaded_at)) " ago: "
            @if config.failure.is_some() {
                strong.bad { "the file as it stands now was refused, the settings loaded before are in force" }
            } @else {
                strong.good { "in force" }
            }
        }
        @if let Some(problems) = &config.failure { pre.bad { (problems) } }
        @if !config.needs_restart.is_empty() {
            p.bad { "Waiting for a restart: " (config.needs_restart.join(", ")) }
        }
    }
}

fn agents(status: &Status<'_>) -> Markup {
    html! {
        h2 { "Agents" }
        @if status.members.is_empty() {
            p { "None has joined yet." }
        } @else {
            div.scroll { table {
                thead { tr {
                    th { "region" } th { "agent" } th { "zone" } th { "addresses" } th { "version" }
                    th { "state" } th { "plan" } th { "targets" }
                } }
                tbody { @for description in status.members { (agent(description, status.published)) } }
            } }
        }
    }
}

fn agent(description: &Description, published: &Published) -> Markup {
    let member = &description.member;
    let hello = &member.hello;
    let plan = published.plan.agent(&MemberKey::of(hello));
    let addresses: Vec<String> = hello.addresses.iter().map(|address| address.to_string()).collect();
    let seconds = description.lease_remaining.as_secs();
    html! {
        tr {
            td { (hello.region) }
            td { (hello.agent_id) }
            td { (hello.zone.as_ref().map(ToString::to_string).unwrap_or_default()) }
            td {
                (addresses.join(", "))
                @if let Some(port) = hello.tcp_port { br; span.dim { "tcp port " (port) } }
            }
            td { (hello.version) }
            td {
                @if member.stream.is_some() { span.good { "connected" } } @else { span.bad { "lost" } }
                span.dim { ", lease " (seconds) " s" }
            }
            td {
                (member.acked)
                @if let Some(refusal) = &member.refusal { br; span.bad { "refused: " (refusal) } }
            }
            td.n {
                @if let Some(plan) = plan {
                    (plan.assignments.len())
                    @if !plan.left_out.is_empty() { br; span.bad { (plan.left_out.len()) " left out" } }
                }
            }
        }
    }
}

fn matrix(status: &Status<'_>) -> Markup {
    let regions: BTreeSet<&Region> = status.members.iter().map(|d| &d.member.hello.region).collect();
    let mut pairs: BTreeMap<(&Region, &Region), usize> = BTreeMap::new();
    for (key, plan) in status.published.plan.iter() {
        for assignment in plan.assignments.iter().filter(|a| a.reason != Reason::Configured) {
            *pairs.entry((&key.region, &assignment.target.region)).or_default() += 1;
        }
    }
    html! {
        h2 { "Plan: pairs of agents from row to column" }
        @if regions.len() < 2 {
            p { "Agents probe each other once two regions have one." }
        } @else {
            div.scroll { table {
                thead { tr { th { "from" } @for target in &regions { th { (target) } } } }
                tbody { @for source in &regions { tr {
                    th { (source) }
                    @for target in &regions {
                        @if source == target { td.same {} } @else {
                            td.n { (pairs.get(&(*source, *target)).copied().unwrap_or_default()) }
                        }
                    }
                } } }
            } }
        }
    }
}

fn configured(status: &Status<'_>) -> Markup {
    let targets = &status.published.settings.targets;
    html! {
        h2 { "Configured targets" }
        @if targets.is_empty() { p { "None." } } @else {
            div.scroll { table {
                thead { tr { th { "probe" } th { "region" } th { "target" } th { "every" } th { "timeout" } th { "options" } } }
                tbody { @for target in targets { tr {
                    td { (target.probe.kind()) }
                    td { (target.region) }
                    td { (target.name) }
                    td { (duration::format(target.interval)) }
                    td { (duration::format(target.timeout)) }
                    td { (text::options(&target.probe).join(", ")) }
                } } }
            } }
        }
    }
}

fn lines(lines: &[LineSettings]) -> Markup {
    html! {
        h2 { "Dedicated lines" }
        @if lines.is_empty() { p { "None." } } @else {
            div.scroll { table {
                thead { tr {
                    th { "line" } th { "between" } th { "RTT budget" } th { "loss budget" }
                    th { "circuit" } th { "carrier" } th { "owner" }
                } }
                tbody { @for line in lines { tr {
                    td { (line.name) }
                    td { (line.between[0]) " and " (line.between[1]) }
                    td { (line.rtt_budget.map(duration::format).unwrap_or_default()) }
                    td { @if let Some(ratio) = line.loss_budget { (ratio * 100.0) " %" } }
                    td { (line.circuit) }
                    td { (line.carrier) }
                    td { (line.owner) }
                } } }
            } }
        }
    }
}

/// A wall clock that went back shows as no time at all.
fn ago(at: SystemTime) -> String {
    let elapsed = at.elapsed().unwrap_or_default().as_secs();
    match (elapsed / 86_400, elapsed / 3600 % 24, elapsed / 60 % 60, elapsed % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, _) => format!("{minutes} min"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, _, _) => format!("{days} d {hours} h"),
    }
}
