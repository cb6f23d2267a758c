//! What the ledger and the way from it to sealed requests cost: `ledger_footprint TARGETS...` prints memory and time.
//!
//! Twenty-one push windows of five probes per target, the first one not timed. No network; run it as a release build, once
//! for each number of targets, because memory that was freed stays with the process. The kernel counts a thread's time in
//! ticks, so with few targets only the sum of both times is right.

#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use xprober_agent::ledger::Ledger;
use xprober_agent::plan::{Change, PlanStatus};
use xprober_agent::probe::{EchoResult, Outcome};
use xprober_agent::samples::series::SeriesSet;
use xprober_agent::samples::{AgentState, EngineCounters, snapshot};
use xprober_agent::wire::{Encoder, EncoderSettings, Histograms, Protocol};
use xprober_config::agent::Detail;
use xprober_proto::{IcmpSpec, ProbeSpec, Revision, Target};

const WINDOWS: i64 = 21;
const PROBES: u64 = 5;
const MAX_SAMPLES: usize = 2000;

fn main() -> Result<()> {
    for count in env::args().skip(1) {
        measure(count.parse().context("how many targets?")?)?;
    }
    Ok(())
}

fn measure(count: u64) -> Result<()> {
    let targets = (0..count).map(target).collect::<Result<Vec<_>>>()?;
    let before = memory("VmRSS")?;
    let mut bench = Bench::new();
    for target in &targets {
        bench.ledger.apply(&Change::Upsert(Arc::clone(target)));
    }
    bench.window(&targets, 0)?;
    (bench.recording, bench.sampling, bench.samples) = (Duration::ZERO, Duration::ZERO, 0);
    for window in 1..WINDOWS {
        bench.window(&targets, window)?;
    }
    let results = count * PROBES * WINDOWS.unsigned_abs().saturating_sub(1);
    let per = |time: Duration, number: u64| time.as_nanos() / u128::from(number.max(1));
    println!(
        "{count} targets: {} ns per result, {} ns per sample, together {} ns per result; {} kB more, at most {} kB in all; {} B per push",
        per(bench.recording, results),
        per(bench.sampling, bench.samples),
        per(bench.recording + bench.sampling, results),
        memory("VmRSS")?.saturating_sub(before),
        memory("VmHWM")?,
        bench.bytes,
    );
    Ok(())
}

struct Bench {
    ledger: Ledger,
    series: SeriesSet,
    encoder: Encoder,
    agent: AgentState,
    recording: Duration,
    sampling: Duration,
    samples: u64,
    bytes: usize,
}

impl Bench {
    fn new() -> Self {
        Self {
            ledger: Ledger::default(),
            series: SeriesSet::new(["xprober", "vm1", "region1"].map(str::to_owned), 0),
            encoder: Encoder::new(&EncoderSettings {
                protocol: Protocol::V1Snappy,
                histograms: Histograms::Classic,
                labels: BTreeMap::new(),
                max_samples: MAX_SAMPLES,
            }),
            agent: agent(),
            recording: Duration::ZERO,
            sampling: Duration::ZERO,
            samples: 0,
            bytes: 0,
        }
    }

    fn window(&mut self, targets: &[Arc<Target>], window: i64) -> Result<()> {
        let begin = cpu_time()?;
        for probe in 0..PROBES {
            for (number, target) in (0..).zip(targets) {
                let mut result = EchoResult::failed(Arc::clone(target), Outcome::Ok, None);
                let spread = (number * 7 + probe * 13 + window.unsigned_abs()) % 500;
                result.rtt = Some(Duration::from_micros(1000 + spread));
                self.ledger.record_echo(&result);
            }
        }
        let recorded = cpu_time()?;
        self.sample(Instant::now(), window * 5000);
        self.recording += recorded.saturating_sub(begin);
        self.sampling += cpu_time()?.saturating_sub(recorded);
        Ok(())
    }

    fn sample(&mut self, now: Instant, timestamp: i64) {
        self.ledger.close_window(now);
        let mut sealed = Vec::new();
        let mut seal = |request| sealed.push(request);
        self.series.begin(timestamp);
        for group in snapshot(&self.ledger, &self.agent, Detail::Target, now) {
            self.encoder.append(self.series.stamp(&group), now, &mut seal);
        }
        self.series.end(|ended| self.encoder.append(ended, now, &mut seal));
        self.encoder.finish(now, &mut seal);
        self.bytes = 0;
        for request in sealed {
            self.samples += request.samples;
            self.bytes += request.bytes.len();
        }
    }
}

fn target(number: u64) -> Result<Arc<Target>> {
    let name = format!("127.1.{}.{}", number / 250, number % 250 + 1);
    Ok(Arc::new(Target {
        id: format!("icmp/{name}").parse()?,
        region: "region2".parse()?,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        probe: ProbeSpec::Icmp(IcmpSpec::new(name.parse()?, 56)),
        name,
    }))
}

fn agent() -> AgentState {
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

/// Time that this thread ran: what others do on the machine does not count.
fn cpu_time() -> Result<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos = text.split_whitespace().next().context("no CPU time")?;
    Ok(Duration::from_nanos(nanos.parse()?))
}

/// A line of the process's status, kB.
fn memory(name: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes.with_context(|| format!("no {name}"))?.parse()?)
}
