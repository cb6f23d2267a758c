//! What is sent, and the loop that sends it.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use ::http::{HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::Url;
use xprober_proto::HttpSpec;

use super::server::{Server, Step, ok};
use super::{AMPLE, failure, get, probe, prober, target};
use crate::probe::http::exchange::request;
use crate::probe::http::redirect::Hop;
use crate::probe::http::resolve::Resolver;
use crate::probe::http::{report, task};
use crate::probe::{Due, HttpReason, Stage};
use crate::samples::Event;

#[tokio::test]
async fn request_is_sent_as_configured() {
    let server = Server::http(|_| ok());
    let mut spec = get(&server.url("a.test", "/path%20x?q=1#fragment"));
    spec.method = Method::POST;
    for (name, value) in [
        ("x-a", "1"),
        ("x-b", "2"),
        ("x-a", "3"),
        ("content-length", "7"),
        ("connection", "keep-alive"),
    ] {
        spec.headers
            .push((HeaderName::from_static(name), HeaderValue::from_static(value)));
    }
    assert_eq!(failure(&probe(&prober(), spec).await), None);
    let expected = format!(
        "POST /path%20x?q=1 HTTP/1.1\r\nhost: a.test:{}\r\nuser-agent: xprober-agent/{}\r\n\
         x-a: 1\r\nx-a: 3\r\nx-b: 2\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        server.address.port(),
        env!("CARGO_PKG_VERSION"),
    );
    assert_eq!(server.requests(), [expected]);
}

#[tokio::test]
async fn configured_host_and_user_agent_replace_our_own() {
    let server = Server::http(|_| ok());
    let mut spec = get(&server.url("a.test", "/"));
    for (name, value) in [("host", "virtual.test"), ("user-agent", "me/1")] {
        spec.headers
            .push((HeaderName::from_static(name), HeaderValue::from_static(value)));
    }
    assert_eq!(failure(&probe(&prober(), spec).await), None);
    assert_eq!(
        server.requests(),
        ["GET / HTTP/1.1\r\nhost: virtual.test\r\nuser-agent: me/1\r\nconnection: close\r\n\r\n"]
    );
}

#[tokio::test]
async fn credentials_of_the_url_are_sent_unless_others_are_configured() {
    let server = Server::http(|_| ok());
    let url = server.url("me:p%40ss@a.test", "/");
    let mut spec = get(&url);
    assert_eq!(failure(&probe(&prober(), spec.clone()).await), None);
    let configured = HeaderValue::from_static("Bearer token");
    spec.headers
        .push((HeaderName::from_static("authorization"), configured));
    let result = probe(&prober(), spec).await;
    let [basic, bearer] = server.requests().try_into().unwrap();
    // printf me:p@ss | base64
    assert!(basic.contains("authorization: Basic bWU6cEBzcw==\r\n"), "{basic}");
    assert!(
        bearer.contains("authorization: Bearer token\r\n") && !bearer.contains("Basic"),
        "{bearer}"
    );
    assert!(!basic.contains('@') && !report::render(&result).contains("p%40ss"));
}

proptest! {
    #[test]
    fn every_url_that_parses_makes_a_request(rest in "[ -~äß]{0,40}") {
        if let Ok(url) = Url::parse(&format!("https://a.test/{rest}")) {
            let hop = Hop::first(&HttpSpec::get(url));
            prop_assert!(request(&hop).is_ok(), "{}", hop.url);
        }
    }
}

#[tokio::test]
async fn timeout_beyond_the_clock_is_no_timeout() {
    let server = Server::http(|_| ok());
    let target = target(get(&server.url("a.test", "/")), Duration::MAX);
    assert_eq!(failure(&prober().probe(target).await), None);
}

#[tokio::test]
async fn head_has_no_body_to_wait_for() {
    let server = Server::http(|_| {
        vec![
            super::server::send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
            Step::Hang,
        ]
    });
    let mut spec = get(&server.url("a.test", "/"));
    spec.method = Method::HEAD;
    let result = probe(&prober(), spec).await;
    assert_eq!((failure(&result), result.body_bytes), (None, 0));
}

