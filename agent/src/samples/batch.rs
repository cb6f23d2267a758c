//! From samples to the body of a remote-write request.

use std::time::Instant;

use prost::encoding::{encode_varint, encoded_len_varint};

use super::series::Sample;
use crate::queue::SealedRequest;

/// Receivers refuse bodies above 32 MiB (decoded); half of it leaves room for proxies that are stricter.
const MAX_BODY_BYTES: usize = 16 << 20;

/// Field 1 of `WriteRequest` (timeseries), length-delimited.
const TAG_TIMESERIES: u8 = 0x0a;
/// Field 2 of `TimeSeries` (samples), length-delimited.
const TAG_SAMPLES: u8 = 0x12;
/// Field 1 of `Sample` (value), 64 bits.
const TAG_VALUE: u8 = 0x09;
/// Field 2 of `Sample` (timestamp), varint.
const TAG_TIMESTAMP: u8 = 0x10;
/// Bytes of a value with its tag.
const VALUE_BYTES: usize = 9;

/// An encoded `WriteRequest`, not yet compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The message.
    pub body: Vec<u8>,
    /// Samples in it.
    pub samples: u64,
    /// Oldest timestamp, milliseconds since the Unix epoch.
    pub min_timestamp: i64,
    /// Newest timestamp, milliseconds since the Unix epoch.
    pub max_timestamp: i64,
}

impl Batch {
    const fn new() -> Self {
        Self {
            body: Vec::new(),
            samples: 0,
            min_timestamp: i64::MAX,
            max_timestamp: i64::MIN,
        }
    }

    /// Compresses the message (snappy block format, as Remote-Write 1.0 wants it).
    ///
    /// # Errors
    ///
    /// When the message is larger than snappy allows, 4 GiB; [`cut`] never makes one.
    pub fn seal(&self, sealed_at: Instant) -> Result<SealedRequest, snap::Error> {
        Ok(SealedRequest {
            bytes: snap::raw::Encoder::new().compress_vec(&self.body)?.into(),
            samples: self.samples,
            min_timestamp: self.min_timestamp,
            max_timestamp: self.max_timestamp,
            sealed_at,
        })
    }

    fn append(&mut self, sample: &Sample) {
        // Negative timestamps (before 1970) take the ten bytes of their two's complement, as the encoding wants it.
        let timestamp = sample.timestamp.cast_unsigned();
        let sample_bytes = VALUE_BYTES + 1 + encoded_len_varint(timestamp);
        let series_bytes = sample.labels.len() + 1 + encoded_len_varint(sample_bytes as u64) + sample_bytes;
        let body = &mut self.body;
        body.push(TAG_TIMESERIES);
        encode_varint(series_bytes as u64, body);
        body.extend_from_slice(&sample.labels);
        body.push(TAG_SAMPLES);
        encode_varint(sample_bytes as u64, body);
        body.push(TAG_VALUE);
        body.extend_from_slice(&sample.value.to_le_bytes());
        body.push(TAG_TIMESTAMP);
        encode_varint(timestamp, body);
        self.samples += 1;
        self.min_timestamp = self.min_timestamp.min(sample.timestamp);
        self.max_timestamp = self.max_timestamp.max(sample.timestamp);
    }
}

/// Cuts samples into batches of at most `max_samples`, keeping a group in one batch where it fits in one.
#[must_use]
pub fn cut(groups: &[Vec<Sample>], max_samples: usize) -> Vec<Batch> {
    let max = u64::try_from(max_samples.max(1)).unwrap_or(u64::MAX);
    let mut batches = Vec::new();
    let mut open = Batch::new();
    for group in groups {
        if open.samples > 0 && open.samples + group.len() as u64 > max {
            batches.push(std::mem::replace(&mut open, Batch::new()));
        }
        for sample in group {
            if open.samples >= max || open.body.len() > MAX_BODY_BYTES {
                batches.push(std::mem::replace(&mut open, Batch::new()));
            }
            open.append(sample);
        }
    }
    if open.samples > 0 {
        batches.push(open);
    }
    batches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;
    use xprober_proto::remote_write::{self as wire, WriteRequest};

    use super::super::label::encode;
    use super::*;

    fn sample(name: &str, value: f64, timestamp: i64) -> Sample {
        Sample {
            labels: encode(name, [("a", "1")]),
            value,
            timestamp,
        }
    }

    fn label(name: &str, value: &str) -> wire::Label {
        wire::Label {
            name: name.to_owned(),
            value: value.to_owned(),
        }
    }

    #[test]
    fn a_group_stays_in_one_request_where_it_fits() {
        let group = |size| vec![sample("m", 1.0, 1); size];
        let sizes =
            |groups: &[Vec<Sample>], max| cut(groups, max).iter().map(|batch| batch.samples).collect::<Vec<_>>();
        assert_eq!(sizes(&[group(3), group(3), group(2)], 5), [3, 5]);
        assert_eq!(sizes(&[group(2), group(7), group(1)], 3), [2, 3, 3, 2]);
        assert_eq!(sizes(&[], 3), [0u64; 0]);
    }

    proptest! {
        #[test]
        fn a_sealed_request_decodes_to_the_samples_it_was_made_of(
            samples in prop::collection::vec(("[a-z]{1,200}", any::<u64>(), any::<i64>()), 1..50),
            max in 1usize..20,
        ) {
            let given: Vec<Sample> = samples
                .iter()
                .map(|(name, bits, timestamp)| sample(name, f64::from_bits(*bits), *timestamp))
                .collect();
            let mut decoded = Vec::new();
            for batch in cut(std::slice::from_ref(&given), max) {
                let sealed = batch.seal(Instant::now()).unwrap();
                let body = snap::raw::Decoder::new().decompress_vec(&sealed.bytes).unwrap();
                let request = WriteRequest::decode(body.as_slice()).unwrap();
                prop_assert_eq!(request.timeseries.len() as u64, sealed.samples);
                prop_assert!(request.timeseries.len() <= max);
                let times = || request.timeseries.iter().map(|series| series.samples[0].timestamp);
                prop_assert_eq!(times().min(), Some(sealed.min_timestamp));
                prop_assert_eq!(times().max(), Some(sealed.max_timestamp));
                decoded.extend(request.timeseries);
            }
            prop_assert_eq!(decoded.len(), samples.len());
            for (series, (name, bits, timestamp)) in decoded.iter().zip(&samples) {
                prop_assert_eq!(&series.labels, &[label("__name__", name), label("a", "1")]);
                prop_assert_eq!(series.samples.len(), 1);
                // Bits, because a stale marker is one NaN among many.
                prop_assert_eq!(series.samples[0].value.to_bits(), *bits);
                prop_assert_eq!(series.samples[0].timestamp, *timestamp);
            }
        }
    }
}
