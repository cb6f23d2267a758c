//! The fields of a Protocol Buffers message, one after the other.

use prost::encoding::{WireType, decode_key, decode_varint, encode_varint, encoded_len_varint};

/// Bytes that are not what the protocol says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message is damaged")]
pub struct Malformed;

/// One field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Field<'a> {
    /// Its number in the message.
    pub(super) number: u32,
    /// What stands in it.
    pub(super) value: Value<'a>,
}

/// What stands in a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Double(f64),
    Bytes(&'a [u8]),
}

/// Reads fields until the end or the first that is damaged.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) const fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    /// What has not been read yet.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    fn read(&mut self) -> Result<Field<'a>, Malformed> {
        let (number, kind) = decode_key(&mut self.0).map_err(|_| Malformed)?;
        let value = match kind {
            WireType::Varint => Value::Varint(decode_varint(&mut self.0).map_err(|_| Malformed)?),
            WireType::SixtyFourBit => {
                let (bytes, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
                self.0 = rest;
                Value::Double(f64::from_le_bytes(*bytes))
            }
            WireType::LengthDelimited => {
                let length = decode_varint(&mut self.0).map_err(|_| Malformed)?;
                let length = usize::try_from(length).map_err(|_| Malformed)?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
                self.0 = rest;
                Value::Bytes(bytes)
            }
            WireType::StartGroup | WireType::EndGroup | WireType::ThirtyTwoBit => return Err(Malformed),
        };
        Ok(Field { number, value })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// Appends a length or another small number as a varint; nearly all take one byte or two.
#[inline]
pub(super) fn put_length(to: &mut Vec<u8>, length: usize) {
    match length {
        #[expect(clippy::cast_possible_truncation, reason = "seven bits and seven bits")]
        0x80..=0x3fff => to.extend_from_slice(&[length as u8 | 0x80, (length >> 7) as u8]),
        #[expect(clippy::cast_possible_truncation, reason = "seven bits")]
        0..=0x7f => to.push(length as u8),
        _ => encode_varint(length as u64, to),
    }
}

/// Appends a field that is delimited by its length.
pub(super) fn put_bytes(to: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    to.push(tag);
    put_length(to, bytes.len());
    to.extend_from_slice(bytes);
}

/// Bytes of a field that is delimited by its length, tag and length among them.
pub(super) const fn field_bytes(content: usize) -> usize {
    1 + encoded_len_varint(content as u64) + content
}
