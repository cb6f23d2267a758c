//! HTTP requests from the hub to the lab's own programs; each on a connection of its own, plain HTTP only.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::Url;

use crate::error::LabError;

/// What came back.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The status code.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
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
    send(Method::GET, url, &BTreeMap::new(), Bytes::new(), limit).await
}

/// Posts a body of a content type to a URL.
///
/// # Errors
/// [`LabError::Http`] when no answer came within `limit`; any status is an answer.
pub async fn post(url: &str, content_type: &str, body: impl Into<Bytes>, limit: Duration) -> Result<Fetched, LabError> {
    let headers = BTreeMap::from([(CONTENT_TYPE.as_str(), content_type)]);
    send(Method::POST, url, &headers, body, limit).await
}

/// Sends a request with headers of one's own.
///
/// # Errors
/// [`LabError::Http`] when no answer came within `limit`; any status is an answer.
pub async fn send(
    method: Method,
    url: &str,
    headers: &BTreeMap<&str, &str>,
    body: impl Into<Bytes>,
    limit: Duration,
) -> Result<Fetched, LabError> {
    let failed = |reason: String| LabError::Http {
        url: url.to_owned(),
        reason,
    };
    let exchange = exchange(method, url, headers, body.into());
    match tokio::time::timeout(limit, exchange).await {
        Ok(result) => result.map_err(|error| failed(error.to_string())),
        Err(_) => Err(failed(format!("no answer within {limit:?}"))),
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

async fn exchange(method: Method, url: &str, headers: &BTreeMap<&str, &str>, body: Bytes) -> Result<Fetched, AnyError> {
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
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = async {
        let response = sender.send_request(request.body(Full::new(body))?).await?;
        let (head, body) = response.into_parts();
        Ok::<_, AnyError>(Fetched {
            status: head.status,
            headers: head.headers,
            body: body.collect().await?.to_bytes(),
        })
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
