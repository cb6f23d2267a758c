//! `io.prometheus.write.v2.Request`, the message of Remote-Write 2.0 (2.0-rc.4): written, and read again to be spelt in
//! another way.
//!
//! Fields of one message may come in any order. Ours come so that what differs from series to series stands together: the
//! help text, which names the metric, follows the value of the series before, and the value comes last in its sample. Snappy
//! then needs two copies per sample instead of four.

mod names;

mod neighbour;

mod stamp;

use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};

use super::field::{Field, Fields, Malformed, Value, field_bytes, put_length};
use super::label;
use super::symbols::Symbols;
use crate::samples::catalogue::{Kind, Metric};
use crate::samples::sample::{Sample, SampleValue};
use names::Names;
use neighbour::Neighbour;
use stamp::Stamps;

/// Field 5 of `Request` (timeseries), length-delimited.
const TAG_TIMESERIES: u8 = 0x2a;
/// Field 1 of `TimeSeries` (`labels_refs`), packed varints.
const TAG_REFS: u8 = 0x0a;
/// Field 3 of `TimeSeries` (histograms), length-delimited.
const TAG_HISTOGRAMS: u8 = 0x1a;
/// Field 17 of `Histogram` (`start_timestamp`), varint.
const TAG_HISTOGRAM_START: [u8; 2] = [0x88, 0x01];
/// Field 1 of `Metadata` (type), varint.
const TAG_TYPE: u8 = 0x08;
/// Field 3 of `Metadata` (`help_ref`), varint.
const TAG_HELP: u8 = 0x18;
/// Field 4 of `Metadata` (`unit_ref`), varint.
const TAG_UNIT: u8 = 0x20;

/// Writes one request; keeps its room from one to the next.
#[derive(Debug, Default)]
pub(super) struct Writer {
    symbols: Symbols,
    series: Vec<u8>,
    names: Names,
    neighbour: Neighbour,
    stamps: Stamps,
    request: Vec<u8>,
}

impl Writer {
    /// Appends a series with one sample.
    pub(super) fn put(&mut self, sample: &Sample<'_>) {
        let symbols = &mut self.symbols;
        let (name_refs, metadata, others) = match sample.metric {
            Some(metric) => {
                let (name, others) = self.names.split(metric, sample.labels, symbols);
                (&*name.refs, &*name.metadata, others)
            }
            None => (&[][..], &[][..], sample.labels),
        };
        let refs = self.neighbour.refs(others, symbols);
        let start = sample.start().map(i64::cast_unsigned);
        let refs_bytes = name_refs.len() + refs.len();
        let before = metadata.len() + field_bytes(refs_bytes);

        let series = &mut self.series;
        series.push(TAG_TIMESERIES);
        match sample.value {
            SampleValue::Number(value) | SampleValue::Classic(value) => {
                let stamp = self.stamps.of(sample.timestamp.cast_unsigned(), start);
                put_length(series, before + stamp.len() + size_of::<f64>());
                put_labels(series, metadata, refs_bytes, [name_refs, refs]);
                series.extend_from_slice(stamp);
                series.extend_from_slice(&value.to_le_bytes());
            }
            SampleValue::Native(message) => {
                let bytes = message.len() + start.map_or(0, |start| 2 + encoded_len_varint(start));
                put_length(series, before + field_bytes(bytes));
                put_labels(series, metadata, refs_bytes, [name_refs, refs]);
                series.push(TAG_HISTOGRAMS);
                put_length(series, bytes);
                series.extend_from_slice(message);
                if let Some(start) = start {
                    series.extend_from_slice(&TAG_HISTOGRAM_START);
                    encode_varint(start, series);
                }
            }
        }
    }

    /// Bytes of the request so far.
    pub(super) fn len(&self) -> usize {
        self.symbols.bytes().len() + self.series.len()
    }

    /// The request; symbols come first, because some receivers look them up as they read.
    pub(super) fn request(&mut self) -> &[u8] {
        self.request.clear();
        self.request.extend_from_slice(self.symbols.bytes());
        self.request.extend_from_slice(&self.series);
        &self.request
    }

    /// Makes room for the next request.
    pub(super) fn clear(&mut self) {
        self.symbols.clear();
        self.series.clear();
        self.names.clear();
        self.neighbour.clear();
    }
}

/// Writes what is said about a series, and its labels.
fn put_labels(series: &mut Vec<u8>, metadata: &[u8], refs_bytes: usize, refs: [&[u8]; 2]) {
    series.extend_from_slice(metadata);
    series.push(TAG_REFS);
    put_length(series, refs_bytes);
    series.extend_from_slice(refs[0]);
    series.extend_from_slice(refs[1]);
}

