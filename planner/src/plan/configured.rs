//! Targets from `prober_targets`.

use std::collections::BTreeMap;
use std::hash::Hasher as _;
use std::sync::Arc;

use siphasher::sip::SipHasher13;
use xprober_config::planner::PlannerSettings;
use xprober_proto::name::MAX_TARGET_ID_BYTES;
use xprober_proto::{Hello, ProbeKind, Target, TargetId};

use super::{AgentPlan, Assignment, LeftOut, Obstacle, Reason};

/// Turns the file's targets into targets with an identity.
///
/// The id is `configured:kind:region/name`, so that an edited interval or module changes the target without restarting
/// its series; the second entry with the same three gets `#2`. Mesh ids start with the kind, so the two never meet.
pub(super) fn targets(settings: &PlannerSettings) -> Vec<Arc<Target>> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    settings
        .targets
        .iter()
        .filter_map(|configured| {
            let base = format!(
                "configured:{}:{}/{}",
                configured.probe.kind(),
                configured.region,
                configured.name
            );
            let count = seen.entry(base.clone()).or_default();
            *count += 1;
            let id = if *count == 1 { base } else { format!("{base}#{count}") };
            Some(Arc::new(Target {
                id: identity(&id)?,
                name: configured.name.clone(),
                region: configured.region.clone(),
                interval: configured.interval,
                timeout: configured.timeout,
                probe: configured.probe.clone(),
            }))
        })
        .collect()
}

/// Gives an agent the targets that its region probes: HTTP from everywhere, the others from every other region.
pub(super) fn assign(hello: &Hello, targets: &[Arc<Target>], plan: &mut AgentPlan) {
    for target in targets {
        let kind = target.probe.kind();
        let wanted = match kind {
            ProbeKind::Http => true,
            ProbeKind::Icmp | ProbeKind::Tcp => target.region != hello.region,
        };
        if !wanted {
            continue;
        }
        if hello.kinds.contains(&kind) {
            plan.assignments.push(Assignment {
                target: Arc::clone(target),
                reason: Reason::Configured,
            });
        } else {
            plan.left_out.push(LeftOut {
                target: format!("{}/{}", target.region, target.name),
                obstacle: Obstacle::KindNotAnnounced(kind),
            });
        }
    }
}

/// Shortens what does not fit into an id to its beginning and a hash of the whole.
fn identity(text: &str) -> Option<TargetId> {
    text.parse().ok().or_else(|| {
        let mut hasher = SipHasher13::new_with_keys(0, 0);
        hasher.write(text.as_bytes());
        let mut short: String = text.chars().filter(|c| !c.is_control()).collect();
        short.truncate(short.floor_char_boundary(MAX_TARGET_ID_BYTES - 17));
        format!("{short}#{:016x}", hasher.finish()).parse().ok()
    })
}
