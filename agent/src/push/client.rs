//! Requests of one endpoint over HTTP.

mod error;

mod resolve;

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use reqwest::redirect;
use tracing::{info, warn};
use url::Url;
use xprober_config::agent::RemoteWrite;

use super::authentication::Authenticator;
use super::file::Reading;
use super::negotiation::Check;
use super::sigv4::Unsigned;
use super::tls::TlsFiles;
use super::{Answer, Failure, FailureReason, PushError, retry_after, written};
use crate::queue::SealedRequest;
use crate::wire::Protocol;

/// How much of a refusal's body is kept for the log.
const BODY_BYTES: usize = 256;

/// Part of the request's time limit that connecting may take: a dead address must leave time for a retry elsewhere.
const MAX_CONNECT: Duration = Duration::from_secs(5);

/// Idle time before the connection is checked: a middlebox that forgot it must not cost a whole timeout per request.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Files with secrets and certificates are looked at no more often.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Sends requests to one endpoint.
///
/// Redirects are not followed (a POST would turn into a GET), and proxies of the environment are not used: samples go
/// where the configuration says and nowhere else.
#[derive(Debug)]
pub struct Client {
    settings: RemoteWrite,
    authenticator: Authenticator,
    tls: TlsFiles,
    http: reqwest::Client,
    /// The URL with the name for TLS as its host.
    url: Url,
    /// Host and port as the URL has them.
    host: String,
    headers: HeaderMap,
    looked: Instant,
    files_fail: bool,
}

impl Client {
    /// Reads the files and prepares headers and TLS; connects to nothing.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or used.
    pub fn new(settings: &RemoteWrite, version: &str) -> Result<Self, PushError> {
        let mut headers: HeaderMap = settings.headers.iter().cloned().collect();
        if let Ok(agent) = HeaderValue::from_str(&format!("xprober-agent/{version}")) {
            headers.insert(header::USER_AGENT, agent);
        }
        let mut url = settings.url.clone();
        if let Some(name) = &settings.tls.server_name {
            url.set_host(Some(name)).map_err(|_| PushError::ServerName)?;
        }
        let tls = TlsFiles::open(&settings.tls)?;
        Ok(Self {
            authenticator: Authenticator::open(&settings.authentication)?,
            http: connect(settings, &tls)?,
            tls,
            url,
            host: authority(&settings.url),
            headers,
            looked: Instant::now(),
            files_fail: false,
            settings: settings.clone(),
        })
    }

    /// Looks at the files with secrets and certificates again, at most once a second unless there is reason to believe
    /// that they changed; tells whether something did. What cannot be read or used leaves in use what was known.
    pub async fn refresh(&mut self, reading: Reading) -> bool {
        let now = Instant::now();
        if reading == Reading::IfTouched && now.saturating_duration_since(self.looked) < LOOK_INTERVAL {
            return false;
        }
        self.looked = now;
        match self.reload(reading).await {
            Ok(changed) => {
                if changed {
                    info!(endpoint = %self.settings.name, "credentials or certificates were read again");
                }
                self.files_fail = false;
                changed
            }
            Err(error) => {
                if !std::mem::replace(&mut self.files_fail, true) {
                    let error = crate::chain(&error);
                    warn!(endpoint = %self.settings.name, error, "credentials or certificates cannot be read again, the last ones stay in use");
                }
                false
            }
        }
    }

    async fn reload(&mut self, reading: Reading) -> Result<bool, PushError> {
        let secrets = self.authenticator.refresh(reading).await?;
        let certificates = self.tls.refresh(reading).await?;
        if certificates {
            // New connections for the new certificates.
            self.http = connect(&self.settings, &self.tls)?;
        }
        Ok(secrets || certificates)
    }

    /// Sends a request once, spelt as it is; `attempt` is 0 the first time.
    pub async fn send(&self, request: &SealedRequest, attempt: u64) -> Answer {
        let (protocol, body) = (request.protocol, request.bytes.clone());
        self.execute(self.post(protocol, body, attempt), Body::OfFailures).await
    }

