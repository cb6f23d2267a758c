//! Requests of Remote-Write 2.0 as receivers decode them.

use proptest::prelude::*;
use prost::Message as _;
use xprober_proto::remote_write_v2::{Metadata, Request, TimeSeries};

use super::*;
use crate::samples::catalogue;

fn labels(pairs: &[(String, String)]) -> Vec<u8> {
    let mut labels = Vec::new();
    for (name, value) in pairs {
        label::put(&mut labels, name.as_bytes(), value.as_bytes());
    }
    labels
}

fn labels_of<'r>(request: &'r Request, series: &TimeSeries) -> Vec<(&'r str, &'r str)> {
    let text = |number: u32| request.symbols[number as usize].as_str();
    let pairs = series.labels_refs.chunks_exact(2);
    assert!(pairs.remainder().is_empty());
    pairs.map(|pair| (text(pair[0]), text(pair[1]))).collect()
}

#[test]
fn a_series_says_what_it_is() {
    let mut writer = Writer::default();
    let name = [("__name__".to_owned(), "m".to_owned())];
    let labels = labels(&name);
    for metric in [&catalogue::TARGET_SENT, &catalogue::TARGET_RTT_AVG, &catalogue::RTT] {
        writer.put(&Sample {
            labels: &labels,
            value: SampleValue::Number(1.0),
            timestamp: 2,
            since: None,
            metric: Some(metric),
        });
    }
    let request = Request::decode(writer.request()).unwrap();
    let said = request.timeseries.iter().map(|series| series.metadata.unwrap());
    let text = |number: u32| request.symbols[number as usize].as_str();
    let said: Vec<_> = said
        .map(
            |Metadata {
                 r#type,
                 help_ref,
                 unit_ref,
             }| (r#type, text(help_ref), text(unit_ref)),
        )
        .collect();
    let expected = [
        (1, catalogue::TARGET_SENT.help, ""),
        (2, catalogue::TARGET_RTT_AVG.help, "seconds"),
        (3, catalogue::RTT.help, "seconds"),
    ];
    assert_eq!(said, expected);
    assert_eq!(request.symbols[0], "");
}

#[test]
fn a_receiver_of_the_other_message_finds_nothing_in_it() {
    let mut writer = Writer::default();
    writer.put(&Sample {
        labels: &labels(&[("__name__".to_owned(), "m".to_owned())]),
        value: SampleValue::Number(1.0),
        timestamp: 2,
        since: Some(1),
        metric: None,
    });
    let request = xprober_proto::remote_write::WriteRequest::decode(writer.request()).unwrap();
    assert!(request.timeseries.is_empty());
}

proptest! {
    #[test]
    fn every_receiver_decodes_the_series_that_were_put(
        requests in prop::collection::vec(prop::collection::vec((
            prop::collection::btree_map("[a-d]{1,2}", "[a-c]{1,2}|[a-z]{1,200}", 1..8),
            any::<u64>(),
            any::<i64>(),
            any::<Option<i64>>(),
        ), 1..40), 1..3),
    ) {
        let mut writer = Writer::default();
        for series in requests {
            for (pairs, bits, timestamp, start) in &series {
                let pairs: Vec<_> = pairs.clone().into_iter().collect();
                writer.put(&Sample {
                    labels: &labels(&pairs),
                    value: SampleValue::Number(f64::from_bits(*bits)),
                    timestamp: *timestamp,
                    since: *start,
                    metric: None,
                });
            }
            let bytes = writer.len();
            let request = Request::decode(writer.request()).unwrap();
            prop_assert_eq!(writer.request().len(), bytes);
            prop_assert_eq!(request.timeseries.len(), series.len());
            for (decoded, (pairs, bits, timestamp, start)) in request.timeseries.iter().zip(&series) {
                let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                prop_assert_eq!(labels_of(&request, decoded), pairs);
                let sample = &decoded.samples[0];
                // Bits, because a stale marker is one NaN among many.
                prop_assert_eq!((sample.value.to_bits(), sample.timestamp), (*bits, *timestamp));
                prop_assert_eq!(sample.start_timestamp, start.unwrap_or_default());
                prop_assert_eq!(decoded.samples.len(), 1);
            }
            writer.clear();
        }
    }
}
