//! Labels as they stand in a `TimeSeries` message of Remote-Write 1.0.

use prost::encoding::{decode_varint, encode_varint};

use super::field::{Malformed, field_bytes, put_bytes};

/// Field 1 of `TimeSeries` (labels), and of `Label` (name), length-delimited.
const TAG_FIRST: u8 = 0x0a;
/// Field 2 of `Label` (value), length-delimited.
const TAG_VALUE: u8 = 0x12;

/// The label that is the name of the metric.
pub(super) const NAME: &[u8] = b"__name__";

/// One label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label<'a> {
    /// The whole field.
    pub(super) bytes: &'a [u8],
    /// Its name.
    pub(super) name: &'a [u8],
    /// Its value.
    pub(super) value: &'a [u8],
}

/// Splits the first label off some labels.
#[inline]
pub(super) fn split_first(labels: &[u8]) -> Result<(Label<'_>, &[u8]), Malformed> {
    let (label, rest) = split_bytes(TAG_FIRST, labels).ok_or(Malformed)?;
    let (name, value) = name_and_value(label)?;
    let bytes = &labels[..labels.len() - rest.len()];
    Ok((Label { bytes, name, value }, rest))
}

/// Reads a `Label` message.
#[inline]
fn name_and_value(label: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (name, rest) = split_bytes(TAG_FIRST, label).ok_or(Malformed)?;
    let (value, rest) = split_bytes(TAG_VALUE, rest).ok_or(Malformed)?;
    if rest.is_empty() {
        Ok((name, value))
    } else {
        Err(Malformed)
    }
}

/// Splits off a field that is delimited by its length, if it has this tag.
#[inline]
fn split_bytes(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    match bytes {
        // Nearly all are this short.
        [first, length @ 0..=0x7f, rest @ ..] if *first == tag => rest.split_at_checked(usize::from(*length)),
        [first, rest @ ..] if *first == tag => {
            let mut rest = rest;
            let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
            rest.split_at_checked(length)
        }
        _ => None,
    }
}

/// Appends a label.
pub(super) fn put(to: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    to.push(TAG_FIRST);
    encode_varint((field_bytes(name.len()) + field_bytes(value.len())) as u64, to);
    put_bytes(to, TAG_FIRST, name);
    put_bytes(to, TAG_VALUE, value);
}
