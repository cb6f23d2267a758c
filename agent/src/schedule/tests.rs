//! Ticks of one target by hand, then many targets against a model that knows only the formula.

use std::collections::BTreeMap;

use proptest::prelude::*;
use xprober_proto::{IcmpSpec, ProbeSpec};

use super::*;

fn target(id: &str, interval_ms: u64) -> Arc<Target> {
    Arc::new(Target {
        id: id.parse().unwrap(),
        name: id.to_owned(),
        region: "region-b".parse().unwrap(),
        interval: Duration::from_millis(interval_ms),
        timeout: Duration::from_millis(900),
        probe: ProbeSpec::Icmp(IcmpSpec::new("10.0.0.1".parse().unwrap(), 56)),
    })
}

fn schedule(origin: Instant) -> Schedule {
    Schedule::new("vm1".parse().unwrap(), origin)
}

fn due(tick: Option<Tick>) -> Due {
    match tick {
        Some(Tick::Due(due)) => due,
        other => unreachable!("expected a due probe, got {other:?}"),
    }
}

#[test]
fn ticks_follow_each_other_at_the_interval_whenever_they_are_taken() {
    let origin = Instant::now();
    let mut schedule = schedule(origin);
    schedule.apply(&Change::Upsert(target("a", 1000)), origin);
    let first = schedule.next_slot().unwrap();
    assert!(schedule.pop(origin).is_none());
    let late = first + Duration::from_millis(90);
    assert_eq!(due(schedule.pop(late)).scheduled, first);
    assert_eq!(
        schedule.next_slot(),
        Some(first + Duration::from_secs(1)),
        "lateness does not add up"
    );
}

#[test]
fn after_a_suspend_the_missed_ticks_are_counted_and_the_next_lies_ahead_on_the_same_phase() {
    let origin = Instant::now();
    let mut schedule = schedule(origin);
    schedule.apply(&Change::Upsert(target("a", 1000)), origin);
    let first = schedule.next_slot().unwrap();
    let awake = first + Duration::from_millis(10_300);
    assert!(matches!(schedule.pop(awake), Some(Tick::Skipped { ticks: 11, .. })));
    assert!(schedule.pop(awake).is_none());
    assert_eq!(schedule.next_slot(), Some(first + Duration::from_secs(11)));
}

#[test]
fn a_change_of_content_keeps_the_tick_and_a_change_of_interval_moves_it() {
    let origin = Instant::now();
    let mut schedule = schedule(origin);
    schedule.apply(&Change::Upsert(target("a", 1000)), origin);
    let first = schedule.next_slot().unwrap();
    let mut renamed = (*target("a", 1000)).clone();
    renamed.name = "other".to_owned();
    schedule.apply(&Change::Upsert(Arc::new(renamed)), origin + Duration::from_millis(1));
    assert_eq!(schedule.next_slot(), Some(first));
    assert_eq!(due(schedule.pop(first)).target.name, "other");
    schedule.apply(&Change::Upsert(target("a", 100)), first);
    assert!(schedule.next_slot().unwrap() <= first + Duration::from_millis(100));
}

#[test]
fn a_removed_target_is_never_due_and_leaves_nothing_behind() {
    let origin = Instant::now();
    let mut schedule = schedule(origin);
    for round in 0..1000 {
        let id = format!("t{round}");
        schedule.apply(&Change::Upsert(target(&id, 1000)), origin);
        schedule.apply(&Change::Remove(id.parse().unwrap()), origin);
    }
    assert!(schedule.is_empty());
    assert_eq!(schedule.next_slot(), None);
    assert!(schedule.slots.is_empty() && schedule.next.len() == 1);
}

#[test]
fn phases_are_stable_and_spread_over_the_interval() {
    let agent = "vm1".parse().unwrap();
    let interval = Duration::from_secs(1);
    let mut tenths = [0_u32; 10];
    for n in 0..10_000 {
        let phase = phase(&agent, &format!("t{n}").parse().unwrap(), interval);
        assert!(phase < interval);
        tenths[usize::try_from(phase.as_millis() / 100).unwrap()] += 1;
    }
    assert!(tenths.iter().all(|count| (850..1150).contains(count)), "{tenths:?}");
    let fixed = phase(&agent, &"icmp:vm3".parse().unwrap(), interval);
    assert_eq!(fixed, phase(&agent, &"icmp:vm3".parse().unwrap(), interval));
    assert_ne!(
        fixed,
        phase(&"vm2".parse().unwrap(), &"icmp:vm3".parse().unwrap(), interval)
    );
}

