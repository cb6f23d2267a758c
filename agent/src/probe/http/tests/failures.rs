//! A failure names the stage and the reason.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use xprober_proto::StatusRange;

use super::server::{Accept, Authority, Server, Step, ok, respond, send};
use super::{AMPLE, failure, get, loopback, probe, probe_for, prober, stages_add_up};
use crate::probe::http::resolve::Resolver;
use crate::probe::http::{HttpProber, MAX_BODY_BYTES};
use crate::probe::{HttpReason, HttpResult, Stage};
use crate::push::receiver::closed_port;

/// Deadlines of a probe that is meant to run into it, the next where a busy machine did not come as far.
const DEADLINES: [Duration; 3] = [
    Duration::from_millis(300),
    Duration::from_secs(3),
    Duration::from_secs(30),
];

/// Longer than every deadline.
const NEVER: Duration = Duration::from_hours(1);

/// Probes with a deadline that the probe meets no earlier than in `stage`; answers that deadline, too.
async fn probe_up_to(stage: Stage, prober: &HttpProber, url: &str) -> (Duration, HttpResult) {
    let [short, longer @ ..] = DEADLINES;
    let mut ended = (short, probe_for(prober, url, short).await);
    for deadline in longer {
        let early = |(at, reason)| at < stage && reason == HttpReason::Timeout;
        if failure(&ended.1).is_some_and(early) {
            ended = (deadline, probe_for(prober, url, deadline).await);
        }
    }
    ended
}

async fn fails(prober: &HttpProber, url: &str, timeout: Duration, stage: Stage, reason: HttpReason) {
    let result = probe_for(prober, url, timeout).await;
    failed(&result, stage, reason);
}

fn failed(result: &HttpResult, stage: Stage, reason: HttpReason) {
    assert_eq!(failure(result), Some((stage, reason)), "{result:?}");
    stages_add_up(result);
    for later in Stage::ALL.into_iter().filter(|later| *later > stage) {
        assert_eq!(result.stages.get(later), None, "{later} was never reached");
    }
}

async fn times_out_in(stage: Stage, prober: &HttpProber, server: &Server) {
    let (_, result) = probe_up_to(stage, prober, &server.url("a.test", "/")).await;
    failed(&result, stage, HttpReason::Timeout);
}

#[tokio::test]
async fn deadline_names_the_stage_under_way() {
    let (end, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let stuck = prober().with_resolver(Resolver::with(move |_, port| {
        let _ = held.lock().unwrap().recv();
        Ok(vec![loopback(port)])
    }));
    let server = Server::http(|_| ok());
    times_out_in(Stage::Resolve, &stuck, &server).await;
    drop(end);

    let prober = prober();
    let connect_delay = Some(NEVER);
    let accept = Accept {
        connect_delay,
        ..Accept::default()
    };
    times_out_in(Stage::Connect, &prober, &Server::start(accept, |_| ok())).await;

    let accept = Accept {
        handshake_delay: NEVER,
        tls: Some(Authority::new(2090).server("a.test", (2080, 1, 1))),
        ..Accept::default()
    };
    times_out_in(Stage::Tls, &prober, &Server::start(accept, |_| ok())).await;

    times_out_in(Stage::Processing, &prober, &Server::http(|_| vec![Step::Hang])).await;
    let half_head = || vec![send("HTTP/1.1 200 OK\r\nContent-"), Step::Hang];
    times_out_in(Stage::Processing, &prober, &Server::http(move |_| half_head())).await;
    let half_body = || vec![send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), Step::Hang];
    times_out_in(Stage::Transfer, &prober, &Server::http(move |_| half_body())).await;
}

