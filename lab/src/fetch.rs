//! HTTP requests from the hub to the lab's own programs; each on a connection of its own, plain HTTP only.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::Url;

use crate::error::LabError;

/// What came back.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The status code.
    pub status: StatusCode,
    /// The whole body.
    pub body: Bytes,
}

impl Fetched {
    /// The body as text; bytes that are no UTF-8 are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Gets a URL.
///
/// # Errors
/// [`LabError::Http`] when no answer came within `limit`; any status is an answer.
pub async fn get(url: &str, limit: Duration) -> Result<Fetched, LabError> {
    request(Method::GET, url, None, limit).await
}

/// Posts a body of a content type to a URL.
///
/// # Errors
/// [`LabError::Http`] when no answer came within `limit`; any status is an answer.
pub async fn post(url: &str, content_type: &str, body: impl Into<Bytes>, limit: Duration) -> Result<Fetched, LabError> {
    request(Method::POST, url, Some((content_type, body.into())), limit).await
}

async fn request(
    method: Method,
    url: &str,
    content: Option<(&str, Bytes)>,
    limit: Duration,
) -> Result<Fetched, LabError> {
    let failed = |reason: String| LabError::Http {
        url: url.to_owned(),
        reason,
    };
    let exchange = exchange(method, url, content);
    match tokio::time::timeout(limit, exchange).await {
        Ok(result) => result.map_err(|error| failed(error.to_string())),
        Err(_) => Err(failed(format!("no answer within {limit:?}"))),
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

async fn exchange(method: Method, url: &str, content: Option<(&str, Bytes)>) -> Result<Fetched, AnyError> {
    let url = Url::parse(url)?;
    let host = url.host_str().ok_or("the URL has no host")?;
    let port = url.port_or_known_default().ok_or("the URL has no port")?;
    let stream = TcpStream::connect((host, port)).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let path = url
        .query()
        .map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, format!("{host}:{port}"));
    let mut body = Bytes::new();
    if let Some((content_type, content)) = content {
        request = request.header(CONTENT_TYPE, content_type);
        body = content;
    }
    let answer = async {
        let response = sender.send_request(request.body(Full::new(body))?).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok::<_, AnyError>(Fetched { status, body })
    };
    tokio::pin!(answer);
    // The connection's own task must run while we wait for the answer, and not longer.
    tokio::select! {
        answer = &mut answer => answer,
        ended = connection => {
            ended?;
            answer.await
        }
    }
}
