//! Who is there, and until when.

use proptest::prelude::*;
use xprober_proto::{Addresses, ProbeKind};

use super::*;

const LEASE: Duration = Duration::from_secs(30);

fn hello(region: &str, id: &str) -> Hello {
    Hello {
        agent_id: id.parse().unwrap(),
        region: region.parse().unwrap(),
        zone: None,
        addresses: Addresses::of([10, 0, 0, 1].into()).unwrap(),
        kinds: vec![ProbeKind::Icmp],
        version: String::new(),
        tcp_port: None,
    }
}

fn names(members: &Members) -> Vec<String> {
    members.iter().map(|(key, _)| key.to_string()).collect()
}

#[test]
fn the_same_address_in_two_regions_stays_two_members() {
    let mut members = Members::new(LEASE);
    let now = Instant::now();
    members.join(hello("region-b", "vm1"), StreamId(1), now).unwrap();
    members.join(hello("region-a", "vm1"), StreamId(2), now).unwrap();
    assert_eq!(names(&members), ["region-a/vm1", "region-b/vm1"]);
}

#[test]
fn the_newer_stream_wins_and_the_older_one_says_nothing_any_more() {
    let mut members = Members::new(LEASE);
    let start = Instant::now();
    let key = MemberKey::of(&hello("a", "x"));
    members.join(hello("a", "x"), StreamId(1), start).unwrap();
    let joined = members.join(hello("a", "x"), StreamId(2), start).unwrap();
    assert_eq!(
        joined,
        Joined {
            replaced: Some(StreamId(1)),
            changed: false
        }
    );
    members.lost(&key, StreamId(1), start);
    members.heartbeat(&key, StreamId(1), start + LEASE);
    let member = members.get(&key).unwrap();
    assert_eq!((member.stream, member.heard), (Some(StreamId(2)), start));
}

#[test]
fn a_lost_stream_keeps_its_lease_from_the_moment_it_was_lost() {
    let mut members = Members::new(LEASE);
    let start = Instant::now();
    let key = MemberKey::of(&hello("a", "x"));
    members.join(hello("a", "x"), StreamId(1), start).unwrap();
    let lost = start + Duration::from_secs(20);
    members.lost(&key, StreamId(1), lost);
    assert_eq!(members.next_deadline(), Some(lost + LEASE));
    assert!(members.expire(lost + Duration::from_millis(29_999)).is_empty());
    let gone = members.expire(lost + LEASE);
    assert_eq!(gone.len(), 1);
    assert_eq!(members.next_deadline(), None);
}

#[test]
fn an_agent_that_comes_back_within_its_lease_changes_no_plan() {
    let mut members = Members::new(LEASE);
    let start = Instant::now();
    members.join(hello("a", "x"), StreamId(1), start).unwrap();
    members.lost(&MemberKey::of(&hello("a", "x")), StreamId(1), start);
    let joined = members.join(hello("a", "x"), StreamId(2), start + LEASE / 2).unwrap();
    assert_eq!(
        joined,
        Joined {
            replaced: None,
            changed: false
        }
    );
}

#[test]
fn a_shorter_lease_holds_for_those_who_are_there() {
    let mut members = Members::new(LEASE);
    let start = Instant::now();
    members.join(hello("a", "x"), StreamId(1), start).unwrap();
    members.set_lease(Duration::from_secs(1));
    assert_eq!(members.expire(start + Duration::from_secs(1)).len(), 1);
}

#[test]
fn a_refusal_stays_until_a_later_plan_is_accepted() {
    let mut members = Members::new(LEASE);
    let now = Instant::now();
    let key = MemberKey::of(&hello("a", "x"));
    members.join(hello("a", "x"), StreamId(1), now).unwrap();
    members.answered(&key, StreamId(1), Err("too fast".to_owned()), now);
    assert_eq!(members.get(&key).unwrap().refusal.as_deref(), Some("too fast"));
    members.answered(&key, StreamId(1), Ok(Revision(2)), now);
    assert_eq!(members.get(&key).unwrap().refusal, None);
    assert_eq!(members.get(&key).unwrap().acked, Revision(2));
}

#[derive(Debug, Clone)]
enum Step {
    Join(u8),
    Beat(u8),
    Lose(u8),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..6_u8).prop_map(Step::Join),
        (0..6_u8).prop_map(Step::Beat),
        (0..6_u8).prop_map(Step::Lose),
        (0..40_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// The model keeps one end of lease per agent and looks at all of them at every step.
    #[test]
    fn members_are_exactly_those_whose_lease_runs(steps in prop::collection::vec(step(), 0..80)) {
        let start = Instant::now();
        let mut now = start;
        let mut members = Members::new(LEASE);
        let mut model: BTreeMap<u8, (Instant, Option<u64>)> = BTreeMap::new();
        let key = |agent: u8| MemberKey::of(&hello("a", &format!("x{agent}")));
        for (number, step) in (0_u64..).zip(steps) {
            match step {
                Step::Join(agent) => {
                    let joined = members.join(hello("a", &format!("x{agent}")), StreamId(number), now).unwrap();
                    let before = model.insert(agent, (now + LEASE, Some(number)));
                    prop_assert_eq!(joined.changed, before.is_none());
                    prop_assert_eq!(joined.replaced, before.and_then(|(_, stream)| stream).map(StreamId));
                }
                Step::Beat(agent) => if let Some((end, Some(stream))) = model.get_mut(&agent) {
                    *end = now + LEASE;
                    members.heartbeat(&key(agent), StreamId(*stream), now);
                },
                Step::Lose(agent) => if let Some((end, stream)) = model.get_mut(&agent)
                    && let Some(lost) = stream.take() {
                    *end = now + LEASE;
                    members.lost(&key(agent), StreamId(lost), now);
                },
                Step::Wait(seconds) => now += Duration::from_secs(seconds),
            }
            members.expire(now);
            model.retain(|_, (end, _)| *end > now);
            let left: Vec<String> = model.keys().map(|agent| format!("a/x{agent}")).collect();
            prop_assert_eq!(names(&members), left);
            prop_assert_eq!(members.next_deadline(), model.values().map(|(end, _)| *end).min());
        }
    }
}
