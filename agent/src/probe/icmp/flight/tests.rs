//! One echo by hand, then many against a model.

use std::collections::BTreeMap;

use proptest::prelude::*;
use xprober_proto::{IcmpSpec, ProbeSpec};

use super::*;

const TIMEOUT: Duration = Duration::from_millis(400);

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

fn start() -> Reading {
    Reading {
        at: Instant::now(),
        wall: Wall(1_700_000_000_000_000_000),
    }
}

/// Both clocks so much later.
fn after(start: Reading, by: Duration) -> Reading {
    Reading {
        at: start.at + by,
        wall: stamp_after(start, by),
    }
}

fn stamp_after(start: Reading, by: Duration) -> Wall {
    Wall(start.wall.0 + i64::try_from(by.as_nanos()).unwrap())
}

fn whole(number: u64) -> Content {
    Content::Whole {
        number: Some(number),
        bytes: 56,
    }
}

fn key(number: u64) -> Key {
    Key {
        sequence: sequence(number),
        number: Some(number),
        to: Some(to()),
    }
}

const fn read_at(read: Reading) -> Arrival {
    Arrival {
        read,
        stamp: None,
        ttl: Some(60),
        behind: Duration::ZERO,
    }
}

struct One {
    flights: Flights,
    number: u64,
    sent: Reading,
}

impl One {
    fn departed() -> Self {
        let mut flights = Flights::new(u64::MAX, None);
        let sent = start();
        let number = flights.open(target(), to(), 56, sent).unwrap();
        Self { flights, number, sent }
    }

    fn after_ms(&self, ms: u64) -> Reading {
        after(self.sent, Duration::from_millis(ms))
    }

    fn reply(&mut self, content: Content, after_ms: u64) {
        let arrival = read_at(self.after_ms(after_ms));
        self.flights.reply(&key(self.number), content, arrival);
    }

    fn close_whole(mut self) -> EchoResult {
        let closes = self.sent.at + TIMEOUT * 2;
        let before = closes.checked_sub(Duration::from_nanos(1)).unwrap();
        assert!(self.flights.close(before).is_none(), "still open");
        let result = self.flights.close(closes).expect("closed");
        assert!(self.flights.is_empty() && self.flights.close(closes).is_none());
        assert_eq!(self.flights.unanswered(), 0);
        result
    }

