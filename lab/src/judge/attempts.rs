//! When and how requests come again: `Retry-Attempt`, `Retry-After`, and gaps that do not shrink; pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use xprober_agent::push::{MAX_BACKOFF, MIN_BACKOFF};

/// A gap may be that part of the one before.
const SHRINK: f64 = 0.8;
/// What a busy machine adds to a gap.
const SLACK: Duration = Duration::from_millis(400);
/// What chance adds to a gap at most, as a share of it.
const STRETCH: f64 = 1.25;

/// The first look at a request.
#[derive(Debug, Clone)]
pub struct Begun {
    /// When it came.
    pub at: Instant,
    /// `Retry-Attempt`, 0 without the header.
    pub number: u64,
    /// Its bytes, where they were read to their end.
    pub body: Option<Bytes>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The sender was told that it is done with: 2xx, or a refusal for good.
    Settled,
    /// The sender has to come again; not before that time where one was told.
    Failed(Option<Duration>),
}

#[derive(Debug, Clone)]
struct Failed {
    begun: Begun,
    at: Instant,
    asked: Option<Duration>,
}

#[derive(Debug, Clone, Default)]
struct Sender {
    failed: Option<Failed>,
    gap: Option<Duration>,
}

/// The last failure and the last gap of every sender.
#[derive(Debug, Clone, Default)]
pub struct Attempts {
    senders: BTreeMap<IpAddr, Sender>,
    gaps: usize,
}

impl Attempts {
    /// Notes that a request came.
    pub fn begin(&mut self, sender: IpAddr, begun: &Begun) -> Vec<String> {
        let mut breaches = Vec::new();
        let sender = self.senders.entry(sender).or_default();
        let Some(failed) = sender.failed.take() else {
            return breaches;
        };
        let (number, before) = (begun.number, failed.begun.number);
        let is_same = begun.body.is_some() && begun.body == failed.begun.body;
        if is_same && number <= before {
            breaches.push(format!(
                "the same request came as attempt {before} and then as attempt {number}"
            ));
        }
        // Another request, or attempts that never reached us: nothing to compare.
        if number != before + 1 {
            sender.gap = None;
            return breaches;
        }
        let gap = begun.at.saturating_duration_since(failed.at);
        if let Some(asked) = failed.asked {
            if gap + SLACK < asked {
                breaches.push(format!("came again after {gap:?}, Retry-After was {asked:?}"));
            }
            return breaches;
        }
        self.gaps += 1;
        if let Some(last) = sender.gap
            && gap + SLACK < last.mul_f64(SHRINK)
        {
            breaches.push(format!("a gap of {gap:?} after one of {last:?}"));
        }
        // A busy machine makes it longer than it was meant; the next one is held against what was meant.
        sender.gap = Some(gap.min(longest(before)));
        breaches
    }

    /// Notes how a request ended.
    pub fn end(&mut self, sender: IpAddr, begun: Begun, at: Instant, ending: Ending) {
        let sender = self.senders.entry(sender).or_default();
        match ending {
            Ending::Settled => *sender = Sender::default(),
            Ending::Failed(asked) => sender.failed = Some(Failed { begun, at, asked }),
        }
    }

    /// Forgets a sender: it starts again, or is about to end and may try at once.
    pub fn forget(&mut self, sender: &IpAddr) {
        self.senders.remove(sender);
    }

    /// Gaps that were looked at.
    #[must_use]
    pub const fn gaps(&self) -> usize {
        self.gaps
    }
}

/// The longest gap after an attempt with that number: [`MIN_BACKOFF`] doubled each time, and what chance adds.
fn longest(number: u64) -> Duration {
    let doubled = u32::try_from(number).ok().and_then(|number| 2u32.checked_pow(number));
    let gap = doubled.and_then(|times| MIN_BACKOFF.checked_mul(times));
    gap.map_or(MAX_BACKOFF, |gap| gap.mul_f64(STRETCH).min(MAX_BACKOFF))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// Fails attempts at these times in milliseconds, each at once, and answers the breaches of the last.
    fn fail_at(times: &[(u64, u64)], asked: Option<Duration>) -> Vec<String> {
        let start = Instant::now();
        let mut attempts = Attempts::default();
        let mut breaches = Vec::new();
        for (number, millis) in times {
            let begun = Begun {
                at: start + Duration::from_millis(*millis),
                number: *number,
                body: Some(Bytes::from_static(b"body")),
            };
            breaches = attempts.begin(AGENT, &begun);
            let at = begun.at;
            attempts.end(AGENT, begun, at, Ending::Failed(asked));
        }
        breaches
    }

    #[test]
    fn gaps_that_shrink_are_told() {
        assert!(fail_at(&[(3, 0), (4, 4_000), (5, 8_000)], None).is_empty());
        assert!(fail_at(&[(3, 0), (4, 4_000), (5, 7_200)], None).is_empty());
        let told = fail_at(&[(3, 0), (4, 4_000), (5, 6_700)], None);
        assert_eq!(told, ["a gap of 2.7s after one of 4s"]);
        assert!(
            !fail_at(&[(9, 0), (10, 60_000), (11, 70_000)], None).is_empty(),
            "30 s, and then 10 s"
        );
    }

    #[test]
    fn a_gap_that_a_busy_machine_made_longer_binds_nobody() {
        // Meant were 625 ms at most, and then 1 s.
        assert!(fail_at(&[(0, 0), (1, 3_400), (2, 4_400)], None).is_empty());
        let told = fail_at(&[(1, 0), (2, 3_400), (3, 3_900)], None);
        assert_eq!(told, ["a gap of 500ms after one of 1.25s"]);
    }

    #[test]
    fn attempts_that_nobody_saw_are_no_gap() {
        assert!(fail_at(&[(0, 0), (1, 20_000), (3, 21_000), (4, 22_000)], None).is_empty());
    }

    #[test]
    fn the_same_bytes_come_with_a_higher_number() {
        let told = fail_at(&[(1, 0), (1, 500)], None);
        assert_eq!(told, ["the same request came as attempt 1 and then as attempt 1"]);
    }

    #[test]
    fn who_is_asked_to_wait_waits() {
        let asked = Some(Duration::from_secs(2));
        assert!(fail_at(&[(0, 0), (1, 2_000)], asked).is_empty());
        assert_eq!(
            fail_at(&[(0, 0), (1, 1_000)], asked),
            ["came again after 1s, Retry-After was 2s"]
        );
    }
}
