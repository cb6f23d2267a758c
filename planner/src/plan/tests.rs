//! Who probes what.

use std::collections::BTreeSet;
use std::num::NonZeroU16;

use proptest::prelude::*;
use xprober_proto::{Addresses, PlanUpdate, ProbeSpec, Revision};

use super::difference::difference;
use super::*;

const BASE: &str = "
rpc_listen_addr: 127.0.0.1:0
metrics_listen_addr: 127.0.0.1:0
";

fn settings(extra: &str) -> PlannerSettings {
    PlannerSettings::parse("planner.yml", &format!("{BASE}{extra}")).unwrap()
}

fn hello(region: &str, id: &str, v4: Option<[u8; 4]>, v6: bool) -> Hello {
    Hello {
        agent_id: id.parse().unwrap(),
        region: region.parse().unwrap(),
        zone: None,
        addresses: Addresses::new(v4.map(Into::into), v6.then(|| "fd00::1".parse().unwrap())).unwrap(),
        kinds: ProbeKind::ALL.to_vec(),
        version: String::new(),
        tcp_port: None,
    }
}

/// vm1, vm2 in region-a, vm3, vm4 in region-b and so on.
fn eight() -> Vec<Hello> {
    (1..=8_u8)
        .map(|number| {
            let region = ["region-a", "region-b", "region-c", "region-d"][usize::from(number - 1) / 2];
            hello(region, &format!("vm{number}"), Some([10, 0, 0, number]), false)
        })
        .collect()
}

fn key(region: &str, id: &str) -> MemberKey {
    MemberKey {
        region: region.parse().unwrap(),
        id: id.parse().unwrap(),
    }
}

fn target_names(plan: &MeshPlan, region: &str, id: &str) -> Vec<String> {
    let plan = plan.agent(&key(region, id)).unwrap();
    plan.assignments.iter().map(|a| a.target.name.clone()).collect()
}

#[test]
fn of_four_regions_with_two_agents_each_probes_exactly_the_six_others() {
    let plan = MeshPlan::build(&settings(""), &eight());
    assert_eq!(
        target_names(&plan, "region-a", "vm1"),
        ["vm3", "vm4", "vm5", "vm6", "vm7", "vm8"]
    );
    assert_eq!(
        target_names(&plan, "region-b", "vm3"),
        ["vm1", "vm2", "vm5", "vm6", "vm7", "vm8"]
    );
    assert_eq!(plan.pairs(), 48);
}