#[tokio::test]
async fn probes_under_way_at_shutdown_end_in_a_result() {
    let server = Server::http(|_| vec![Step::Hang]);
    let (due, queue) = mpsc::channel(4);
    let (events, mut results) = mpsc::channel(4);
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(task::run(Arc::new(prober()), queue, events, shutdown.clone()));
    let hanging = target(get(&server.url("a.test", "/")), Duration::from_secs(4));
    let scheduled = Instant::now();
    let target = hanging;
    due.send(vec![Due { target, scheduled }]).await.unwrap();
    let seen = async {
        while server.requests().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(AMPLE, seen).await.expect("the probe begins");
    shutdown.cancel();
    running.await.unwrap();
    let Some(Event::Http(result)) = results.recv().await else {
        panic!("the probe under way gave no result");
    };
    assert_eq!(failure(&result), Some((Stage::Processing, HttpReason::Timeout)));
    assert!(results.recv().await.is_none(), "one probe, one event");
}

#[tokio::test]
async fn no_more_probes_are_under_way_than_there_are_slots() {
    const SLOTS: usize = 3;
    #[derive(Default)]
    struct Lookups {
        under_way: usize,
        peak: usize,
    }
    let lookups = Arc::new((Mutex::<Lookups>::default(), Condvar::new()));
    let inside = Arc::clone(&lookups);
    let deadline = Instant::now() + Duration::from_secs(10);
    let resolver = Resolver::with(move |_, _| {
        let (lookups, changed) = &*inside;
        let mut entered = lookups.lock().unwrap();
        entered.under_way += 1;
        entered.peak = entered.peak.max(entered.under_way);
        changed.notify_all();
        // All slots are taken once, however late each thread starts.
        let patience = deadline.saturating_duration_since(Instant::now());
        drop(changed.wait_timeout_while(entered, patience, |lookups| lookups.peak < SLOTS));
        std::thread::sleep(Duration::from_millis(5));
        lookups.lock().unwrap().under_way -= 1;
        Ok(Vec::new())
    });
    let prober = Arc::new(prober().with_resolver(resolver));
    let (due, queue) = mpsc::channel(20);
    let (events, mut results) = mpsc::channel(20);
    for _ in 0..20 {
        let target = target(get("http://a.test/"), AMPLE);
        let scheduled = Instant::now();
        due.send(vec![Due { target, scheduled }]).await.unwrap();
    }
    drop(due);
    task::run_at_most(SLOTS, prober, queue, events, CancellationToken::new()).await;
    assert_eq!(lookups.0.lock().unwrap().peak, SLOTS);
    for _ in 0..20 {
        assert!(matches!(results.recv().await, Some(Event::Http(_))));
    }
    assert!(results.recv().await.is_none());
}

#[tokio::test]
async fn probe_that_waited_for_a_whole_interval_is_skipped_and_counted() {
    let server = Server::http(|_| ok());
    let (due, queue) = mpsc::channel(4);
    let (events, mut results) = mpsc::channel(4);
    let target = target(get(&server.url("a.test", "/")), AMPLE);
    let scheduled = Instant::now().checked_sub(target.interval).unwrap();
    due.send(vec![Due { target, scheduled }]).await.unwrap();
    drop(due);
    task::run(Arc::new(prober()), queue, events, CancellationToken::new()).await;
    assert!(matches!(results.recv().await, Some(Event::Lateness { skipped: 1, .. })));
    assert!(server.requests().is_empty());
}

fn example() -> crate::probe::HttpResult {
    let mut stages = crate::probe::StageTimes::default();
    for (stage, millis) in Stage::ALL.into_iter().zip([4, 20, 45, 120, 11]) {
        stages.add(stage, Duration::from_millis(millis));
    }
    crate::probe::HttpResult {
        target: target(get("https://api.example.com/health"), AMPLE),
        stages,
        duration: Duration::from_millis(200),
        failure: None,
        status: Some(200),
        body_bytes: 512,
        redirects: 1,
        tls_not_after: Some(1_798_761_599),
    }
}

#[test]
fn report_draws_the_stages_one_after_the_other() {
    insta::assert_snapshot!(report::render(&example()), @r"
    GET https://api.example.com/health
    ok, status 200, 512 body bytes, 1 redirect, certificate valid until 2026-12-31

      resolve          4.00 ms  █
      connect         20.00 ms  ████
      tls             45.00 ms      █████████
      processing     120.00 ms               ████████████████████████
      transfer        11.00 ms                                       ███
      total          200.00 ms
    ");
}

#[test]
fn json_carries_the_values_of_the_series() {
    let expected = json!({
        "target": "https://api.example.com/health",
        "success": true,
        "failure": null,
        "status": 200,
        "duration_seconds": 0.2,
        "stages_seconds": {"resolve": 0.004, "connect": 0.02, "tls": 0.045, "processing": 0.12, "transfer": 0.011},
        "body_bytes": 512,
        "redirects": 1,
        "tls_not_after_timestamp_seconds": 1_798_761_599,
    });
    assert_eq!(report::to_json(&example()), expected);
}

#[test]
fn report_of_a_failure_names_it() {
    let mut result = example();
    result.stages = crate::probe::StageTimes::default();
    result.stages.add(Stage::Resolve, Duration::ZERO);
    result.stages.add(Stage::Connect, Duration::from_secs(5));
    result.duration = Duration::from_secs(5);
    result.failure = Some(crate::probe::HttpFailure {
        stage: Stage::Connect,
        reason: HttpReason::Timeout,
    });
    (result.status, result.body_bytes, result.redirects, result.tls_not_after) = (None, 0, 0, None);
    insta::assert_snapshot!(report::render(&result), @r"
    GET https://api.example.com/health
    failed in stage connect: timeout

      resolve          0.00 ms  ▏
      connect       5000.00 ms  ████████████████████████████████████████ failed
      tls                    -
      processing             -
      transfer               -
      total         5000.00 ms
    ");
}
