//! `prometheus.WriteRequest`, the message of Remote-Write 1.0: written, and read again to be spelt in another way.

use prost::encoding::{encode_varint, encoded_len_varint};

use super::field::{Field, Fields, Malformed, Value, field_bytes, put_bytes, put_length};
use super::label;
use crate::samples::sample::{Sample, SampleValue};

/// Field 1 of `WriteRequest` (timeseries), length-delimited.
const TAG_TIMESERIES: u8 = 0x0a;
/// Field 1 of `TimeSeries` (labels), length-delimited.
const TAG_LABELS: u8 = 0x0a;
/// Field 2 of `TimeSeries` (samples), length-delimited.
const TAG_SAMPLES: u8 = 0x12;
/// Field 4 of `TimeSeries` (histograms), length-delimited.
const TAG_HISTOGRAMS: u8 = 0x22;
/// Field 1 of `Sample` (value), 64 bits.
const TAG_VALUE: u8 = 0x09;
/// Field 2 of `Sample` (timestamp), varint.
const TAG_TIMESTAMP: u8 = 0x10;
/// Bytes of a value with its tag.
const VALUE_BYTES: usize = 9;
/// Bytes of a sample with tag, length, value and the longest timestamp.
const MAX_SAMPLE_BYTES: usize = 2 + VALUE_BYTES + 1 + 10;

/// Appends a series with one sample.
#[inline]
pub(super) fn put(to: &mut Vec<u8>, sample: &Sample<'_>) {
    match sample.value {
        SampleValue::Number(value) | SampleValue::Classic(value) => put_number(to, sample, value),
        SampleValue::Native(message) => {
            to.push(TAG_TIMESERIES);
            encode_varint((sample.labels.len() + field_bytes(message.len())) as u64, to);
            to.extend_from_slice(sample.labels);
            put_bytes(to, TAG_HISTOGRAMS, message);
        }
    }
}

fn put_number(to: &mut Vec<u8>, sample: &Sample<'_>, value: f64) {
    // Negative timestamps (before 1970) take the ten bytes of their two's complement, as the encoding wants it.
    let timestamp = sample.timestamp.cast_unsigned();
    let sample_bytes = VALUE_BYTES + 1 + encoded_len_varint(timestamp);
    to.push(TAG_TIMESERIES);
    put_length(to, sample.labels.len() + field_bytes(sample_bytes));
    to.extend_from_slice(sample.labels);
    // What follows is appended at once: one look at the room of the message instead of eleven.
    let mut end = [0; MAX_SAMPLE_BYTES];
    end[0] = TAG_SAMPLES;
    end[1] = u8::try_from(sample_bytes).unwrap_or(u8::MAX);
    end[2] = TAG_VALUE;
    end[3..11].copy_from_slice(&value.to_le_bytes());
    end[11] = TAG_TIMESTAMP;
    encode_varint(timestamp, &mut &mut end[12..]);
    to.extend_from_slice(&end[..2 + sample_bytes]);
}

/// Shows every sample of a message to `seen`, in order; answers how many there were.
///
/// # Errors
///
/// When the bytes are no message such as [`put`] writes.
pub(super) fn read(message: &[u8], mut seen: impl FnMut(&Sample<'_>)) -> Result<u64, Malformed> {
    let mut count = 0;
    for series in Fields::of(message) {
        let Field {
            number: 1,
            value: Value::Bytes(series),
        } = series?
        else {
            return Err(Malformed);
        };
        let (labels, mut rest) = split_labels(series)?;
        while !rest.is_empty() {
            let mut fields = Fields::of(rest);
            match fields.next().transpose()? {
                Some(Field {
                    number: 2,
                    value: Value::Bytes(sample),
                }) => seen(&read_number(labels, sample)?),
                Some(Field {
                    number: 4,
                    value: Value::Bytes(histogram),
                }) => seen(&read_native(labels, histogram)?),
                Some(_) | None => return Err(Malformed),
            }
            count += 1;
            rest = fields.rest();
        }
    }
    Ok(count)
}

/// Splits a series into its labels and what follows; labels come first.
fn split_labels(series: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let mut rest = series;
    while rest.first() == Some(&TAG_LABELS) {
        let (label, after) = label::split_first(rest)?;
        std::str::from_utf8(label.name).map_err(|_| Malformed)?;
        std::str::from_utf8(label.value).map_err(|_| Malformed)?;
        rest = after;
    }
    Ok((&series[..series.len() - rest.len()], rest))
}

fn read_number<'a>(labels: &'a [u8], sample: &[u8]) -> Result<Sample<'a>, Malformed> {
    let (mut number, mut timestamp) = (0.0, 0);
    for field in Fields::of(sample) {
        match field? {
            Field {
                number: 1,
                value: Value::Double(value),
            } => number = value,
            Field {
                number: 2,
                value: Value::Varint(value),
            } => timestamp = value.cast_signed(),
            Field { .. } => return Err(Malformed),
        }
    }
    Ok(Sample {
        labels,
        value: SampleValue::Number(number),
        timestamp,
        since: None,
        metric: None,
    })
}

fn read_native<'a>(labels: &'a [u8], message: &'a [u8]) -> Result<Sample<'a>, Malformed> {
    let mut timestamp = 0;
    for field in Fields::of(message) {
        match field? {
            Field {
                number: 15,
                value: Value::Varint(value),
            } => timestamp = value.cast_signed(),
            Field { number: 1..=14, .. } => {}
            Field { .. } => return Err(Malformed),
        }
    }
    Ok(Sample {
        labels,
        value: SampleValue::Native(message),
        timestamp,
        since: None,
        metric: None,
    })
}