/// Writes the number of a text.
fn put_ref(to: &mut Vec<u8>, number: u32) {
    put_length(to, number as usize);
}

/// Writes the `Metadata` message of a metric.
fn describe(metric: &Metric, symbols: &mut Symbols) -> Vec<u8> {
    let mut message = Vec::with_capacity(16);
    message.push(TAG_HELP);
    encode_varint(u64::from(symbols.intern(metric.help.as_bytes())), &mut message);
    message.push(TAG_TYPE);
    message.push(match metric.kind {
        Kind::Counter => 1,
        Kind::Gauge => 2,
        Kind::Histogram => 3,
    });
    message.push(TAG_UNIT);
    encode_varint(u64::from(symbols.intern(metric.unit.as_bytes())), &mut message);
    message
}

/// Shows every sample of a request to `seen`, in order, without its metadata; answers how many there were.
///
/// # Errors
///
/// When the bytes are no request such as [`Writer`] writes.
pub(super) fn read(request: &[u8], mut seen: impl FnMut(&Sample<'_>)) -> Result<u64, Malformed> {
    let (mut symbols, mut labels, mut count) = (Vec::new(), Vec::new(), 0);
    for field in Fields::of(request) {
        match field? {
            Field {
                number: 4,
                value: Value::Bytes(symbol),
            } => {
                std::str::from_utf8(symbol).map_err(|_| Malformed)?;
                symbols.push(symbol);
            }
            Field {
                number: 5,
                value: Value::Bytes(series),
            } => {
                read_labels(series, &symbols, &mut labels)?;
                for field in Fields::of(series) {
                    let sample = match field? {
                        Field {
                            number: 2,
                            value: Value::Bytes(sample),
                        } => read_number(&labels, sample)?,
                        Field {
                            number: 3,
                            value: Value::Bytes(histogram),
                        } => read_native(&labels, histogram)?,
                        Field {
                            number: 1 | 5,
                            value: Value::Bytes(_),
                        } => continue,
                        Field { .. } => return Err(Malformed),
                    };
                    seen(&sample);
                    count += 1;
                }
            }
            Field { .. } => return Err(Malformed),
        }
    }
    Ok(count)
}

/// Looks up the labels of a series and spells them as Remote-Write 1.0 does.
fn read_labels(series: &[u8], symbols: &[&[u8]], labels: &mut Vec<u8>) -> Result<(), Malformed> {
    labels.clear();
    for field in Fields::of(series) {
        let Field {
            number: 1,
            value: Value::Bytes(mut refs),
        } = field?
        else {
            continue;
        };
        while !refs.is_empty() {
            let name = next_symbol(&mut refs, symbols)?;
            let value = next_symbol(&mut refs, symbols)?;
            label::put(labels, name, value);
        }
    }
    Ok(())
}

fn next_symbol<'a>(refs: &mut &[u8], symbols: &[&'a [u8]]) -> Result<&'a [u8], Malformed> {
    let number = decode_varint(refs).map_err(|_| Malformed)?;
    let number = usize::try_from(number).map_err(|_| Malformed)?;
    symbols.get(number).copied().ok_or(Malformed)
}

fn read_number<'a>(labels: &'a [u8], sample: &[u8]) -> Result<Sample<'a>, Malformed> {
    let (mut number, mut timestamp, mut start) = (0.0, 0, None);
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
            Field {
                number: 3,
                value: Value::Varint(value),
            } => start = Some(value.cast_signed()),
            Field { .. } => return Err(Malformed),
        }
    }
    Ok(Sample {
        labels,
        value: SampleValue::Number(number),
        timestamp,
        since: start,
        metric: None,
    })
}

/// Reads a histogram; its start comes last and is no part of the message that both protocols share.
fn read_native<'a>(labels: &'a [u8], message: &'a [u8]) -> Result<Sample<'a>, Malformed> {
    let (mut timestamp, mut start, mut shared) = (0, None, message);
    let mut fields = Fields::of(message);
    loop {
        let rest = fields.rest().len();
        match fields.next().transpose()? {
            None => break,
            Some(Field { .. }) if start.is_some() => return Err(Malformed),
            Some(Field {
                number: 15,
                value: Value::Varint(value),
            }) => timestamp = value.cast_signed(),
            Some(Field {
                number: 17,
                value: Value::Varint(value),
            }) => {
                start = Some(value.cast_signed());
                shared = &message[..message.len() - rest];
            }
            Some(Field { number: 1..=14, .. }) => {}
            Some(Field { .. }) => return Err(Malformed),
        }
    }
    Ok(Sample {
        labels,
        value: SampleValue::Native(shared),
        timestamp,
        since: start,
        metric: None,
    })
}

#[cfg(test)]
mod tests;
