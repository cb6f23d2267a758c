//! From one protocol to the other and back, and what damaged bytes do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use prost::Message as _;
use xprober_proto::remote_write_v2::Request;

use super::*;
use crate::ledger::Ledger;
use crate::ledger::tests::{echo, target};
use crate::plan::Change;
use crate::probe::Outcome;
use crate::samples::catalogue::{self, RTT, TARGET_SENT, TARGET_UP};
use crate::samples::sample::{STALE_MARKER, Samples};
use crate::samples::series::SeriesSet;
use crate::samples::snapshot;
use crate::wire::{Encoder, EncoderSettings, Histograms, label};
use xprober_config::agent::Detail;
use xprober_proto::ProbeKind;

/// What a series of a generated request says.
#[derive(Debug, Clone)]
enum Said {
    Number(u64),
    Native(Vec<u8>),
}

type Given = Vec<(BTreeMap<String, String>, Said, i64)>;

fn given() -> impl Strategy<Value = Given> {
    let histogram = |(count, sum): (u64, u64)| {
        let mut message = vec![0x08];
        prost::encoding::encode_varint(count, &mut message);
        message.push(0x19);
        message.extend(sum.to_le_bytes());
        Said::Native(message)
    };
    let said = prop_oneof![
        any::<u64>().prop_map(Said::Number),
        Just(Said::Number(STALE_MARKER)),
        any::<(u64, u64)>().prop_map(histogram),
    ];
    let labels = prop::collection::btree_map("[a-d]{1,2}", "[a-c]{1,2}|\\PC{1,30}", 1..8);
    prop::collection::vec((labels, said, any::<i64>()), 1..40)
}

fn seal(given: &Given, protocol: Protocol) -> SealedRequest {
    let settings = EncoderSettings {
        protocol,
        histograms: Histograms::Both,
        labels: BTreeMap::new(),
        max_samples: given.len(),
    };
    let (mut encoder, mut sealed) = (Encoder::new(&settings), Vec::new());
    for (labels, said, timestamp) in given {
        let mut group = Samples::default();
        group.restart(*timestamp);
        group.count_from(timestamp.saturating_sub(5));
        let put = |to: &mut Vec<u8>| {
            for (name, value) in labels {
                label::put(to, name.as_bytes(), value.as_bytes());
            }
        };
        match said {
            Said::Number(bits) => group.push(&TARGET_SENT, f64::from_bits(*bits), put),
            Said::Native(message) => {
                let mut message = message.clone();
                message.push(0x78);
                prost::encoding::encode_varint(timestamp.cast_unsigned(), &mut message);
                group.push_native(&RTT, &message, put);
            }
        }
        encoder.append(&group, Instant::now(), |request| sealed.push(request));
    }
    encoder.finish(Instant::now(), |request| sealed.push(request));
    assert_eq!(sealed.len(), 1);
    sealed.remove(0)
}

fn message(request: &SealedRequest) -> Vec<u8> {
    decompress(request.protocol, &request.bytes).unwrap()
}

/// One with the other message.
const fn other(protocol: Protocol) -> Protocol {
    match protocol {
        Protocol::V1Snappy | Protocol::V1Zstd => Protocol::V2Snappy,
        Protocol::V2Snappy => Protocol::V1Snappy,
    }
}

/// Requests that our own ledger leads to, with native histograms and the ends of all series.
fn snapshots(protocol: Protocol) -> Vec<SealedRequest> {
    let mut ledger = Ledger::with_exponential_buckets();
    let targets: Vec<_> = ["vm3", "vm4"]
        .iter()
        .map(|name| target(name, "region-b", name, ProbeKind::Icmp))
        .collect();
    for target in &targets {
        ledger.apply(&Change::Upsert(target.clone()));
        for rtt in [9, 12, 40] {
            ledger.record_echo(&echo(target, Outcome::Ok, rtt));
        }
    }
    let now = Instant::now();
    ledger.close_window(now);
    let settings = EncoderSettings {
        protocol,
        histograms: Histograms::Both,
        labels: [("zone".to_owned(), "z1".to_owned())].into(),
        max_samples: 50,
    };
    let (mut encoder, mut requests) = (Encoder::new(&settings), Vec::new());
    let mut series = SeriesSet::new(["xprober", "vm1", "region-a"].map(str::to_owned), 1_000);
    let agent = crate::samples::tests::agent(now);
    series.begin(6_000);
    for group in snapshot(&ledger, &agent, Detail::Target, now) {
        encoder.append(series.stamp(&group), now, |request| requests.push(request));
    }
    series.end(|_| unreachable!("nothing ended yet"));
    series.begin(11_000);
    series.end(|ended| encoder.append(ended, now, |request| requests.push(request)));
    encoder.finish(now, |request| requests.push(request));
    requests
}

#[test]
fn what_our_own_series_say_is_found_again() {
    for (old, new) in snapshots(Protocol::V1Zstd).iter().zip(&snapshots(Protocol::V2Snappy)) {
        let again = reencode(old, Protocol::V2Snappy).unwrap();
        let decode = |request| Request::decode(message(request).as_slice()).unwrap();
        let (mut expected, again) = (decode(new), decode(&again));
        // Remote-Write 1.0 has no place for the start.
        for series in &mut expected.timeseries {
            series.samples.iter_mut().for_each(|sample| sample.start_timestamp = 0);
            series
                .histograms
                .iter_mut()
                .for_each(|histogram| histogram.start_timestamp = 0);
        }
        // Bytes, because stale markers are no numbers.
        assert_eq!(again.encode_to_vec(), expected.encode_to_vec());
        assert!(
            again
                .timeseries
                .iter()
                .all(|series| series.metadata.is_some_and(|metadata| metadata.help_ref > 0))
        );
    }
}

