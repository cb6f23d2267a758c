//! From requests of this run to records, which outlive it, and back.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::RequestId;
use super::index::{Entry, FIRST_ID};
use super::record::Header;
use super::store::{Found, Record};

/// Numbers of records, which go on from run to run, and of requests, of which the first that is pushed is
/// [`FIRST_ID`] in every run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    /// The number of the record of request [`FIRST_ID`].
    pub(super) base: u64,
}

/// The same moment by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) instant: Instant,
    /// By the wall clock, milliseconds since the Unix epoch; it dates records for the next run.
    pub(super) unix_millis: i64,
}

impl Moment {
    pub(super) fn now() -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            instant: Instant::now(),
            unix_millis: since_epoch.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
        }
    }
}

impl Numbers {
    pub(super) const fn record(self, id: RequestId) -> u64 {
        id.0.wrapping_sub(FIRST_ID).wrapping_add(self.base)
    }

    const fn request(self, record: u64) -> RequestId {
        RequestId(record.wrapping_sub(self.base).wrapping_add(FIRST_ID))
    }

    /// Translates a request that is to be written.
    pub(super) fn write(self, entry: &Entry, body: Bytes, now: Moment) -> Record {
        let age = now.instant.saturating_duration_since(entry.sealed_at).as_millis();
        let age = i64::try_from(age).unwrap_or(i64::MAX);
        let header = Header {
            id: self.record(entry.id),
            protocol: entry.protocol,
            samples: entry.samples,
            min_timestamp: entry.min_timestamp,
            max_timestamp: entry.max_timestamp,
            sealed_at_millis: now.unix_millis.saturating_sub(age),
            body_bytes: entry.bytes,
            body_crc: crc32c::crc32c(&body),
        };
        Record { header, body }
    }

    /// Translates what an earlier run left; `previous` is when the record before it was sealed.
    ///
    /// A clock that was set since makes ages wrong. A request is never taken for older than those that were sealed before
    /// it: what is kept too long, the receiver can still refuse; what is dropped is gone.
    pub(super) fn read(self, found: &Found, now: Moment, previous: Option<Instant>) -> Option<Entry> {
        let header = &found.header;
        let age = u64::try_from(now.unix_millis.saturating_sub(header.sealed_at_millis)).unwrap_or(0);
        let sealed_at = now
            .instant
            .checked_sub(Duration::from_millis(age))
            .unwrap_or(now.instant);
        Some(Entry {
            id: self.request(header.id),
            protocol: header.protocol,
            bytes: header.body_bytes,
            offset: u32::try_from(found.offset).ok()?,
            samples: header.samples,
            min_timestamp: header.min_timestamp,
            max_timestamp: header.max_timestamp,
            sealed_at: previous.map_or(sealed_at, |previous| sealed_at.max(previous)),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::queue::index::tests::left_by_an_earlier_run;

    const HOUR: i64 = 3_600_000;

    proptest! {
        #[test]
        fn a_request_comes_back_as_it_was_and_as_old_as_it_is(
            base in 1u64..1 << 40, age in 0u64..1 << 40, off in 0u64..1 << 40, later_base in 1u64..1 << 41,
        ) {
            let written = Moment { instant: Instant::now(), unix_millis: 1 << 50 };
            let sealed_at = written.instant.checked_sub(Duration::from_millis(age)).unwrap();
            let entry = left_by_an_earlier_run(5, 7, sealed_at);
            let record = Numbers { base }.write(&entry, Bytes::from_static(b"hello"), written);
            prop_assert_eq!(record.header.id, base - 1);
            prop_assert!(record.header.owns(b"hello"));

            let found = Found { header: record.header, offset: entry.offset.into() };
            let read = Moment { instant: written.instant, unix_millis: (1 << 50) + off.cast_signed() };
            let back = Numbers { base: later_base }.read(&found, read, None).unwrap();
            prop_assert_eq!(read.instant - back.sealed_at, Duration::from_millis(age + off));
            prop_assert_eq!(Numbers { base: later_base }.record(back.id), base - 1);
            let unchanged = Entry { id: entry.id, sealed_at, ..back };
            prop_assert_eq!(format!("{unchanged:?}"), format!("{entry:?}"));
        }
    }

    #[test]
    fn a_clock_that_was_set_makes_nothing_older_than_what_was_sealed_before() {
        let now = Moment::now();
        let numbers = Numbers { base: 100 };
        let ages = [HOUR, -HOUR, 9000 * HOUR, 0].map(|age| {
            let written = Moment {
                unix_millis: now.unix_millis - age,
                ..now
            };
            let entry = left_by_an_earlier_run(0, 1, now.instant);
            numbers.write(&entry, Bytes::new(), written).header
        });
        let mut previous = None;
        let ages = ages.map(|header| {
            let entry = numbers.read(&Found { header, offset: 16 }, now, previous).unwrap();
            previous = Some(entry.sealed_at);
            now.instant - entry.sealed_at
        });
        assert_eq!(
            ages,
            [Duration::from_hours(1), Duration::ZERO, Duration::ZERO, Duration::ZERO]
        );
    }
}
