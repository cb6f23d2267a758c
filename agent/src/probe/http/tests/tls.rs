//! Certificates: who is trusted, and until when.

use std::path::Path;
use std::time::Duration;

use rustls::HandshakeKind;

use super::server::{Authority, Server, Step, ok, send};
use super::{failure, get, loopback, probe};
use crate::probe::http::resolve::Resolver;
use crate::probe::http::{HttpProber, HttpProberError};
use crate::probe::{HttpReason, Stage};

const TLS_FAILURE: Option<(Stage, HttpReason)> = Some((Stage::Tls, HttpReason::Tls));

/// 2080-01-01, 2085-06-30 and 2020-03-01 at midnight UTC, seconds since the epoch (`date -u -d 2080-01-01 +%s`).
const YEAR_2080: i64 = 3_471_292_800;
const JUNE_2085: i64 = 3_644_697_600;
const MARCH_2020: i64 = 1_583_020_800;

fn prober_with(ca_file: &Path) -> Result<HttpProber, HttpProberError> {
    let prober = HttpProber::new(Some(ca_file), vec!["127.0.0.0/8".parse().unwrap()])?;
    Ok(prober.with_resolver(Resolver::with(|_, port| Ok(vec![loopback(port)]))))
}

fn trusting(authority: &Authority) -> HttpProber {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    authority.write(&file);
    prober_with(&file).unwrap()
}

#[tokio::test]
async fn earliest_end_of_the_chain_is_recorded() {
    let authority = Authority::new(2085);
    let prober = trusting(&authority);
    for (leaf, earliest) in [((2080, 1, 1), YEAR_2080), ((2089, 1, 1), JUNE_2085)] {
        let server = Server::https(authority.server("a.test", leaf), |_| ok());
        let result = probe(&prober, get(&server.url("a.test", "/"))).await;
        assert_eq!((failure(&result), result.tls_not_after), (None, Some(earliest)));
    }
}

#[tokio::test]
async fn expired_certificate_fails_in_tls_and_its_end_is_recorded() {
    let authority = Authority::new(2085);
    let server = Server::https(authority.server("a.test", (2020, 3, 1)), |_| ok());
    let result = probe(&trusting(&authority), get(&server.url("a.test", "/"))).await;
    assert_eq!(
        (failure(&result), result.tls_not_after),
        (TLS_FAILURE, Some(MARCH_2020))
    );
    assert_eq!(result.stages.get(Stage::Processing), None);
}

#[tokio::test]
async fn unknown_authority_and_wrong_name_fail_in_tls() {
    let (known, unknown) = (Authority::new(2085), Authority::new(2085));
    let prober = trusting(&known);
    for (issuer, name) in [(&unknown, "a.test"), (&known, "b.test")] {
        let server = Server::https(issuer.server(name, (2080, 1, 1)), |_| ok());
        let result = probe(&prober, get(&server.url("a.test", "/"))).await;
        assert_eq!((failure(&result), result.tls_not_after), (TLS_FAILURE, Some(YEAR_2080)));
        assert!(server.requests().is_empty());
    }
}

#[tokio::test]
async fn address_literals_and_names_with_a_trailing_dot_are_verified() {
    let authority = Authority::new(2085);
    let prober = trusting(&authority);
    for (name, host) in [("127.0.0.1", "127.0.0.1"), ("a.test", "a.test.")] {
        let server = Server::https(authority.server(name, (2080, 1, 1)), |_| ok());
        let result = probe(&prober, get(&server.url(host, "/"))).await;
        assert_eq!(failure(&result), None, "{host}");
    }
}

#[tokio::test]
async fn every_probe_makes_a_full_handshake() {
    let authority = Authority::new(2085);
    let prober = trusting(&authority);
    let server = Server::https(authority.server("a.test", (2080, 1, 1)), |_| ok());
    for _ in 0..3 {
        assert_eq!(failure(&probe(&prober, get(&server.url("a.test", "/"))).await), None);
    }
    assert_eq!(server.handshakes(), [HandshakeKind::Full; 3]);
}

#[tokio::test]
async fn connection_is_closed_in_order() {
    let authority = Authority::new(2085);
    let prober = trusting(&authority);
    let server = Server::https(authority.server("a.test", (2080, 1, 1)), |_| {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let pieces = [head, "2\r\nhe\r\n", "3\r\nllo\r\n", "0\r\n\r\n"];
        let pause = Step::Wait(Duration::from_millis(5));
        pieces.iter().flat_map(|piece| [send(piece), pause.clone()]).collect()
    });
    assert_eq!(failure(&probe(&prober, get(&server.url("a.test", "/"))).await), None);
    while server.parted().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        server.parted(),
        [true],
        "no close_notify before the end of the connection"
    );
}

#[test]
fn unusable_authority_file_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    assert!(matches!(prober_with(&file), Err(HttpProberError::ReadCaFile { .. })));
    std::fs::write(&file, "not a certificate").unwrap();
    assert!(matches!(prober_with(&file), Err(HttpProberError::EmptyCaFile { .. })));
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(matches!(prober_with(&file), Err(HttpProberError::RejectedCa { .. })));
}
