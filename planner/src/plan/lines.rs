//! Dedicated lines as one region sees them.

use xprober_config::planner::LineSettings;
use xprober_proto::{Line, Region};

/// Lists the lines with one end in `region`, ordered by name; a line is measured from both ends.
pub(super) fn starting_in(lines: &[LineSettings], region: &Region) -> Vec<Line> {
    let other_end = |line: &LineSettings| match &line.between {
        [near, far] if near == region => Some(far.clone()),
        [far, near] if near == region => Some(far.clone()),
        _ => None,
    };
    let mut starting: Vec<Line> = lines
        .iter()
        .filter_map(|line| {
            Some(Line {
                name: line.name.clone(),
                target_region: other_end(line)?,
                rtt_budget: line.rtt_budget,
                loss_budget: line.loss_budget,
                circuit: line.circuit.clone(),
                carrier: line.carrier.clone(),
                owner: line.owner.clone(),
            })
        })
        .collect();
    starting.sort_by(|a, b| a.name.cmp(&b.name));
    starting
}
