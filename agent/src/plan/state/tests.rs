//! Update in, changes and answer out; then the whole machine against a model that recomputes everything.

use proptest::prelude::*;

use super::super::admission::tests::{hard, icmp, loose};
use super::*;

const TTL: Duration = Duration::from_mins(1);

fn full(revision: u64, targets: Vec<Target>) -> PlanUpdate {
    PlanUpdate::Full(Plan {
        revision: Revision(revision),
        plan_ttl: TTL,
        lease: Duration::from_secs(30),
        limits: loose(),
        targets,
        lines: Vec::new(),
    })
}

fn delta(base: u64, upserts: Vec<Target>, removals: &[&str]) -> PlanUpdate {
    PlanUpdate::Delta {
        revision: Revision(base + 1),
        base: Revision(base),
        upserts,
        removals: removals.iter().map(|id| id.parse().unwrap()).collect(),
    }
}

fn good(id: &str) -> Target {
    icmp(id, "10.0.0.1", 1000)
}

fn state() -> PlanState {
    PlanState::new(hard(1000), Duration::from_secs(30))
}

fn shown(changes: &[Change]) -> Vec<String> {
    let show = |change: &Change| match change {
        Change::Upsert(target) => format!("+{}", target.id),
        Change::Remove(id) => format!("-{id}"),
        Change::Lines(lines) => format!("lines {}", lines.len()),
    };
    changes.iter().map(show).collect()
}

#[test]
fn a_delta_changes_only_what_it_names() {
    let (mut state, now) = (state(), Instant::now());
    state.apply(full(1, vec![good("a"), good("b")]), now);
    let step = state.apply(delta(1, vec![good("c"), good("b")], &["a"]), now);
    assert_eq!(shown(&step.changes), ["-a", "+c"]);
    assert_eq!(step.answer, Some(Answer::Ack(Revision(2))));
}

#[test]
fn an_empty_plan_stops_everything_at_once() {
    let (mut state, now) = (state(), Instant::now());
    state.apply(full(1, vec![good("a"), good("b")]), now);
    assert_eq!(shown(&state.apply(full(2, Vec::new()), now).changes), ["-a", "-b"]);
}

#[test]
fn a_restarted_planner_changes_nothing_that_stayed_the_same() {
    let (mut state, now) = (state(), Instant::now());
    state.apply(full(7, vec![good("a"), good("b")]), now);
    state.start_stream();
    assert_eq!(state.in_force().len(), 2, "probing goes on");
    assert_eq!(state.revision(), Revision(7), "and the planner is told so");
    let step = state.apply(full(1, vec![good("a"), icmp("b", "10.0.0.2", 1000)]), now);
    assert_eq!(shown(&step.changes), ["+b"]);
    assert_eq!(state.revision(), Revision(1));
}

#[test]
fn a_delta_with_another_base_is_refused_and_asks_for_the_full_plan() {
    let (mut state, now) = (state(), Instant::now());
    state.apply(full(3, vec![good("a")]), now);
    let step = state.apply(delta(2, vec![good("b")], &[]), now);
    assert!(step.changes.is_empty());
    let Some(Answer::Nack { revision, reason }) = step.answer else {
        unreachable!("a wrong base is refused")
    };
    assert_eq!(revision, Revision(3));
    assert_eq!(reason, "delta 3 starts from 2, in force is 3; send the full plan");
    assert_eq!(state.status(true).rejected, BTreeMap::from([(REASON_BASE, 1)]));
}

#[test]
fn a_delta_that_opens_a_stream_is_refused_even_if_the_number_fits() {
    let (mut state, now) = (state(), Instant::now());
    state.apply(full(1, vec![good("a")]), now);
    state.start_stream();
    let step = state.apply(delta(1, Vec::new(), &["a"]), now);
    assert!(matches!(step.answer, Some(Answer::Nack { .. })));
    assert_eq!(state.in_force().len(), 1);
}

