//! A native histogram as it stands in a message of either Remote-Write protocol, without its start.

use prost::encoding::encode_varint;

use super::sample::STALE_MARKER;
use crate::ledger::Exponential;
use crate::ledger::exponential::{SCHEMA, ZERO_THRESHOLD};

/// Field 1 (`count_int`), varint.
const TAG_COUNT: u8 = 0x08;
/// Field 2 is a count that is no integer; field 3 (sum), 64 bits.
const TAG_SUM: u8 = 0x19;
/// Field 4 (schema), zigzag varint.
const TAG_SCHEMA: u8 = 0x20;
/// Field 5 (`zero_threshold`), 64 bits.
const TAG_ZERO_THRESHOLD: u8 = 0x29;
/// Field 6 (`zero_count_int`), varint.
const TAG_ZERO_COUNT: u8 = 0x30;
/// Field 11 (`positive_spans`), length-delimited.
const TAG_SPANS: u8 = 0x5a;
/// Field 12 (`positive_deltas`), packed zigzag varints.
const TAG_DELTAS: u8 = 0x62;
/// Field 15 (timestamp), varint.
const TAG_TIMESTAMP: u8 = 0x78;
/// Field 1 of `BucketSpan` (offset), zigzag varint.
const TAG_OFFSET: u8 = 0x08;
/// Field 2 of `BucketSpan` (length), varint.
const TAG_LENGTH: u8 = 0x10;

/// Empty buckets in a row that are sent as such; more of them cost more bytes than a new span.
const MAX_GAP: usize = 2;

/// Writes histograms; keeps its room.
#[derive(Debug, Default)]
pub(super) struct NativeWriter {
    message: Vec<u8>,
    part: Vec<u8>,
}

impl NativeWriter {
    /// Writes a histogram with whole counts. Receivers find out by themselves when counting began anew: a hint would be
    /// wrong where the histogram before this one was lost.
    pub(super) fn write(&mut self, histogram: &Exponential, sum_seconds: f64, timestamp: i64) -> &[u8] {
        self.message.clear();
        self.put_varint(TAG_COUNT, histogram.count());
        self.put_double(TAG_SUM, sum_seconds);
        self.put_varint(TAG_SCHEMA, zigzag(i64::from(SCHEMA)));
        self.put_double(TAG_ZERO_THRESHOLD, ZERO_THRESHOLD);
        self.put_varint(TAG_ZERO_COUNT, histogram.zero());
        self.put_buckets(histogram);
        self.put_varint(TAG_TIMESTAMP, timestamp.cast_unsigned());
        &self.message
    }

    /// Writes the histogram that ends a series.
    pub(super) fn write_stale(&mut self, timestamp: i64) -> &[u8] {
        self.message.clear();
        self.put_varint(TAG_COUNT, 0);
        self.put_double(TAG_SUM, f64::from_bits(STALE_MARKER));
        self.put_varint(TAG_ZERO_COUNT, 0);
        self.put_varint(TAG_TIMESTAMP, timestamp.cast_unsigned());
        &self.message
    }

    /// The message that was written last.
    pub(super) fn message(&self) -> &[u8] {
        &self.message
    }

    fn put_buckets(&mut self, histogram: &Exponential) {
        let (first, counts) = histogram.buckets();
        let (mut at, mut end) = (0, 0);
        let mut offset = i64::from(first);
        while at < counts.len() {
            let length = span(&counts[at..]);
            self.part.clear();
            self.part.push(TAG_OFFSET);
            encode_varint(zigzag(offset), &mut self.part);
            self.part.push(TAG_LENGTH);
            encode_varint(length as u64, &mut self.part);
            self.put_part(TAG_SPANS);
            end = at + length;
            let gap = counts[end..].iter().take_while(|count| **count == 0).count();
            at = end + gap;
            offset = i64::try_from(gap).unwrap_or_default();
        }
        if end == 0 {
            return;
        }
        self.part.clear();
        let (mut at, mut before) = (0, 0);
        while at < end {
            let length = span(&counts[at..]);
            for count in &counts[at..at + length] {
                encode_varint(zigzag(count.wrapping_sub(before).cast_signed()), &mut self.part);
                before = *count;
            }
            at += length;
            at += counts[at..].iter().take_while(|count| **count == 0).count();
        }
        self.put_part(TAG_DELTAS);
    }

    fn put_varint(&mut self, tag: u8, value: u64) {
        self.message.push(tag);
        encode_varint(value, &mut self.message);
    }

    fn put_double(&mut self, tag: u8, value: f64) {
        self.message.push(tag);
        self.message.extend_from_slice(&value.to_le_bytes());
    }

