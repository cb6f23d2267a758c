//! What an endpoint is sent: grouped, filtered, labelled.

use proptest::prelude::*;
use prost::Message as _;
use xprober_proto::remote_write::{TimeSeries, WriteRequest};
use xprober_proto::remote_write_v2::Request;

use super::*;
use crate::samples::catalogue::{self, RTT, TARGET_UP};
use crate::wire::compress::decompress;
use crate::wire::label;

fn settings(protocol: Protocol, max_samples: usize) -> EncoderSettings {
    EncoderSettings {
        protocol,
        histograms: Histograms::Classic,
        labels: BTreeMap::new(),
        max_samples,
    }
}

fn put_labels(to: &mut Vec<u8>, name: &str) {
    label::put(to, b"__name__", name.as_bytes());
    label::put(to, b"b", b"1");
}

fn group(samples: &[(&str, f64)], timestamp: i64) -> Samples {
    let mut group = Samples::default();
    group.restart(timestamp);
    for (name, value) in samples {
        group.push(&TARGET_UP, *value, |labels| put_labels(labels, name));
    }
    group
}

fn encode(encoder: &mut Encoder, groups: &[Samples]) -> Vec<SealedRequest> {
    let (now, mut requests) = (Instant::now(), Vec::new());
    for group in groups {
        encoder.append(group, now, |request| requests.push(request));
    }
    encoder.finish(now, |request| requests.push(request));
    encoder.finish(now, |_| unreachable!("an empty request is sealed"));
    requests
}

fn decoded(request: &SealedRequest) -> Vec<TimeSeries> {
    let message = decompress(request.protocol, &request.bytes).unwrap();
    WriteRequest::decode(message.as_slice()).unwrap().timeseries
}

/// Names of the series of some requests, with the extra labels of each.
fn shown(requests: &[SealedRequest]) -> Vec<String> {
    let all = requests.iter().flat_map(decoded);
    let show = |series: TimeSeries| {
        let pairs: Vec<_> = series
            .labels
            .iter()
            .map(|label| format!("{}={}", label.name, label.value))
            .collect();
        pairs.join(",")
    };
    all.map(show).collect()
}

/// 2,000 samples with 8 labels each, of 250 targets one after the other: names as long as those of clouds are, counters that
/// differ by what was lost, times of a pair scattered and rounded to a microsecond.
fn batch() -> Vec<Samples> {
    let mut random = 1_u64;
    let mut below = |most: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % most
    };
    let float = |number: u64| f64::from(u32::try_from(number).unwrap());
    let target = |number: u64| {
        let (sent, lost) = (86_400 - below(600), below(20));
        let least = (number % 10 + 1) * 7_000 + below(3_000);
        let seconds = |micros: u64| float(micros) / 1e6;
        let values = [
            (&catalogue::TARGET_SENT, float(sent)),
            (&catalogue::TARGET_RECEIVED, float(sent - lost)),
            (&catalogue::TARGET_RTT_MIN, seconds(least)),
            (&catalogue::TARGET_RTT_AVG, seconds(least + 150 + below(50))),
            (&catalogue::TARGET_RTT_MAX, seconds(least + 300 + below(400))),
            (&catalogue::TARGET_JITTER, seconds(below(90))),
            (&catalogue::TARGET_REPLY_TTL, float(52 + number % 10)),
            (&TARGET_UP, 1.0),
        ];
        let mut group = Samples::default();
        group.restart(1_790_000_000_123);
        group.count_from(1_789_900_000_456);
        for (metric, value) in values {
            group.push(metric, value, |labels| {
                for (name, value) in [
                    ("__name__", metric.name.to_owned()),
                    ("cluster", "edge-1".to_owned()),
                    ("instance", "vm-eu-central-1a-17".to_owned()),
                    ("job", "xprober".to_owned()),
                    ("probe", "icmp".to_owned()),
                    ("source_region", "eu-central-1".to_owned()),
                    ("target", format!("vm-ap-southeast-{number:05}")),
                    ("target_region", format!("ap-southeast-{}", number % 10)),
                ] {
                    label::put(labels, name.as_bytes(), value.as_bytes());
                }
            });
        }
        group
    };
    (0..250).map(target).collect()
}

#[test]
fn two_thousand_samples_of_eight_labels_take_no_more_bytes_than_promised() {
    let groups = batch();
    for (protocol, most) in [
        (Protocol::V1Snappy, 27),
        (Protocol::V2Snappy, 16),
        (Protocol::V1Zstd, 12),
    ] {
        let requests = encode(&mut Encoder::new(&settings(protocol, 2000)), &groups);
        let [request] = requests.as_slice() else {
            panic!("{} requests", requests.len());
        };
        assert_eq!(request.samples, 2000);
        let bytes = request.bytes.len();
        assert!(bytes <= most * 2000, "{protocol:?}: {bytes} bytes");
    }
}

#[test]
fn a_group_stays_in_one_request_where_it_fits() {
    let group = |size| group(&vec![("m", 1.0); size], 1);
    for protocol in Protocol::ALL {
        let sizes = |groups: &[Samples], max| {
            let requests = encode(&mut Encoder::new(&settings(protocol, max)), groups);
            requests.iter().map(|request| request.samples).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[group(3), group(3), group(2)], 5), [3, 5]);
        assert_eq!(sizes(&[group(2), group(7), group(1)], 3), [2, 3, 3, 2]);
        assert_eq!(sizes(&[group(0)], 3), [0u64; 0]);
    }
}