#[test]
fn the_plan_dies_when_its_time_to_live_passed_without_a_word() {
    let (mut state, start) = (state(), Instant::now());
    assert_eq!(state.next_deadline(), None);
    state.apply(full(1, vec![good("a")]), start);
    state.apply(PlanUpdate::KeepAlive, start + TTL / 2);
    assert_eq!(state.next_deadline(), Some(start + TTL / 2 + TTL));
    assert!(state.expire(start + TTL).is_empty(), "the keep-alive counts");
    assert_eq!(shown(&state.expire(start + TTL * 2)), ["-a"]);
    assert_eq!(state.next_deadline(), None);
    let step = state.apply(delta(1, vec![good("b")], &[]), start + TTL * 2);
    assert!(
        matches!(step.answer, Some(Answer::Nack { .. })),
        "only a full plan may follow"
    );
}

#[test]
fn a_plan_refused_in_part_is_in_force_for_the_rest_and_told_once() {
    let (mut state, now) = (state(), Instant::now());
    let step = state.apply(full(1, vec![good("a"), icmp("far", "192.0.2.1", 1000)]), now);
    assert_eq!(shown(&step.changes), ["+a"]);
    let Some(Answer::Nack { reason, .. }) = step.answer else {
        unreachable!("a refused target is told")
    };
    assert_eq!(
        reason,
        "1 of 2 targets refused by the agent's limits: network 1 (such as far)"
    );
    let step = state.apply(full(2, vec![good("a"), icmp("far", "192.0.2.1", 1000)]), now);
    assert_eq!(
        step.answer,
        Some(Answer::Ack(Revision(2))),
        "the same refusal is not told twice"
    );
    assert_eq!(state.status(true).rejected, BTreeMap::from([("network", 1)]));
}

#[test]
fn targets_that_slow_down_make_room_before_others_take_it() {
    let (mut state, now) = (PlanState::new(hard(3), Duration::from_secs(30)), Instant::now());
    state.apply(full(1, vec![good("a"), icmp("b", "10.0.0.1", 500)]), now);
    let step = state.apply(full(2, vec![icmp("a", "10.0.0.1", 500), good("b")]), now);
    assert_eq!(shown(&step.changes), ["+b", "+a"]);
}

#[test]
fn lines_are_replaced_whole_and_vanish_with_the_plan() {
    let (mut state, now) = (state(), Instant::now());
    let line = Line {
        name: "a-b".to_owned(),
        target_region: "region-b".parse().unwrap(),
        rtt_budget: Some(Duration::from_millis(10)),
        loss_budget: None,
        circuit: String::new(),
        carrier: String::new(),
        owner: String::new(),
    };
    let PlanUpdate::Full(mut plan) = full(1, vec![good("a")]) else {
        unreachable!("full builds a full plan")
    };
    plan.lines = vec![line];
    let step = state.apply(PlanUpdate::Full(plan.clone()), now);
    assert_eq!(shown(&step.changes), ["lines 1", "+a"]);
    assert!(state.apply(PlanUpdate::Full(plan), now).changes.is_empty());
    assert_eq!(shown(&state.expire(now + TTL)), ["lines 0", "-a"]);
}

#[derive(Debug, Clone)]
enum Action {
    Full(Vec<(u8, u8)>),
    Delta {
        fits: bool,
        upserts: Vec<(u8, u8)>,
        removals: Vec<u8>,
    },
    KeepAlive,
    NewStream,
    Wait(u64),
}

fn target((id, kind): (u8, u8)) -> Target {
    let host = if kind == 3 { "192.0.2.1" } else { "10.0.0.1" };
    let interval = [1000, 500, 50, 1000][usize::from(kind % 4)];
    icmp(&format!("t{id}"), host, interval)
}

