//! The plan in short: pairs of agents between regions, and the targets of the file.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};
use xprober_config::duration;
use xprober_proto::Region;

use crate::plan::task::{Description, Published};
use crate::plan::{Reason, text};

/// Most rows and columns, and most targets that are shown; the JSON has all.
const MAX_REGIONS: usize = 70;
const MAX_TARGETS: usize = 400;

pub(super) fn render(members: &[Description], published: &Published) -> Markup {
    html! {
        section aria-labelledby="plan" {
            h2 #plan { "Plan" }
            details #plan-pairs {
                summary { "Pairs of agents between regions: " (published.plan.pairs()) " targets in all" }
                (pairs(members, published))
            }
            details #plan-targets {
                summary { "Configured targets: " (published.settings.targets.len()) }
                (configured(published))
            }
        }
    }
}

fn pairs(members: &[Description], published: &Published) -> Markup {
    let regions: BTreeSet<&Region> = members
        .iter()
        .map(|one| &one.member.hello.region)
        .take(MAX_REGIONS)
        .collect();
    let mut pairs: BTreeMap<(&Region, &Region), usize> = BTreeMap::new();
    for (key, plan) in published.plan.iter() {
        for assignment in plan.assignments.iter().filter(|one| one.reason != Reason::Configured) {
            *pairs.entry((&key.region, &assignment.target.region)).or_default() += 1;
        }
    }
    html! {
        @if regions.len() < 2 {
            p { "Agents probe each other once two regions have one." }
        } @else {
            div #pairs-scroll .scroll tabindex="0" role="region" aria-labelledby="plan" { table {
                caption { "Pairs of agents from each row's region to each column's region" }
                thead { tr {
                    th scope="col" { "from \\ to" }
                    @for target in &regions { th.n scope="col" { (target) } }
                } }
                tbody { @for source in &regions { tr {
                    th scope="row" { (source) }
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

fn configured(published: &Published) -> Markup {
    let targets = &published.settings.targets;
    html! {
        @if targets.is_empty() { p { "None." } } @else {
            div #targets-scroll .scroll tabindex="0" role="region" aria-labelledby="plan" { table {
                caption { "Targets of the configuration" }
                thead { tr {
                    @for heading in ["target", "region", "probe", "every", "timeout", "options"] { th scope="col" { (heading) } }
                } }
                tbody { @for target in targets.iter().take(MAX_TARGETS) { tr {
                    th scope="row" { (target.name) }
                    td { (target.region) }
                    td { (target.probe.kind()) }
                    td { (duration::format(target.interval)) }
                    td { (duration::format(target.timeout)) }
                    td.wrap { (text::options(&target.probe).join(", ")) }
                } } }
            } }
            @if targets.len() > MAX_TARGETS {
                p.dim { (targets.len() - MAX_TARGETS) " more are in " a href="/api/v1/plan" { "the JSON" } "." }
            }
        }
    }
}
