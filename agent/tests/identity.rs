//! Region and zone from a real HTTP server that speaks the cloud's dialect.
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and its scripts name only what they change"
)]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::closed_port;
use common::undisturbed::undisturbed;
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
    Version1 {
        refusal: StatusCode,
    },
    /// Plain questions are answered.
    TokenNeverComes,
    /// Plain questions are refused, and so are those for a token with `refusal`, or never answered, until this one.
    TokenComesAt {
        question: usize,
        refusal: Option<StatusCode>,
    },
    /// So many tokens are given that are not taken.
    StaleTokens(usize),
    ZoneOnly,
    Silent,
    Redirect,
    Endless,
    Nonsense,
}

/// `tokens` counts the questions for a token.
async fn answer(cloud: Cloud, tokens: &AtomicUsize, request: Request<Incoming>) -> Response<Full<Bytes>> {
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
        let question = tokens.fetch_add(1, Ordering::SeqCst) + 1;
        return match cloud {
            Cloud::Version1 { refusal } => reply(refusal, ""),
            Cloud::TokenComesAt {
                question: first,
                refusal,
            } if question < first => match refusal {
                Some(refusal) => reply(refusal, ""),
                None => std::future::pending().await,
            },
            Cloud::StaleTokens(stale) if question <= stale => reply(StatusCode::OK, "stale"),
            Cloud::TokenNeverComes | Cloud::Silent => std::future::pending().await,
            _ => reply(StatusCode::OK, "secret"),
        };
    }
    match (cloud, path.as_str()) {
        (Cloud::Silent, _) => std::future::pending().await,
        (Cloud::Version2 | Cloud::TokenComesAt { .. } | Cloud::StaleTokens(_), _) if !token => {
            reply(StatusCode::UNAUTHORIZED, "")
        }
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

async fn serve(cloud: Cloud) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tokens = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&tokens);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counter = Arc::clone(&counter);
            let service = hyper::service::service_fn(move |request| {
                let counter = Arc::clone(&counter);
                async move { Ok::<_, std::convert::Infallible>(answer(cloud, &counter, request).await) }
            });
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
        }
    });
    (address, tokens)
}

/// For whoever answers at once.
const AMPLE: Duration = Duration::from_secs(30);

async fn ask(cloud: Cloud) -> Result<Placement, String> {
    ask_within(AMPLE, cloud).await.0
}

/// Answers the number of questions for a token, too.
async fn ask_within(timeout: Duration, cloud: Cloud) -> (Result<Placement, String>, usize) {
    let (address, tokens) = serve(cloud).await;
    let url = format!("http://{address}").parse().unwrap();
    let answer = metadata::ask(&Metadata { url, timeout }).await;
    (answer.map_err(|error| error.to_string()), tokens.load(Ordering::SeqCst))
}

fn placement() -> Placement {
    Placement {
        region: "ap-east-1".parse().unwrap(),
        zone: Some("ap-east-1b".parse().unwrap()),
    }
}

#[tokio::test]
async fn every_generation_of_the_service_is_understood() {
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
        (
            "without, 501",
            Cloud::Version1 {
                refusal: StatusCode::NOT_IMPLEMENTED,
            },
        ),
        ("only the zone is known", Cloud::ZoneOnly),
    ] {
        assert_eq!(ask(cloud).await, Ok(placement()), "{name}");
    }
}

#[test]
fn a_service_whose_token_is_lost_is_asked_without_one() {
    undisturbed(|| async {
        assert_eq!(ask_within(LIMIT, Cloud::TokenNeverComes).await.0, Ok(placement()));
    });
}

/// Half of it passes before a token that does not come is asked for again; the rest is plenty on a busy machine.
const LIMIT: Duration = Duration::from_secs(4);

#[test]
fn a_token_that_is_demanded_and_did_not_come_is_asked_for_again() {
    undisturbed(|| async {
        for (name, cloud, questions) in [
            (
                "the first is never answered",
                Cloud::TokenComesAt {
                    question: 2,
                    refusal: None,
                },
                2,
            ),
            (
                "tokens are unknown at first",
                Cloud::TokenComesAt {
                    question: 3,
                    refusal: Some(StatusCode::NOT_FOUND),
                },
                3,
            ),
            ("the first is not taken", Cloud::StaleTokens(1), 2),
        ] {
            assert_eq!(ask_within(LIMIT, cloud).await, (Ok(placement()), questions), "{name}");
        }
    });
}

#[test]
fn a_token_is_asked_for_a_few_times_and_the_error_says_what_helps() {
    undisturbed(|| async {
        let never = |refusal| Cloud::TokenComesAt {
            question: usize::MAX,
            refusal,
        };
        for (cloud, why) in [
            (
                never(None),
                "gave none (what may help: a longer metadata.timeout in agent.yml; for a container, a hop limit of 2 in the \
                 instance's metadata options)",
            ),
            (never(Some(StatusCode::NOT_FOUND)), "knew of none"),
            (Cloud::StaleTokens(usize::MAX), "refused what it gave"),
        ] {
            let (answer, questions) = ask_within(LIMIT, cloud).await;
            let path = "/latest/meta-data/placement/region";
            let complaint = format!("demands a token for {path}, but in 3 tries within 4 s {why}");
            assert_eq!((answer, questions), (Err(complaint), 3));
        }
    });
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
    let (answer, _) = ask_within(Duration::from_secs(1), Cloud::Silent).await;
    let error = answer.unwrap_err();
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
    let text = "remote_write: {url: http://127.0.0.1:9/api/v1/write}\nagent_id: vm1\nmetadata: {timeout: 30s}\n";
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
    let (closed, _kept) = closed_port();
    let url = format!("http://{closed}");
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
    let url = format!("http://{}", serve(Cloud::Version2).await.0);
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
