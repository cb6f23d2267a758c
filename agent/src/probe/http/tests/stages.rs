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

async fn measure(
    prober: &HttpProber,
    accept: Accept,
    steps: impl Fn() -> Vec<Step> + Send + Sync + 'static,
) -> HttpResult {
    let server = Server::start(accept, move |_| steps());
    let result = probe(prober, get(&server.url("a.test", "/"))).await;
    assert_eq!(failure(&result), None);
    stages_add_up(&result);
    result
}

/// Measures without and with the delay. A machine that stands still spoils a pair, a stage that is booked wrongly spoils all.
async fn delay_is_in(delayed: Stage, measure: impl AsyncFn(Duration) -> HttpResult) {
    let mut spoilt = Vec::new();
    while spoilt.len() < 5 {
        let (plain, slow) = (measure(Duration::ZERO).await, measure(DELAY).await);
        match compare(delayed, &plain, &slow) {
            Ok(()) => return,
            Err(difference) => spoilt.push(difference),
        }
    }
    panic!("{delayed} was delayed: {spoilt:#?}");
}

/// The server's wait starts a little before the prober, on the same thread, notices that the stage began: so a quarter may
/// be missing. Of the other stages none may take more than half, which a stage that contains another would.
fn compare(delayed: Stage, plain: &HttpResult, slow: &HttpResult) -> Result<(), String> {
    for stage in Stage::ALL {
        let (before, after) = (plain.stages.get(stage).unwrap(), slow.stages.get(stage).unwrap());
        let growth = after.saturating_sub(before);
        let right = if stage == delayed {
            growth >= DELAY * 3 / 4
        } else {
            growth <= DELAY / 2
        };
        if !right {
            return Err(format!("{stage}: {before:?} -> {after:?}"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn slow_resolver_shows_in_resolve_alone() {
    delay_is_in(Stage::Resolve, async |delay| {
        let (prober, tls) = https();
        let accept = Accept {
            tls: Some(tls),
            ..Accept::default()
        };
        let prober = prober.with_resolver(Resolver::with(move |_, port| {
            std::thread::sleep(delay);
            Ok(vec![loopback(port)])
        }));
        measure(&prober, accept, ok).await
    })
    .await;
}

#[tokio::test]
async fn slow_connect_shows_in_connect_alone() {
    let (prober, tls) = https();
    delay_is_in(Stage::Connect, async |delay| {
        let accept = Accept {
            connect_delay: (!delay.is_zero()).then_some(delay),
            tls: Some(tls.clone()),
            ..Accept::default()
        };
        measure(&prober, accept, ok).await
    })
    .await;
}

#[tokio::test]
async fn slow_handshake_shows_in_tls_alone() {
    let (prober, tls) = https();
    delay_is_in(Stage::Tls, async |delay| {
        let accept = Accept {
            handshake_delay: delay,
            tls: Some(tls.clone()),
            ..Accept::default()
        };
        measure(&prober, accept, ok).await
    })
    .await;
}

#[tokio::test]
async fn slow_answer_shows_in_processing_alone() {
    let (prober, tls) = https();
    delay_is_in(Stage::Processing, async |delay| {
        let accept = Accept {
            tls: Some(tls.clone()),
            ..Accept::default()
        };
        measure(&prober, accept, move || [vec![Step::Wait(delay)], ok()].concat()).await
    })
    .await;
}

#[tokio::test]
async fn slow_body_shows_in_transfer_alone() {
    let (prober, tls) = https();
    delay_is_in(Stage::Transfer, async |delay| {
        let accept = Accept {
            tls: Some(tls.clone()),
            ..Accept::default()
        };
        let steps = move || {
            vec![
                send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"),
                Step::Wait(delay),
                send("llo"),
            ]
        };
        let result = measure(&prober, accept, steps).await;
        assert_eq!(result.body_bytes, 5);
        result
    })
    .await;
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
