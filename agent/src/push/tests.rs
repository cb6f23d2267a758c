//! The verdict table, row by row.

use super::*;

fn response(status: u16, retry_after: Option<Duration>) -> Answer {
    Answer::Response {
        status: StatusCode::from_u16(status).unwrap(),
        retry_after,
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
        assert_eq!(verdict(&response(status, None)), expected, "{status}");
    }
    assert_eq!(verdict(&Answer::Failed("connection refused".to_owned())), retry);
}

#[test]
fn retry_after_travels_with_the_verdict_of_429_and_5xx_alone() {
    let wait = Some(Duration::from_secs(7));
    for status in [429, 503] {
        assert_eq!(verdict(&response(status, wait)), Verdict::Retry { after: wait });
    }
    assert_eq!(verdict(&response(200, wait)), Verdict::Done);
    assert_eq!(verdict(&response(400, wait)), Verdict::Drop(DropReason::Rejected));
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
