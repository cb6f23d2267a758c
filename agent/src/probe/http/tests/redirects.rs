//! Redirects are followed to the answer, and everything on the way counts.

use std::time::Duration;

use ::http::{HeaderName, HeaderValue, Method};
use xprober_proto::StatusRange;

use super::server::{Server, Step, ok, respond, send};
use super::{failure, get, probe, prober, stages_add_up};
use crate::probe::http::HttpProber;
use crate::probe::http::redirect::MAX_REDIRECTS;
use crate::probe::http::resolve::Resolver;
use crate::probe::{HttpReason, Stage};

#[tokio::test]
async fn stages_sum_over_redirects() {
    const DELAY: Duration = Duration::from_millis(60);
    let server = Server::http(|head| {
        let next = match head.split(' ').nth(1).unwrap() {
            "/1" => "/2",
            "/2" => "/3",
            _ => return [vec![Step::Wait(DELAY)], ok()].concat(),
        };
        vec![
            Step::Wait(DELAY),
            send(format!(
                "HTTP/1.1 302 Found\r\nLocation: {next}\r\nContent-Length: 3\r\n\r\n"
            )),
            Step::Wait(DELAY),
            send("bye"),
        ]
    });
    // The server's wait for the body begins before the prober has read the head, so a part of it may be missing, and all of it
    // where the machine stood still. A sum that forgot a hop never has more than one DELAY.
    let mut transfers = Vec::new();
    while transfers.iter().all(|transfer| *transfer < DELAY * 3 / 2) {
        assert!(transfers.len() < 5, "{transfers:?}");
        let result = probe(&prober(), get(&server.url("a.test", "/1"))).await;
        assert_eq!(failure(&result), None);
        assert_eq!((result.redirects, result.status, result.body_bytes), (2, Some(200), 5));
        assert!(result.stages.get(Stage::Processing).unwrap() >= DELAY * 3);
        stages_add_up(&result);
        transfers.push(result.stages.get(Stage::Transfer).unwrap());
    }
}

#[tokio::test]
async fn endless_redirects_stop_after_ten() {
    let server = Server::http(|_| respond("307 Temporary", "Location: /again\r\n", ""));
    let result = probe(&prober(), get(&server.url("a.test", "/"))).await;
    assert_eq!(failure(&result), Some((Stage::Transfer, HttpReason::Redirect)));
    assert_eq!(result.redirects, MAX_REDIRECTS);
    assert_eq!(server.requests().len(), MAX_REDIRECTS as usize + 1);
}

#[tokio::test]
async fn redirect_without_location_leads_nowhere() {
    let server = Server::http(|_| respond("302 Found", "", ""));
    let result = probe(&prober(), get(&server.url("a.test", "/"))).await;
    assert_eq!(failure(&result), Some((Stage::Transfer, HttpReason::Redirect)));
    assert_eq!(result.status, Some(302));
}

#[tokio::test]
async fn expected_redirect_is_the_answer() {
    let server = Server::http(|_| respond("301 Moved", "Location: /elsewhere\r\n", ""));
    let mut spec = get(&server.url("a.test", "/"));
    spec.expect_status = StatusRange::new(301, 301).into_iter().collect();
    let result = probe(&prober(), spec).await;
    assert_eq!((failure(&result), result.redirects), (None, 0));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn credentials_are_not_sent_to_another_host() {
    let other = Server::http(|_| ok());
    let location = format!("Location: {}\r\n", other.url("b.test", "/landing"));
    let first = Server::http(move |_| respond("303 See Other", &location, ""));
    let mut spec = get(&first.url("a.test", "/"));
    spec.method = Method::POST;
    for (name, value) in [
        ("authorization", "Bearer secret"),
        ("cookie", "c=secret"),
        ("x-tenant", "t"),
    ] {
        spec.headers
            .push((HeaderName::from_static(name), HeaderValue::from_static(value)));
    }
    assert_eq!(failure(&probe(&prober(), spec).await), None);
    let (sent, forwarded) = (first.requests().concat(), other.requests().concat());
    assert!(sent.starts_with("POST / HTTP/1.1\r\n") && sent.contains("Bearer secret") && sent.contains("c=secret"));
    assert!(forwarded.starts_with("GET /landing HTTP/1.1\r\n"), "{forwarded}");
    assert!(
        !forwarded.contains("secret") && forwarded.contains("x-tenant: t\r\n"),
        "{forwarded}"
    );
    assert!(
        forwarded.contains(&format!("host: b.test:{}\r\n", other.address.port())),
        "{forwarded}"
    );
}

#[tokio::test]
async fn redirect_to_a_forbidden_network_is_not_followed() {
    let inside = Server::http(|_| ok());
    let location = format!("Location: {}\r\n", inside.url("b.test", "/"));
    let server = Server::http(move |_| respond("302 Found", &location, ""));
    // The second name resolves into a network that is not allowed.
    let prober = HttpProber::new(None, vec!["127.0.0.1/32".parse().unwrap()])
        .unwrap()
        .with_resolver(Resolver::with(|host, port| {
            let last = if host == "a.test" { 1 } else { 2 };
            Ok(vec![([127, 0, 0, last], port).into()])
        }));
    let result = probe(&prober, get(&server.url("a.test", "/"))).await;
    assert_eq!(failure(&result), Some((Stage::Connect, HttpReason::Forbidden)));
    assert_eq!((result.redirects, result.status), (1, Some(302)));
    assert!(inside.requests().is_empty());
}
