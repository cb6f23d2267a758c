//! The sockets of the HTTP probe.

use std::error::Error as StdError;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use ::http::header::{CONNECTION, CONTENT_LENGTH, HOST, LOCATION, TRANSFER_ENCODING, USER_AGENT};
use ::http::response::Parts;
use ::http::{HeaderMap, HeaderValue, Method, Request};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::{Host, Url};
use xprober_proto::{HttpSpec, ProbeSpec, Target};

use super::redirect::{Hop, MAX_REDIRECTS, Next};
use super::resolve::Resolver;
use super::search::BodySearch;
pub use super::trust::HttpProberError;
use super::trust::{NotAfter, Trust};
use super::{HttpFailure, HttpReason, MAX_BODY_BYTES, Stage, StageClock, candidates, verdict};
use crate::probe::HttpResult;

const PRODUCT: &str = concat!("xprober-agent/", env!("CARGO_PKG_VERSION"));

/// Probes HTTP and HTTPS targets, each time over fresh connections.
#[derive(Debug)]
pub struct HttpProber {
    resolver: Resolver,
    trust: Trust,
    allowed_networks: Vec<IpNet>,
}

impl HttpProber {
    /// Builds a prober that trusts the system's certificate authorities and those in the PEM file `ca_file`, and that
    /// connects to addresses inside `allowed_networks` only; an empty list forbids every address.
    ///
    /// # Errors
    /// `ca_file` cannot be read or holds no usable certificate.
    pub fn new(ca_file: Option<&Path>, allowed_networks: Vec<IpNet>) -> Result<Self, HttpProberError> {
        Ok(Self {
            resolver: Resolver::system(),
            trust: Trust::load(ca_file)?,
            allowed_networks,
        })
    }

    /// Resolves names by `resolver` instead of as the system does.
    #[cfg(test)]
    pub(super) fn with_resolver(self, resolver: Resolver) -> Self {
        Self { resolver, ..self }
    }

    /// Probes `target` once; takes no longer than its timeout.
    ///
    /// Whatever goes wrong is in the result. A target of another kind fails with reason `protocol` and sends nothing.
    pub async fn probe(&self, target: Arc<Target>) -> HttpResult {
        let mut progress = Progress::start(Instant::now());
        let ended = match &target.probe {
            ProbeSpec::Http(spec) => {
                let deadline = progress.started + target.timeout;
                tokio::time::timeout_at(deadline.into(), self.follow(spec, &mut progress))
                    .await
                    .unwrap_or(Err(HttpReason::Timeout))
            }
            ProbeSpec::Icmp(_) | ProbeSpec::Tcp(_) => Err(HttpReason::Protocol),
        };
        progress.finish(target, ended, Instant::now())
    }

    /// Sends the request of `spec` and follows redirects to the answer.
    async fn follow(&self, spec: &HttpSpec, progress: &mut Progress) -> Result<(), HttpReason> {
        let mut hop = Hop::first(spec);
        loop {
            let mut search = BodySearch::new(&spec.expect_body);
            let head = self.request(&hop, spec, &mut search, progress).await?;
            match hop.next(spec, head.status, head.headers.get(LOCATION)) {
                Next::Answer => {
                    progress.fail(verdict(spec, head.status, search.found()));
                    return Ok(());
                }
                Next::Follow(_) if progress.redirects == MAX_REDIRECTS => return Err(HttpReason::Redirect),
                Next::Follow(next) => hop = next,
                Next::Nowhere => return Err(HttpReason::Redirect),
            }
            progress.redirects += 1;
            progress.clock.begin(Stage::Resolve, Instant::now());
        }
    }

    /// Makes one connection, sends `hop` over it and reads the response to its end.
    async fn request(
        &self,
        hop: &Hop,
        spec: &HttpSpec,
        search: &mut BodySearch,
        progress: &mut Progress,
    ) -> Result<Parts, HttpReason> {
        let request = request(hop)?;
        let addresses = self.resolve(&hop.url).await?;
        progress.begin_after_resolve(&hop.url);
        let tcp = self.connect(&addresses).await?;
        if hop.url.scheme() == "https" {
            progress.clock.begin(Stage::Tls, Instant::now());
            let tls = self.handshake(&hop.url, tcp, &progress.not_after).await?;
            exchange(tls, request, hop, spec, search, progress).await
        } else {
            exchange(tcp, request, hop, spec, search, progress).await
        }
    }

    async fn resolve(&self, url: &Url) -> Result<Vec<SocketAddr>, HttpReason> {
        let port = url.port_or_known_default().ok_or(HttpReason::Protocol)?;
        match url.host().ok_or(HttpReason::Protocol)? {
            Host::Ipv4(address) => Ok(vec![(address, port).into()]),
            Host::Ipv6(address) => Ok(vec![(address, port).into()]),
            Host::Domain(name) => match self.resolver.resolve(name, port).await {
                Ok(addresses) if !addresses.is_empty() => Ok(addresses),
                Ok(_) | Err(_) => Err(HttpReason::Dns),
            },
        }
    }

