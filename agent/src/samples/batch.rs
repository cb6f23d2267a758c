//! From samples to the body of a remote-write request.

use std::time::Instant;

use bytes::Bytes;
use prost::encoding::{encode_varint, encoded_len_varint};

use super::series::{Sample, Samples};
use crate::queue::SealedRequest;
use crate::wire::Protocol;

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

    /// Makes room for the next message and keeps the memory.
    fn clear(&mut self) {
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        *self = Self { body, ..Self::new() };
    }

    fn append(&mut self, sample: &Sample<'_>) {
        // Negative timestamps (before 1970) take the ten bytes of their two's complement, as the encoding wants it.
        let timestamp = sample.timestamp.cast_unsigned();
        let sample_bytes = VALUE_BYTES + 1 + encoded_len_varint(timestamp);
        let series_bytes = sample.labels.len() + 1 + encoded_len_varint(sample_bytes as u64) + sample_bytes;
        let body = &mut self.body;
        body.push(TAG_TIMESERIES);
        encode_varint(series_bytes as u64, body);
        body.extend_from_slice(sample.labels);
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

/// Cuts samples into batches of at most so many, keeping a group in one batch where it fits in one. One message is open
/// at a time, and all use the same memory.
#[derive(Debug)]
pub struct Cutter {
    max_samples: u64,
    open: Batch,
}

impl Cutter {
    /// Starts with an empty batch; at least one sample goes into each.
    #[must_use]
    pub fn new(max_samples: usize) -> Self {
        Self {
            max_samples: u64::try_from(max_samples.max(1)).unwrap_or(u64::MAX),
            open: Batch::new(),
        }
    }

    /// Takes the samples of a group; shows each batch that is full to `full`.
    pub fn append(&mut self, group: &Samples, mut full: impl FnMut(&Batch)) {
        if self.open.samples + group.len() as u64 > self.max_samples {
            self.finish(&mut full);
        }
        for sample in group.iter() {
            if self.open.samples >= self.max_samples || self.open.body.len() > MAX_BODY_BYTES {
                self.finish(&mut full);
            }
            self.open.append(&sample);
        }
    }

    /// Shows the batch that is open to `last`, if it holds anything.
    pub fn finish(&mut self, last: impl FnOnce(&Batch)) {
        if self.open.samples > 0 {
            last(&self.open);
            self.open.clear();
        }
    }
}

/// Compresses messages (snappy block format, as Remote-Write 1.0 wants it).
#[derive(Debug)]
pub struct Sealer {
    encoder: snap::raw::Encoder,
    /// As large as the largest message could become; what it did become is a small part of that.
    room: Vec<u8>,
}

impl Default for Sealer {
    fn default() -> Self {
        Self {
            encoder: snap::raw::Encoder::new(),
            room: Vec::new(),
        }
    }
}

impl Sealer {
    /// Compresses one message into memory of its own, no larger than needed: it may wait in the queue for long.
    ///
    /// # Errors
    ///
    /// When the message is larger than snappy allows, 4 GiB; [`Cutter`] never makes one.
    pub fn seal(&mut self, batch: &Batch, sealed_at: Instant) -> Result<SealedRequest, snap::Error> {
        let most = snap::raw::max_compress_len(batch.body.len());
        if self.room.len() < most {
            self.room.resize(most, 0);
        }
        let bytes = self.encoder.compress(&batch.body, &mut self.room)?;
        Ok(SealedRequest {
            bytes: Bytes::copy_from_slice(&self.room[..bytes]),
            protocol: Protocol::V1Snappy,
            samples: batch.samples,
            min_timestamp: batch.min_timestamp,
            max_timestamp: batch.max_timestamp,
            sealed_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;
    use xprober_proto::remote_write::{self as wire, WriteRequest};

    use super::*;

    fn label(name: &str, value: &str) -> wire::Label {
        wire::Label {
            name: name.to_owned(),
            value: value.to_owned(),
        }
    }

    fn group(samples: &[(&str, f64)], timestamp: i64) -> Samples {
        let mut group = Samples::default();
        group.restart(timestamp);
        for (name, value) in samples {
            let series = wire::TimeSeries {
                labels: vec![label("__name__", name), label("a", "1")],
                ..wire::TimeSeries::default()
            };
            group.push(*value, |labels| labels.extend(series.encode_to_vec()));
        }
        group
    }

    fn cut(groups: &[Samples], max: usize) -> Vec<Batch> {
        let (mut cutter, mut batches) = (Cutter::new(max), Vec::new());
        for group in groups {
            cutter.append(group, |batch| batches.push(batch.clone()));
        }
        cutter.finish(|batch| batches.push(batch.clone()));
        cutter.finish(|_| unreachable!("an empty batch is shown"));
        batches
    }

    #[test]
    fn a_group_stays_in_one_request_where_it_fits() {
        let group = |size| group(&vec![("m", 1.0); size], 1);
        let sizes = |groups: &[Samples], max| cut(groups, max).iter().map(|batch| batch.samples).collect::<Vec<_>>();
        assert_eq!(sizes(&[group(3), group(3), group(2)], 5), [3, 5]);
        assert_eq!(sizes(&[group(2), group(7), group(1)], 3), [2, 3, 3, 2]);
        assert_eq!(sizes(&[group(0)], 3), [0u64; 0]);
    }

    #[test]
    fn a_sealed_request_keeps_no_more_memory_than_its_bytes() {
        let mut sealer = Sealer::default();
        let batch = cut(&[group(&vec![("m", 1.0); 1000], 1)], 1000).remove(0);
        let first = sealer.seal(&batch, Instant::now()).unwrap();
        let bytes = first.bytes.len();
        assert_eq!(first.bytes.try_into_mut().map(|bytes| bytes.capacity()).unwrap(), bytes);
        assert!(bytes * 4 < batch.body.len(), "{bytes} of {}", batch.body.len());
    }

    proptest! {
        #[test]
        fn a_sealed_request_decodes_to_the_samples_it_was_made_of(
            samples in prop::collection::vec(("[a-z]{1,200}", any::<u64>(), any::<i64>()), 1..50),
            max in 1usize..20,
        ) {
            let given: Vec<Samples> = samples
                .iter()
                .map(|(name, bits, timestamp)| group(&[(name, f64::from_bits(*bits))], *timestamp))
                .collect();
            let (mut sealer, mut decoded) = (Sealer::default(), Vec::new());
            for batch in cut(&given, max) {
                let sealed = sealer.seal(&batch, Instant::now()).unwrap();
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
