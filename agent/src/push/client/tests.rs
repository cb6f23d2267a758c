//! Requests on the wire, and what goes into the log.

mod certificates;

mod credentials;

mod reasons;

mod server;

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use super::super::receiver::{Receiver, Reply, remote_write};
use super::*;

fn request() -> SealedRequest {
    SealedRequest {
        bytes: "x".into(),
        protocol: Protocol::V1Snappy,
        samples: 1,
        min_timestamp: 0,
        max_timestamp: 0,
        sealed_at: Instant::now(),
    }
}

/// Serves one TLS connection and answers 204 to whatever comes; returns the endpoint and the certificate as PEM.
async fn tls_receiver() -> (Url, String, tokio::task::JoinHandle<()>) {
    let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = identity.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(identity.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/write", listener.local_addr().unwrap().port());
    let server = tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let mut buffer = [0; 4096];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(b"HTTP/1.1 204 x\r\nconnection: close\r\n\r\n").await;
                let _ = stream.shutdown().await;
            }
        }
    });
    (url.parse().unwrap(), identity.cert.pem(), server)
}

#[tokio::test]
async fn an_https_receiver_is_trusted_by_the_configured_authority_alone() {
    let (url, pem, server) = tls_receiver().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, pem).unwrap();
    let mut settings = remote_write(([127, 0, 0, 1], 1).into());
    settings.url = url;

    settings.tls.ca_file = Some(path);
    let answer = Client::new(&settings, "1").unwrap().send(&request(), 0).await;
    assert!(
        matches!(answer, Answer::Response { status, .. } if status == 204),
        "{answer:?}"
    );

    // Without it the system's authorities decide; a machine without any refuses to start.
    settings.tls.ca_file = None;
    if let Ok(client) = Client::new(&settings, "1") {
        let answer = client.send(&request(), 0).await;
        assert!(
            matches!(&answer, Answer::Failed(failure) if failure.reason == FailureReason::Tls && failure.text.contains("certificate")),
            "{answer:?}"
        );
    }
    server.abort();
}

#[test]
fn a_bad_ca_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = remote_write(([127, 0, 0, 1], 1).into());
    settings.url = "https://localhost/write".parse().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "no certificate here\n").unwrap();
    for path in [folder.path().join("missing.pem"), empty] {
        settings.tls.ca_file = Some(path.clone());
        let error = Client::new(&settings, "1").unwrap_err();
        let error = crate::chain(&error);
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
}

#[tokio::test]
async fn a_refusal_keeps_256_bytes_of_its_body_and_no_control_character() {
    let body = "\u{1b}[31mred\n".repeat(100).leak();
    let receiver = Receiver::start([Reply::Status(400, "", body)]).await;
    let client = Client::new(&remote_write(receiver.address), "1").unwrap();
    let Answer::Response { status, body, .. } = client.send(&request(), 0).await else {
        unreachable!("the receiver answers HTTP")
    };
    assert_eq!(status, 400);
    assert!(body.starts_with("\\x1b[31mred\\n\\x1b"), "{body}");
    assert!(!body.contains(char::is_control) && body.len() <= 4 * BODY_BYTES);
}

#[tokio::test]
async fn a_password_in_the_url_is_neither_shown_nor_used() {
    let receiver = Receiver::start([Reply::Close]).await;
    let mut settings = remote_write(receiver.address);
    settings.url.set_username("user").unwrap();
    settings.url.set_password(Some("secret")).unwrap();
    let Answer::Failed(failure) = Client::new(&settings, "1").unwrap().send(&request(), 0).await else {
        unreachable!("the receiver closes the connection")
    };
    assert!(!failure.text.contains("secret"), "{failure:?}");
    let head = &receiver.requests()[0].head;
    assert!(!head.contains("authorization") && !head.contains("secret"), "{head}");
}