#[test]
fn the_tick_follows_the_shortest_interval_and_the_rate() {
    let origin = Instant::now();
    let mut schedule = schedule(origin);
    assert_eq!(schedule.tick(), LONGEST_TICK);
    for n in 0..1000 {
        schedule.apply(&Change::Upsert(target(&format!("t{n}"), 1000)), origin);
    }
    assert_eq!(schedule.tick(), Duration::from_millis(50), "50 probes a tick");
    for n in 1000..10_000 {
        schedule.apply(&Change::Upsert(target(&format!("t{n}"), 1000)), origin);
    }
    assert_eq!(schedule.tick(), Duration::from_millis(16), "160 probes a tick");
    schedule.apply(&Change::Upsert(target("fast", 100)), origin);
    assert_eq!(schedule.tick(), Duration::from_millis(5));
    schedule.apply(&Change::Remove("fast".parse().unwrap()), origin);
    assert!(
        schedule.tick() > Duration::from_millis(5),
        "nothing of a removed target stays"
    );
}

#[test]
fn after_a_pause_nothing_bunches_and_every_target_takes_up_its_phase_again() {
    let origin = Instant::now();
    let mut schedule = schedule(origin);
    for n in 0..1000 {
        schedule.apply(&Change::Upsert(target(&format!("t{n}"), 1000)), origin);
    }
    let awake = origin + Duration::from_millis(3500);
    let ticks: Vec<Tick> = std::iter::from_fn(|| schedule.pop(awake)).collect();
    assert_eq!(ticks.len(), 1000);
    assert!(
        ticks
            .iter()
            .all(|tick| matches!(tick, Tick::Skipped { ticks: 3..=4, .. }))
    );
    let mut most = 0;
    for tick in 1..=20 {
        let now = awake + tick * Duration::from_millis(50);
        let due = std::iter::from_fn(|| schedule.pop(now)).count();
        most = most.max(due);
    }
    assert!(most < 100, "{most} of 1,000 left on one of 20 ticks");
}

#[derive(Debug, Clone)]
enum Action {
    Upsert(u8, u64),
    Remove(u8),
    Advance(u64),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        (0u8..8, prop::sample::select(vec![100u64, 250, 1000, 7000])).prop_map(|(id, ms)| Action::Upsert(id, ms)),
        (0u8..8).prop_map(Action::Remove),
        prop_oneof![0u64..50, 0u64..3000, 0u64..100_000].prop_map(Action::Advance),
    ]
}

proptest! {
    #[test]
    fn every_tick_of_the_formula_is_either_due_in_time_or_counted_as_skipped(
        actions in prop::collection::vec(action(), 1..60),
    ) {
        let origin = Instant::now();
        let agent: AgentId = "vm1".parse().unwrap();
        let mut schedule = Schedule::new(agent.clone(), origin);
        // Of every target: its interval and the first tick not yet accounted for.
        let mut model: BTreeMap<TargetId, (Duration, Instant)> = BTreeMap::new();
        let mut now = origin;
        for action in actions {
            match action {
                Action::Upsert(id, ms) => {
                    let target = target(&format!("t{id}"), ms);
                    let mut tick = origin + phase(&agent, &target.id, target.interval);
                    while tick < now || (tick == now && now > origin + phase(&agent, &target.id, target.interval)) {
                        tick += target.interval;
                    }
                    if tick == now {
                        tick += target.interval;
                    }
                    let known = model.get(&target.id).is_some_and(|(interval, _)| *interval == target.interval);
                    if !known {
                        model.insert(target.id.clone(), (target.interval, tick));
                    }
                    schedule.apply(&Change::Upsert(target), now);
                }
                Action::Remove(id) => {
                    let id: TargetId = format!("t{id}").parse().unwrap();
                    model.remove(&id);
                    schedule.apply(&Change::Remove(id), now);
                }
                Action::Advance(ms) => {
                    now += Duration::from_millis(ms);
                    let (mut skipped, mut last) = (0, None);
                    while let Some(tick) = schedule.pop(now) {
                        match tick {
                            Tick::Skipped { ticks, .. } => skipped += ticks,
                            Tick::Due(due) => {
                                let (interval, next) = model.get_mut(&due.target.id).unwrap();
                                prop_assert_eq!(due.scheduled, *next);
                                prop_assert!(now - due.scheduled <= (*interval / SKIP_LATER_THAN).max(NEVER_SKIP_BEFORE));
                                prop_assert!(last.is_none_or(|last| last <= due.scheduled));
                                last = Some(due.scheduled);
                                *next += *interval;
                            }
                        }
                    }
                    let mut expected = 0;
                    for (interval, next) in model.values_mut() {
                        while *next <= now {
                            expected += 1;
                            *next += *interval;
                        }
                    }
                    prop_assert_eq!(skipped, expected);
                }
            }
            let earliest = model.values().map(|(_, next)| *next).min();
            prop_assert_eq!(schedule.next_slot(), earliest);
            // The tick at which a slot is served lies in the slot, within its first part.
            if let (Some(slot), Some(tick)) = (earliest, schedule.next_tick()) {
                prop_assert!(tick >= slot && tick - slot < schedule.tick());
            }
            let shortest = model.values().map(|(interval, _)| *interval).min();
            prop_assert!(shortest.is_none_or(|shortest| schedule.tick() <= shortest / TICKS_PER_INTERVAL));
            prop_assert_eq!(schedule.len(), model.len());
        }
    }
}
