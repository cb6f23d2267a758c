//! A plan as text, for people and for comparing two of them.

use std::fmt::{self, Write as _};

use xprober_config::duration;
use xprober_proto::{Line, ProbeSpec, Target};

use super::{AgentPlan, MeshPlan};
use crate::members::MemberKey;

/// Writes every agent with its targets, ordered; with `explain` also why each is there or is not.
///
/// Header values of HTTP targets are left out: they can be secrets.
///
/// # Errors
///
/// Never in practice: writing to a string does not fail.
pub fn write(plan: &MeshPlan, explain: bool) -> Result<String, fmt::Error> {
    let mut text = String::new();
    for (key, agent) in plan.iter() {
        write_agent(&mut text, key, agent, explain)?;
    }
    writeln!(text, "{} agents, {} pairs", plan.iter().len(), plan.pairs())?;
    Ok(text)
}

fn write_agent(text: &mut String, key: &MemberKey, agent: &AgentPlan, explain: bool) -> fmt::Result {
    writeln!(text, "{key}: {} targets", agent.assignments.len())?;
    for assignment in &agent.assignments {
        write_target(text, &assignment.target)?;
        if explain {
            write!(text, "  because: {}", assignment.reason)?;
        }
        text.push('\n');
    }
    if explain {
        for left_out in &agent.left_out {
            writeln!(text, "  left out {}: {}", left_out.target, left_out.obstacle)?;
        }
    }
    for line in agent.lines.iter() {
        write_line(text, line)?;
    }
    text.push('\n');
    Ok(())
}

fn write_target(text: &mut String, target: &Target) -> fmt::Result {
    write!(text, "  {:4} {}/{}", target.probe.kind(), target.region, target.name)?;
    match &target.probe {
        ProbeSpec::Icmp(spec) => write!(text, " at {}, {} bytes", spec.host, spec.payload_bytes)?,
        ProbeSpec::Tcp(spec) => write!(text, " at {} port {}", spec.host, spec.port)?,
        ProbeSpec::Http(spec) => write!(text, " {}", spec.method)?,
    }
    for option in options(&target.probe) {
        write!(text, ", {option}")?;
    }
    write!(
        text,
        ", every {}, timeout {}",
        duration::format(target.interval),
        duration::format(target.timeout)
    )
}

/// Lists what a probe asks for beyond the default, a few words each.
#[must_use]
pub fn options(probe: &ProbeSpec) -> Vec<String> {
    let (packet, last) = match probe {
        ProbeSpec::Icmp(spec) => (&spec.packet, spec.reply_ttl.then(|| "reply ttl".to_owned())),
        ProbeSpec::Tcp(spec) => (&spec.packet, source_ports(&spec.source_ports)),
        ProbeSpec::Http(_) => return Vec::new(),
    };
    let dscp = (packet.dscp != 0).then(|| format!("dscp {}", packet.dscp));
    [
        packet.family.map(|family| family.to_string()),
        packet.source.map(|source| format!("from {source}")),
        packet.interface.as_ref().map(|interface| format!("by {interface}")),
        dscp,
        packet.ttl.map(|ttl| format!("ttl {ttl}")),
        packet.dont_fragment.then(|| "df".to_owned()),
        last,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Writes neighbours as a range; `None` for no ports.
fn source_ports(ports: &[u16]) -> Option<String> {
    let range = |run: &[u16]| match run {
        [first, .., last] => format!("{first}-{last}"),
        run => run.iter().map(ToString::to_string).collect(),
    };
    let runs: Vec<String> = ports.chunk_by(|a, b| a.checked_add(1) == Some(*b)).map(range).collect();
    (!runs.is_empty()).then(|| format!("source ports {}", runs.join(" ")))
}

fn write_line(text: &mut String, line: &Line) -> fmt::Result {
    write!(text, "  line {} to {}", line.name, line.target_region)?;
    if let Some(budget) = line.rtt_budget {
        write!(text, ", rtt at most {}", duration::format(budget))?;
    }
    if let Some(budget) = line.loss_budget {
        write!(text, ", loss at most {} %", budget * 100.0)?;
    }
    text.push('\n');
    Ok(())
}
