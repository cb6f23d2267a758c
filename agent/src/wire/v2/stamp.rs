//! What stands before the value of a sample, which is the same for nearly all of them.

use prost::encoding::encode_varint;

use crate::wire::field::put_length;

/// Field 2 of `TimeSeries` (samples), length-delimited.
const TAG_SAMPLES: u8 = 0x12;
/// Field 1 of `Sample` (value), 64 bits.
const TAG_VALUE: u8 = 0x09;
/// Field 2 of `Sample` (timestamp), varint.
const TAG_TIMESTAMP: u8 = 0x10;
/// Field 3 of `Sample` (`start_timestamp`), varint.
const TAG_START: u8 = 0x18;

/// The last ones that were written: with a start for what counts, without for the rest.
#[derive(Debug, Default)]
pub(super) struct Stamps([Option<Stamp>; 2]);

#[derive(Debug)]
struct Stamp {
    timestamp: u64,
    start: Option<u64>,
    bytes: Vec<u8>,
}

impl Stamps {
    /// The sample of a series up to its value, tag and length of the sample among it.
    pub(super) fn of(&mut self, timestamp: u64, start: Option<u64>) -> &[u8] {
        let last = &mut self.0[usize::from(start.is_some())];
        let is_same = |stamp: &Stamp| (stamp.timestamp, stamp.start) == (timestamp, start);
        let stamp = match last.take().filter(is_same) {
            Some(stamp) => stamp,
            None => Stamp::new(timestamp, start),
        };
        &last.insert(stamp).bytes
    }
}

impl Stamp {
    fn new(timestamp: u64, start: Option<u64>) -> Self {
        let mut times = vec![TAG_TIMESTAMP];
        encode_varint(timestamp, &mut times);
        if let Some(start) = start {
            times.push(TAG_START);
            encode_varint(start, &mut times);
        }
        times.push(TAG_VALUE);
        let mut bytes = vec![TAG_SAMPLES];
        put_length(&mut bytes, times.len() + size_of::<f64>());
        bytes.extend_from_slice(&times);
        Self {
            timestamp,
            start,
            bytes,
        }
    }
}
