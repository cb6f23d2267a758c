//! Why there was no response.

use super::super::super::receiver::{closed_port, remote_write_with};
use super::*;

async fn reason_at(url: &str, keys: &str) -> (FailureReason, String) {
    let client = Client::new(&remote_write_with(url, keys), "1").unwrap();
    match client.send(&request(), 0).await {
        Answer::Failed(failure) => (failure.reason, failure.text),
        answer @ Answer::Response { .. } => unreachable!("{answer:?}"),
    }
}

async fn reason_of(reply: Reply, keys: &str) -> FailureReason {
    let receiver = Receiver::start([reply]).await;
    reason_at(&format!("http://{}/w", receiver.address), keys).await.0
}

#[tokio::test]
async fn what_comes_back_instead_of_an_answer_is_told_apart() {
    assert_eq!(reason_of(Reply::Close, "").await, FailureReason::Closed);
    assert_eq!(reason_of(Reply::Garbage, "").await, FailureReason::Protocol);
    assert_eq!(reason_of(Reply::Hang, "timeout: 200ms").await, FailureReason::Timeout);
}

#[tokio::test]
async fn a_port_where_nobody_listens_refuses() {
    let (closed, _kept) = closed_port();
    let (reason, text) = reason_at(&format!("http://{closed}/w"), "").await;
    assert_eq!(reason, FailureReason::Refused);
    assert!(text.contains("Connection refused"), "{text}");
}

#[tokio::test]
async fn a_name_that_cannot_resolve_is_a_matter_of_dns() {
    // No label may be longer than 63 bytes, so no server is asked.
    let host = format!("{}.invalid", "a".repeat(64));
    let (reason, text) = reason_at(&format!("http://{host}:9/w"), "").await;
    assert_eq!(reason, FailureReason::Dns, "{text}");
}

#[tokio::test]
async fn tls_towards_a_port_without_it_is_a_matter_of_tls() {
    let authority = server::Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, &authority.pem).unwrap();
    // The bytes of the handshake hold no line that the receiver understands; it waits until the time limit or closes.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/w", listener.local_addr().unwrap());
    let plain = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let _ = stream.read(&mut [0; 1024]).await;
    });
    let keys = format!("tls: {{ca_file: {}}}", path.display());
    let (reason, text) = reason_at(&url, &keys).await;
    assert_eq!(reason, FailureReason::Tls, "{text}");
    plain.abort();
}
