//! What is left of a segment after damage at each place.

use proptest::prelude::*;

use super::*;
use crate::wire::Protocol;

const FIRST: u64 = 40;

/// A segment, and where each record begins and ends.
struct Written {
    content: Vec<u8>,
    records: Vec<(std::ops::Range<usize>, Header)>,
}

fn write(bodies: &[Vec<u8>]) -> Written {
    let mut content = beginning();
    let mut records = Vec::new();
    for (id, body) in (FIRST..).zip(bodies) {
        let header = Header {
            id,
            protocol: Protocol::V1Snappy,
            samples: id * 10,
            min_timestamp: 1,
            max_timestamp: 2,
            sealed_at_millis: 3,
            body_bytes: u32::try_from(body.len()).unwrap(),
            body_crc: crc32c::crc32c(body),
        };
        let begin = content.len();
        let place = Place {
            segment: FIRST,
            offset: begin as u64,
        };
        content.extend(header.encode(place));
        content.extend(body);
        records.push((begin..content.len(), header));
    }
    Written { content, records }
}

impl Written {
    fn whole_unless(&self, touched: impl Fn(&std::ops::Range<usize>) -> bool) -> Vec<(u64, Header)> {
        let whole = self.records.iter().filter(|(range, _)| !touched(range));
        whole.map(|(range, header)| (range.start as u64, *header)).collect()
    }
}

fn scanned(content: &[u8]) -> Scan {
    scan(FIRST, MAX_ID, content).unwrap()
}

fn bodies() -> Vec<Vec<u8>> {
    vec![
        b"first".to_vec(),
        Vec::new(),
        b"xpqR third xpqR".to_vec(),
        b"last".to_vec(),
    ]
}

#[test]
fn names_are_read_as_they_are_written_and_no_others() {
    assert_eq!(name(42), "00000000000000000042.seg");
    assert_eq!(first_of(&name(42)), Some(42));
    for stranger in [
        "42.seg",
        "position",
        "lock",
        "0000000000000000004x.seg",
        "99999999999999999999.seg",
        "+0000000000000000042.seg",
    ] {
        assert_eq!(first_of(stranger), None, "{stranger}");
    }
}

#[test]
fn an_undamaged_segment_loses_nothing() {
    let written = write(&bodies());
    let scan = scanned(&written.content);
    assert_eq!(scan.records, written.whole_unless(|_| false));
    assert_eq!(
        (scan.damaged.len(), scan.lost_bytes, scan.end),
        (0, 0, written.content.len() as u64)
    );
}

#[test]
fn a_flipped_bit_costs_the_record_that_it_is_in() {
    let written = write(&bodies());
    for at in 0..written.content.len() {
        for bit in 0..8 {
            let mut content = written.content.clone();
            content[at] ^= 1 << bit;
            let scan = scanned(&content);
            assert_eq!(
                scan.records,
                written.whole_unless(|range| range.contains(&at)),
                "byte {at} bit {bit}"
            );
            let touched = written.records.iter().find(|(range, _)| range.contains(&at));
            let in_body = touched.filter(|(range, _)| at >= range.start + HEADER_BYTES);
            assert_eq!(
                scan.damaged.first(),
                in_body.map(|(_, header)| header),
                "byte {at} bit {bit}"
            );
            assert_eq!(
                scan.lost_bytes,
                touched.map_or(0, |(range, _)| range.len() as u64),
                "byte {at} bit {bit}"
            );
        }
    }
}

#[test]
fn a_file_cut_at_any_length_keeps_what_stands_before() {
    let written = write(&bodies());
    for length in 0..written.content.len() {
        let scan = scanned(&written.content[..length]);
        assert_eq!(
            scan.records,
            written.whole_unless(|range| range.end > length),
            "{length} bytes"
        );
        let kept = scan
            .records
            .len()
            .checked_sub(1)
            .map_or(0, |last| written.records[last].0.end);
        assert_eq!(scan.end, kept as u64, "{length} bytes");
    }
}

#[test]
fn a_copy_of_a_record_in_a_damaged_body_is_no_record() {
    let inner = write(&[b"inner".to_vec()]).content;
    // The copy stands in the body, its own number is plausible, and the header before it is broken.
    let mut written = write(&[inner, b"next".to_vec()]);
    written.content[BEGINNING_BYTES] ^= 1;
    let scan = scanned(&written.content);
    assert_eq!(
        scan.records,
        written.whole_unless(|range| range.start == BEGINNING_BYTES)
    );
}

#[test]
fn records_of_the_next_segment_are_not_taken_from_this_one() {
    let written = write(&bodies());
    let scan = scan(FIRST, FIRST + 2, &written.content).unwrap();
    assert_eq!(
        scan.records,
        written.whole_unless(|range| range.start >= written.records[2].0.start)
    );
}

#[test]
fn a_file_of_a_later_format_is_not_read() {
    let mut content = MAGIC.to_vec();
    content.put_u32_le(2);
    let crc = crc32c::crc32c(&content);
    content.put_u32_le(crc);
    assert_eq!(scan(FIRST, MAX_ID, &content), Err(UnknownVersion(2)));
}

proptest! {
    #[test]
    fn damage_of_any_length_costs_the_records_that_it_touches(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..8),
        at in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 1..100),
    ) {
        let written = write(&bodies);
        let mut content = written.content.clone();
        let at = at.index(content.len());
        let end = content.len().min(at + noise.len());
        content[at..end].copy_from_slice(&noise[..end - at]);
        let changed = |range: &std::ops::Range<usize>| content[range.clone()] != written.content[range.clone()];
        prop_assert_eq!(scanned(&content).records, written.whole_unless(changed));
    }

    #[test]
    fn no_bytes_make_it_panic_or_answer_a_record(mut content in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(scan) = scan(FIRST, MAX_ID, &content) {
            prop_assert_eq!(scan.records, []);
        }
        content.splice(0..0, beginning());
        prop_assert_eq!(scanned(&content).records, []);
    }
}
