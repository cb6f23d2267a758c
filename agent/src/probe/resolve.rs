//! Host names of targets, resolved once a minute and remembered, one address per family, and filtered by the allowed
//! networks.
//!
//! [`Names`] is pure but for the clock it is given; [`ask`] does the asking.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tracing::debug;
use xprober_proto::Family;

use super::Reason;
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
    /// The first question is still open, and the next probe is due already.
    Unanswered,
}

impl NoAddress {
    /// The reason with which the probe ends.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Unresolved | Self::Unanswered => Reason::Unresolved,
            Self::Forbidden => Reason::Forbidden,
        }
    }
}

/// What is known of a name, for one family or for either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Probe this.
    Address(IpAddr),
    /// Nothing can be probed, for now.
    None(NoAddress),
    /// The first question is still open.
    Pending,
}

/// One address of each family at most, and why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    v4: Option<IpAddr>,
    v6: Option<IpAddr>,
    /// Whether an address was left out because it lies outside the allowed networks.
    forbidden: bool,
}

impl Known {
    fn answer(&self, family: Option<Family>) -> Answer {
        let address = match family {
            Some(Family::V4) => self.v4,
            Some(Family::V6) => self.v6,
            None => self.v4.or(self.v6),
        };
        let why = if self.forbidden {
            NoAddress::Forbidden
        } else {
            NoAddress::Unresolved
        };
        address.map_or(Answer::None(why), Answer::Address)
    }

    const fn has_address(&self) -> bool {
        self.v4.is_some() || self.v6.is_some()
    }
}

#[derive(Debug)]
struct Entry {
    /// `None` until the first answer.
    known: Option<Known>,
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