#[tokio::test]
async fn body_that_drips_does_not_outlive_the_deadline() {
    let drip = || {
        let head = send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        let drops = (0..100_000).flat_map(|_| [send("x"), Step::Wait(Duration::from_millis(10))]);
        std::iter::once(head).chain(drops).collect()
    };
    let server = Server::http(move |_| drip());
    let (deadline, result) = probe_up_to(Stage::Transfer, &prober(), &server.url("a.test", "/")).await;
    assert_eq!(failure(&result), Some((Stage::Transfer, HttpReason::Timeout)));
    assert!(
        result.duration >= deadline && result.duration < deadline + AMPLE,
        "{:?}",
        result.duration
    );
    assert!(result.body_bytes > 0);
    assert_eq!(result.status, Some(200));
}

#[tokio::test]
async fn closed_port_is_refused_in_connect() {
    let (closed, _kept) = closed_port();
    let url = format!("http://{closed}/");
    fails(&prober(), &url, AMPLE, Stage::Connect, HttpReason::Refused).await;
}

#[tokio::test]
async fn next_family_is_tried_when_the_first_refuses() {
    let (closed, _kept) = closed_port();
    let listener = tokio::net::TcpListener::bind("[::1]:0")
        .await
        .expect("the test needs the IPv6 loopback");
    let open = listener.local_addr().unwrap();
    let prober = prober().with_resolver(Resolver::with(move |_, _| Ok(vec![open, closed])));
    let close = async { drop(listener.accept().await.unwrap()) };
    let (result, ()) = tokio::join!(probe_for(&prober, "http://a.test/", AMPLE), close);
    // It came through to a peer, which closed.
    assert_eq!(failure(&result), Some((Stage::Processing, HttpReason::Protocol)));
}

#[tokio::test]
async fn unknown_name_fails_in_resolve() {
    let allowed = vec!["0.0.0.0/0".parse().unwrap()];
    let system = HttpProber::new(None, allowed).unwrap();
    // A resolver that cannot be reached takes its own time to say so.
    let timeout = Duration::from_mins(2);
    fails(
        &system,
        "http://name.invalid/",
        timeout,
        Stage::Resolve,
        HttpReason::Dns,
    )
    .await;
    let empty = prober().with_resolver(Resolver::with(|_, _| Ok(Vec::new())));
    fails(&empty, "http://a.test/", AMPLE, Stage::Resolve, HttpReason::Dns).await;
}

#[tokio::test]
async fn address_outside_the_allowed_networks_is_never_connected_to() {
    let server = Server::http(|_| ok());
    let prober = HttpProber::new(None, vec!["10.0.0.0/8".parse().unwrap()]).unwrap();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let url = server.url(host, "/");
        fails(&prober, &url, AMPLE, Stage::Connect, HttpReason::Forbidden).await;
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn unexpected_status_is_blamed_on_processing_and_still_timed_to_the_end() {
    let server = Server::http(|_| respond("503 Busy", "", "try later"));
    let result = probe(&prober(), get(&server.url("a.test", "/"))).await;
    assert_eq!(failure(&result), Some((Stage::Processing, HttpReason::Status)));
    assert_eq!((result.status, result.body_bytes), (Some(503), 9));
    assert!(result.stages.get(Stage::Transfer).is_some());

    let server = Server::http(|_| vec![send("HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\ntry"), Step::Hang]);
    let (_, result) = probe_up_to(Stage::Transfer, &prober(), &server.url("a.test", "/")).await;
    assert_eq!(
        failure(&result),
        Some((Stage::Processing, HttpReason::Status)),
        "not hidden by the body"
    );
}

#[tokio::test]
async fn expected_statuses_replace_the_default() {
    let server = Server::http(|_| respond("404 Not Found", "", ""));
    let mut spec = get(&server.url("a.test", "/"));
    spec.expect_status = StatusRange::new(400, 404).into_iter().collect();
    assert_eq!(failure(&probe(&prober(), spec).await), None);
}

#[tokio::test]
async fn body_is_searched_across_chunks() {
    let server = Server::http(|_| {
        vec![
            send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"st\r\n"),
            Step::Wait(Duration::from_millis(20)),
            send("6\r\natus\":\r\n7\r\n \"up\" }\r\n0\r\n\r\n"),
        ]
    });
    let mut spec = get(&server.url("a.test", "/"));
    spec.expect_body = "\"status\": \"up\"".to_owned();
    let result = probe(&prober(), spec.clone()).await;
    assert_eq!((failure(&result), result.body_bytes), (None, 17));
    spec.expect_body = "\"status\": \"down\"".to_owned();
    let result = probe(&prober(), spec).await;
    assert_eq!(failure(&result), Some((Stage::Transfer, HttpReason::Body)));
}

