//! A push window of a mesh as it is in the field, the same in every run: targets in four regions, each with a delay of its
//! own around which round-trip times scatter, planned at different times and losing a probe now and then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use xprober_agent::ledger::Ledger;
use xprober_agent::plan::{Change, PlanStatus};
use xprober_agent::probe::{EchoResult, Outcome};
use xprober_agent::samples::{AgentState, EngineCounters};
use xprober_proto::{IcmpSpec, ProbeSpec, Revision, Target};

/// Probes of a target in the window that is said.
const PROBES: u64 = 5;
/// Most probes of a target before that.
const EARLIER_PROBES: u64 = 400;
/// Of so many probes one is lost.
const LOST_ONE_OF: u64 = 300;
const REGIONS: [&str; 4] = ["ap-east-1", "ap-southeast-1", "us-west-2", "sa-east-1"];

/// Counts everything for so many targets and closes the window.
pub(crate) fn ledger(targets: u64, now: Instant) -> Result<Ledger> {
    let mut ledger = Ledger::default();
    let mut random = Random(1);
    for number in 0..targets {
        let target = target(number)?;
        ledger.apply(&Change::Upsert(Arc::clone(&target)));
        let base_nanos = 5_000_000 + number % 4 * 60_000_000 + random.below(3_000_000);
        for _ in 0..PROBES + random.below(EARLIER_PROBES) {
            let lost = random.below(LOST_ONE_OF) == 0;
            let outcome = if lost { Outcome::Lost } else { Outcome::Ok };
            let rtt = Duration::from_nanos(base_nanos + random.below(400_000));
            ledger.record_echo(&EchoResult {
                rtt: (!lost).then_some(rtt),
                ..EchoResult::failed(Arc::clone(&target), outcome, None)
            });
        }
    }
    ledger.close_window(now);
    Ok(ledger)
}

fn target(number: u64) -> Result<Arc<Target>> {
    let (region, host) = (number % 4, number / 4);
    let address = format!("10.{}.{}.{}", 16 + region, host / 250, host % 250 + 1);
    Ok(Arc::new(Target {
        id: format!("icmp/{address}").parse()?,
        region: REGIONS[usize::try_from(region).unwrap_or_default()].parse()?,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        probe: ProbeSpec::Icmp(IcmpSpec::new(address.parse()?, 56)),
        name: address,
    }))
}

/// What the agent knows of itself.
pub(crate) fn agent() -> AgentState {
    AgentState {
        version: "1.2.3",
        plan: PlanStatus {
            connected: true,
            revision: Revision(1),
            targets: 0,
            last_heard: None,
            rejected: BTreeMap::new(),
        },
        max_lateness: Duration::ZERO,
        skipped_ticks: 0,
        engine: EngineCounters::default(),
        endpoints: Vec::new(),
    }
}

/// Steele, Lea and Flood's `SplitMix64`: the same scatter in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
