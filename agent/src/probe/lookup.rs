//! Probes on their way to an address: those whose host name was never answered wait here.
//!
//! ```text
//!   host name, target --look_up--> [Names] --known--------------------------------------> Found
//!                                     |                                                    ^
//!                                     +--pending--> waits until the name server answered --+
//!                                                   or the target's next probe is due
//! ```

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use tokio::task::JoinSet;
use xprober_proto::{Family, Target};

use super::resolve::{self, Answer, Names, NoAddress};

/// Most names asked for at once.
const MAX_QUESTIONS: usize = 64;

/// A probe that does not wait any longer.
#[derive(Debug)]
pub struct Found {
    /// What to probe.
    pub target: Arc<Target>,
    /// Where to, or why it cannot be probed.
    pub to: Result<IpAddr, NoAddress>,
}

#[derive(Debug)]
struct Waiting {
    target: Arc<Target>,
    family: Option<Family>,
}

/// The host names of one prober's targets, and the probes that wait for their first answer.
#[derive(Debug)]
pub struct Lookups {
    names: Names,
    /// By host name and target, so at most one for each target.
    waiting: HashMap<String, BTreeMap<String, Waiting>>,
    questions: JoinSet<(String, Vec<IpAddr>)>,
}

impl Lookups {
    /// Starts without an answer; addresses outside the networks are not probed.
    #[must_use]
    pub fn new(allowed_networks: Arc<[IpNet]>) -> Self {
        Self {
            names: Names::new(allowed_networks),
            waiting: HashMap::new(),
            questions: JoinSet::new(),
        }
    }

    /// Tells whether a probe waits.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Looks up the host of a probe that is due; must be called inside a runtime. Where nothing is known yet the probe waits,
    /// and the one of the same target that waited before it is given up.
    pub fn look_up(&mut self, name: &str, family: Option<Family>, target: Arc<Target>) -> Option<Found> {
        let now = Instant::now();
        let (mut answer, ask) = self.names.look_up(name, family, now);
        if ask && self.questions.len() < MAX_QUESTIONS {
            self.questions.spawn(resolve::ask(name.to_owned()));
        } else if ask {
            // Nobody would answer those who wait for it.
            answer = self.names.put_off(name, family, now);
        }
        self.settle(name, Waiting { target, family }, answer)
    }

    /// Waits for the next answer and tells who waited for it; `None` when no question is open. Nothing is lost when it is
    /// dropped before.
    pub async fn answered(&mut self) -> Option<Vec<Found>> {
        let answer = self.questions.join_next().await?;
        Some(answer.map_or_else(|_| Vec::new(), |(name, addresses)| self.resolved(&name, &addresses)))
    }

    fn resolved(&mut self, name: &str, addresses: &[IpAddr]) -> Vec<Found> {
        let now = Instant::now();
        self.names.resolved(name, addresses, now);
        let waited = self.waiting.remove(name).unwrap_or_default().into_values();
        waited
            .filter_map(|probe| {
                let (answer, _) = self.names.look_up(name, probe.family, now);
                self.settle(name, probe, answer)
            })
            .collect()
    }

    fn settle(&mut self, name: &str, probe: Waiting, answer: Answer) -> Option<Found> {
        let to = match answer {
            Answer::Address(address) => Ok(address),
            Answer::None(why) => Err(why),
            Answer::Pending => {
                let waiting = self.waiting.entry(name.to_owned()).or_default();
                let overtaken = waiting.insert(probe.target.id.as_str().to_owned(), probe)?;
                return Some(Found {
                    target: overtaken.target,
                    to: Err(NoAddress::Unanswered),
                });
            }
        };
        let target = probe.target;
        Some(Found { target, to })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use xprober_proto::{IcmpSpec, ProbeSpec};

    use super::*;

    const NAME: &str = "db.example.com";

    fn target(id: &str) -> Arc<Target> {
        Arc::new(Target {
            id: id.parse().unwrap(),
            name: id.to_owned(),
            region: "region-b".parse().unwrap(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(200),
            probe: ProbeSpec::Icmp(IcmpSpec::new(NAME.parse().unwrap(), 56)),
        })
    }

    fn lookups() -> Lookups {
        Lookups::new(Arc::from(["0.0.0.0/0".parse().unwrap()]))
    }

    fn shown(found: impl IntoIterator<Item = Found>) -> Vec<(String, Result<IpAddr, NoAddress>)> {
        let shown = |found: Found| (found.target.id.as_str().to_owned(), found.to);
        found.into_iter().map(shown).collect()
    }

    // No task runs before a test awaits something, so no name server is asked here.

    #[tokio::test]
    async fn every_waiting_probe_learns_the_first_answer_for_its_family() {
        let mut lookups = lookups();
        assert!(lookups.look_up(NAME, None, target("b")).is_none());
        assert!(lookups.look_up(NAME, Some(Family::V6), target("a")).is_none());
        assert!(lookups.is_waiting());
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        let found = shown(lookups.resolved(NAME, &[address]));
        let expected = [("a", Err(NoAddress::Unresolved)), ("b", Ok(address))];
        assert_eq!(found, expected.map(|(id, to)| (id.to_owned(), to)));
        assert!(!lookups.is_waiting());
        let known = lookups.look_up(NAME, None, target("c"));
        assert_eq!(shown(known), [("c".to_owned(), Ok(address))]);
    }

    #[tokio::test]
    async fn the_next_probe_of_a_target_takes_the_place_of_the_one_that_waits() {
        let mut lookups = lookups();
        assert!(lookups.look_up(NAME, None, target("a")).is_none());
        let overtaken = lookups.look_up(NAME, None, target("a"));
        assert_eq!(shown(overtaken), [("a".to_owned(), Err(NoAddress::Unanswered))]);
        assert_eq!(lookups.resolved(NAME, &[]).len(), 1);
    }

    #[tokio::test]
    async fn a_name_that_cannot_be_asked_for_now_leaves_nobody_waiting() {
        let mut lookups = lookups();
        for n in 0..MAX_QUESTIONS {
            assert!(
                lookups
                    .look_up(&format!("{n}.example.com"), None, target("a"))
                    .is_none()
            );
        }
        let put_off = lookups.look_up(NAME, None, target("a"));
        assert_eq!(shown(put_off), [("a".to_owned(), Err(NoAddress::Unresolved))]);
    }
}
