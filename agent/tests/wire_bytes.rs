//! What travels per sample, on a snapshot of our own: 2,000 samples with 8 labels each, grouped by target.

use std::time::Instant;

use anyhow::{Result, ensure};
use xprober_agent::samples::catalogue::Scope;
use xprober_agent::samples::series::SeriesSet;
use xprober_agent::samples::snapshot;
use xprober_agent::wire::{Encoder, EncoderSettings, Histograms, Protocol};
use xprober_config::agent::Detail;

mod mesh;

const MAX_SAMPLES: usize = 2000;
/// Enough for a full request: seven series each.
const TARGETS: u64 = 300;
/// Milliseconds since the Unix epoch.
const NOW: i64 = 1_790_000_000_123;

/// Bytes of the first full request, per thousand samples.
fn bytes_of(protocol: Protocol) -> Result<u64> {
    let now = Instant::now();
    let (ledger, agent) = (mesh::ledger(TARGETS, now)?, mesh::agent());
    let mut series = SeriesSet::new(["xprober", "vm1", "eu-central-1"].map(str::to_owned), NOW - 86_400_000);
    let mut encoder = Encoder::new(&EncoderSettings {
        protocol,
        histograms: Histograms::Classic,
        // The eighth label of each series.
        labels: [("cluster".to_owned(), "edge-1".to_owned())].into(),
        max_samples: MAX_SAMPLES,
    });
    let mut requests = Vec::new();
    series.begin(NOW);
    for group in snapshot(&ledger, &agent, Detail::Target, now) {
        if group.subject.scope() == Scope::Target {
            encoder.append(series.stamp(&group), now, |request| requests.push(request));
        }
    }
    let [request] = requests.as_slice() else {
        anyhow::bail!("{} full requests", requests.len());
    };
    ensure!(request.samples > 1990, "{} samples", request.samples);
    Ok(request.bytes.len() as u64 * 1000 / request.samples)
}

#[test]
fn no_protocol_takes_more_bytes_per_sample_than_promised() -> Result<()> {
    for (protocol, most) in [
        (Protocol::V1Snappy, 27_000),
        (Protocol::V2Snappy, 16_000),
        (Protocol::V1Zstd, 12_000),
    ] {
        let bytes = bytes_of(protocol)?;
        ensure!(bytes <= most, "{}: {bytes} bytes per 1000 samples", protocol.as_str());
        // The same samples are the same bytes: what waits can be sent twice.
        ensure!(bytes_of(protocol)? == bytes);
    }
    Ok(())
}
