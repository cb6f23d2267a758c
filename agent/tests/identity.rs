//! Region and zone from a real HTTP server that speaks the cloud's dialect.
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and its scripts name only what they change"
)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;
use xprober_agent::identity::{self, Placement, metadata};
use xprober_config::Override;
use xprober_config::agent::{AgentOverrides, AgentSettings, Metadata};

/// How the service behaves.
#[derive(Clone, Copy)]
enum Cloud {
    Version2,
    Version1 { refusal: StatusCode },
    TokenNeverComes,
    ZoneOnly,
    Silent,
    Redirect,
    Endless,
    Nonsense,
}

async fn answer(cloud: Cloud, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let reply = |status: StatusCode, body: &str| {
        let mut response = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
        *response.status_mut() = status;
        response
    };
    let token = request
        .headers()
        .get("x-aws-ec2-metadata-token")
        .is_some_and(|token| token == "secret");
    let path = request.uri().path().to_owned();
    if request.method() == Method::PUT {
        assert!(request.headers().contains_key("x-aws-ec2-metadata-token-ttl-seconds"));
        return match cloud {
            Cloud::Version1 { refusal } => reply(refusal, ""),
            Cloud::TokenNeverComes | Cloud::Silent => std::future::pending().await,
            _ => reply(StatusCode::OK, "secret"),
        };
    }
    match (cloud, path.as_str()) {
        (Cloud::Silent, _) => std::future::pending().await,
        (Cloud::Version2, _) if !token => reply(StatusCode::UNAUTHORIZED, ""),
        (Cloud::Redirect, _) => {
            let mut response = reply(StatusCode::FOUND, "");
            response
                .headers_mut()
                .insert("location", "http://127.0.0.1:1/".parse().unwrap());
            response
        }
        (Cloud::Endless, _) => reply(StatusCode::OK, &"x".repeat(5000)),
        (Cloud::Nonsense, _) => reply(StatusCode::OK, "<html>; rm -rf /</html>"),
        (Cloud::ZoneOnly, "/latest/meta-data/placement/region") => reply(StatusCode::NOT_FOUND, ""),
        (_, "/latest/meta-data/placement/region") => reply(StatusCode::OK, "ap-east-1\n"),
        (_, "/latest/meta-data/placement/availability-zone") => reply(StatusCode::OK, "ap-east-1b"),
        _ => reply(StatusCode::NOT_FOUND, ""),
    }
}

async fn serve(cloud: Cloud) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(move |request| async move {
                Ok::<_, std::convert::Infallible>(answer(cloud, request).await)
            });
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
        }
    });
    address
}

async fn ask(cloud: Cloud) -> Result<Placement, String> {
    let url = format!("http://{}", serve(cloud).await).parse().unwrap();
    let timeout = Duration::from_secs(1);
    metadata::ask(&Metadata { url, timeout })
        .await
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn every_generation_of_the_service_is_understood() {
    let expected = Placement {
        region: "ap-east-1".parse().unwrap(),
        zone: Some("ap-east-1b".parse().unwrap()),
    };
    for (name, cloud) in [
        ("with a token", Cloud::Version2),
        (
            "without, 404",
            Cloud::Version1 {
                refusal: StatusCode::NOT_FOUND,
            },
        ),
        (
            "without, 405",
            Cloud::Version1 {
                refusal: StatusCode::METHOD_NOT_ALLOWED,
            },
        ),
        ("the token is lost", Cloud::TokenNeverComes),
        ("only the zone is known", Cloud::ZoneOnly),
    ] {
        assert_eq!(ask(cloud).await, Ok(expected.clone()), "{name}");
    }
}

#[tokio::test]
async fn a_service_that_is_switched_off_is_not_asked_again_without_a_token() {
    let refused = ask(Cloud::Version1 {
        refusal: StatusCode::FORBIDDEN,
    })
    .await;
    assert_eq!(refused, Err("answered 403 Forbidden for /latest/api/token".to_owned()));
}

#[tokio::test]
async fn the_whole_question_takes_no_longer_than_its_limit() {
    let start = Instant::now();
    let error = ask(Cloud::Silent).await.unwrap_err();
    assert!(error.starts_with("did not answer within 1 s"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_answer_is_neither_followed_nor_believed() {
    let error = ask(Cloud::Redirect).await.unwrap_err();
    assert!(error.starts_with("answered 302"), "{error}");
    let error = ask(Cloud::Endless).await.unwrap_err();
    assert!(
        error.starts_with("did not answer as a metadata service does"),
        "{error}"
    );
    let error = ask(Cloud::Nonsense).await.unwrap_err();
    assert!(error.starts_with("named no usable region"), "{error}");
}

fn settings(overrides: &AgentOverrides) -> AgentSettings {
    let text = "remote_write: {url: http://127.0.0.1:9/api/v1/write}\nagent_id: vm1\n";
    AgentSettings::parse("agent.yml", text, overrides).unwrap()
}

fn given(value: &str) -> Override {
    Override {
        value: value.to_owned(),
        origin: "test".to_owned(),
    }
}

#[tokio::test]
async fn without_a_region_the_error_says_what_was_tried_and_what_to_set() {
    // A port that was free a moment ago: nobody listens.
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    let settings = settings(&AgentOverrides {
        metadata_url: Some(given(&url)),
        ..AgentOverrides::default()
    });
    let error = identity::find(&settings).await.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("no region: the metadata service at {url} cannot be reached")),
        "{error}"
    );
    assert!(
        error.ends_with("set --region=NAME, XPROBER_REGION or region: in agent.yml"),
        "{error}"
    );
}

#[tokio::test]
async fn settings_win_over_the_cloud() {
    let url = format!("http://{}", serve(Cloud::Version2).await);
    let asked = settings(&AgentOverrides {
        metadata_url: Some(given(&url)),
        zone: Some(given("rack-7")),
        ..AgentOverrides::default()
    });
    let found = identity::find(&asked).await.unwrap();
    assert_eq!(
        (found.region.as_str(), found.zone.unwrap().as_str()),
        ("ap-east-1", "rack-7")
    );
    let told = settings(&AgentOverrides {
        metadata_url: Some(given(&url)),
        region: Some(given("office")),
        ..AgentOverrides::default()
    });
    let found = identity::find(&told).await.unwrap();
    assert_eq!(
        (found.region.as_str(), found.zone),
        ("office", None),
        "the cloud is not asked"
    );
}
