//! One echo by hand, then many against a model.

use std::collections::BTreeMap;

use proptest::prelude::*;
use xprober_proto::{IcmpSpec, ProbeSpec};

use super::*;

const TIMEOUT: Duration = Duration::from_millis(400);
const PROMPT: Duration = Duration::ZERO;

fn to() -> IpAddr {
    "10.0.0.1".parse().unwrap()
}

fn target() -> Arc<Target> {
    Arc::new(Target {
        id: "t".parse().unwrap(),
        name: "t".to_owned(),
        region: "region-b".parse().unwrap(),
        interval: Duration::from_secs(1),
        timeout: TIMEOUT,
        probe: ProbeSpec::Icmp(IcmpSpec::new("10.0.0.1".parse().unwrap(), 56)),
    })
}

fn whole(number: u64) -> Content {
    Content::Whole {
        number: Some(number),
        bytes: 56,
    }
}

struct One {
    flights: Flights,
    key: Key,
    number: u64,
    sent: Instant,
}

impl One {
    fn departed() -> Self {
        let mut flights = Flights::new(65_534);
        let number = flights.next_number(to()).unwrap();
        let sent = Instant::now();
        flights.depart(to(), number, 56, target(), sent);
        let key = Key {
            to: to(),
            sequence: sequence(number),
        };
        Self {
            flights,
            key,
            number,
            sent,
        }
    }

    fn reply(&mut self, content: Content, after_ms: u64) {
        let at = self.sent + Duration::from_millis(after_ms);
        self.flights.reply(self.key, content, at, PROMPT);
    }

    fn close(mut self) -> (Outcome, Option<Duration>, u32) {
        let closes = self.sent + TIMEOUT * 2;
        assert!(
            self.flights
                .close(self.sent + (TIMEOUT * 2).saturating_sub(Duration::from_nanos(1)))
                .is_none(),
            "still open"
        );
        let result = self.flights.close(closes).expect("closed");
        assert!(self.flights.is_empty() && self.flights.close(closes).is_none());
        (result.outcome, result.rtt, result.duplicates)
    }
}

#[test]
fn a_reply_is_in_time_up_to_the_timeout_and_late_until_the_window_closes() {
    for (after_ms, outcome) in [(0, Outcome::Ok), (400, Outcome::Ok), (401, Outcome::Late)] {
        let mut one = One::departed();
        one.reply(whole(one.number), after_ms);
        assert_eq!(one.close(), (outcome, Some(Duration::from_millis(after_ms)), 0));
    }
}

#[test]
fn silence_is_loss() {
    assert_eq!(One::departed().close(), (Outcome::Lost, None, 0));
}

#[test]
fn further_copies_of_the_reply_are_duplicates() {
    let mut one = One::departed();
    for after_ms in [10, 11, 500] {
        one.reply(whole(one.number), after_ms);
    }
    assert_eq!(one.close(), (Outcome::Ok, Some(Duration::from_millis(10)), 2));
}

#[test]
fn damaged_or_cut_content_is_corrupt_unless_a_whole_reply_follows() {
    let cut = |number| Content::Whole {
        number: Some(number),
        bytes: 55,
    };
    for spoil in [cut as fn(u64) -> Content, |_| Content::Damaged] {
        let mut one = One::departed();
        one.reply(spoil(one.number), 10);
        assert_eq!(one.close(), (Outcome::Corrupt, None, 0));
        let mut one = One::departed();
        one.reply(spoil(one.number), 10);
        one.reply(whole(one.number), 20);
        assert_eq!(one.close(), (Outcome::Ok, Some(Duration::from_millis(20)), 0));
    }
}

#[test]
fn an_unreachable_counts_unless_a_reply_came() {
    let mut one = One::departed();
    one.flights.unreachable(one.key);
    assert_eq!(one.close(), (Outcome::Unreachable, None, 0));
    let mut one = One::departed();
    one.reply(whole(one.number), 10);
    one.flights.unreachable(one.key);
    assert_eq!(one.close().0, Outcome::Ok);
}

