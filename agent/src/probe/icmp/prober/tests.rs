//! What becomes of echoes when this thread is stopped between two of its steps.

use std::future;

use xprober_proto::IcmpSpec;

use super::super::clock::Wall;
use super::super::flight::{Arrival, Key};
use super::super::packet::{Content, sequence};
use super::super::socket::Departed;
use super::*;
use crate::probe::Stamp;

const TIMEOUT: Duration = Duration::from_millis(2);
const RTT: Duration = Duration::from_millis(1);
/// Later than any window of these tests closes.
const LONG_AFTER: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(150);

/// Answers each echo after [`RTT`] by the kernel's stamps, and can be held up.
#[derive(Default)]
struct Wire {
    waiting: Vec<(u64, Departed)>,
    answers: bool,
    stamps_departures: bool,
    held_up_in_send: Duration,
    held_up_in_receive: Duration,
}

impl EchoSocket for Wire {
    fn stamp(&self) -> Stamp {
        Stamp::Kernel
    }

    fn send(&mut self, echoes: &[Echo<'_>], departures: &mut Vec<Departure>) {
        for echo in echoes {
            let sent = Reading::now();
            std::thread::sleep(std::mem::take(&mut self.held_up_in_send));
            let left = self.stamps_departures.then_some(sent.wall);
            self.waiting.push((echo.number, Departed { sent, left }));
            departures.push(Ok(Departed { sent, left }));
        }
    }

    fn wait(&mut self) -> impl Future<Output = ()> + Send {
        future::pending()
    }

    fn receive(&mut self, events: &mut Vec<EchoEvent>) -> bool {
        std::thread::sleep(std::mem::take(&mut self.held_up_in_receive));
        if self.answers {
            let answered = self.waiting.drain(..);
            events.extend(answered.map(|(number, departed)| replied(number, departed)));
        }
        true
    }
}

fn replied(number: u64, departed: Departed) -> EchoEvent {
    EchoEvent::Replied {
        key: Key {
            sequence: sequence(number),
            number: Some(number),
            to: None,
        },
        arrival: Arrival {
            read: Reading::now(),
            stamp: Some(Wall(departed.sent.wall.0 + i64::try_from(RTT.as_nanos()).unwrap())),
            ttl: None,
            behind: Duration::ZERO,
        },
        content: Content::Whole {
            number: Some(number),
            bytes: 56,
        },
    }
}

fn request() -> Request {
    let to = IpAddr::from([10, 0, 0, 1]);
    let target = Target {
        id: "t".parse().unwrap(),
        name: "t".to_owned(),
        region: "region-b".parse().unwrap(),
        interval: Duration::from_secs(1),
        timeout: TIMEOUT,
        probe: ProbeSpec::Icmp(IcmpSpec::new(to.to_string().parse().unwrap(), 56)),
    };
    Request {
        target: Arc::new(target),
        to: Ok(to),
    }
}

/// Outcomes and counters of everything whose window has closed.
fn told(events: Vec<Event>) -> (Vec<(Outcome, Option<Reason>)>, EngineCounters) {
    let (mut outcomes, mut counters) = (Vec::new(), EngineCounters::default());
    for event in events {
        match event {
            Event::Echoes(results) => outcomes.extend(results.iter().map(|one| (one.outcome, one.reason))),
            Event::Engine(more) => counters = more,
            Event::Missed { .. } | Event::Change(_) | Event::Http(_) | Event::Lateness { .. } => unreachable!(),
        }
    }
    (outcomes, counters)
}

/// Sends one echo.
fn sent(wire: Wire) -> Prober<Wire> {
    let mut prober = Prober::new(wire, 1, None);
    prober.send(&[request()], Duration::ZERO);
    prober
}

/// Everything that is told once all windows are over and looked at.
fn end(mut prober: Prober<Wire>) -> (Vec<(Outcome, Option<Reason>)>, EngineCounters) {
    std::thread::sleep(TIMEOUT * 3);
    prober.look(None);
    told(prober.close(Instant::now() + LONG_AFTER * 2))
}

#[test]
fn no_window_closes_before_its_replies_were_taken() {
    let mut prober = sent(Wire {
        stamps_departures: true,
        ..Wire::default()
    });
    // Stopped for a minute after it had looked in vain, and now it closes windows.
    let (outcomes, _) = told(prober.close(Instant::now() + LONG_AFTER));
    assert_eq!(outcomes, []);
    prober.socket().answers = true;
    assert_eq!(end(prober).0, [(Outcome::Ok, None)]);
}

#[test]
fn a_stop_while_echoes_are_sent_is_a_gap_and_only_the_kernel_knows_when_they_left() {
    for (stamps_departures, expected) in [
        (true, (Outcome::Ok, None)),
        (false, (Outcome::Stalled, Some(Reason::Gap))),
    ] {
        let prober = sent(Wire {
            answers: true,
            stamps_departures,
            held_up_in_send: PAUSE,
            ..Wire::default()
        });
        let (outcomes, counters) = end(prober);
        assert_eq!(outcomes, [expected]);
        assert!(counters.gaps >= 1 && counters.gap_time >= PAUSE, "{counters:?}");
    }
}

#[test]
fn a_stop_while_replies_are_taken_is_a_gap_and_silence_then_says_nothing() {
    let prober = sent(Wire {
        held_up_in_receive: PAUSE,
        ..Wire::default()
    });
    let (outcomes, counters) = end(prober);
    assert_eq!(outcomes, [(Outcome::Stalled, Some(Reason::Gap))]);
    assert!(counters.gaps >= 1 && counters.gap_time >= PAUSE, "{counters:?}");
}
