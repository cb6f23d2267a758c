//! The verdict table, row by row.

use super::*;

fn response(status: u16, retry_after: Option<Duration>) -> Answer {
    Answer::Response {
        status: StatusCode::from_u16(status).unwrap(),
        retry_after,
        written: None,
        body: String::new(),
    }
}

#[test]
fn every_status_has_its_verdict() {
    let retry = Verdict::Retry { after: None };
    let rejected = Verdict::Drop(DropReason::Rejected);
    for (status, expected) in [
        (101, retry),
        (200, Verdict::Done),
        (204, Verdict::Done),
        (299, Verdict::Done),
        (301, retry),
        (307, retry),
        (400, rejected),
        (401, rejected),
        (403, rejected),
        (404, rejected),
        (408, rejected),
        (413, rejected),
        (415, rejected),
        (429, retry),
        (499, rejected),
        (500, retry),
        (503, retry),
        (599, retry),
        (999, retry),
    ] {
        assert_eq!(
            verdict(&response(status, None), Protocol::V1Snappy, 5),
            expected,
            "{status}"
        );
    }
    let failed = Answer::Failed(Failure::new(FailureReason::Refused, "connection refused"));
    assert_eq!(verdict(&failed, Protocol::V1Snappy, 5), retry);
}

#[test]
fn retry_after_travels_with_the_verdict_of_429_and_5xx_alone() {
    let wait = Some(Duration::from_secs(7));
    for status in [429, 503] {
        assert_eq!(
            verdict(&response(status, wait), Protocol::V1Snappy, 5),
            Verdict::Retry { after: wait }
        );
    }
    assert_eq!(verdict(&response(200, wait), Protocol::V1Snappy, 5), Verdict::Done);
    assert_eq!(
        verdict(&response(400, wait), Protocol::V1Snappy, 5),
        Verdict::Drop(DropReason::Rejected)
    );
}

#[test]
fn retry_after_is_seconds_or_a_date_and_has_a_cap() {
    // Mon, 02 Jan 2023 03:04:05 GMT.
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_672_628_645);
    for (value, expected) in [
        ("0", Some(0)),
        ("7", Some(7)),
        (" 7 ", Some(7)),
        ("301", Some(300)),
        ("18446744073709551615", Some(300)),
        ("Mon, 02 Jan 2023 03:04:35 GMT", Some(30)),
        ("Mon, 02 Jan 2023 03:03:35 GMT", Some(0)),
        ("Tue, 03 Jan 2023 03:04:35 GMT", Some(300)),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
    ] {
        let headers = HeaderMap::from_iter([(header::RETRY_AFTER, value.parse().unwrap())]);
        assert_eq!(
            retry_after(&headers, now),
            expected.map(Duration::from_secs),
            "{value:?}"
        );
    }
    assert_eq!(retry_after(&HeaderMap::new(), now), None);
}

#[test]
fn a_spelling_that_is_refused_or_not_stored_falls_back_and_what_was_written_counts() {
    use Protocol::{V1Snappy, V1Zstd, V2Snappy};
    let rejected = Verdict::Drop(DropReason::Rejected);
    let retry = Verdict::Retry { after: None };
    for (protocol, status, values, expected) in [
        (V2Snappy, 204, None, Verdict::Respell),
        (V2Snappy, 200, None, Verdict::Respell),
        (V2Snappy, 204, Some(5), Verdict::Done),
        (V2Snappy, 204, Some(0), Verdict::Done),
        (V2Snappy, 415, None, Verdict::Respell),
        (V2Snappy, 400, None, Verdict::Respell),
        (V2Snappy, 400, Some(0), rejected),
        (V2Snappy, 400, Some(3), Verdict::Partly { written: 3 }),
        (V2Snappy, 400, Some(9), Verdict::Partly { written: 5 }),
        (V2Snappy, 401, None, rejected),
        (V2Snappy, 429, Some(3), retry),
        (V2Snappy, 500, Some(3), retry),
        (V1Zstd, 204, None, Verdict::Done),
        (V1Zstd, 400, None, Verdict::Respell),
        (V1Zstd, 415, None, Verdict::Respell),
        (V1Zstd, 413, None, rejected),
        (V1Snappy, 204, None, Verdict::Done),
        (V1Snappy, 415, None, rejected),
        (V1Snappy, 400, Some(3), rejected),
    ] {
        let answer = Answer::Response {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            written: values.map(|values| Written { values }),
            body: String::new(),
        };
        assert_eq!(
            verdict(&answer, protocol, 5),
            expected,
            "{protocol:?} {status} {values:?}"
        );
    }
}

#[test]
fn what_was_written_is_told_by_two_headers_together() {
    let headers = |pairs: &[(&'static str, &'static str)]| {
        let pairs = pairs.iter().map(|(name, value)| {
            let name = format!("X-Prometheus-Remote-Write-{name}-Written");
            (name.parse().unwrap(), value.parse().unwrap())
        });
        pairs.collect::<HeaderMap>()
    };
    let both = headers(&[("Samples", "7"), ("Histograms", "2"), ("Exemplars", "0")]);
    assert_eq!(written(&both), Some(Written { values: 9 }));
    for pairs in [
        &[("Samples", "7")][..],
        &[("Histograms", "2")],
        &[("Samples", "x"), ("Histograms", "2")],
        &[],
    ] {
        assert_eq!(written(&headers(pairs)), None, "{pairs:?}");
    }
}

#[test]
fn a_request_that_is_taken_in_part_is_counted_in_two_parts() {
    let mut status = PushStatus::default();
    let now = Duration::from_secs(9);
    status.count(Verdict::Partly { written: 3 }, 5, now);
    let expected = PushCounters {
        pushed: 3,
        drop: 1,
        ..PushCounters::default()
    };
    assert_eq!(
        (status.counters, status.partly_rejected, status.last_success),
        (expected, 2, Some(now))
    );
}
