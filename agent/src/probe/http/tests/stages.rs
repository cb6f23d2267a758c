//! Time appears in the stage that took it and in no other.

use std::time::Duration;

use super::server::{Accept, Authority, Server, Step, ok, send};
use super::{failure, get, loopback, probe, prober, stages_add_up};
use crate::probe::http::HttpProber;
use crate::probe::http::resolve::Resolver;
use crate::probe::{HttpResult, Stage};

/// Far above the noise of two busy cores.
const DELAY: Duration = Duration::from_millis(400);

/// A prober that trusts a fresh authority, and a server configuration of that authority.
fn https() -> (HttpProber, std::sync::Arc<rustls::ServerConfig>) {
    let authority = Authority::new(2090);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    authority.write(&file);
    let prober = HttpProber::new(Some(&file), vec!["127.0.0.0/8".parse().unwrap()]).unwrap();
    let prober = prober.with_resolver(Resolver::with(|_, port| Ok(vec![loopback(port)])));
    (prober, authority.server("a.test", (2080, 1, 1)))
}

async fn measure(prober: &HttpProber, accept: Accept, steps: fn() -> Vec<Step>) -> HttpResult {
    let server = Server::start(accept, move |_| steps());
    let result = probe(prober, get(&server.url("a.test", "/"))).await;
    assert_eq!(failure(&result), None);
    stages_add_up(&result);
    result
}

/// The server's wait starts a little before the prober, on the same thread, notices that the stage began: so a quarter may
/// be missing. Of the other stages none may take more than half, which a stage that contains another would.
fn delay_is_in(delayed: Stage, plain: &HttpResult, slow: &HttpResult) {
    for stage in Stage::ALL {
        let (before, after) = (plain.stages.get(stage).unwrap(), slow.stages.get(stage).unwrap());
        let growth = after.saturating_sub(before);
        if stage == delayed {
            assert!(growth >= DELAY * 3 / 4, "{stage}: {before:?} -> {after:?}");
        } else {
            assert!(
                growth <= DELAY / 2,
                "{stage}: {before:?} -> {after:?}, though {delayed} was delayed"
            );
        }
    }
}

#[tokio::test]
async fn slow_resolver_shows_in_resolve_alone() {
    let (prober, tls) = https();
    let accept = || Accept {
        tls: Some(tls.clone()),
        ..Accept::default()
    };
    let plain = measure(&prober, accept(), ok).await;
    let prober = prober.with_resolver(Resolver::with(|_, port| {
        std::thread::sleep(DELAY);
        Ok(vec![loopback(port)])
    }));
    delay_is_in(Stage::Resolve, &plain, &measure(&prober, accept(), ok).await);
}

#[tokio::test]
async fn slow_connect_shows_in_connect_alone() {
    let (prober, tls) = https();
    let accept = |connect_delay| Accept {
        connect_delay,
        tls: Some(tls.clone()),
        ..Accept::default()
    };
    let plain = measure(&prober, accept(None), ok).await;
    let slow = measure(&prober, accept(Some(DELAY)), ok).await;
    delay_is_in(Stage::Connect, &plain, &slow);
}

#[tokio::test]
async fn slow_handshake_shows_in_tls_alone() {
    let (prober, tls) = https();
    let accept = |handshake_delay| Accept {
        handshake_delay,
        tls: Some(tls.clone()),
        ..Accept::default()
    };
    let plain = measure(&prober, accept(Duration::ZERO), ok).await;
    let slow = measure(&prober, accept(DELAY), ok).await;
    delay_is_in(Stage::Tls, &plain, &slow);
}

#[tokio::test]
async fn slow_answer_shows_in_processing_alone() {
    let (prober, tls) = https();
    let accept = || Accept {
        tls: Some(tls.clone()),
        ..Accept::default()
    };
    let plain = measure(&prober, accept(), ok).await;
    let slow = measure(&prober, accept(), || [vec![Step::Wait(DELAY)], ok()].concat()).await;
    delay_is_in(Stage::Processing, &plain, &slow);
}

#[tokio::test]
async fn slow_body_shows_in_transfer_alone() {
    let (prober, tls) = https();
    let accept = || Accept {
        tls: Some(tls.clone()),
        ..Accept::default()
    };
    let plain = measure(&prober, accept(), ok).await;
    let slow = measure(&prober, accept(), || {
        vec![
            send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"),
            Step::Wait(DELAY),
            send("llo"),
        ]
    })
    .await;
    delay_is_in(Stage::Transfer, &plain, &slow);
    assert_eq!(slow.body_bytes, 5);
}

#[tokio::test]
async fn address_literal_takes_no_time_to_resolve_and_plain_http_none_for_tls() {
    let server = Server::http(|_| ok());
    let result = probe(&prober(), get(&server.url("127.0.0.1", "/"))).await;
    assert_eq!(failure(&result), None);
    assert_eq!(result.stages.get(Stage::Resolve), Some(Duration::ZERO));
    assert_eq!(result.stages.get(Stage::Tls), Some(Duration::ZERO));
    stages_add_up(&result);
}