#[test]
fn a_group_is_as_large_as_what_is_sent_of_it() {
    let mut mixed = Samples::default();
    mixed.restart(1);
    for _ in 0..2 {
        mixed.push(&RTT, 1.0, |labels| put_labels(labels, "classic"));
    }
    mixed.push_native(&RTT, b"\x78\x01", |labels| put_labels(labels, "native"));
    mixed.push(&TARGET_UP, 1.0, |labels| put_labels(labels, "number"));
    let expected: [(Histograms, &[&str]); 3] = [
        (Histograms::Classic, &["classic", "classic", "number"]),
        (Histograms::Native, &["native", "number"]),
        (Histograms::Both, &["classic", "classic", "native", "number"]),
    ];
    for (histograms, names) in expected {
        let settings = EncoderSettings {
            histograms,
            ..settings(Protocol::V1Snappy, names.len())
        };
        let requests = encode(&mut Encoder::new(&settings), &[mixed.clone(), mixed.clone()]);
        for request in &requests {
            let series = decoded(request);
            let sent: Vec<_> = series.iter().map(|series| series.labels[0].value.as_str()).collect();
            assert_eq!(sent, names);
            for series in &series {
                let native = series.labels[0].value == "native";
                assert_eq!(
                    (series.samples.len(), series.histograms.len()),
                    if native { (0, 1) } else { (1, 0) }
                );
            }
        }
        assert_eq!(requests.len(), 2, "a group fills a request exactly");
    }
}

#[test]
fn the_labels_of_an_endpoint_stand_among_those_of_the_series() {
    let labels = [("a", "2"), ("b", "2"), ("c", "2"), ("d", "")];
    let settings = EncoderSettings {
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..settings(Protocol::V1Zstd, 10)
    };
    let requests = encode(&mut Encoder::new(&settings), &[group(&[("m", 1.0), ("n", 1.0)], 1)]);
    assert_eq!(shown(&requests), ["__name__=m,a=2,b=1,c=2", "__name__=n,a=2,b=1,c=2"]);
}

#[test]
fn another_protocol_begins_with_the_next_request() {
    let mut encoder = Encoder::new(&settings(Protocol::V1Snappy, 2));
    let (now, mut requests) = (Instant::now(), Vec::new());
    encoder.append(&group(&[("m", 1.0)], 1), now, |_| unreachable!("one of two"));
    encoder.set_protocol(Protocol::V1Zstd);
    encoder.append(&group(&[("n", 1.0); 2], 2), now, |request| requests.push(request));
    encoder.finish(now, |request| requests.push(request));
    encoder.set_protocol(Protocol::V2Snappy);
    encoder.append(&group(&[("o", 1.0)], 3), now, |_| unreachable!("one of two"));
    encoder.finish(now, |request| requests.push(request));
    let said: Vec<_> = requests
        .iter()
        .map(|request| (request.protocol, request.samples))
        .collect();
    assert_eq!(
        said,
        [(Protocol::V1Snappy, 1), (Protocol::V1Zstd, 2), (Protocol::V2Snappy, 1)]
    );
    assert_eq!(
        shown(&requests[..2]),
        ["__name__=m,b=1", "__name__=n,b=1", "__name__=n,b=1"]
    );
    let message = decompress(Protocol::V2Snappy, &requests[2].bytes).unwrap();
    assert_eq!(Request::decode(message.as_slice()).unwrap().timeseries.len(), 1);
}

proptest! {
    #[test]
    fn a_sealed_request_decodes_to_the_samples_it_was_made_of(
        samples in prop::collection::vec(("[a-z]{1,200}", any::<u64>(), any::<i64>()), 1..50),
        max in 1usize..20,
        zstd: bool,
    ) {
        let given: Vec<Samples> = samples
            .iter()
            .map(|(name, bits, timestamp)| group(&[(name, f64::from_bits(*bits))], *timestamp))
            .collect();
        let protocol = if zstd { Protocol::V1Zstd } else { Protocol::V1Snappy };
        let mut all = Vec::new();
        for sealed in encode(&mut Encoder::new(&settings(protocol, max)), &given) {
            let series = decoded(&sealed);
            prop_assert_eq!((series.len() as u64, sealed.protocol), (sealed.samples, protocol));
            prop_assert!(series.len() <= max);
            let times = || series.iter().map(|series| series.samples[0].timestamp);
            prop_assert_eq!(times().min(), Some(sealed.min_timestamp));
            prop_assert_eq!(times().max(), Some(sealed.max_timestamp));
            all.extend(series);
        }
        prop_assert_eq!(all.len(), samples.len());
        for (series, (name, bits, timestamp)) in all.iter().zip(&samples) {
            let labels: Vec<_> = series.labels.iter().map(|label| (label.name.as_str(), label.value.as_str())).collect();
            prop_assert_eq!(labels, [("__name__", name.as_str()), ("b", "1")]);
            prop_assert_eq!(series.samples.len(), 1);
            // Bits, because a stale marker is one NaN among many.
            prop_assert_eq!(series.samples[0].value.to_bits(), *bits);
            prop_assert_eq!(series.samples[0].timestamp, *timestamp);
        }
    }
}
