//! What an agent is told next.

use xprober_config::planner::PlannerSettings;
use xprober_proto::{Hello, ProbeKind};

use super::*;
use crate::members::MemberKey;
use crate::plan::MeshPlan;

fn hello(region: &str, id: &str) -> Hello {
    Hello {
        agent_id: id.parse().unwrap(),
        region: region.parse().unwrap(),
        zone: None,
        addresses: Addresses::of([10, 0, 0, 1].into()).unwrap(),
        kinds: ProbeKind::ALL.to_vec(),
        version: String::new(),
        tcp_port: None,
    }
}

/// The plan of a/x in a fleet with `others` in region b.
fn plan(others: &[&str]) -> Arc<AgentPlan> {
    let settings = PlannerSettings::parse("planner.yml", "rpc_listen_addr: :6001\n").unwrap();
    let mut fleet = vec![hello("a", "x")];
    fleet.extend(others.iter().map(|id| hello("b", id)));
    Arc::clone(
        MeshPlan::build(&settings, &fleet)
            .agent(&MemberKey::of(&fleet[0]))
            .unwrap(),
    )
}

fn revision(update: Option<&PlanUpdate>) -> (&'static str, u64) {
    match update {
        Some(PlanUpdate::Full(plan)) => ("full", plan.revision.0),
        Some(PlanUpdate::Delta { revision, .. }) => ("delta", revision.0),
        Some(PlanUpdate::KeepAlive) => ("keep alive", 0),
        None => ("nothing", 0),
    }
}

#[test]
fn the_first_plan_is_full_with_revision_1_and_the_next_are_deltas() {
    let mut session = Session::default();
    assert_eq!(revision(session.update(&plan(&["y"])).as_ref()), ("full", 1));
    assert_eq!(revision(session.update(&plan(&["y"])).as_ref()), ("nothing", 0));
    assert_eq!(revision(session.update(&plan(&["y", "z"])).as_ref()), ("delta", 2));
    assert_eq!(revision(session.update(&plan(&[])).as_ref()), ("delta", 3));
}

#[test]
fn an_empty_first_plan_is_told() {
    assert_eq!(revision(Session::default().update(&plan(&[])).as_ref()), ("full", 1));
}

#[test]
fn a_refused_delta_is_followed_by_a_full_plan_once() {
    let mut session = Session::default();
    session.update(&plan(&["y"]));
    session.update(&plan(&["z"]));
    session.refused(Revision(2));
    assert_eq!(revision(session.update(&plan(&["z"])).as_ref()), ("full", 3));
    // A refusal of the delta that is still under way says nothing new.
    session.refused(Revision(2));
    assert_eq!(revision(session.update(&plan(&["z"])).as_ref()), ("nothing", 0));
}

#[test]
fn a_refused_full_plan_is_sent_again_only_when_it_changed_and_then_in_full() {
    let mut session = Session::default();
    session.update(&plan(&["y"]));
    session.refused(Revision(1));
    assert_eq!(revision(session.update(&plan(&["y"])).as_ref()), ("nothing", 0));
    assert_eq!(revision(session.update(&plan(&["y", "z"])).as_ref()), ("full", 2));
    assert_eq!(revision(session.update(&plan(&["y"])).as_ref()), ("delta", 3));
}

#[test]
fn a_refusal_of_a_plan_that_was_never_sent_changes_nothing() {
    let mut session = Session::default();
    session.refused(Revision(1));
    session.update(&plan(&["y"]));
    session.refused(Revision(9));
    assert_eq!(revision(session.update(&plan(&["y"])).as_ref()), ("nothing", 0));
}

#[test]
fn an_agent_that_lost_its_plan_is_told_everything_once() {
    let mut session = Session::default();
    session.update(&plan(&["y"]));
    // This heartbeat crossed the plan on the way.
    session.holds(Revision::NONE);
    assert_eq!(revision(session.update(&plan(&["y"])).as_ref()), ("nothing", 0));
    session.accepted();
    session.holds(Revision::NONE);
    assert_eq!(revision(session.update(&plan(&["y"])).as_ref()), ("full", 2));
    session.holds(Revision::NONE);
    assert_eq!(revision(session.update(&plan(&["y"])).as_ref()), ("nothing", 0));
}

#[test]
fn only_an_agent_that_holds_no_plan_may_get_a_partial_one() {
    let mut session = Session::default();
    assert!(!session.may_get_partial_plan());
    session.holds(Revision(7));
    assert!(!session.may_get_partial_plan());
    session.holds(Revision::NONE);
    assert!(session.may_get_partial_plan());
}

#[test]
fn an_address_is_the_peers_own_or_inside_an_allowed_network() {
    let text = "agents: {allowed_networks: [10.1.0.0/16]}\n";
    let agents = PlannerSettings::parse("planner.yml", text).unwrap().agents;
    let check = |peer: &str, address: &str| {
        let addresses = Addresses::of(address.parse().unwrap()).unwrap();
        check_addresses(&agents, peer.parse().unwrap(), &addresses)
    };
    assert!(check("192.0.2.1", "192.0.2.1").is_ok());
    assert!(check("::ffff:192.0.2.1", "192.0.2.1").is_ok());
    assert!(check("192.0.2.1", "10.1.2.3").is_ok());
    assert_eq!(
        check("::ffff:192.0.2.1", "198.51.100.9").unwrap_err().to_string(),
        "address 198.51.100.9 is neither that of the connection (192.0.2.1) nor inside agents.allowed_networks"
    );
}
