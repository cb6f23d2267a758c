//! Asks the cloud's metadata service where this machine stands.
//!
//! AWS: `PUT /latest/api/token`, then `GET /latest/meta-data/placement/...` with the token (`IMDSv2`); without a token
//! where the service knows none (`IMDSv1`). <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>
//!
//! ```text
//!   ask for a token --given, unknown, late--> ask for the placement, with what there is --> Placement
//!         ^                                                  |
//!         +------------------ a pause <------- 401: it demands a token, or another one
//! ```
//!
//! One connection for each question, straight to the address: no proxy, no redirect, no more than 4 kB of answer.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;
use url::Url;
use xprober_config::agent::Metadata;
use xprober_proto::{InvalidName, Zone};

use super::{Placement, region_of_zone, seconds};

/// A region is some ten bytes; a page that is longer is not an answer.
const MAX_ANSWER_BYTES: usize = 4096;
/// Life of the token; we need it for two questions.
const TOKEN_TTL_SECONDS: &str = "60";
/// Times a token is asked for: one answer may be lost, or late on a busy machine, and the one after it, too.
const TOKEN_TRIES: u32 = 3;
/// A token may take this part of the time that is left; the rest is for what is asked with it, or for the next try.
const TOKEN_SHARE: u32 = 2;
/// The pause before the next try takes this part of the time that is left.
const PAUSE_SHARE: u32 = 10;

/// Says why the cloud did not tell.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The limit for the whole question passed.
    #[error("did not answer within {} (open: {during})", seconds(*limit))]
    Timeout {
        /// The limit.
        limit: Duration,
        /// The question that was open.
        during: &'static str,
    },
    /// Nothing is there.
    #[error("cannot be reached ({0})")]
    Connect(std::io::Error),
    /// It broke HTTP, or answered at length.
    #[error("did not answer as a metadata service does ({0})")]
    Http(Box<dyn std::error::Error + Send + Sync>),
    /// It answers only those who show a token, and none of the tries brought one that it takes.
    #[error("demands a token for {path}, but in {TOKEN_TRIES} tries within {} {why}", seconds(*limit))]
    Token {
        /// The question.
        path: &'static str,
        /// What became of the last token, and what helps.
        why: &'static str,
        /// The limit for all tries.
        limit: Duration,
    },
    /// It refused.
    #[error("answered {status} for {path}")]
    Status {
        /// Its answer.
        status: StatusCode,
        /// The question.
        path: &'static str,
    },
    /// It named no region.
    #[error("named no usable region ({0})")]
    Region(InvalidName),
}

/// Dialects of metadata services; the first that answers counts.
#[derive(Debug, Clone, Copy)]
enum Dialect {
    Aws,
}

const DIALECTS: [Dialect; 1] = [Dialect::Aws];

const TOKEN: &str = "/latest/api/token";
const REGION: &str = "/latest/meta-data/placement/region";
const ZONE: &str = "/latest/meta-data/placement/availability-zone";

/// Asks for region and zone; never takes longer than `metadata.timeout`.
///
/// # Errors
///
/// Nobody answered, or not with a region.
pub async fn ask(metadata: &Metadata) -> Result<Placement, MetadataError> {
    let limit = metadata.timeout;
    let mut complaint = MetadataError::Timeout { limit, during: "start" };
    let service = Service {
        url: &metadata.url,
        limit,
        deadline: Instant::now() + limit,
    };
    for dialect in DIALECTS {
        let answer = match dialect {
            Dialect::Aws => service.aws().await,
        };
        match answer {
            Ok(placement) => return Ok(placement),
            Err(error) => complaint = error,
        }
    }
    Err(complaint)
}

/// What became of the question for a token.
enum Token {
    /// To be shown with every question.
    Given(String),
    /// This cloud has no tokens.
    Unknown,
    /// It may have them, but none came in time. Inside a container none ever does where the answer's hop limit is 1, while
    /// plain questions are answered.
    Late,
}

impl Token {
    fn shown(&self) -> Option<&str> {
        match self {
            Self::Given(token) => Some(token),
            Self::Unknown | Self::Late => None,
        }
    }

    /// Why a service that demands a token is still not content.
    const fn complaint(&self) -> &'static str {
        match self {
            Self::Given(_) => "refused what it gave",
            Self::Unknown => "knew of none",
            Self::Late => {
                "gave none (what may help: a longer metadata.timeout in agent.yml; for a container, a hop limit of 2 in \
                 the instance's metadata options)"
            }
        }
    }
}

