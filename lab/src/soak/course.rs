//! One soak, inside a lab of its own.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::ledger::{Counts, Reading, holes, loss_band, wrong_loss};
use crate::enter::Inside;
use crate::error::LabError;
use crate::promql::Sample;
use crate::servers::http::{Behaviour, HttpTarget};
use crate::side_by_side;
use crate::stack::{Database, Pace, Stack, StackPlan, measured_regions};
use crate::testing::chain;
use crate::topology::Topology;
use crate::wan::Path;
use crate::world::Lab;

/// Share of packets that every path loses.
pub const LOSS: f64 = 0.0001;
/// Delays vary by that share of a path's latency, up and down.
const JITTER: f64 = 0.05;
/// Between two looks.
const MINUTE: Duration = Duration::from_mins(1);
/// Of a shorter time the share of counted probes says nothing, because readings are up to one push apart from its borders.
const ENOUGH: Duration = Duration::from_secs(50);
/// Until every pair is measured and every target is fetched after the start, on a busy machine.
const CALM_LIMIT: Duration = Duration::from_mins(2);
/// Echoes of one pair in a second: two agents, two targets each.
const PROBES_PER_SECOND: f64 = 4.0;
/// Decides the WAN's dice.
const SEED: u64 = 1;

const COUNTERS: &str = "sum by (source_region, target_region, outcome) (xprober_probes_total{probe=\"icmp\"})";
const FETCHED: &str = "sum by (source_region, target) (increase(xprober_http_probes_total[1m])) > 0";
/// Farther than the last look, so that nothing falls between two.
const LOOK_BACK: Duration = Duration::from_secs(75);
const FIRED: &str = "max_over_time(ALERTS{alertstate=\"firing\", alertname!=\"Watchdog\"}[75s])";
const PENDING: &str = "max_over_time(ALERTS{alertstate=\"pending\"}[75s])";
const WATCHDOG: &str = "ALERTS{alertstate=\"firing\", alertname=\"Watchdog\"}";

/// Options of one soak.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Seconds that are watched.
    #[arg(long = "for")]
    pub seconds: u64,
    /// The settings it runs with.
    #[arg(long, value_enum)]
    pub settings: Pace,
    /// The database it runs with.
    #[arg(long, value_enum)]
    pub database: Database,
    /// Where the summary is written.
    #[arg(long)]
    pub result: PathBuf,
}

/// What came of a soak.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Echoes that ended, were lost, and failed by the agents' own fault.
    pub echoes: [u64; 3],
    /// Between which numbers the losses should lie.
    pub band: [u64; 2],
    /// Alerts that were about to fire, and in how many minutes.
    pub pending: BTreeMap<String, u32>,
    /// What is wrong, one sentence each.
    pub complaints: Vec<String>,
}

/// Builds the lab, watches it, and writes the summary; answers whether it was asked to stop, and what is wrong.
///
/// # Errors
/// The first step that failed.
pub async fn run(inside: &Inside, options: &Options) -> Result<(bool, Vec<String>), LabError> {
    let lab = Lab::start(inside, ordinary(&Topology::demo()), SEED).await?;
    let stop = lab.stop_token();
    let summary = stop.run_until_cancelled(watch(&lab, options)).await.transpose()?;
    lab.stop().await;
    let Some(summary) = summary else {
        return Ok((true, vec!["stopped before the end".to_owned()]));
    };
    side_by_side::write(&options.result, &summary)?;
    Ok((false, summary.complaints))
}

/// The same topology with ordinary jitter and loss on every path.
#[must_use]
pub fn ordinary(topology: &Topology) -> Topology {
    let regions = topology.regions();
    let paths = regions.iter().flat_map(|from| regions.iter().map(move |to| (from, to)));
    paths
        .filter(|(from, to)| from != to)
        .fold(topology.clone(), |all, (from, to)| {
            let latency = topology.path_between(from, to).latency;
            let path = Path {
                latency,
                jitter: latency.mul_f64(JITTER),
                loss: LOSS,
                ..Path::default()
            };
            all.path(from, to, path)
        })
}

async fn watch(lab: &Lab, options: &Options) -> Result<Summary, LabError> {
    let web = [
        lab.http_target("web1", Behaviour::default())?,
        lab.https_target("web2", Behaviour::default())?,
    ];
    let stack = Stack::start(
        lab,
        &StackPlan::at_pace(lab, options.database, options.settings),
        |_| (),
    )
    .await?;
    let regions = measured_regions(lab.topology()).len();
    let (pairs, urls) = (regions * (regions - 1), regions * web.len());
    stack.wait_for(FETCHED, CALM_LIMIT, |found| found.len() == urls).await?;
    stack
        .wait_for(COUNTERS, CALM_LIMIT, |found| {
            Reading::new(found).since(&Reading::default()).len() == pairs
        })
        .await?;
    let told_before = stack.wait_until_quiet(CALM_LIMIT).await?;
    // What the first look back must not see.
    tokio::time::sleep(LOOK_BACK.saturating_sub(MINUTE)).await;
    let mut soak = Soak {
        stack,
        told_before,
        pairs,
        urls,
        total: Counts::default(),
        pending: BTreeMap::new(),
        complaints: Vec::new(),
    };
    soak.watch(options).await?;
    soak.end(web).await
}

