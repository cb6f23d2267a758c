//! The `planner.yml` that fits a lab: regions, lines and targets of its topology.

use std::fmt::Write as _;
use std::time::Duration;

use crate::topology::{HUB, HostPlan, Topology, WEB};

/// A line of the lab may be this much slower than its matrix says, unless told otherwise.
const RTT_ALLOWANCE: Duration = Duration::from_millis(5);

/// Regions with agents: all but the hub's and the web servers'.
#[must_use]
pub fn measured_regions(topology: &Topology) -> Vec<&str> {
    let measured = topology.regions().iter().map(String::as_str);
    measured.filter(|region| *region != HUB && *region != WEB).collect()
}

/// Hosts with agents.
pub(super) fn agent_hosts(topology: &Topology) -> impl Iterator<Item = &HostPlan> {
    topology
        .hosts()
        .iter()
        .filter(|host| host.region != HUB && host.region != WEB)
}

/// Writes a `planner.yml` for a lab: a full mesh, a line between every two measured regions whose RTT budget is the
/// matrix' round-trip time and 5 ms, and the web servers as HTTP targets if there are any.
#[must_use]
pub fn planner_file(topology: &Topology) -> String {
    planner_file_with(topology, RTT_ALLOWANCE)
}

/// The same with another allowance above the matrix' round-trip time.
#[must_use]
pub fn planner_file_with(topology: &Topology, allowance: Duration) -> String {
    let mut text =
        String::from("# Written by xprober-lab.\nrpc_listen_addr: \":6001\"\nmetrics_listen_addr: \":6002\"\n");
    if topology.hosts().iter().any(|host| host.region == WEB) {
        text.push_str("prober_targets:\n");
        for url in web_targets() {
            let _infallible = writeln!(
                text,
                "  - {{prober_type: http, region: {WEB}, target: ['{url}'], interval: 5s}}"
            );
        }
    }
    text.push_str("lines:\n");
    let regions = measured_regions(topology);
    let pairs = regions
        .iter()
        .enumerate()
        .flat_map(|(index, one)| regions[index + 1..].iter().map(move |other| (one, other)));
    for (number, (one, other)) in (1..).zip(pairs) {
        let budget = (topology.rtt_between(one, other) + allowance).as_millis();
        let _infallible = writeln!(
            text,
            "  - {{name: {}, between: [{one}, {other}], rtt_budget: {budget}ms, loss_budget: 1%, circuit: LAB-{number}, \
             carrier: lab, owner: netops}}",
            line_name(one, other),
        );
    }
    text
}

/// URLs of the web servers of [`Topology::demo`].
#[must_use]
pub fn web_targets() -> [String; 2] {
    ["http://web1.lab/".to_owned(), "https://web2.lab/".to_owned()]
}

/// Name of the line between two regions, as in `a-b-1` for `region-a` and `region-b`.
#[must_use]
pub fn line_name(one: &str, other: &str) -> String {
    let short = |region: &str| region.trim_start_matches("region-").to_owned();
    format!("{}-{}-1", short(one), short(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_two_measured_regions_have_one_line() {
        let text = planner_file(&Topology::demo());
        assert_eq!(text.matches("between:").count(), 6);
        assert!(
            text.contains("{name: a-d-1, between: [region-a, region-d], rtt_budget: 47ms,"),
            "{text}"
        );
    }
}
