//! What breaks, when, and for how long: a pure function of a seed.

use std::fmt;
use std::time::Duration;

use crate::judge::{Disturbance, Fault};
use crate::wan::random::Random;

/// Time until the first thing breaks: agents have a plan and have pushed by then.
const WARM_UP: Duration = Duration::from_secs(8);
/// The longest that one step and the pause after it take.
const LONGEST: Duration = Duration::from_secs(9);
/// Agents that one step ends.
const VICTIMS: usize = 3;

/// How agents are ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// SIGKILL.
    Kill,
    /// SIGKILL after the repair, once the receiver takes what waited meanwhile.
    KillCatchingUp,
    /// SIGTERM.
    Stop,
}

/// One thing that breaks and is repaired.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// When, from the beginning on.
    pub at: Duration,
    /// For how long.
    pub lasts: Duration,
    /// What happens to requests.
    pub disturbance: Option<Disturbance>,
    /// Whether the receiver is killed and started again.
    pub kills_receiver: bool,
    /// Which agents are ended, by number, and started again.
    pub agents: Option<(Ending, Vec<usize>)>,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Disturb(Fault, f64),
    KillReceiver,
    End(Ending, Option<Fault>),
}

/// Every kind of trouble once, what ends agents last.
const ACTS: [Act; 13] = [
    Act::Disturb(Fault::Status(429, Some(1)), 0.7),
    Act::Disturb(Fault::Status(429, None), 1.0),
    Act::Disturb(Fault::Status(500, None), 1.0),
    Act::Disturb(Fault::Status(503, Some(2)), 0.6),
    Act::Disturb(Fault::CutBody, 1.0),
    Act::Disturb(Fault::CutAnswer, 0.8),
    Act::Disturb(Fault::Hang, 1.0),
    Act::Disturb(Fault::Refuse, 1.0),
    Act::KillReceiver,
    Act::End(Ending::Kill, None),
    Act::End(Ending::Kill, Some(Fault::Refuse)),
    Act::End(Ending::KillCatchingUp, Some(Fault::Refuse)),
    Act::End(Ending::Stop, Some(Fault::Refuse)),
];
/// Those of [`ACTS`] that leave agents alone.
const HARMLESS: usize = 9;

/// Writes the script: every kind of trouble in an order of its own, again and again until the time is over.
#[must_use]
pub fn script(seed: u64, length: Duration, agents: usize, ends_agents: bool) -> Vec<Step> {
    let mut random = Random::new(seed);
    let count = if ends_agents { ACTS.len() } else { HARMLESS };
    let time = length.saturating_sub(WARM_UP);
    let slot = (time / u32::try_from(count).unwrap_or(u32::MAX)).min(LONGEST);
    let mut steps = Vec::new();
    let mut at = WARM_UP;
    while at + slot <= length && !slot.is_zero() {
        let mut round = ACTS[..count].to_vec();
        shuffle(&mut round, &mut random);
        for act in round {
            if at + slot > length {
                break;
            }
            steps.push(step(
                act,
                at,
                slot.mul_f64(0.4 + 0.4 * random.unit()),
                agents,
                &mut random,
            ));
            at += slot;
        }
    }
    steps
}

fn step(act: Act, at: Duration, lasts: Duration, agents: usize, random: &mut Random) -> Step {
    let mut step = Step {
        at,
        lasts,
        disturbance: None,
        kills_receiver: false,
        agents: None,
    };
    match act {
        Act::Disturb(fault, share) => step.disturbance = Some(Disturbance { fault, share }),
        Act::KillReceiver => step.kills_receiver = true,
        Act::End(ending, fault) => {
            step.disturbance = fault.map(|fault| Disturbance { fault, share: 1.0 });
            let mut victims: Vec<_> = (0..agents).collect();
            shuffle(&mut victims, random);
            victims.truncate(VICTIMS);
            step.agents = Some((ending, victims));
        }
    }
    step
}

/// Fisher and Yates.
fn shuffle<T>(items: &mut [T], random: &mut Random) {
    for last in (1..items.len()).rev() {
        let below = u64::try_from(last + 1).unwrap_or(u64::MAX);
        let other = usize::try_from(random.next_bits() % below).unwrap_or_default();
        items.swap(last, other);
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(Disturbance { fault, share }) = self.disturbance {
            let fault = match fault {
                Fault::Status(code, None) => format!("status {code}"),
                Fault::Status(code, Some(after)) => format!("status {code}, Retry-After {after} s"),
                Fault::CutBody => "connections cut in the body".to_owned(),
                Fault::CutAnswer => "connections cut before the answer".to_owned(),
                Fault::Hang => "no answers".to_owned(),
                Fault::Refuse => "port closed".to_owned(),
            };
            parts.push(format!("{fault} ({:.0} %)", share * 100.0));
        }
        if self.kills_receiver {
            parts.push("receiver killed".to_owned());
        }
        if let Some((ending, victims)) = &self.agents {
            let signal = match ending {
                Ending::Kill => "SIGKILL",
                Ending::KillCatchingUp => "later SIGKILL",
                Ending::Stop => "SIGTERM",
            };
            let numbers: Vec<_> = victims.iter().map(|victim| (victim + 1).to_string()).collect();
            parts.push(format!("{signal} to agents {}", numbers.join(", ")));
        }
        write!(formatter, "{}, {:.1} s", parts.join(" and "), self.lasts.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_every_kind_of_trouble_and_a_pause_after_each() {
        for seed in 0..20 {
            let steps = script(seed, Duration::from_mins(1), 10, true);
            assert_eq!(steps.len(), ACTS.len());
            assert_eq!(steps.iter().filter(|step| step.kills_receiver).count(), 1);
            assert_eq!(steps.iter().filter(|step| step.agents.is_some()).count(), 4);
            assert!(steps.windows(2).all(|pair| pair[0].at + pair[0].lasts < pair[1].at));
            assert!(steps.iter().all(|step| step.at + step.lasts <= Duration::from_mins(1)));
        }
    }

    #[test]
    fn the_same_seed_writes_the_same_script() {
        let write = |seed| script(seed, Duration::from_mins(5), 10, true);
        assert_eq!(write(3), write(3));
        assert_ne!(write(3), write(4));
        assert!(write(3).len() > 2 * ACTS.len());
    }

    #[test]
    fn agents_are_left_alone_where_that_is_wanted() {
        let steps = script(1, Duration::from_mins(5), 10, false);
        assert!(steps.len() > HARMLESS && steps.iter().all(|step| step.agents.is_none()));
    }
}
