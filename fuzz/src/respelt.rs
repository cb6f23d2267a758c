//! What the disk gives back: a sealed request that is spelt in another protocol before it is sent.

use std::time::Instant;

use prost::Message as _;
use xprober_agent::queue::SealedRequest;
use xprober_agent::wire::{Protocol, ReencodeError, reencode};
use xprober_proto::{remote_write as v1, remote_write_v2 as v2};

use crate::Target;
use crate::input::Input;

/// Sealed requests, whole and damaged.
pub const TARGET: Target = Target {
    name: "respelt",
    run,
    seeds,
};

/// The first byte says how the request is spelt, into what, and whether the rest is its message or its compressed bytes.
///
/// # Panics
///
/// When what could be spelt in another way is another request on the way back.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let choice = usize::from(input.byte());
    let protocols = Protocol::ALL;
    let (from, to) = (protocols[choice % 3], protocols[choice / 3 % 3]);
    let compressed = choice >= 9;
    // What zstd makes of a message we cannot write by hand.
    let from = if compressed || from != Protocol::V1Zstd {
        from
    } else {
        Protocol::V1Snappy
    };
    let bytes = if compressed {
        input.rest().to_vec()
    } else {
        literal(input.rest())
    };
    let mut request = SealedRequest {
        bytes: bytes.into(),
        protocol: from,
        samples: 0,
        min_timestamp: 0,
        max_timestamp: 0,
        sealed_at: Instant::now(),
    };
    if from == to {
        return;
    }
    if let Err(ReencodeError::Samples { found, .. }) = reencode(&request, to) {
        request.samples = found;
    }
    let Ok(there) = reencode(&request, to) else {
        return;
    };
    let back = reencode(&there, from).expect("our own bytes");
    let again = reencode(&back, to).expect("our own bytes");
    // The start of counting is lost in Remote-Write 1.0, so only the second time is like the first.
    if from == Protocol::V2Snappy || to == Protocol::V2Snappy {
        assert_eq!(again, there);
    }
    assert_eq!(reencode(&again, from).expect("our own bytes"), back);
}

/// A snappy block of one literal: the format of uncompressed bytes.
fn literal(message: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    prost::encoding::encode_varint(message.len() as u64, &mut block);
    if let Some(last) = message.len().checked_sub(1) {
        // 63 announces four bytes of length.
        block.push(63 << 2);
        block.extend_from_slice(&u32::try_from(last).unwrap_or(u32::MAX).to_le_bytes());
        block.extend_from_slice(message);
    }
    block
}

fn seeds() -> Vec<Vec<u8>> {
    let with = |choice: u8, message: Vec<u8>| [vec![choice], message].concat();
    vec![
        // 1.0 to 2.0, 2.0 to 1.0, and a block of nothing.
        with(6, old().encode_to_vec()),
        with(2, new().encode_to_vec()),
        with(9 + 6, vec![0]),
        with(9 + 6, literal(&old().encode_to_vec())),
        // No text but the empty one: nothing else puts that into the table of symbols.
        with(2, nameless().encode_to_vec()),
    ]
}

fn old() -> v1::WriteRequest {
    let label = |name: &str, value: &str| v1::Label {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let labels = |name| vec![label("__name__", name), label("job", "xprober")];
    let histogram = v1::Histogram {
        count: Some(v1::histogram::Count::CountInt(3)),
        sum: 0.5,
        schema: 3,
        positive_spans: vec![v1::BucketSpan { offset: -7, length: 2 }],
        positive_deltas: vec![1, 1],
        timestamp: 5,
        ..v1::Histogram::default()
    };
    let series = |name, samples, histograms| v1::TimeSeries {
        labels: labels(name),
        samples,
        histograms,
    };
    let sample = v1::Sample {
        value: 1.5,
        timestamp: 5,
    };
    v1::WriteRequest {
        timeseries: vec![
            series("xprober_target_up", vec![sample], vec![]),
            series("xprober_rtt_seconds", vec![], vec![histogram]),
        ],
    }
}

fn new() -> v2::Request {
    let symbols = ["", "__name__", "xprober_target_up", "xprober_rtt_seconds", "help"];
    let histogram = v2::Histogram {
        sum: 0.5,
        timestamp: 5,
        start_timestamp: 1,
        ..v2::Histogram::default()
    };
    let series = |name, samples, histograms| v2::TimeSeries {
        labels_refs: vec![1, name],
        samples,
        histograms,
        metadata: Some(v2::Metadata {
            r#type: 2,
            help_ref: 4,
            unit_ref: 0,
        }),
    };
    let sample = v2::Sample {
        value: 1.5,
        timestamp: 5,
        start_timestamp: 1,
    };
    v2::Request {
        symbols: symbols.map(str::to_owned).into(),
        timeseries: vec![series(2, vec![sample], vec![]), series(3, vec![], vec![histogram])],
    }
}

fn nameless() -> v2::Request {
    let series = v2::TimeSeries {
        labels_refs: vec![0, 0],
        samples: vec![v2::Sample::default()],
        ..v2::TimeSeries::default()
    };
    v2::Request {
        symbols: vec![String::new()],
        timeseries: vec![series],
    }
}
