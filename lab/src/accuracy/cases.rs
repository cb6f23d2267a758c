//! What is injected: one case per two regions, each direction with its own faults; values only.

use std::time::Duration;

use crate::topology::{HUB, Topology, WEB};
use crate::wan::Path;
use crate::wan::burst::Burst;

/// Regions with an agent each, which all measure each other.
const REGIONS: usize = 7;
/// The host whose agent probes many targets without any injected fault; in the hub's region.
pub const CROWD: &str = "crowd";
/// The host that is all those targets; in a region without agents.
pub const FAR: &str = "far";
/// Region of [`CROWD`].
pub const CROWD_REGION: &str = HUB;
/// Region of [`FAR`].
pub const FAR_REGION: &str = WEB;
/// Round-trip time between the two.
const CROWD_RTT: Duration = Duration::from_millis(10);

/// Faults between two regions.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// What it shows.
    pub name: &'static str,
    /// The two regions; an agent in each probes the other.
    pub regions: [String; 2],
    /// From the first to the second.
    pub there: Path,
    /// From the second to the first.
    pub back: Path,
}

impl Case {
    /// Mean round-trip time.
    #[must_use]
    pub fn rtt(&self) -> Duration {
        self.there.latency + self.back.latency
    }

    /// Longest round-trip time.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.rtt() + self.there.jitter + self.back.jitter
    }

    /// Whether either direction varies its delay.
    #[must_use]
    pub fn has_jitter(&self) -> bool {
        !(self.there.jitter + self.back.jitter).is_zero()
    }

    /// Whether loss comes in bursts, so that no binomial band holds.
    #[must_use]
    pub fn has_bursts(&self) -> bool {
        self.there.burst.is_some() || self.back.burst.is_some()
    }

    /// Whether damaged packets are dropped by whoever gets them, and so end as loss.
    #[must_use]
    pub fn drops_damaged(&self) -> bool {
        self.there.corrupt_checksum + self.back.corrupt_checksum > 0.0
    }

    /// Probability that a probe is lost: an echo needs both ways, so it is the same for the probes of either region.
    #[must_use]
    pub fn loss(&self) -> f64 {
        both(lost_on(&self.there), lost_on(&self.back))
    }
}

fn lost_on(path: &Path) -> f64 {
    if path.up {
        both(path.mean_loss(), path.corrupt_checksum)
    } else {
        1.0
    }
}

fn both(one: f64, other: f64) -> f64 {
    1.0 - (1.0 - one) * (1.0 - other)
}

/// All cases, one for every two regions.
#[must_use]
pub fn cases() -> Vec<Case> {
    let pairs = (1..=REGIONS).flat_map(|one| (one + 1..=REGIONS).map(move |other| [one, other]));
    let cases = pairs.zip(faults()).map(|(pair, (name, there, back))| Case {
        name,
        regions: pair.map(|number| format!("r{number}")),
        there,
        back,
    });
    cases.collect()
}

/// The world of the cases: an agent's host per region, the crowd's host, and its many targets.
#[must_use]
pub fn topology(targets: u16) -> Topology {
    let mut topology = Topology::new().host(CROWD, CROWD_REGION);
    for number in 1..=REGIONS {
        topology = topology.host(&format!("p{number}"), &format!("r{number}"));
    }
    topology = topology.host(FAR, FAR_REGION).further_addresses(targets);
    for case in cases() {
        let [one, other] = case.regions;
        topology = topology.path(&one, &other, case.there).path(&other, &one, case.back);
    }
    topology.rtt(CROWD_REGION, FAR_REGION, CROWD_RTT)
}

/// Name, there, back. Losses, copies and damage of one direction alone hit the requests of one agent and the replies to the
/// other's, so that both measure them, and each probe at most once.
fn faults() -> Vec<(&'static str, Path, Path)> {
    vec![
        ("delay 0 ms", delay(0), delay(0)),
        ("delay 2 ms", delay(1), delay(1)),
        ("delay 20 ms, uneven", delay(15), delay(5)),
        ("delay 150 ms", delay(75), delay(75)),
        ("later than the timeout", delay(600), delay(600)),
        ("jitter there", jitter(20, 10, false), delay(10)),
        ("jitter both ways", jitter(20, 5, false), jitter(20, 5, false)),
        ("reordering", jitter(150, 140, true), delay(10)),
        ("loss 0.1 % there", loss(0.001), delay(5)),
        ("loss 0.1 % both ways", loss(0.001), loss(0.001)),
        ("loss 1 % there", loss(0.01), delay(5)),
        ("loss 1 % back", delay(5), loss(0.01)),
        ("loss 10 % there", loss(0.1), delay(5)),
        ("loss 10 % and 5 %", loss(0.1), loss(0.05)),
        ("loss 100 % there", loss(1.0), delay(5)),
        ("cut", cut(), cut()),
        ("short bursts there", burst(0.01, 0.25, 1.0), delay(5)),
        ("long bursts both ways", burst(0.004, 0.05, 0.8), burst(0.01, 0.2, 0.5)),
        ("duplicates 5 % there", duplicate(0.05), delay(5)),
        ("corrupt 5 % there", corrupt(0.05, 0.0), delay(5)),
        ("bad checksum 5 % there", corrupt(0.0, 0.05), delay(5)),
    ]
}

fn delay(milliseconds: u64) -> Path {
    Path {
        latency: Duration::from_millis(milliseconds),
        ..Path::default()
    }
}

fn jitter(milliseconds: u64, jitter: u64, reorder: bool) -> Path {
    Path {
        jitter: Duration::from_millis(jitter),
        reorder,
        ..delay(milliseconds)
    }
}

fn loss(loss: f64) -> Path {
    Path { loss, ..delay(5) }
}

fn cut() -> Path {
    Path { up: false, ..delay(5) }
}

fn burst(enter: f64, leave: f64, loss: f64) -> Path {
    Path {
        burst: Some(Burst { enter, leave, loss }),
        ..delay(5)
    }
}

fn duplicate(duplicate: f64) -> Path {
    Path { duplicate, ..delay(5) }
}

fn corrupt(corrupt: f64, corrupt_checksum: f64) -> Path {
    Path {
        corrupt,
        corrupt_checksum,
        ..delay(5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_two_regions_have_one_case() {
        let cases = cases();
        assert_eq!(cases.len(), REGIONS * (REGIONS - 1) / 2);
        assert_eq!(cases.len(), faults().len());
        let topology = topology(3);
        for case in &cases {
            let [one, other] = &case.regions;
            assert_eq!(topology.path_between(one, other), case.there, "{}", case.name);
            assert_eq!(topology.path_between(other, one), case.back, "{}", case.name);
        }
    }

    #[test]
    fn loss_of_both_ways_counts_once() {
        let found = |name: &str| cases().into_iter().find(|case| case.name == name).unwrap();
        let near = |one: f64, other: f64| assert!((one - other).abs() < 1e-12, "{one} {other}");
        near(found("loss 10 % and 5 %").loss(), 0.145);
        near(found("cut").loss(), 1.0);
        near(found("bad checksum 5 % there").loss(), 0.05);
        near(found("corrupt 5 % there").loss(), 0.0);
    }
}