#[tokio::test]
async fn body_over_the_bound_fails_and_one_at_the_bound_passes() {
    let size = usize::try_from(MAX_BODY_BYTES).unwrap();
    for (size, expected) in [(size, None), (size + 1, Some((Stage::Transfer, HttpReason::Body)))] {
        let server = Server::http(move |_| vec![send("HTTP/1.1 200 OK\r\n\r\n"), Step::Send(vec![b'x'; size])]);
        let result = probe(&prober(), get(&server.url("a.test", "/"))).await;
        assert_eq!(failure(&result), expected, "{size} bytes");
    }
}

#[tokio::test]
async fn broken_http_is_a_protocol_failure_of_the_stage_it_breaks() {
    for (bytes, stage) in [
        ("", Stage::Processing),
        ("HTTP/1.1", Stage::Processing),
        ("HTTP/1.1 200 OK\r\nContent-Le", Stage::Processing),
        ("garbage\r\n\r\n", Stage::Processing),
        ("\u{0}\u{1}\u{2}\r\n\r\n", Stage::Processing),
        ("SSH-2.0-OpenSSH_9.2\r\n", Stage::Processing),
        ("HTTP/1.1 99 Low\r\n\r\n", Stage::Processing),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Stage::Processing),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
            Stage::Processing,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", Stage::Transfer),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            Stage::Transfer,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nab",
            Stage::Transfer,
        ),
    ] {
        let server = Server::http(move |_| vec![send(bytes)]);
        let result = probe(&prober(), get(&server.url("a.test", "/"))).await;
        assert_eq!(failure(&result), Some((stage, HttpReason::Protocol)), "{bytes:?}");
    }
}

#[tokio::test]
async fn plain_http_server_fails_an_https_probe_in_tls() {
    let server = Server::http(|_| ok());
    let url = server.url("a.test", "/").replace("http:", "https:");
    let (_, result) = probe_up_to(Stage::Tls, &prober(), &url).await;
    failed(&result, Stage::Tls, HttpReason::Timeout);
    let listener = tokio::net::TcpListener::bind(loopback(0)).await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let greet = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 smtp ready\r\n")
            .await
            .unwrap();
    };
    let prober = prober();
    let ((), ()) = tokio::join!(fails(&prober, &url, AMPLE, Stage::Tls, HttpReason::Tls), greet);
}

#[test]
fn no_response_bytes_make_the_probe_panic() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let response = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "HTTP/1\\.[01] [0-9]{3} [a-z]{0,3}\r\n([A-Za-z-]{1,10}: [ -~]{0,20}\r\n){0,4}\r\n[ -~]{0,40}"
            .prop_map(String::into_bytes),
        "HTTP/1.1 [1-5][0-9]{2} x\r\n(Location: [ -~]{0,20}\r\n)?(Transfer-Encoding: chunked|Content-Length: [0-9]{1,25})\r\n\r\n[0-9a-f]{0,20}\r\n[ -~]{0,40}"
            .prop_map(String::into_bytes),
    ];
    let prober = prober();
    proptest!(ProptestConfig::with_cases(200), |(bytes in response)| {
        let result = runtime.block_on(async {
            let bytes = Arc::new(bytes);
            let server = Server::http(move |_| vec![Step::Send(bytes.to_vec())]);
            // Closed at once: whatever a redirect leads to is not the subject.
            let url = server.url("127.0.0.1", "/");
            probe_for(&prober, &url, Duration::from_secs(5)).await
        });
        stages_add_up(&result);
    });
}