struct Service<'a> {
    url: &'a Url,
    limit: Duration,
    deadline: Instant,
}

impl Service<'_> {
    async fn aws(&self) -> Result<Placement, MetadataError> {
        let mut token = self.token().await?;
        let mut answer = self.placement(&token).await;
        for _ in 1..TOKEN_TRIES {
            if refused(&answer).is_none() {
                break;
            }
            sleep(self.left() / PAUSE_SHARE).await;
            token = self.token().await?;
            // Without one it would only refuse again.
            if token.shown().is_some() {
                answer = self.placement(&token).await;
            }
        }
        match refused(&answer) {
            Some(path) => Err(MetadataError::Token {
                path,
                why: token.complaint(),
                limit: self.limit,
            }),
            None => answer,
        }
    }

    async fn placement(&self, token: &Token) -> Result<Placement, MetadataError> {
        let (zone, region) = tokio::join!(self.get(ZONE, token), self.get(REGION, token));
        let region = match (region, &zone) {
            (Ok(region), _) => region,
            // Services of the first generation know only the zone.
            (Err(MetadataError::Status { .. }), Ok(zone)) if region_of_zone(zone).is_some() => {
                region_of_zone(zone).unwrap_or_default().to_owned()
            }
            (Err(error), _) => return Err(error),
        };
        Ok(Placement {
            region: region.parse().map_err(MetadataError::Region)?,
            zone: zone.ok().and_then(|zone| zone.parse::<Zone>().ok()),
        })
    }

    async fn token(&self) -> Result<Token, MetadataError> {
        let request = self
            .request(Method::PUT, TOKEN)
            .header("x-aws-ec2-metadata-token-ttl-seconds", TOKEN_TTL_SECONDS);
        let patience = Instant::now() + self.left() / TOKEN_SHARE;
        match self.exchange(request, TOKEN, patience).await {
            Ok(token) => Ok(Token::Given(token)),
            Err(MetadataError::Status {
                status: StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED,
                ..
            }) => Ok(Token::Unknown),
            Err(MetadataError::Timeout { .. }) => {
                debug!("no metadata token in time");
                Ok(Token::Late)
            }
            // Nobody listens there, or it is switched off: without a token it is the same.
            Err(error) => Err(error),
        }
    }

    async fn get(&self, path: &'static str, token: &Token) -> Result<String, MetadataError> {
        let mut request = self.request(Method::GET, path);
        if let Some(token) = token.shown() {
            request = request.header("x-aws-ec2-metadata-token", token);
        }
        self.exchange(request, path, self.deadline).await
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn request(&self, method: Method, path: &'static str) -> http::request::Builder {
        let host = self.url.host_str().unwrap_or_default();
        Request::builder().method(method).uri(path).header(header::HOST, host)
    }

    async fn exchange(
        &self,
        request: http::request::Builder,
        path: &'static str,
        until: Instant,
    ) -> Result<String, MetadataError> {
        let answer = timeout_at(until, self.answer(request, path)).await;
        answer.unwrap_or(Err(MetadataError::Timeout {
            limit: self.limit,
            during: path,
        }))
    }

    async fn answer(&self, request: http::request::Builder, path: &'static str) -> Result<String, MetadataError> {
        let request = request.body(Empty::<Bytes>::new()).map_err(other)?;
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.url.port_or_known_default().unwrap_or(80);
        let stream = TcpStream::connect((host, port)).await.map_err(MetadataError::Connect)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(other)?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(other)?;
            let status = response.status();
            if status != StatusCode::OK {
                return Err(MetadataError::Status { status, path });
            }
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
            let body = body.map_err(MetadataError::Http)?.to_bytes();
            let text = std::str::from_utf8(&body).map_err(other)?;
            Ok(text.trim().to_owned())
        };
        tokio::pin!(answer, connection);
        // The connection ends with the question: nothing is left running.
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            // Its error, if any, reaches the request too.
            _ = &mut connection => answer.await,
        }
    }
}

/// The question that was refused for want of a token, or of another one.
const fn refused(answer: &Result<Placement, MetadataError>) -> Option<&'static str> {
    match answer {
        Err(MetadataError::Status {
            status: StatusCode::UNAUTHORIZED,
            path,
        }) => Some(path),
        Ok(_) | Err(_) => None,
    }
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> MetadataError {
    MetadataError::Http(error.into())
}
