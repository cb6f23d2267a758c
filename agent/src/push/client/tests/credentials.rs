//! As whom requests come.

use std::fs;

use http::HeaderMap;

use super::super::super::receiver::remote_write_with;
use super::super::super::sigv4::{self, Keys};
use super::*;

async fn sent(keys: &str) -> String {
    let receiver = Receiver::start([]).await;
    let settings = remote_write_with(&format!("http://{}/api/v1/write", receiver.address), keys);
    Client::new(&settings, "1").unwrap().send(&request(), 0).await;
    receiver.requests()[0].head.clone()
}

fn has(head: &str, line: &str) -> bool {
    head.lines().any(|sent| sent == line)
}

#[tokio::test]
async fn basic_and_other_credentials_are_headers() {
    // The example of RFC 7617, section 2; the receiver writes everything in lower case.
    let head = sent("basic_auth: {username: Aladdin, password: open sesame}").await;
    let expected = "authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==".to_lowercase();
    assert!(has(&head, &expected), "{head}");
    let head = sent("authorization: {credentials: sesame}").await;
    assert!(has(&head, "authorization: bearer sesame"), "{head}");
    let head = sent("authorization: {type: Token, credentials: sesame}").await;
    assert!(has(&head, "authorization: token sesame"), "{head}");
    assert!(has(&head, "x-scope-orgid: tenant"), "{head}");
    assert!(!sent("").await.contains("authorization"));
}

#[tokio::test]
async fn a_secret_in_a_file_is_sent_trimmed_and_anew_when_it_changed() {
    let receiver = Receiver::start([]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    fs::write(&path, "one\n").unwrap();
    let keys = format!("authorization: {{credentials_file: {}}}", path.display());
    let settings = remote_write_with(&format!("http://{}/w", receiver.address), &keys);
    let mut client = Client::new(&settings, "1").unwrap();
    client.send(&request(), 0).await;
    fs::write(&path, "  second ").unwrap();
    client.looked = client.looked.checked_sub(LOOK_INTERVAL).unwrap();
    assert!(client.refresh(Reading::IfTouched).await);
    client.send(&request(), 0).await;
    // A file that is gone for a moment costs nothing.
    fs::remove_file(&path).unwrap();
    assert!(!client.refresh(Reading::Anyway).await);
    client.send(&request(), 0).await;
    let heads: Vec<String> = receiver.requests().into_iter().map(|request| request.head).collect();
    for (head, token) in heads.iter().zip(["one", "second", "second"]) {
        assert!(has(head, &format!("authorization: bearer {token}")), "{head}");
    }
    assert!(!format!("{client:?}").contains("second"), "{client:?}");
}

#[tokio::test]
async fn a_secret_that_cannot_be_sent_fails_the_attempt_and_stays_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    for content in ["", " \n", "sesame\nsesame"] {
        fs::write(&path, content).unwrap();
        let keys = format!("authorization: {{credentials_file: {}}}", path.display());
        let client = Client::new(&remote_write_with("http://127.0.0.1:1/w", &keys), "1").unwrap();
        let Answer::Failed(failure) = client.send(&request(), 0).await else {
            unreachable!("nothing is sent")
        };
        assert_eq!(failure.reason, FailureReason::Unauthorized);
        assert!(
            !failure.text.contains("sesame") && !failure.text.is_empty(),
            "{failure:?}"
        );
    }
    fs::remove_file(&path).unwrap();
    let keys = format!("basic_auth: {{username: u, password_file: {}}}", path.display());
    let error = Client::new(&remote_write_with("http://127.0.0.1:1/w", &keys), "1").unwrap_err();
    assert!(crate::chain(&error).contains("token"), "{error:?}");
}

#[tokio::test]
async fn a_signature_covers_what_is_on_the_wire() {
    let receiver = Receiver::start([]).await;
    let keys = "sigv4: {region: eu-central-1, access_key: AKID, secret_key: sesame, session_token: token}";
    let url = format!("http://{}/workspaces/ws-1/api/v1/remote_write?x=1", receiver.address);
    let began = SystemTime::now();
    let client = Client::new(&remote_write_with(&url, keys), "1").unwrap();
    client.send(&request(), 3).await;
    let arrived = receiver.requests().remove(0);
    let value = |name: &str| {
        let name = format!("{name}: ");
        let found = arrived.head.lines().find_map(|line| line.strip_prefix(&name));
        found.unwrap_or_else(|| unreachable!("no {name} in {}", arrived.head))
    };
    let path = arrived.head.split(' ').nth(1).unwrap();
    let unsigned = Unsigned {
        method: "POST",
        url: &format!("http://h{path}").parse().unwrap(),
        host: value("host"),
        headers: &[
            ("content-encoding", value("content-encoding")),
            ("content-type", value("content-type")),
            (
                "x-prometheus-remote-write-version",
                value("x-prometheus-remote-write-version"),
            ),
        ],
        body: &arrived.body,
    };
    let keys = Keys {
        region: "eu-central-1",
        service: "aps",
        access_key: "AKID",
        secret_key: "sesame",
        session_token: Some("token"),
    };
    let recomputed = (0..20).find_map(|second| {
        let mut headers = HeaderMap::new();
        sigv4::sign(keys, &unsigned, began + Duration::from_secs(second), &mut headers).unwrap();
        let date = headers["x-amz-date"].to_str().unwrap().to_lowercase();
        (date == value("x-amz-date")).then_some(headers)
    });
    let recomputed = recomputed.unwrap();
    let expected = recomputed["authorization"].to_str().unwrap().to_lowercase();
    assert_eq!(value("authorization"), expected);
    assert_eq!((value("x-amz-security-token"), value("retry-attempt")), ("token", "3"));
    assert!(!arrived.head.contains("sesame"));
}