#[test]
fn the_plan_of_four_regions_reads_like_this() {
    let settings = settings(
        "
prober_targets:
  - prober_type: http
    region: region-b
    target: [\"https://api.example.com/health\"]
  - prober_type: icmp
    region: region-c
    target: [192.0.2.1]
lines:
  - {name: a-b-1, between: [region-a, region-b], rtt_budget: 10ms, loss_budget: 0.1%, circuit: CT-1, owner: netops}
",
    );
    insta::assert_snapshot!(text::write(&MeshPlan::build(&settings, &eight()), true).unwrap());
}

#[test]
fn options_are_shown_where_they_are_not_the_default() {
    let settings = settings(
        "
mesh: {probes: [icmp, tcp], dscp: ef, dont_fragment: true}
prober_targets:
  - {prober_type: icmp, region: region-c, target: [name.example.com], family: both, ttl: 64, reply_ttl: true}
  - {prober_type: tcp, region: region-c, target: [\"192.0.2.1:443\"], source: 192.0.2.7, interface: eth1,
     source_ports: [40000-40007, 50000, 50002-50003]}
",
    );
    let mut fleet = vec![eight().remove(0), eight().remove(2)];
    fleet[1].tcp_port = NonZeroU16::new(6003);
    insta::assert_snapshot!(text::write(&MeshPlan::build(&settings, &fleet), true).unwrap());
}

#[test]
fn a_responder_that_starts_adds_its_targets_and_changes_no_other() {
    let settings = settings("mesh: {probes: [icmp, tcp]}\n");
    let before = MeshPlan::build(&settings, &eight());
    let mut fleet = eight();
    fleet[2].tcp_port = NonZeroU16::new(6003);
    let after = MeshPlan::build(&settings, &fleet);
    let vm1 = key("region-a", "vm1");
    let update = difference(before.agent(&vm1).unwrap(), after.agent(&vm1).unwrap(), Revision(1));
    let Some(PlanUpdate::Delta { upserts, removals, .. }) = update else {
        panic!("a delta was expected, got {update:?}")
    };
    let ids: Vec<&str> = upserts.iter().map(|target| target.id.as_str()).collect();
    assert_eq!((ids.as_slice(), removals.len()), (&["tcp:region-b/vm3"][..], 0));
}

#[test]
fn every_planned_target_passes_the_checks_of_the_wire() {
    let settings = settings(
        "
mesh: {probes: [icmp, tcp], source: 10.0.0.7, dscp: 63, source_ports: 40000-40063}
prober_targets:
  - {prober_type: icmp, region: x, target: [name.example.com, name2.example.com], family: both}
  - {prober_type: tcp, region: x, target: [\"name.example.com:443\", \"[fd00::9]:1\"], source: \"fd00::7\"}
",
    );
    let mut fleet = eight();
    for hello in &mut fleet {
        hello.tcp_port = NonZeroU16::new(6003);
    }
    let plan = MeshPlan::build(&settings, &fleet);
    let vm1 = plan.agent(&key("region-a", "vm1")).unwrap();
    assert_eq!(vm1.assignments.len(), 12 + 4 + 2);
    let full = difference::full(vm1, Revision(1));
    let sent = xprober_proto::wire::PlannerMessage::from(&full);
    assert_eq!(PlanUpdate::try_from(sent), Ok(full));
}

#[test]
fn when_one_agent_joins_only_pairs_that_involve_it_differ() {
    let before = text::write(&MeshPlan::build(&settings(""), &eight()[..7]), false).unwrap();
    let after = text::write(&MeshPlan::build(&settings(""), &eight()), false).unwrap();
    let lines = |text: &str| -> BTreeSet<String> {
        let mut agent = String::new();
        let mut pairs = BTreeSet::new();
        for line in text.lines().filter(|line| !line.contains(" pairs")) {
            if line.starts_with("  ") {
                pairs.insert(format!("{agent} -> {line}"));
            } else {
                line.split(':').next().unwrap_or_default().clone_into(&mut agent);
            }
        }
        pairs
    };
    let (before, after) = (lines(&before), lines(&after));
    let differ: Vec<&String> = before.symmetric_difference(&after).collect();
    assert_eq!(differ.len(), 12);
    assert!(differ.iter().all(|pair| pair.contains("vm8")), "{differ:#?}");
}

#[test]
fn an_agent_is_not_given_what_it_did_not_announce_and_the_plan_says_so() {
    let mut fleet = eight();
    fleet[0].kinds = vec![ProbeKind::Http];
    let settings = settings("prober_targets: [{prober_type: tcp, region: region-b, target: [\"192.0.2.1:80\"]}]\n");
    let plan = MeshPlan::build(&settings, &fleet);
    let vm1 = plan.agent(&key("region-a", "vm1")).unwrap();
    assert!(vm1.assignments.is_empty());
    assert_eq!(vm1.left_out.len(), 7);
    assert_eq!(vm1.left_out[6].obstacle, Obstacle::KindNotAnnounced(ProbeKind::Tcp));
    // Being probed needs no announcement.
    assert!(target_names(&plan, "region-b", "vm3").contains(&"vm1".to_owned()));
}

#[test]
fn agents_meet_in_a_family_both_have_ipv4_first() {
    let fleet = [
        hello("a", "both", Some([10, 0, 0, 1]), true),
        hello("b", "both", Some([10, 0, 0, 2]), true),
        hello("c", "six", None, true),
        hello("d", "four", Some([10, 0, 0, 4]), false),
    ];
    let plan = MeshPlan::build(&settings(""), &fleet);
    let hosts = |region: &str, id: &str| -> Vec<String> {
        let host = |assignment: &Assignment| match &assignment.target.probe {
            ProbeSpec::Icmp(spec) => spec.host.to_string(),
            ProbeSpec::Tcp(_) | ProbeSpec::Http(_) => String::new(),
        };
        plan.agent(&key(region, id))
            .unwrap()
            .assignments
            .iter()
            .map(host)
            .collect()
    };
    assert_eq!(hosts("a", "both"), ["10.0.0.2", "fd00::1", "10.0.0.4"]);
    assert_eq!(hosts("d", "four"), ["10.0.0.1", "10.0.0.2"]);
    let left_out = &plan.agent(&key("d", "four")).unwrap().left_out;
    assert_eq!(left_out[0].target, "c/six");
    assert_eq!(left_out[0].obstacle, Obstacle::NoCommonFamily);
}

#[test]
fn http_is_probed_from_every_region_and_the_rest_from_every_other() {
    let settings = settings(
        "
prober_targets:
  - {prober_type: http, region: region-a, target: [\"http://192.0.2.1/\"]}
  - {prober_type: tcp, region: region-a, target: [\"192.0.2.1:80\"]}
",
    );
    let plan = MeshPlan::build(&settings, &eight());
    let configured = |region: &str, id: &str| -> Vec<ProbeKind> {
        let plan = plan.agent(&key(region, id)).unwrap();
        let configured = plan.assignments.iter().filter(|a| a.reason == Reason::Configured);
        configured.map(|a| a.target.probe.kind()).collect()
    };
    assert_eq!(configured("region-a", "vm1"), [ProbeKind::Http]);
    assert_eq!(configured("region-b", "vm3"), [ProbeKind::Http, ProbeKind::Tcp]);
}

#[test]
fn a_line_starts_in_both_of_its_regions_and_in_no_other() {
    let settings = settings("lines: [{name: x, between: [region-a, region-b], rtt_budget: 10ms}]\n");
    let plan = MeshPlan::build(&settings, &eight());
    let far = |region: &str, id: &str| -> Vec<String> {
        let lines = &plan.agent(&key(region, id)).unwrap().lines;
        lines.iter().map(|line| line.target_region.to_string()).collect()
    };
    assert_eq!(far("region-a", "vm1"), ["region-b"]);
    assert_eq!(far("region-b", "vm3"), ["region-a"]);
    assert!(far("region-c", "vm5").is_empty());
}

#[test]
fn an_agent_under_another_address_is_the_same_target_with_other_content() {
    let before = MeshPlan::build(&settings(""), &eight());
    let mut fleet = eight();
    fleet[2].addresses = Addresses::of([10, 9, 9, 9].into()).unwrap();
    let after = MeshPlan::build(&settings(""), &fleet);
    let vm1 = key("region-a", "vm1");
    let update = difference(before.agent(&vm1).unwrap(), after.agent(&vm1).unwrap(), Revision(4));
    let Some(PlanUpdate::Delta {
        revision,
        base,
        upserts,
        removals,
    }) = update
    else {
        panic!("a delta was expected, got {update:?}")
    };
    assert_eq!((revision, base), (Revision(5), Revision(4)));
    assert_eq!(upserts.len(), 1);
    assert_eq!(upserts[0].id.as_str(), "icmp:region-b/vm3");
    assert!(removals.is_empty());
}

#[test]
fn changed_limits_or_lines_are_told_in_full() {
    let vm1 = key("region-a", "vm1");
    let plan = |extra: &str| MeshPlan::build(&settings(extra), &eight());
    let before = plan("");
    for changed in [
        "limits: {max_probes_per_second: 77}\n",
        "agents: {lease: 31s}\n",
        "lines: [{name: x, between: [region-a, region-b], rtt_budget: 10ms}]\n",
    ] {
        let after = plan(changed);
        let update = difference(before.agent(&vm1).unwrap(), after.agent(&vm1).unwrap(), Revision(1));
        assert!(matches!(update, Some(PlanUpdate::Full(_))), "{changed}: {update:?}");
    }
    assert_eq!(
        difference(before.agent(&vm1).unwrap(), plan("").agent(&vm1).unwrap(), Revision(1)),
        None
    );
}

fn fleet() -> impl Strategy<Value = Vec<Hello>> {
    let agent = (0..5_u8, 0..12_u8, any::<bool>(), any::<bool>()).prop_map(|(region, id, v4, v6)| {
        let v4 = (v4 || !v6).then_some([10, region, 0, id]);
        hello(&format!("r{region}"), &format!("vm{id}"), v4, v6)
    });
    prop::collection::btree_map((0..5_u8, 0..12_u8), agent, 0..40).prop_map(|agents| {
        let mut unique = BTreeMap::new();
        for hello in agents.into_values() {
            unique.insert(MemberKey::of(&hello), hello);
        }
        unique.into_values().collect()
    })
}

proptest! {
    /// The model says pair by pair whether it belongs there.
    #[test]
    fn the_full_mesh_is_every_pair_across_regions_with_a_common_family(fleet in fleet()) {
        let plan = MeshPlan::build(&settings(""), &fleet);
        for source in &fleet {
            let mut expected = BTreeSet::new();
            for target in &fleet {
                let v4 = source.addresses.v4().is_some() && target.addresses.v4().is_some();
                let v6 = source.addresses.v6().is_some() && target.addresses.v6().is_some();
                if source.region != target.region && (v4 || v6) {
                    expected.insert(format!("icmp:{}/{}", target.region, target.agent_id));
                }
            }
            let planned = plan.agent(&MemberKey::of(source)).unwrap();
            let ids: Vec<String> = planned.assignments.iter().map(|a| a.target.id.to_string()).collect();
            prop_assert_eq!(ids, expected.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_order_of_arrival_does_not_matter(fleet in fleet().prop_shuffle(), k in 0..4_usize) {
        let settings = settings(&format!("mesh: {{targets_per_region: {k}}}\n"));
        let shuffled = MeshPlan::build(&settings, &fleet);
        let mut ordered = fleet;
        ordered.sort_by_key(MemberKey::of);
        prop_assert_eq!(shuffled, MeshPlan::build(&settings, &ordered));
    }

    /// Applying the difference to the old targets gives the new ones.
    #[test]
    fn a_delta_leads_from_any_plan_to_any_other(old in fleet(), new in fleet(), k in 0..3_usize) {
        let settings = settings(&format!("mesh: {{targets_per_region: {k}}}\n"));
        let (old, new) = (MeshPlan::build(&settings, &old), MeshPlan::build(&settings, &new));
        for (key, to) in new.iter() {
            let Some(from) = old.agent(key) else { continue };
            let by_id = |plan: &AgentPlan| -> BTreeMap<_, _> {
                plan.assignments.iter().map(|a| (a.target.id.clone(), Target::clone(&a.target))).collect()
            };
            let mut held = by_id(from);
            match difference(from, to, Revision(1)) {
                None => {}
                Some(PlanUpdate::Delta { upserts, removals, .. }) => {
                    for id in removals {
                        prop_assert!(held.remove(&id).is_some(), "{} was not there", id);
                    }
                    for target in upserts {
                        prop_assert_ne!(held.insert(target.id.clone(), target.clone()), Some(target));
                    }
                }
                Some(other) => prop_assert!(false, "unexpected {:?}", other),
            }
            prop_assert_eq!(held, by_id(to));
        }
    }
}