#[test]
fn the_answer_to_an_older_echo_with_the_same_sequence_says_nothing() {
    let mut one = One::departed();
    one.reply(whole(one.number + 65_536), 10);
    assert_eq!(one.close(), (Outcome::Lost, None, 0));
}

#[test]
fn what_we_were_too_late_to_see_is_our_own_fault() {
    let mut one = One::departed();
    let at = one.sent + Duration::from_millis(300);
    one.flights.reply(one.key, whole(one.number), at, STALLED_AFTER * 2);
    assert_eq!(one.close(), (Outcome::Stalled, None, 0));
    let mut one = One::departed();
    let late = one.sent + TIMEOUT * 2 + STALLED_AFTER + Duration::from_nanos(1);
    assert_eq!(one.flights.close(late).unwrap().outcome, Outcome::Stalled);
}

#[test]
fn a_sequence_in_flight_is_not_given_out_again() {
    let mut flights = Flights::new(0);
    let now = Instant::now();
    for _ in 0..MAX_IN_FLIGHT {
        let number = flights.next_number(to()).unwrap();
        flights.depart(to(), number, 56, target(), now);
    }
    assert_eq!(flights.len(), MAX_IN_FLIGHT, "no two share a sequence");
    assert_eq!(flights.next_number(to()), None, "the number in flight is bounded");
}

#[derive(Debug, Clone)]
enum Action {
    Send,
    Reply { which: usize, damaged: bool },
    Unreachable { which: usize },
    Advance(u64),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Send),
        (any::<usize>(), any::<bool>()).prop_map(|(which, damaged)| Action::Reply { which, damaged }),
        any::<usize>().prop_map(|which| Action::Unreachable { which }),
        (0u64..300).prop_map(Action::Advance),
    ]
}

proptest! {
    #[test]
    fn every_echo_ends_in_exactly_one_outcome_and_none_before_its_window_closed(
        actions in prop::collection::vec(action(), 1..200),
    ) {
        let mut flights = Flights::new(7);
        let mut now = Instant::now();
        // All ever sent: number, when, and the first reply inside the window.
        let mut sent: Vec<(u64, Instant)> = Vec::new();
        let mut answered: BTreeMap<u64, Duration> = BTreeMap::new();
        let mut results: Vec<EchoResult> = Vec::new();
        for action in actions {
            match action {
                Action::Send => {
                    let number = flights.next_number(to()).unwrap();
                    flights.depart(to(), number, 56, target(), now);
                    sent.push((number, now));
                }
                Action::Reply { which, damaged } => {
                    let Some((number, at)) = sent.get(which % sent.len().max(1)).copied() else { continue };
                    let content = if damaged { Content::Damaged } else { whole(number) };
                    flights.reply(Key { to: to(), sequence: sequence(number) }, content, now, PROMPT);
                    if !damaged && now < at + TIMEOUT * 2 {
                        answered.entry(number).or_insert(now - at);
                    }
                }
                Action::Unreachable { which } => {
                    let Some((number, _)) = sent.get(which % sent.len().max(1)) else { continue };
                    flights.unreachable(Key { to: to(), sequence: sequence(*number) });
                }
                Action::Advance(ms) => {
                    let end = now + Duration::from_millis(ms);
                    while let Some(deadline) = flights.next_deadline().filter(|deadline| *deadline <= end) {
                        results.extend(flights.close(deadline));
                    }
                    now = end;
                }
            }
            prop_assert_eq!(results.len() + flights.len(), sent.len(), "sent = closed + in flight");
        }
        for (result, (number, _)) in results.iter().zip(&sent) {
            // Same timeout for all: windows close in the order of departure.
            prop_assert_eq!(result.rtt, answered.get(number).copied());
            prop_assert_eq!(result.outcome.received(), answered.contains_key(number));
        }
    }
}