    /// Looks `name` up, for one family or for either, IPv4 first; the flag says that the name server has to be asked now,
    /// and the answer given to [`Names::resolved`].
    pub fn look_up(&mut self, name: &str, family: Option<Family>, now: Instant) -> (Answer, bool) {
        if !self.entries.contains_key(name) {
            self.entries
                .retain(|_, entry| now.saturating_duration_since(entry.used) < FORGET_AFTER);
            let entry = Entry {
                known: None,
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
        let answer = entry.known.map_or(Answer::Pending, |known| known.answer(family));
        (answer, ask)
    }

    /// Answers a question that cannot be asked now, because too many are open, as the name server's silence would.
    pub fn put_off(&mut self, name: &str, family: Option<Family>, now: Instant) -> Answer {
        self.resolved(name, &[], now);
        self.look_up(name, family, now).0
    }

    /// Takes the name server's answer; no address at all stands for a failure.
    pub fn resolved(&mut self, name: &str, addresses: &[IpAddr], now: Instant) {
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        entry.asking = false;
        let bridged = entry
            .known
            .is_some_and(|known| known.has_address() && now.saturating_duration_since(entry.since) < STALE_FOR);
        if addresses.is_empty() && bridged {
            entry.ask_at = now + RETRY_AFTER;
            return;
        }
        let mut addresses: Vec<IpAddr> = addresses.iter().map(IpAddr::to_canonical).collect();
        addresses.sort_unstable();
        let choose = |family: Family, kept: Option<IpAddr>| {
            let usable = |address: &&IpAddr| Family::of(**address) == family && allows(&self.allowed, **address);
            // An address that is still among the answers stays: round robin must not move the target about.
            kept.filter(|kept| addresses.contains(kept))
                .or_else(|| addresses.iter().find(usable).copied())
        };
        let known = Known {
            v4: choose(Family::V4, entry.known.and_then(|known| known.v4)),
            v6: choose(Family::V6, entry.known.and_then(|known| known.v6)),
            forbidden: addresses.iter().any(|address| !allows(&self.allowed, *address)),
        };
        let next = if known.has_address() { FRESH_FOR } else { RETRY_AFTER };
        (entry.known, entry.since, entry.ask_at) = (Some(known), now, now + next);
    }
}

/// Asks the system's resolver; a failure answers with no address.
pub async fn ask(name: String) -> (String, Vec<IpAddr>) {
    let found = tokio::net::lookup_host((name.as_str(), 0)).await;
    let addresses = found.map(|found| found.map(|address| address.ip()).collect());
    let addresses = addresses.unwrap_or_else(|error| {
        debug!(%name, %error, "host name not resolved");
        Vec::new()
    });
    (name, addresses)
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

    fn is(text: &str) -> Answer {
        Answer::Address(text.parse().unwrap())
    }

    fn after(names: &mut Names, texts: &[&str], now: Instant) -> Answer {
        names.resolved(NAME, &addresses(texts), now);
        names.look_up(NAME, None, now).0
    }

    #[test]
    fn a_name_is_asked_for_once_and_again_when_the_answer_is_old() {
        let (mut names, now) = (names(), Instant::now());
        assert_eq!(names.look_up(NAME, None, now), (Answer::Pending, true));
        assert_eq!(
            names.look_up(NAME, Some(Family::V6), now),
            (Answer::Pending, false),
            "the question is open"
        );
        let answer = is("10.0.0.1");
        assert_eq!(after(&mut names, &["fd00::1", "10.0.0.2", "10.0.0.1"], now), answer);
        assert_eq!(names.look_up(NAME, None, now + FRESH_FOR / 2), (answer, false));
        assert_eq!(
            names.look_up(NAME, None, now + FRESH_FOR),
            (answer, true),
            "asked in the background"
        );
    }

    #[test]
    fn each_family_has_its_own_address() {
        let (mut names, now) = (names(), Instant::now());
        names.look_up(NAME, None, now);
        names.resolved(NAME, &addresses(&["fd00::2", "fd00::1", "10.0.0.1"]), now);
        assert_eq!(names.look_up(NAME, Some(Family::V6), now).0, is("fd00::1"));
        assert_eq!(names.look_up(NAME, Some(Family::V4), now).0, is("10.0.0.1"));
        names.resolved(NAME, &addresses(&["10.0.0.1"]), now);
        assert_eq!(
            names.look_up(NAME, Some(Family::V6), now).0,
            Answer::None(NoAddress::Unresolved)
        );
    }

    #[test]
    fn an_address_that_is_still_valid_stays() {
        let (mut names, now) = (names(), Instant::now());
        names.look_up(NAME, None, now);
        let first = after(&mut names, &["10.0.0.2"], now);
        assert_eq!(after(&mut names, &["10.0.0.1", "10.0.0.2"], now), first);
        assert_ne!(after(&mut names, &["10.0.0.1"], now), first);
    }

    #[test]
    fn a_name_that_leads_outside_the_allowed_networks_is_not_probed() {
        let (mut names, now) = (names(), Instant::now());
        names.look_up(NAME, None, now);
        let forbidden = Answer::None(NoAddress::Forbidden);
        assert_eq!(after(&mut names, &["127.0.0.1", "::ffff:192.0.2.1"], now), forbidden);
        assert_eq!(after(&mut names, &["192.0.2.1", "10.0.0.9"], now), is("10.0.0.9"));
        assert_eq!(
            after(&mut names, &["192.0.2.1"], now),
            forbidden,
            "at once, not when stale"
        );
    }

    #[test]
    fn a_question_that_is_put_off_leaves_nobody_waiting_and_is_asked_later() {
        let (mut names, now) = (names(), Instant::now());
        assert_eq!(names.look_up(NAME, None, now), (Answer::Pending, true));
        let unresolved = Answer::None(NoAddress::Unresolved);
        assert_eq!(names.put_off(NAME, None, now), unresolved);
        assert_eq!(names.look_up(NAME, None, now), (unresolved, false));
        assert_eq!(names.look_up(NAME, None, now + RETRY_AFTER), (unresolved, true));
    }

    #[test]
    fn a_silent_name_server_is_bridged_for_a_while() {
        let (mut names, now) = (names(), Instant::now());
        names.look_up(NAME, None, now);
        let known = after(&mut names, &["10.0.0.1"], now);
        names.resolved(NAME, &[], now + FRESH_FOR);
        assert_eq!(
            names.look_up(NAME, None, now + FRESH_FOR),
            (known, false),
            "not asked again at once"
        );
        let gone = Answer::None(NoAddress::Unresolved);
        names.resolved(NAME, &[], now + STALE_FOR);
        assert_eq!(names.look_up(NAME, None, now + STALE_FOR).0, gone);
    }
}