    fn put_part(&mut self, tag: u8) {
        self.message.push(tag);
        encode_varint(self.part.len() as u64, &mut self.message);
        self.message.extend_from_slice(&self.part);
    }
}

/// Length of the span that begins here: up to the last bucket before more than [`MAX_GAP`] empty ones, or the end.
fn span(counts: &[u64]) -> usize {
    let mut length = 0;
    for (place, count) in counts.iter().enumerate() {
        if *count > 0 {
            length = place + 1;
        } else if place + 1 - length > MAX_GAP {
            break;
        }
    }
    length
}

/// Small numbers of either sign become small numbers (Protocol Buffers, `sint64`).
const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use prost::Message as _;
    use xprober_proto::remote_write::histogram::{Count, ZeroCount};
    use xprober_proto::remote_write::{BucketSpan, Histogram};
    use xprober_proto::remote_write_v2 as v2;

    use super::*;

    fn decoded(message: &[u8]) -> Histogram {
        let histogram = Histogram::decode(message).unwrap();
        let other = v2::Histogram::decode(message).unwrap();
        assert_eq!(
            other.encode_to_vec(),
            histogram.encode_to_vec(),
            "the same in both protocols"
        );
        histogram
    }

    /// Index and count of each bucket that is not empty, as a receiver reads them.
    fn read(histogram: &Histogram) -> Vec<(i32, u64)> {
        let (mut index, mut count, mut buckets) = (0, 0i64, Vec::new());
        let mut deltas = histogram.positive_deltas.iter();
        for BucketSpan { offset, length } in &histogram.positive_spans {
            index += offset;
            for delta in deltas.by_ref().take(*length as usize) {
                count += delta;
                buckets.push((index, count.cast_unsigned()));
                index += 1;
            }
        }
        assert_eq!(deltas.next(), None);
        buckets.retain(|(_, count)| *count > 0);
        buckets
    }

    #[test]
    fn a_short_gap_is_filled_and_a_long_one_begins_a_span() {
        let mut histogram = Exponential::default();
        for doublings in [0, 0, 1, 4] {
            histogram.observe(Duration::from_millis(1 << doublings));
        }
        let mut writer = NativeWriter::default();
        let spans = decoded(writer.write(&histogram, 0.02, 1)).positive_spans;
        // 1 ms lies in bucket -79, 2 ms 8 above, 16 ms 32 above.
        let span = |offset, length| BucketSpan { offset, length };
        assert_eq!(spans, [span(-79, 1), span(7, 1), span(23, 1)]);
        histogram = Exponential::default();
        for micros in [1000, 1300] {
            histogram.observe(Duration::from_micros(micros));
        }
        assert_eq!(
            decoded(writer.write(&histogram, 0.02, 1)).positive_spans,
            [span(-79, 4)]
        );
    }

    #[test]
    fn a_histogram_that_ends_its_series_has_the_stale_marker_as_its_sum() {
        let histogram = decoded(NativeWriter::default().write_stale(7));
        assert_eq!((histogram.sum.to_bits(), histogram.timestamp), (STALE_MARKER, 7));
        assert_eq!(
            (histogram.count, histogram.zero_count),
            (Some(Count::CountInt(0)), Some(ZeroCount::ZeroCountInt(0)))
        );
        assert!(histogram.positive_spans.is_empty());
    }

    proptest! {
        #[test]
        fn what_was_counted_is_what_a_receiver_reads(
            nanos in prop::collection::vec(prop_oneof![Just(0), 100_000u64..3_000_000_000, any::<u64>()], 0..100),
            timestamp: i64,
        ) {
            let mut histogram = Exponential::default();
            for nanos in &nanos {
                histogram.observe(Duration::from_nanos(*nanos));
            }
            let message = decoded(NativeWriter::default().write(&histogram, 1.5, timestamp));
            let (first, counts) = histogram.buckets();
            let kept: Vec<(i32, u64)> = (first..).zip(counts.iter().copied()).filter(|(_, count)| *count > 0).collect();
            prop_assert_eq!(read(&message), kept);
            prop_assert_eq!(message.count, Some(Count::CountInt(nanos.len() as u64)));
            prop_assert_eq!(message.zero_count, Some(ZeroCount::ZeroCountInt(histogram.zero())));
            prop_assert_eq!((message.sum.to_bits(), message.timestamp), (1.5f64.to_bits(), timestamp));
            prop_assert_eq!((message.schema, message.reset_hint), (3, 0));
            prop_assert!(message.positive_spans.iter().skip(1).all(|span| span.offset > 2));
        }
    }
}
