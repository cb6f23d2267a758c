//! What each spelling costs: `wire_cost [TARGETS]` prints bytes and CPU time per sample, stamping apart from encoding.
//!
//! One push window of the mesh of `tests/mesh`; medians of many rounds. No network; run it as a release build.

#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::collections::BTreeMap;
use std::env;
use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use xprober_agent::queue::SealedRequest;
use xprober_agent::samples::sample::Samples;
use xprober_agent::samples::series::SeriesSet;
use xprober_agent::samples::snapshot;
use xprober_agent::wire::{Encoder, EncoderSettings, Histograms, Protocol, reencode};
use xprober_config::agent::Detail;

#[path = "../tests/mesh/mod.rs"]
mod mesh;

/// Each takes a millisecond or two, so that most are over before anything else gets the processor.
const ROUNDS: usize = 101;
const MAX_SAMPLES: usize = 2000;
const TIMESTAMP: i64 = 1_790_000_000_000;

fn main() -> Result<()> {
    let count = env::args().nth(1).map_or(Ok(300), |count| count.parse());
    let now = Instant::now();
    let (ledger, agent) = (mesh::ledger(count.context("how many targets?")?, now)?, mesh::agent());
    let mut series = SeriesSet::new(
        ["xprober", "vm1", "eu-central-1"].map(str::to_owned),
        TIMESTAMP - 60_000,
    );

    let (mut groups, mut stamping) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let before = Instant::now();
        series.begin(TIMESTAMP + 5000 * i64::try_from(round)?);
        let mut samples = 0;
        for group in snapshot(&ledger, &agent, Detail::Target, now) {
            samples += black_box(series.stamp(&group)).len();
        }
        series.end(|_| {});
        stamping.push(per(before.elapsed(), samples as u64));
    }
    series.begin(TIMESTAMP + 100_000);
    for group in snapshot(&ledger, &agent, Detail::Target, now) {
        groups.push(series.stamp(&group).clone());
    }
    println!("stamping {} ns per sample", median(&mut stamping));

    let labels = [("cluster", "edge"), ("zone", "z1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    for protocol in Protocol::ALL {
        let (bare, requests) = encode(&groups, protocol, BTreeMap::new());
        let (labelled, _) = encode(&groups, protocol, labels.clone().into());
        let samples: u64 = requests.iter().map(|request| request.samples).sum();
        let bytes: usize = requests.iter().map(|request| request.bytes.len()).sum();
        let hundredths = bytes as u64 * 100 / samples.max(1);
        println!(
            "{:8} {samples} samples: {}.{:02} bytes, encoding {bare} ns per sample, with two more labels {labelled} ns",
            protocol.as_str(),
            hundredths / 100,
            hundredths % 100,
        );
        for to in Protocol::ALL.into_iter().filter(|to| *to != protocol) {
            println!(
                "{:8} to {}: {} ns per sample",
                "",
                to.as_str(),
                respell(&requests, to, samples)?
            );
        }
    }
    Ok(())
}

/// Nanoseconds per sample, and the requests.
fn encode(groups: &[Samples], protocol: Protocol, labels: BTreeMap<String, String>) -> (u128, Vec<SealedRequest>) {
    let mut encoder = Encoder::new(&EncoderSettings {
        protocol,
        histograms: Histograms::Classic,
        labels,
        max_samples: MAX_SAMPLES,
    });
    let (now, mut times, mut requests) = (Instant::now(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        requests.clear();
        let before = Instant::now();
        for group in groups {
            encoder.append(group, now, |request| requests.push(request));
        }
        encoder.finish(now, |request| requests.push(request));
        let time = before.elapsed();
        times.push(per(time, requests.iter().map(|request| request.samples).sum()));
    }
    (median(&mut times), requests)
}

fn respell(requests: &[SealedRequest], to: Protocol, samples: u64) -> Result<u128> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let before = Instant::now();
        for request in requests {
            black_box(reencode(request, to)?);
        }
        times.push(per(before.elapsed(), samples));
    }
    Ok(median(&mut times))
}

fn per(time: Duration, number: u64) -> u128 {
    time.as_nanos() / u128::from(number.max(1))
}

fn median(values: &mut [u128]) -> u128 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