fn action() -> impl Strategy<Value = Action> {
    let one = || (0u8..12, 0u8..4);
    let list = || prop::collection::btree_map(0u8..12, 0u8..4, 0..12).prop_map(|map| map.into_iter().collect());
    prop_oneof![
        list().prop_map(Action::Full),
        (
            any::<bool>(),
            prop::collection::vec(one(), 0..4),
            prop::collection::vec(0u8..12, 0..4)
        )
            .prop_map(|(fits, upserts, removals)| Action::Delta {
                fits,
                upserts,
                removals
            }),
        Just(Action::KeepAlive),
        Just(Action::NewStream),
        (0u64..100).prop_map(Action::Wait),
    ]
}

/// Recomputes what should be in force from all that was said, without any difference.
#[derive(Default)]
struct Model {
    offered: BTreeMap<TargetId, Arc<Target>>,
    revision: u64,
    based: bool,
    heard: Option<Instant>,
}

impl Model {
    fn in_force(&self, hard: &HardLimits) -> BTreeMap<TargetId, Arc<Target>> {
        let refused = judge(&self.offered, hard, loose());
        let accepted = self.offered.iter().filter(|(id, _)| !refused.contains_key(*id));
        accepted.map(|(id, target)| (id.clone(), Arc::clone(target))).collect()
    }

    fn put(&mut self, one: (u8, u8)) {
        let target = target(one);
        self.offered.insert(target.id.clone(), Arc::new(target));
    }
}

fn carry_out(shadow: &mut BTreeMap<TargetId, Arc<Target>>, changes: &[Change]) -> Result<(), TestCaseError> {
    for change in changes {
        match change {
            Change::Upsert(target) => {
                let before = shadow.insert(target.id.clone(), Arc::clone(target));
                prop_assert_ne!(before.as_ref(), Some(target), "an unchanged target was touched");
            }
            Change::Remove(id) => prop_assert!(shadow.remove(id).is_some(), "{} was not in force", id),
            Change::Lines(_) => {}
        }
        let rate: f64 = shadow.values().map(|target| 1.0 / target.interval.as_secs_f64()).sum();
        prop_assert!(rate <= 8.0 + 1e-6, "{} probes per second", rate);
    }
    Ok(())
}

proptest! {
    #[test]
    fn changes_lead_exactly_to_what_a_model_without_memory_says(actions in prop::collection::vec(action(), 1..40)) {
        let limits = hard(8);
        let mut state = PlanState::new(limits.clone(), Duration::from_secs(30));
        let (mut model, mut shadow) = (Model::default(), BTreeMap::new());
        let mut now = Instant::now();
        for action in actions {
            let changes = match action {
                Action::Full(targets) => {
                    model = Model { revision: model.revision + 1, based: true, heard: Some(now), ..Model::default() };
                    for one in &targets {
                        model.put(*one);
                    }
                    state.apply(full(model.revision, targets.into_iter().map(target).collect()), now).changes
                }
                Action::Delta { fits, upserts, removals } => {
                    let base = if fits { model.revision } else { model.revision + 7 };
                    let gone: Vec<String> = removals.iter().map(|id| format!("t{id}")).collect();
                    let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
                    model.heard = Some(now);
                    if fits && model.based {
                        for id in &gone {
                            model.offered.remove(&id.parse().unwrap());
                        }
                        for one in &upserts {
                            model.put(*one);
                        }
                        model.revision += 1;
                    }
                    state.apply(delta(base, upserts.into_iter().map(target).collect(), &gone), now).changes
                }
                Action::KeepAlive => {
                    model.heard = Some(now);
                    state.apply(PlanUpdate::KeepAlive, now).changes
                }
                Action::NewStream => {
                    model.based = false;
                    state.start_stream();
                    Vec::new()
                }
                Action::Wait(seconds) => {
                    now += Duration::from_secs(seconds);
                    if model.heard.is_some_and(|heard| now >= heard + TTL) {
                        model.offered.clear();
                        model.based = false;
                        model.revision = 0;
                    }
                    state.expire(now)
                }
            };
            carry_out(&mut shadow, &changes)?;
            prop_assert_eq!(&shadow, state.in_force());
            prop_assert_eq!(&shadow, &model.in_force(&limits));
        }
    }
}