    /// Asks whether the endpoint takes a protocol.
    pub async fn check(&self, check: Check) -> Answer {
        let request = match check {
            Check::Zstd => {
                let mut url = self.url.clone();
                url.query_pairs_mut().append_pair("get_vm_proto_version", "1");
                self.request(Method::GET, url, &[], Bytes::new())
            }
            Check::EmptyV2 => self.post(Protocol::V2Snappy, Protocol::V2Snappy.empty_request(), 0),
        };
        self.execute(request, Body::Always).await
    }

    fn post(&self, protocol: Protocol, body: Bytes, attempt: u64) -> Result<reqwest::Request, Failure> {
        let headers = [
            ("content-encoding", protocol.content_encoding()),
            ("content-type", protocol.content_type()),
            ("x-prometheus-remote-write-version", protocol.version_header()),
        ];
        let mut request = self.request(Method::POST, self.url.clone(), &headers, body)?;
        if attempt > 0 {
            request.headers_mut().insert("retry-attempt", attempt.into());
        }
        Ok(request)
    }

    fn request(
        &self,
        method: Method,
        url: Url,
        of_protocol: &[(&'static str, &'static str)],
        body: Bytes,
    ) -> Result<reqwest::Request, Failure> {
        let mut headers = self.headers.clone();
        for (name, value) in of_protocol {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let unsigned = Unsigned {
            method: method.as_str(),
            url: &url,
            host: &self.host,
            headers: of_protocol,
            body: &body,
        };
        let unusable = |error: &dyn std::error::Error| Failure::new(FailureReason::Unauthorized, crate::chain(error));
        self.authenticator
            .write(&unsigned, SystemTime::now(), &mut headers)
            .map_err(|error| unusable(&error))?;
        if self.settings.tls.server_name.is_some()
            && let Ok(host) = HeaderValue::from_str(&self.host)
        {
            headers.insert(header::HOST, host);
        }
        let mut request = reqwest::Request::new(method, url);
        *request.headers_mut() = headers;
        if !body.is_empty() {
            *request.body_mut() = Some(body.into());
        }
        Ok(request)
    }

    async fn execute(&self, request: Result<reqwest::Request, Failure>, body: Body) -> Answer {
        match request {
            Ok(request) => match self.http.execute(request).await {
                Ok(response) => answer(response, body).await,
                Err(error) => Answer::Failed(error::failure(error)),
            },
            Err(failure) => Answer::Failed(failure),
        }
    }
}

/// Whose body is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    OfFailures,
    Always,
}

async fn answer(mut response: reqwest::Response, wanted: Body) -> Answer {
    let status = response.status();
    let retry_after = retry_after(response.headers(), SystemTime::now());
    let written = written(response.headers());
    let mut body = Vec::new();
    if wanted == Body::Always || !status.is_success() {
        // The status decides; a body that breaks off or never ends costs the rest of the log line and nothing else.
        while body.len() < BODY_BYTES
            && let Ok(Some(chunk)) = response.chunk().await
        {
            body.extend_from_slice(&chunk[..chunk.len().min(BODY_BYTES - body.len())]);
        }
    }
    Answer::Response {
        status,
        retry_after,
        written,
        body: body.escape_ascii().to_string(),
    }
}

fn connect(settings: &RemoteWrite, tls: &TlsFiles) -> Result<reqwest::Client, PushError> {
    let builder = reqwest::Client::builder()
        .dns_resolver(resolve::Resolver::new(settings))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(settings.timeout.min(MAX_CONNECT))
        .timeout(settings.timeout)
        .tcp_keepalive(KEEP_ALIVE);
    let config = if settings.url.scheme() == "https" {
        tls.config()?
    } else {
        TlsFiles::unused()?
    };
    builder
        .tls_backend_preconfigured(config)
        .build()
        .map_err(PushError::Client)
}

/// Host and port as the `Host` header has them.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests;