#[test]
fn counters_and_histograms_have_a_start_and_gauges_have_none() {
    for request in snapshots(Protocol::V2Snappy) {
        let request = Request::decode(message(&request).as_slice()).unwrap();
        for series in &request.timeseries {
            let gauge = series.metadata.unwrap().r#type == 2;
            let samples = series.samples.iter().map(|sample| sample.start_timestamp);
            let starts: Vec<_> = samples
                .chain(series.histograms.iter().map(|histogram| histogram.start_timestamp))
                .collect();
            assert_eq!(starts, [if gauge { 0 } else { 1_000 }]);
        }
    }
}

#[test]
fn every_damaged_byte_ends_in_an_error_or_in_a_request_and_never_in_a_panic() {
    for protocol in Protocol::ALL {
        let request = snapshots(protocol).remove(0);
        for place in 0..request.bytes.len() {
            let mut bytes = request.bytes.to_vec();
            bytes[place] ^= 0x41;
            let damaged = SealedRequest {
                bytes: bytes.into(),
                ..request.clone()
            };
            let cut = SealedRequest {
                bytes: request.bytes.slice(..place),
                ..request.clone()
            };
            for spoilt in [damaged, cut] {
                if let Ok(again) = reencode(&spoilt, other(protocol)) {
                    assert_eq!(again.samples, request.samples);
                }
            }
        }
    }
}

#[test]
fn a_request_that_holds_more_than_it_says_is_damaged() {
    let mut request = snapshots(Protocol::V1Snappy).remove(0);
    request.samples -= 1;
    let error = reencode(&request, Protocol::V2Snappy);
    assert!(
        matches!(error, Err(ReencodeError::Samples { said, found }) if said == request.samples && found == said + 1),
        "{error:?}"
    );
}

#[test]
fn labels_that_are_no_text_are_not_sent_on() {
    let (mut labels, mut group) = (Vec::new(), Samples::default());
    label::put(&mut labels, b"__name__", b"\xff");
    group.restart(1);
    group.push(&TARGET_UP, 1.0, |to| to.extend_from_slice(&labels));
    for protocol in Protocol::ALL {
        let settings = EncoderSettings {
            protocol,
            histograms: Histograms::Classic,
            labels: BTreeMap::new(),
            max_samples: 1,
        };
        let (mut encoder, mut sealed) = (Encoder::new(&settings), None);
        encoder.append(&group, Instant::now(), |_| unreachable!("one of one"));
        encoder.finish(Instant::now(), |request| sealed = Some(request));
        assert!(matches!(
            reencode(&sealed.unwrap(), other(protocol)),
            Err(ReencodeError::Malformed(_))
        ));
    }
}

#[test]
fn the_catalogue_has_no_metric_that_looks_like_a_part_of_a_histogram() {
    let histograms = catalogue::ALL
        .iter()
        .filter(|metric| metric.kind == catalogue::Kind::Histogram);
    for histogram in histograms {
        let parts = catalogue::ALL
            .iter()
            .filter(|metric| metric.name.starts_with(histogram.name));
        assert_eq!(parts.count(), 1, "{}", histogram.name);
    }
}

proptest! {
    #[test]
    fn there_and_back_again_is_the_same_message(given in given(), zstd: bool) {
        let protocol = if zstd { Protocol::V1Zstd } else { Protocol::V1Snappy };
        let first = seal(&given, protocol);
        for way in [Protocol::V2Snappy, Protocol::V1Snappy, Protocol::V1Zstd] {
            let there = reencode(&first, way).unwrap();
            prop_assert_eq!(&there, &reencode(&first, way).unwrap(), "the same every time");
            prop_assert_eq!(there.protocol, way);
            let back = reencode(&there, protocol).unwrap();
            prop_assert_eq!(message(&back), message(&first));
            prop_assert_eq!(&back, &SealedRequest { bytes: back.bytes.clone(), ..first.clone() });
        }
    }

    #[test]
    fn what_was_sealed_for_the_one_is_what_would_have_been_for_the_other(given in given()) {
        let (old, new) = (seal(&given, Protocol::V1Snappy), seal(&given, Protocol::V2Snappy));
        prop_assert_eq!(message(&reencode(&new, Protocol::V1Snappy).unwrap()), message(&old));
    }

    #[test]
    fn any_bytes_are_an_error_or_a_request(bytes in prop::collection::vec(any::<u8>(), 0..300), samples in 0u64..3) {
        for protocol in Protocol::ALL {
            let request = SealedRequest {
                bytes: Compressor::default().compress(protocol, &bytes).unwrap(),
                protocol,
                samples,
                min_timestamp: 0,
                max_timestamp: 0,
                sealed_at: Instant::now() + Duration::ZERO,
            };
            for to in Protocol::ALL {
                let again = reencode(&request, to);
                prop_assert!(again.is_err() || again.is_ok_and(|again| again.samples == samples));
            }
        }
    }
}
