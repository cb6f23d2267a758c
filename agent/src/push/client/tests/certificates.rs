//! Client certificates, names for TLS, and files that change under way.

use std::fs;
use std::path::Path;

use super::super::super::receiver::remote_write_with;
use super::server::{Authority, Issued, TlsReceiver};
use super::*;

fn write(folder: &Path, issued: &Issued) {
    fs::write(folder.join("agent.pem"), &issued.pem).unwrap();
    fs::write(folder.join("agent-key.pem"), issued.key.serialize_pem()).unwrap();
}

fn client(url: &str, folder: &Path, keys: &str) -> Client {
    let folder = folder.display();
    let tls = format!(
        "tls: {{ca_file: {folder}/ca.pem, cert_file: {folder}/agent.pem, key_file: {folder}/agent-key.pem{keys}}}"
    );
    Client::new(&remote_write_with(url, &tls), "1").unwrap()
}

fn is_204(answer: &Answer) -> bool {
    matches!(answer, Answer::Response { status, .. } if *status == 204)
}

fn failure(answer: &Answer) -> Option<FailureReason> {
    match answer {
        Answer::Failed(failure) => Some(failure.reason),
        Answer::Response { .. } => None,
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_a_new_one_after_the_files_changed() {
    let authority = Authority::new();
    let mut receiver = TlsReceiver::start(&authority, "localhost").await;
    let url = format!("https://localhost:{}/w", receiver.address.port());
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
    let (first, second) = (authority.issue("first"), authority.issue("second"));
    write(folder.path(), &first);

    let mut client = client(&url, folder.path(), "");
    assert!(is_204(&client.send(&request(), 0).await));
    assert_eq!(receiver.next().await.client, [first.der]);

    write(folder.path(), &second);
    client.looked = Instant::now();
    assert!(!client.refresh(Reading::IfTouched).await, "not within the second");
    client.looked = client.looked.checked_sub(LOOK_INTERVAL).unwrap();
    assert!(client.refresh(Reading::IfTouched).await);
    assert!(is_204(&client.send(&request(), 0).await));
    assert_eq!(receiver.next().await.client, std::slice::from_ref(&second.der));

    // A key that does not belong to the certificate, as in the middle of a rotation: the last pair stays.
    fs::write(folder.path().join("agent-key.pem"), first.key.serialize_pem()).unwrap();
    assert!(!client.refresh(Reading::Anyway).await);
    assert!(is_204(&client.send(&request(), 0).await));
    assert_eq!(receiver.next().await.client, [second.der]);

    // The rest of the rotation.
    write(folder.path(), &authority.issue("third"));
    assert!(client.refresh(Reading::Anyway).await);
    assert!(is_204(&client.send(&request(), 0).await));
}

#[tokio::test]
async fn whoever_shows_no_certificate_or_a_wrong_one_is_told_that_tls_failed() {
    let authority = Authority::new();
    let receiver = TlsReceiver::start(&authority, "localhost").await;
    let url = format!("https://localhost:{}/w", receiver.address.port());
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
    let nobody = format!("tls: {{ca_file: {}/ca.pem}}", folder.path().display());
    let nobody = Client::new(&remote_write_with(&url, &nobody), "1").unwrap();
    assert_eq!(failure(&nobody.send(&request(), 0).await), Some(FailureReason::Tls));

    write(folder.path(), &Authority::new().issue("stranger"));
    let stranger = client(&url, folder.path(), "");
    assert_eq!(failure(&stranger.send(&request(), 0).await), Some(FailureReason::Tls));
}

#[tokio::test]
async fn the_certificate_may_be_for_another_name_than_the_url() {
    let authority = Authority::new();
    let mut receiver = TlsReceiver::start(&authority, "tsdb.example.com").await;
    let url = format!("https://{}/w", receiver.address);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
    write(folder.path(), &authority.issue("agent"));

    let named = client(&url, folder.path(), ", server_name: tsdb.example.com");
    let answer = named.send(&request(), 0).await;
    assert!(is_204(&answer), "{answer:?}");
    let seen = receiver.next().await;
    assert_eq!(seen.server_name.as_deref(), Some("tsdb.example.com"));
    let host = format!("\r\nhost: {}\r\n", receiver.address);
    assert!(seen.head.contains(&host), "{}", seen.head);

    let unnamed = client(&url, folder.path(), "");
    assert_eq!(failure(&unnamed.send(&request(), 0).await), Some(FailureReason::Tls));
}

#[test]
fn a_certificate_without_its_key_is_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
    write(folder.path(), &authority.issue("agent"));
    fs::write(
        folder.path().join("agent-key.pem"),
        authority.issue("other").key.serialize_pem(),
    )
    .unwrap();
    let path = folder.path().display();
    let tls = format!("tls: {{cert_file: {path}/agent.pem, key_file: {path}/agent-key.pem, ca_file: {path}/ca.pem}}");
    let error = Client::new(&remote_write_with("https://h/w", &tls), "1").unwrap_err();
    assert!(crate::chain(&error).contains("agent.pem"), "{error:?}");
}
