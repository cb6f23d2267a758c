//! What the end of a connect means; pure.

use std::sync::Arc;
use std::time::Duration;

use xprober_proto::Target;

use crate::probe::{EchoResult, Outcome, Reason, Stamp};

/// How long a probe waits at most: a little less than the second after which the kernel sends the SYN again (RFC 6298,
/// section 2.1).
///
/// The kernel's timer is never early; the rest is for ours, which has a resolution of a millisecond.
pub const PATIENCE: Duration = Duration::from_millis(990);

/// Longest time after the timeout in which an answer is late rather than lost; shorter timeouts are waited for twice.
const MAX_GRACE: Duration = Duration::from_secs(1);

/// How long to wait for the answer to a probe with `timeout`.
#[must_use]
pub fn window(timeout: Duration) -> Duration {
    timeout.saturating_add(timeout.min(MAX_GRACE)).min(PATIENCE)
}

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A SYN-ACK.
    Established,
    /// A RST.
    Refused,
    /// An ICMP error, by its reason.
    Unreachable(Reason),
    /// Nothing.
    Silence,
    /// The SYN did not leave, by its reason.
    NotSent(Reason),
}

/// How one connect ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Landing {
    /// What came back.
    pub answer: Answer,
    /// From right before the SYN to when this process saw the answer.
    pub elapsed: Duration,
    /// The kernel's time from the SYN to the SYN-ACK.
    pub measured: Option<Duration>,
    /// Whether the kernel sent the SYN again.
    pub repeated: bool,
}

impl Landing {
    /// Describes a probe that did not leave.
    #[must_use]
    pub const fn not_sent(reason: Reason) -> Self {
        Self {
            answer: Answer::NotSent(reason),
            elapsed: Duration::ZERO,
            measured: None,
            repeated: false,
        }
    }
}

/// Judges a probe; `gap` tells that this process stood still while it was under way.
#[must_use]
pub fn judge(target: Arc<Target>, landing: Landing, gap: bool) -> EchoResult {
    let (reason, rtt, stamp) = match landing.answer {
        Answer::NotSent(reason) | Answer::Unreachable(reason) => {
            return EchoResult::failed(target, reason.outcome(), Some(reason));
        }
        Answer::Silence => return unanswered(target, gap),
        Answer::Refused => (Some(Reason::Refused), landing.elapsed, Stamp::User),
        Answer::Established => match landing.measured {
            Some(measured) => (None, measured, Stamp::Kernel),
            None => (None, landing.elapsed, Stamp::User),
        },
    };
    let in_time = rtt <= target.timeout;
    let trusted = !gap || (in_time && stamp == Stamp::Kernel);
    if landing.repeated || rtt > window(target.timeout) || !trusted {
        return unanswered(target, gap);
    }
    let (outcome, reason) = if in_time {
        (Outcome::Ok, reason)
    } else {
        (Outcome::Late, None)
    };
    EchoResult {
        rtt: Some(rtt),
        stamp,
        ..EchoResult::failed(target, outcome, reason)
    }
}

const fn unanswered(target: Arc<Target>, gap: bool) -> EchoResult {
    if gap {
        EchoResult::failed(target, Outcome::Stalled, Some(Reason::Gap))
    } else {
        EchoResult::failed(target, Outcome::Lost, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xprober_proto::{ProbeSpec, TcpSpec};

    const TIMEOUT: Duration = Duration::from_millis(100);

    fn target() -> Arc<Target> {
        Arc::new(Target {
            id: "a".parse().unwrap(),
            name: "a".to_owned(),
            region: "region-b".parse().unwrap(),
            interval: Duration::from_secs(1),
            timeout: TIMEOUT,
            probe: ProbeSpec::Tcp(TcpSpec::new("192.0.2.1".parse().unwrap(), 443)),
        })
    }

    fn landing(answer: Answer, elapsed_ms: u64, measured_ms: Option<u64>) -> Landing {
        Landing {
            answer,
            elapsed: Duration::from_millis(elapsed_ms),
            measured: measured_ms.map(Duration::from_millis),
            repeated: false,
        }
    }

    fn judged(landing: Landing, gap: bool) -> (Outcome, Option<Reason>, Option<u128>, Stamp) {
        let result = judge(target(), landing, gap);
        (
            result.outcome,
            result.reason,
            result.rtt.map(|rtt| rtt.as_millis()),
            result.stamp,
        )
    }

    #[test]
    fn every_end_has_its_outcome() {
        use Answer::{Established, Refused, Silence, Unreachable};
        use Outcome::{Late, Lost, Ok, SendError};
        let host = Reason::HostUnreachable;
        let rows = [
            (landing(Established, 21, Some(20)), (Ok, None, Some(20), Stamp::Kernel)),
            (landing(Established, 100, None), (Ok, None, Some(100), Stamp::User)),
            (landing(Established, 101, None), (Late, None, Some(101), Stamp::User)),
            (landing(Established, 201, None), (Lost, None, None, Stamp::User)),
            (
                landing(Refused, 20, None),
                (Ok, Some(Reason::Refused), Some(20), Stamp::User),
            ),
            (landing(Refused, 120, None), (Late, None, Some(120), Stamp::User)),
            (
                landing(Unreachable(host), 150, None),
                (Outcome::Unreachable, Some(host), None, Stamp::User),
            ),
            (landing(Silence, 200, None), (Lost, None, None, Stamp::User)),
            (
                Landing::not_sent(Reason::NoRoute),
                (SendError, Some(Reason::NoRoute), None, Stamp::User),
            ),
        ];
        for (landing, expected) in rows {
            assert_eq!(judged(landing, false), expected, "{landing:?}");
        }
    }

    #[test]
    fn the_time_that_the_kernel_took_counts_even_if_this_process_came_to_it_late() {
        let late = landing(Answer::Established, 3_000, Some(20));
        for gap in [false, true] {
            assert_eq!(judged(late, gap), (Outcome::Ok, None, Some(20), Stamp::Kernel));
        }
    }

    #[test]
    fn after_a_gap_neither_silence_nor_our_own_time_is_held_against_the_network() {
        let stalled = (Outcome::Stalled, Some(Reason::Gap), None, Stamp::User);
        for end in [
            landing(Answer::Silence, 3_000, None),
            landing(Answer::Refused, 50, None),
            landing(Answer::Established, 50, None),
            landing(Answer::Established, 3_000, Some(120)),
        ] {
            assert_eq!(judged(end, true), stalled, "{end:?}");
        }
        let unreachable = landing(Answer::Unreachable(Reason::Prohibited), 3_000, None);
        assert_eq!(judged(unreachable, true).0, Outcome::Unreachable, "the network said so");
    }

    #[test]
    fn an_answer_to_the_second_syn_is_a_lost_first_one() {
        for answer in [Answer::Established, Answer::Refused] {
            let second = Landing {
                repeated: true,
                ..landing(answer, 40, Some(40))
            };
            assert_eq!(judged(second, false), (Outcome::Lost, None, None, Stamp::User));
        }
    }

    #[test]
    fn nobody_waits_for_the_second_syn() {
        assert_eq!(window(Duration::from_millis(30)), Duration::from_millis(60));
        assert_eq!(window(Duration::from_millis(700)), PATIENCE);
        assert_eq!(window(Duration::MAX), PATIENCE);
    }
}
