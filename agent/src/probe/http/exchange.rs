//! One request and its response over a connection that is there.

use std::error::Error as StdError;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Instant;

use ::http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, LOCATION, TRANSFER_ENCODING, USER_AGENT};
use ::http::{HeaderMap, HeaderValue, Method, Request};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncWrite};
use url::{Position, Url};
use xprober_proto::HttpSpec;

use super::progress::Progress;
use super::redirect::{Hop, Next};
use super::search::BodySearch;
use super::{HttpReason, MAX_BODY_BYTES, Stage, verdict};

/// Value of `User-Agent`.
const PRODUCT: &str = concat!("xprober-agent/", env!("CARGO_PKG_VERSION"));

/// Sends `request` over a connection, reads the response to its end and says what follows; judges an answer.
pub(super) async fn exchange<S>(
    stream: S,
    request: Request<Empty<Bytes>>,
    hop: &Hop,
    spec: &HttpSpec,
    progress: &mut Progress,
) -> Result<Next, HttpReason>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    progress.clock.begin(Stage::Processing, Instant::now());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| exchange_reason(&error))?;
    let mut driver = Driver {
        connection: pin!(connection),
        ended: false,
    };
    let response = driver.drive(sender.send_request(request)).await;
    let (head, body) = response.map_err(|error| exchange_reason(&error))?.into_parts();
    progress.clock.begin(Stage::Transfer, Instant::now());
    progress.status = Some(head.status.as_u16());
    progress.body_bytes = 0;
    let next = hop.next(spec, head.status, head.headers.get(LOCATION));
    if next == Next::Answer {
        // Known before the body is read, so a wrong status is not hidden by what happens to its body.
        progress.fail(verdict(spec, head.status, true));
    }
    let mut search = BodySearch::new(&spec.expect_body);
    driver
        .drive(read_body(body, &mut search, &mut progress.body_bytes))
        .await?;
    if next == Next::Answer {
        progress.fail(verdict(spec, head.status, search.found()));
    }
    Ok(next)
}

/// Reads a body to its end and counts its bytes.
async fn read_body(mut body: Incoming, search: &mut BodySearch, bytes: &mut u64) -> Result<(), HttpReason> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| exchange_reason(&error))?;
        let Some(chunk) = frame.data_ref() else { continue };
        *bytes += chunk.len() as u64;
        if *bytes > MAX_BODY_BYTES {
            return Err(HttpReason::Body);
        }
        search.push(chunk);
    }
    Ok(())
}

/// Lets a connection work while something of it is awaited, so that no task of its own has to be owned and ended.
struct Driver<'a, C> {
    connection: Pin<&'a mut C>,
    ended: bool,
}

impl<C: Future> Driver<'_, C> {
    /// Awaits `future`. The connection's own error is dropped: hyper gives it to the response or the body as well.
    async fn drive<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(output);
            }
            if !self.ended {
                self.ended = self.connection.as_mut().poll(context).is_ready();
            }
            future.as_mut().poll(context)
        })
        .await
    }
}

/// Builds the request of `hop`: configured headers replace our own, except those that frame the message.
pub(super) fn request(hop: &Hop) -> Result<Request<Empty<Bytes>>, HttpReason> {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, authority(&hop.url)?);
    headers.insert(USER_AGENT, HeaderValue::from_static(PRODUCT));
    if let Some(credentials) = basic_credentials(&hop.url) {
        headers.insert(AUTHORIZATION, credentials);
    }
    for (name, _) in &hop.headers {
        headers.remove(name);
    }
    for (name, value) in &hop.headers {
        headers.append(name, value.clone());
    }
    for name in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    if [Method::POST, Method::PUT, Method::PATCH].contains(&hop.method) {
        // RFC 9110 section 8.6: a method that has a use for content says that there is none.
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let mut request = Request::new(Empty::new());
    *request.method_mut() = hop.method.clone();
    *request.uri_mut() = hop.url[Position::BeforePath..Position::AfterQuery]
        .parse()
        .map_err(|_| HttpReason::Protocol)?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Value of `Host`: the port only where it is not the scheme's own.
fn authority(url: &Url) -> Result<HeaderValue, HttpReason> {
    HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort]).map_err(|_| HttpReason::Protocol)
}

/// Value of `Authorization` for a URL with a user name or a password in it (RFC 7617).
fn basic_credentials(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A TLS alert can come after the handshake (a client certificate that is missing, RFC 8446 section 6.2); everything
/// else, a reset included, is a peer that does not keep to HTTP.
fn exchange_reason(error: &hyper::Error) -> HttpReason {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            let tls = io
                .get_ref()
                .is_some_and(<dyn StdError + Send + Sync>::is::<rustls::Error>);
            return if tls { HttpReason::Tls } else { HttpReason::Protocol };
        }
        cause = error.source();
    }
    HttpReason::Protocol
}
