//! Asks the cloud's metadata service where this machine stands.
//!
//! AWS: `PUT /latest/api/token`, then `GET /latest/meta-data/placement/...` with the token (`IMDSv2`); without a token
//! where the service knows none (`IMDSv1`). <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>
//!
//! One connection for each question, straight to the address: no proxy, no redirect, no more than 4 kB of answer.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::debug;
use url::Url;
use xprober_config::agent::Metadata;
use xprober_proto::{InvalidName, Zone};

use super::{Placement, region_of_zone, seconds};

/// A region is some ten bytes; a page that is longer is not an answer.
const MAX_ANSWER_BYTES: usize = 4096;
/// Life of the token; we need it for two questions.
const TOKEN_TTL_SECONDS: &str = "60";

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
    };
    for dialect in DIALECTS {
        let answer = match dialect {
            Dialect::Aws => timeout(limit, service.aws()).await,
        };
        match answer {
            Ok(Ok(placement)) => return Ok(placement),
            Ok(Err(error)) => complaint = error,
            Err(_) => {
                complaint = MetadataError::Timeout {
                    limit,
                    during: "placement",
                }
            }
        }
    }
    Err(complaint)
}

struct Service<'a> {
    url: &'a Url,
    limit: Duration,
}

impl Service<'_> {
    async fn aws(&self) -> Result<Placement, MetadataError> {
        let token = self.token().await?;
        let token = token.as_deref();
        let zone = self.get(ZONE, token).await;
        let region = match (self.get(REGION, token).await, &zone) {
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

    /// `None` where tokens are unknown, or where the answer does not come through: its hop limit is 1, so inside a
    /// container it is lost, while plain questions are answered.
    async fn token(&self) -> Result<Option<String>, MetadataError> {
        let request = self
            .request(Method::PUT, TOKEN)
            .header("x-aws-ec2-metadata-token-ttl-seconds", TOKEN_TTL_SECONDS);
        match timeout(self.limit / 2, self.exchange(request, TOKEN)).await {
            Ok(Ok(token)) => Ok(Some(token)),
            Ok(Err(MetadataError::Status {
                status: StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED,
                ..
            })) => Ok(None),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                debug!("no metadata token in time, asking without");
                Ok(None)
            }
        }
    }

    async fn get(&self, path: &'static str, token: Option<&str>) -> Result<String, MetadataError> {
        let mut request = self.request(Method::GET, path);
        if let Some(token) = token {
            request = request.header("x-aws-ec2-metadata-token", token);
        }
        self.exchange(request, path).await
    }

    fn request(&self, method: Method, path: &'static str) -> http::request::Builder {
        let host = self.url.host_str().unwrap_or_default();
        Request::builder().method(method).uri(path).header(header::HOST, host)
    }

    async fn exchange(&self, request: http::request::Builder, path: &'static str) -> Result<String, MetadataError> {
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

fn other(error: impl std::error::Error + Send + Sync + 'static) -> MetadataError {
    MetadataError::Http(error.into())
}