    async fn connect(&self, resolved: &[SocketAddr]) -> Result<TcpStream, HttpReason> {
        let mut reason = HttpReason::Forbidden;
        for address in candidates(resolved, &self.allowed_networks) {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Without effect on a request that is one write; a kernel that refuses is no reason to fail.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => reason = connect_reason(&error),
            }
        }
        Err(reason)
    }

    async fn handshake(
        &self,
        url: &Url,
        tcp: TcpStream,
        not_after: &Arc<NotAfter>,
    ) -> Result<TlsStream<TcpStream>, HttpReason> {
        let config = self.trust.client_config(not_after).map_err(|_| HttpReason::Tls)?;
        let name = server_name(url).ok_or(HttpReason::Tls)?;
        TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await
            .map_err(|_| HttpReason::Tls)
    }
}

/// What is known of a probe so far; it outlives the work when the deadline ends that.
struct Progress {
    started: Instant,
    clock: StageClock,
    failure: Option<HttpFailure>,
    status: Option<u16>,
    body_bytes: u64,
    redirects: u32,
    not_after: Arc<NotAfter>,
}

impl Progress {
    fn start(now: Instant) -> Self {
        Self {
            started: now,
            clock: StageClock::start(now),
            failure: None,
            status: None,
            body_bytes: 0,
            redirects: 0,
            not_after: Arc::default(),
        }
    }

    /// Notes the first failure; what follows from it does not replace it.
    fn fail(&mut self, failure: Option<HttpFailure>) {
        self.failure = self.failure.or(failure);
    }

    /// Begins the connect; an address literal took no resolution at all.
    fn begin_after_resolve(&mut self, url: &Url) {
        let literal = !matches!(url.host(), Some(Host::Domain(_)));
        let now = if literal { self.clock.since() } else { Instant::now() };
        self.clock.begin(Stage::Connect, now);
    }

    fn finish(mut self, target: Arc<Target>, ended: Result<(), HttpReason>, now: Instant) -> HttpResult {
        let stage = self.clock.stage();
        self.fail(ended.err().map(|reason| HttpFailure { stage, reason }));
        HttpResult {
            target,
            stages: self.clock.finish(now),
            duration: now.saturating_duration_since(self.started),
            failure: self.failure,
            status: self.status,
            body_bytes: self.body_bytes,
            redirects: self.redirects,
            tls_not_after: self.not_after.get(),
        }
    }
}

/// Sends `request` over a connection and reads the response to its end.
async fn exchange<S>(
    stream: S,
    request: Request<Empty<Bytes>>,
    hop: &Hop,
    spec: &HttpSpec,
    search: &mut BodySearch,
    progress: &mut Progress,
) -> Result<Parts, HttpReason>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    progress.clock.begin(Stage::Processing, Instant::now());
    progress.status = None;
    progress.body_bytes = 0;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| exchange_reason(&error))?;
    let mut driver = Driver {
        connection: pin!(connection),
        ended: false,
    };
    let response = driver.drive(sender.send_request(request)).await;
    let (head, body) = response.map_err(|error| exchange_reason(&error))?.into_parts();
    progress.status = Some(head.status.as_u16());
    if hop.next(spec, head.status, head.headers.get(LOCATION)) == Next::Answer {
        // Known before the body is read, so a wrong status is not hidden by what happens to its body.
        progress.fail(verdict(spec, head.status, true));
    }
    progress.clock.begin(Stage::Transfer, Instant::now());
    driver.drive(read_body(body, search, &mut progress.body_bytes)).await?;
    Ok(head)
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
fn request(hop: &Hop) -> Result<Request<Empty<Bytes>>, HttpReason> {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, authority(&hop.url)?);
    headers.insert(USER_AGENT, HeaderValue::from_static(PRODUCT));
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
    *request.uri_mut() = hop.url[url::Position::BeforePath..url::Position::AfterQuery]
        .parse()
        .map_err(|_| HttpReason::Protocol)?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Value of `Host`: the port only where it is not the scheme's own.
fn authority(url: &Url) -> Result<HeaderValue, HttpReason> {
    HeaderValue::from_str(&url[url::Position::BeforeHost..url::Position::AfterPort]).map_err(|_| HttpReason::Protocol)
}

/// Name that the certificate must be for; a name's trailing dot is no part of it (RFC 6066 section 3).
fn server_name(url: &Url) -> Option<ServerName<'static>> {
    match url.host()? {
        Host::Ipv4(address) => Some(ServerName::IpAddress(std::net::IpAddr::V4(address).into())),
        Host::Ipv6(address) => Some(ServerName::IpAddress(std::net::IpAddr::V6(address).into())),
        Host::Domain(name) => ServerName::try_from(name.trim_end_matches('.').to_owned()).ok(),
    }
}

/// The kernel gave up before the probe's deadline, or the peer or the network said no.
fn connect_reason(error: &io::Error) -> HttpReason {
    if error.kind() == io::ErrorKind::TimedOut {
        HttpReason::Timeout
    } else {
        HttpReason::Refused
    }
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