    fn close(self) -> (Outcome, Option<Duration>, u32) {
        let result = self.close_whole();
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
fn an_echo_that_left_late_is_waited_for_as_long_as_any_other() {
    let mut one = One::departed();
    let sent = one.after_ms(3_000);
    one.flights.sent(one.number, Departed { sent, left: None });
    assert!(one.flights.close(one.sent.at + TIMEOUT * 2).is_none(), "still open");
    one.reply(whole(one.number), 3_010);
    let one = One { sent, ..one };
    assert_eq!(one.close(), (Outcome::Ok, Some(Duration::from_millis(10)), 0));
}

#[test]
fn our_own_clock_does_not_tell_when_an_echo_left_during_a_gap() {
    let gap = (Outcome::Stalled, Some(Reason::Gap));
    let ok = (Outcome::Ok, None);
    for (left_by_kernel, stamped, from, expected) in [
        (false, false, 0, gap),
        (false, true, 0, gap),
        (true, true, 0, ok),
        // The gap began after it had left.
        (false, true, 1, ok),
    ] {
        let mut one = One::departed();
        let (sent, arrived) = (one.sent, one.after_ms(20));
        let left = left_by_kernel.then_some(sent.wall);
        one.flights.sent(one.number, Departed { sent, left });
        one.flights
            .fault(one.after_ms(from).at, one.after_ms(150).at, Reason::Gap);
        let arrival = Arrival {
            stamp: stamped.then_some(arrived.wall),
            ..read_at(one.after_ms(160))
        };
        one.flights.reply(&key(one.number), whole(one.number), arrival);
        let result = one.close_whole();
        assert_eq!(
            (result.outcome, result.reason),
            expected,
            "{left_by_kernel} {stamped} {from}"
        );
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
fn whoever_waits_for_results_gets_them_soon_after_the_reply() {
    let mut one = One::departed();
    one.flights.settle = Some(Duration::from_millis(50));
    one.reply(whole(one.number), 10);
    one.reply(whole(one.number), 20);
    assert!(one.flights.close(one.after_ms(59).at).is_none(), "still open");
    let result = one.flights.close(one.after_ms(60).at).expect("closed early");
    assert_eq!((result.outcome, result.duplicates), (Outcome::Ok, 1));
    assert!(one.flights.is_empty());
    one.reply(whole(one.number), 70);
    assert!(one.flights.close(one.after_ms(10_000).at).is_none(), "closed only once");
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
fn an_unreachable_counts_with_its_reason_unless_a_reply_came() {
    let mut one = One::departed();
    one.flights.unreachable(&key(one.number), Reason::HostUnreachable);
    let result = one.close_whole();
    assert_eq!(
        (result.outcome, result.reason),
        (Outcome::Unreachable, Some(Reason::HostUnreachable))
    );
    for reply_first in [true, false] {
        let mut one = One::departed();
        if reply_first {
            one.reply(whole(one.number), 10);
        }
        one.flights.unreachable(&key(one.number), Reason::HostUnreachable);
        one.reply(whole(one.number), 11);
        assert_eq!(one.close().0, Outcome::Ok);
    }
}

#[test]
fn what_is_about_another_echo_with_the_same_sequence_says_nothing() {
    let one = One::departed();
    let other = one.number.wrapping_add(1 << 16);
    let mut one = One::departed();
    let arrival = read_at(one.after_ms(10));
    one.flights.reply(&key(other), whole(other), arrival);
    let elsewhere = Key {
        to: "10.0.0.2".parse().ok(),
        ..key(one.number)
    };
    one.flights.reply(&elsewhere, whole(one.number), arrival);
    one.flights.unreachable(&key(other), Reason::Prohibited);
    assert_eq!(one.close(), (Outcome::Lost, None, 0));
}

#[test]
fn the_kernels_stamps_count_and_not_when_we_sent_and_read() {
    let arrival = |one: &One| Arrival {
        stamp: Some(stamp_after(one.sent, Duration::from_millis(13))),
        ..read_at(one.after_ms(390))
    };
    let mut one = One::departed();
    // The stamp of the departure may come after the reply.
    one.flights.reply(&key(one.number), whole(one.number), arrival(&one));
    let left = stamp_after(one.sent, Duration::from_millis(3));
    one.flights.left(&key(one.number), left);
    let result = one.close_whole();
    assert_eq!(result.rtt, Some(Duration::from_millis(10)));
    assert_eq!((result.stamp, result.reply_ttl), (Stamp::Kernel, Some(60)));

    let mut one = One::departed();
    one.flights.reply(&key(one.number), whole(one.number), arrival(&one));
    let result = one.close_whole();
    assert_eq!(
        (result.rtt, result.stamp),
        (Some(Duration::from_millis(13)), Stamp::User),
        "without the stamp of the departure, from our own send"
    );
}

#[test]
fn a_clock_that_was_set_under_way_takes_the_time_but_not_the_reply() {
    for step_ms in [-5_000_i64, -20, 20, 5_000] {
        let mut one = One::departed();
        let set = |wall: Wall| Wall(wall.0 + step_ms * 1_000_000);
        let read = one.after_ms(50);
        let arrival = Arrival {
            stamp: Some(set(stamp_after(one.sent, Duration::from_millis(13)))),
            ..read_at(Reading {
                wall: set(read.wall),
                ..read
            })
        };
        one.flights.left(&key(one.number), one.sent.wall);
        one.flights.reply(&key(one.number), whole(one.number), arrival);
        let result = one.close_whole();
        assert_eq!(
            (result.outcome, result.reason, result.rtt),
            (Outcome::Stalled, Some(Reason::ClockStep), None)
        );
    }
}

#[test]
fn what_we_were_too_late_to_see_is_our_own_fault() {
    let mut one = One::departed();
    let arrival = Arrival {
        behind: STALLED_AFTER * 2,
        ..read_at(one.after_ms(300))
    };
    one.flights.reply(&key(one.number), whole(one.number), arrival);
    let result = one.close_whole();
    assert_eq!((result.outcome, result.reason), (Outcome::Stalled, Some(Reason::Gap)));
}

#[test]
fn silence_during_a_fault_of_ours_is_no_loss_and_silence_before_or_after_is() {
    for (from_ms, to_ms, outcome) in [
        (100, 300, Outcome::Stalled),
        (0, 3_000, Outcome::Stalled),
        (801, 3_000, Outcome::Lost),
    ] {
        let mut one = One::departed();
        let (from, to) = (one.after_ms(from_ms).at, one.after_ms(to_ms).at);
        one.flights.fault(from, to, Reason::Overflow);
        let result = one.close_whole();
        assert_eq!(result.outcome, outcome, "{from_ms} to {to_ms} ms");
        assert_eq!(result.reason.is_some(), outcome == Outcome::Stalled);
    }
    let mut one = One::departed();
    let (from, to) = (one.after_ms(1).at, one.after_ms(300).at);
    one.flights.fault(from, to, Reason::Gap);
    one.reply(whole(one.number), 20);
    assert_eq!(one.close().0, Outcome::Ok, "a reply that was seen counts");
}

#[test]
fn an_echo_that_could_not_leave_gives_its_slot_back() {
    let mut one = One::departed();
    assert!(one.flights.abort(one.number).is_some());
    assert!(one.flights.abort(one.number).is_none());
    assert!(one.flights.is_empty());
    assert!(one.flights.close(one.after_ms(10_000).at).is_none());
}

#[test]
fn no_two_echoes_in_flight_share_a_sequence_and_their_number_is_bounded() {
    let (mut flights, now) = (Flights::new(0, None), start());
    let mut sequences = vec![false; MAX_IN_FLIGHT];
    for _ in 0..MAX_IN_FLIGHT {
        let number = flights.open(target(), to(), 56, now).unwrap();
        let taken = &mut sequences[usize::from(sequence(number))];
        assert!(!std::mem::replace(taken, true));
    }
    assert_eq!(flights.open(target(), to(), 56, now), None);
    assert!(flights.close(now.at + TIMEOUT * 2).is_some());
    assert!(
        flights.open(target(), to(), 56, now).is_some(),
        "a closed window makes room"
    );
}

#[test]
fn a_sequence_comes_back_as_late_as_it_can() {
    let (mut flights, now) = (Flights::new(0, None), start());
    let first = flights.open(target(), to(), 56, now).unwrap();
    flights.abort(first);
    for _ in 1..FIRST_SLOTS {
        let number = flights.open(target(), to(), 56, now).unwrap();
        assert_ne!(sequence(number), sequence(first));
        flights.abort(number);
    }
    let again = flights.open(target(), to(), 56, now).unwrap();
    assert_eq!(sequence(again), sequence(first));
    assert_ne!(again, first, "under another number");
}

#[derive(Debug, Clone)]
enum Action {
    Send,
    Abort { which: usize },
    Left { which: usize },
    Reply { which: usize, damaged: bool },
    Unreachable { which: usize },
    Fault,
    Advance(u64),
}

fn action() -> impl Strategy<Value = Action> {
    let which = any::<usize>();
    prop_oneof![
        4 => Just(Action::Send),
        1 => which.prop_map(|which| Action::Abort { which }),
        2 => which.prop_map(|which| Action::Left { which }),
        4 => (which, any::<bool>()).prop_map(|(which, damaged)| Action::Reply { which, damaged }),
        1 => which.prop_map(|which| Action::Unreachable { which }),
        1 => Just(Action::Fault),
        4 => (0u64..300).prop_map(Action::Advance),
    ]
}

/// What the reference model knows of one echo, all ever sent in a list that is searched from the start.
#[derive(Debug)]
struct Sent {
    number: u64,
    at: Reading,
    left: Option<Wall>,
    aborted: bool,
    first_whole: Option<Reading>,
    copies: u32,
    refused: Option<Outcome>,
    faulted: bool,
}

impl Sent {
    fn is_open(&self, now: Instant) -> bool {
        !self.aborted && now < self.at.at + TIMEOUT * 2
    }

    fn expected(&self) -> (Outcome, Option<Duration>, u32) {
        let rtt = self.first_whole.map(|reply| {
            self.left
                .map_or(reply.at - self.at.at, |left| reply.wall.since(left).unwrap())
        });
        let outcome = match (rtt, self.refused, self.faulted) {
            (Some(rtt), _, _) if rtt <= TIMEOUT => Outcome::Ok,
            (Some(_), _, _) => Outcome::Late,
            (None, Some(refused), _) => refused,
            (None, None, true) => Outcome::Stalled,
            (None, None, false) => Outcome::Lost,
        };
        (outcome, rtt, self.copies)
    }
}

proptest! {
    #[test]
    fn every_echo_ends_in_exactly_one_outcome_and_none_before_its_window_closed(
        actions in prop::collection::vec(action(), 1..200),
    ) {
        let mut flights = Flights::new(7, None);
        let mut now = start();
        let mut sent: Vec<Sent> = Vec::new();
        let mut results: BTreeMap<u64, Vec<EchoResult>> = BTreeMap::new();
        for action in actions {
            let count = sent.len().max(1);
            match action {
                Action::Send => {
                    let number = flights.open(target(), to(), 56, now).unwrap();
                    sent.push(Sent {
                        number, at: now, left: None, aborted: false, first_whole: None, copies: 0, refused: None, faulted: false,
                    });
                }
                Action::Abort { which } => {
                    let Some(one) = sent.get_mut(which % count) else { continue };
                    let could = one.is_open(now.at) && one.first_whole.is_none();
                    if could {
                        prop_assert!(flights.abort(one.number).is_some());
                        one.aborted = true;
                    }
                }
                Action::Left { which } => {
                    let Some(one) = sent.get_mut(which % count) else { continue };
                    flights.left(&key(one.number), one.at.wall);
                    if one.is_open(now.at) {
                        one.left = Some(one.at.wall);
                    }
                }
                Action::Reply { which, damaged } => {
                    let Some(one) = sent.get_mut(which % count) else { continue };
                    let content = if damaged { Content::Damaged } else { whole(one.number) };
                    let arrival = Arrival { stamp: Some(now.wall), ..read_at(now) };
                    flights.reply(&key(one.number), content, arrival);
                    match (one.is_open(now.at), damaged, one.first_whole) {
                        (false, _, _) => {}
                        (true, false, None) => one.first_whole = Some(now),
                        (true, false, Some(_)) => one.copies += 1,
                        (true, true, _) => drop(one.refused.get_or_insert(Outcome::Corrupt)),
                    }
                }
                Action::Unreachable { which } => {
                    let Some(one) = sent.get_mut(which % count) else { continue };
                    flights.unreachable(&key(one.number), Reason::Prohibited);
                    if one.is_open(now.at) {
                        one.refused.get_or_insert(Outcome::Unreachable);
                    }
                }
                Action::Fault => {
                    flights.fault(now.at, now.at, Reason::Gap);
                    let under_way = |one: &&mut Sent| one.at.at < now.at && one.is_open(now.at);
                    sent.iter_mut().filter(under_way).for_each(|one| one.faulted = true);
                }
                Action::Advance(ms) => {
                    let end = after(now, Duration::from_millis(ms));
                    while let Some(deadline) = flights.next_deadline().filter(|deadline| *deadline <= end.at) {
                        let Some(result) = flights.close(deadline) else { continue };
                        // Same timeout for all: windows close in the order of departure.
                        let position = sent.iter().position(|one| {
                            !one.aborted && one.at.at + TIMEOUT * 2 == deadline && !results.contains_key(&one.number)
                        });
                        let number = sent[position.unwrap()].number;
                        results.entry(number).or_default().push(result);
                    }
                    now = end;
                }
            }
            let aborted = sent.iter().filter(|one| one.aborted).count();
            let open: Vec<&Sent> = sent.iter().filter(|one| one.is_open(now.at)).collect();
            prop_assert_eq!(flights.len(), open.len());
            prop_assert_eq!(results.len() + flights.len() + aborted, sent.len(), "sent = closed + in flight + taken back");
            let silent = open.iter().filter(|one| one.first_whole.is_none() && one.refused.is_none()).count();
            prop_assert_eq!(flights.unanswered(), silent);
        }
        for one in &sent {
            let Some(closed) = results.get(&one.number) else { continue };
            prop_assert_eq!(closed.len(), 1);
            let result = &closed[0];
            prop_assert_eq!((result.outcome, result.rtt, result.duplicates), one.expected());
        }
    }
}
