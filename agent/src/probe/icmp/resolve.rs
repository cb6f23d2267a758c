//! Host names of targets, resolved once a minute and remembered, and filtered by the allowed networks.
//!
//! Pure but for the clock it is given: the task does the asking.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::plan::admission::allows;

/// How long an answer is used before the name is asked for again, in the background.
const FRESH_FOR: Duration = Duration::from_mins(1);
/// How long after a failure the name is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// How long an old answer is used while the name server is silent.
const STALE_FOR: Duration = Duration::from_mins(15);
/// Names not used for this long are forgotten.
const FORGET_AFTER: Duration = Duration::from_hours(1);

/// Why a name has no address that may be probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAddress {
    /// It did not resolve.
    Unresolved,
    /// Every address lies outside the agent's allowed networks.
    Forbidden,
}

/// What is known of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Probe this.
    Address(IpAddr),
    /// Nothing can be probed, for now.
    None(NoAddress),
    /// The first question is still open.
    Pending,
}

#[derive(Debug)]
struct Entry {
    answer: Answer,
    /// When the answer was given.
    since: Instant,
    ask_at: Instant,
    asking: bool,
    used: Instant,
}

/// Answers of the name server by name.
#[derive(Debug)]
pub struct Names {
    allowed: Arc<[IpNet]>,
    entries: HashMap<String, Entry>,
}

impl Names {
    /// Starts without an answer.
    #[must_use]
    pub fn new(allowed: Arc<[IpNet]>) -> Self {
        Self {
            allowed,
            entries: HashMap::new(),
        }
    }

    /// Looks `name` up; the flag says that the name server has to be asked now, and the answer given to
    /// [`Names::resolved`].
    pub fn look_up(&mut self, name: &str, now: Instant) -> (Answer, bool) {
        if !self.entries.contains_key(name) {
            self.entries
                .retain(|_, entry| now.saturating_duration_since(entry.used) < FORGET_AFTER);
            let entry = Entry {
                answer: Answer::Pending,
                since: now,
                ask_at: now,
                asking: false,
                used: now,
            };
            self.entries.insert(name.to_owned(), entry);
        }
        let Some(entry) = self.entries.get_mut(name) else {
            return (Answer::Pending, false);
        };
        entry.used = now;
        let ask = !entry.asking && now >= entry.ask_at;
        entry.asking |= ask;
        (entry.answer, ask)
    }

    /// Takes the name server's answer; no address at all stands for a failure. IPv4 goes first, as in plans.
    pub fn resolved(&mut self, name: &str, addresses: &[IpAddr], now: Instant) -> Answer {
        let Some(entry) = self.entries.get_mut(name) else {
            return Answer::None(NoAddress::Unresolved);
        };
        entry.asking = false;
        let mut addresses: Vec<IpAddr> = addresses.iter().map(IpAddr::to_canonical).collect();
        addresses.sort_unstable();
        let allowed = addresses.iter().find(|address| allows(&self.allowed, **address));
        let stale =
            matches!(entry.answer, Answer::Address(_)) && now.saturating_duration_since(entry.since) < STALE_FOR;
        match allowed {
            Some(address) => {
                // An address that is still among the answers stays: round robin must not move the target about.
                let kept = matches!(entry.answer, Answer::Address(known) if addresses.contains(&known));
                if !kept {
                    entry.answer = Answer::Address(*address);
                }
                (entry.since, entry.ask_at) = (now, now + FRESH_FOR);
            }
            None if addresses.is_empty() && stale => entry.ask_at = now + RETRY_AFTER,
            None => {
                let why = if addresses.is_empty() {
                    NoAddress::Unresolved
                } else {
                    NoAddress::Forbidden
                };
                entry.answer = Answer::None(why);
                (entry.since, entry.ask_at) = (now, now + RETRY_AFTER);
            }
        }
        entry.answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "db.example.com";

    fn names() -> Names {
        Names::new(Arc::from(["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]))
    }

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_name_is_asked_for_once_and_again_when_the_answer_is_old() {
        let (mut names, now) = (names(), Instant::now());
        assert_eq!(names.look_up(NAME, now), (Answer::Pending, true));
        assert_eq!(
            names.look_up(NAME, now),
            (Answer::Pending, false),
            "the question is open"
        );
        let answer = Answer::Address("10.0.0.1".parse().unwrap());
        assert_eq!(
            names.resolved(NAME, &addresses(&["fd00::1", "10.0.0.2", "10.0.0.1"]), now),
            answer
        );
        assert_eq!(names.look_up(NAME, now + FRESH_FOR / 2), (answer, false));
        assert_eq!(
            names.look_up(NAME, now + FRESH_FOR),
            (answer, true),
            "asked in the background"
        );
    }

    #[test]
    fn an_address_that_is_still_valid_stays() {
        let (mut names, now) = (names(), Instant::now());
        names.look_up(NAME, now);
        let first = names.resolved(NAME, &addresses(&["10.0.0.2"]), now);
        assert_eq!(names.resolved(NAME, &addresses(&["10.0.0.1", "10.0.0.2"]), now), first);
        assert_ne!(names.resolved(NAME, &addresses(&["10.0.0.1"]), now), first);
    }

    #[test]
    fn a_name_that_leads_outside_the_allowed_networks_is_not_probed() {
        let (mut names, now) = (names(), Instant::now());
        names.look_up(NAME, now);
        let forbidden = Answer::None(NoAddress::Forbidden);
        assert_eq!(
            names.resolved(NAME, &addresses(&["127.0.0.1", "::ffff:192.0.2.1"]), now),
            forbidden
        );
        let moved = addresses(&["192.0.2.1", "10.0.0.9"]);
        assert_eq!(
            names.resolved(NAME, &moved, now),
            Answer::Address("10.0.0.9".parse().unwrap())
        );
        assert_eq!(
            names.resolved(NAME, &addresses(&["192.0.2.1"]), now),
            forbidden,
            "at once, not when stale"
        );
    }

    #[test]
    fn a_silent_name_server_is_bridged_for_a_while() {
        let (mut names, now) = (names(), Instant::now());
        names.look_up(NAME, now);
        let known = names.resolved(NAME, &addresses(&["10.0.0.1"]), now);
        assert_eq!(names.resolved(NAME, &[], now + FRESH_FOR), known);
        assert_eq!(
            names.look_up(NAME, now + FRESH_FOR),
            (known, false),
            "not asked again at once"
        );
        let gone = Answer::None(NoAddress::Unresolved);
        assert_eq!(names.resolved(NAME, &[], now + STALE_FOR), gone);
    }
}