struct Soak {
    stack: Stack,
    told_before: usize,
    pairs: usize,
    urls: usize,
    total: Counts,
    pending: BTreeMap<String, u32>,
    complaints: Vec<String>,
}

impl Soak {
    async fn watch(&mut self, options: &Options) -> Result<(), LabError> {
        let begin = Instant::now();
        let length = Duration::from_secs(options.seconds);
        let mut before = Reading::new(&self.ask(COUNTERS).await?);
        let mut last = begin;
        while begin.elapsed() < length {
            let pause = MINUTE.min(length.saturating_sub(begin.elapsed()));
            tokio::time::sleep(pause).await;
            let reading = Reading::new(&self.ask(COUNTERS).await?);
            let now = Instant::now();
            let counted = reading.since(&before);
            let mut minute = Counts::default();
            for counts in counted.values() {
                minute.add(*counts);
            }
            self.total.add(minute);
            let mut wrong = if pause >= ENOUGH {
                holes(
                    &counted,
                    self.pairs,
                    PROBES_PER_SECOND * now.duration_since(last).as_secs_f64(),
                )
            } else {
                Vec::new()
            };
            wrong.extend(self.fired().await?);
            say(options, begin.elapsed(), minute, &wrong);
            let minute = begin.elapsed().as_secs().div_ceil(MINUTE.as_secs());
            self.complaints
                .extend(wrong.into_iter().map(|one| format!("minute {minute}: {one}")));
            (before, last) = (reading, now);
        }
        Ok(())
    }

    /// What fired in the last minute, whoever was told, and what should be there and is not.
    async fn fired(&mut self) -> Result<Vec<String>, LabError> {
        let mut wrong: Vec<_> = self
            .ask(FIRED)
            .await?
            .iter()
            .map(|one| format!("{:?} fired", one.labels))
            .collect();
        for one in self.ask(PENDING).await? {
            *self.pending.entry(one.label("alertname").to_owned()).or_default() += 1;
        }
        if self.ask(WATCHDOG).await?.is_empty() {
            wrong.push("the watchdog does not fire".to_owned());
        }
        let urls = self.ask(FETCHED).await?.len();
        if urls != self.urls {
            wrong.push(format!("{urls} of {} URLs by region were fetched", self.urls));
        }
        let messages = self.stack.sink.received().len() - self.told_before;
        if messages > 0 {
            wrong.push(format!("the webhook has got {messages} messages"));
        }
        Ok(wrong)
    }

    async fn ask(&self, expression: &str) -> Result<Vec<Sample>, LabError> {
        self.stack.store.client().query(expression).await
    }

    async fn end(mut self, web: [HttpTarget; 2]) -> Result<Summary, LabError> {
        let known = self.stack.alertmanager.alerts().await?;
        let names = known
            .iter()
            .map(|alert| alert["labels"]["alertname"].as_str().unwrap_or_default());
        let names: Vec<_> = names.collect();
        if names != ["Watchdog"] {
            self.complaints
                .push(format!("Alertmanager has {names:?} instead of the watchdog alone"));
        }
        self.complaints.extend(wrong_loss(self.total, LOSS));
        if let Err(error) = self.stack.stop().await {
            self.complaints.push(chain(&error));
        }
        for target in &web {
            target.stop().await;
        }
        Ok(Summary {
            echoes: [self.total.all, self.total.lost, self.total.stalled],
            band: loss_band(self.total, LOSS),
            pending: self.pending,
            complaints: self.complaints,
        })
    }
}

fn say(options: &Options, elapsed: Duration, minute: Counts, wrong: &[String]) {
    let name = format!("{}, {}", options.settings.name(), options.database.name());
    let wrong = if wrong.is_empty() {
        "nothing fired".to_owned()
    } else {
        wrong.join("; ")
    };
    let _gone = writeln!(
        std::io::stdout(),
        "soak, {name}: {:>4} s, {} echoes, {} lost, {} stalled, {wrong}",
        elapsed.as_secs(),
        minute.all,
        minute.lost,
        minute.stalled,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_gets_loss_and_jitter_and_keeps_its_latency() {
        let (calm, ordinary) = (Topology::demo(), ordinary(&Topology::demo()));
        assert_eq!(ordinary.hosts(), calm.hosts());
        let path = ordinary.path_between("region-d", "region-a");
        assert_eq!(
            (path.latency, path.jitter),
            (Duration::from_millis(21), Duration::from_micros(1_050))
        );
        assert!((path.loss - LOSS).abs() < f64::EPSILON);
        assert_eq!(
            ordinary.rtt_between("region-d", "region-a"),
            calm.rtt_between("region-d", "region-a")
        );
    }
}
