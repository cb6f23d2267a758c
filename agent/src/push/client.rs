//! One remote-write request over HTTP.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, header};
use reqwest::redirect;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tracing::warn;
use url::Url;
use xprober_config::agent::RemoteWrite;

use super::{Answer, PushError, retry_after};
use crate::queue::SealedRequest;

/// How much of a refusal's body is kept for the log.
const BODY_BYTES: usize = 256;

/// Part of the request's time limit that connecting may take: a dead address must leave time for a retry elsewhere.
const MAX_CONNECT: Duration = Duration::from_secs(5);

/// Idle time before the connection is checked: a middlebox that forgot it must not cost a whole timeout per request.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Sends sealed requests to one endpoint.
///
/// Redirects are not followed (a POST would turn into a GET), and proxies of the environment are not used: samples go
/// where the configuration says and nowhere else.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    url: Url,
}

impl Client {
    /// Prepares the headers and TLS; connects to nothing.
    ///
    /// # Errors
    ///
    /// When the certificate authorities cannot be loaded.
    pub fn new(settings: &RemoteWrite, version: &str) -> Result<Self, PushError> {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(settings)?)
            .default_headers(headers(settings))
            .user_agent(format!("xprober-agent/{version}"))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(settings.timeout.min(MAX_CONNECT))
            .timeout(settings.timeout)
            .tcp_keepalive(KEEP_ALIVE)
            .build()
            .map_err(PushError::Client)?;
        Ok(Self {
            http,
            url: settings.url.clone(),
        })
    }

    /// Sends a request once; `attempt` is 0 the first time.
    pub async fn send(&self, request: &SealedRequest, attempt: u64) -> Answer {
        let mut post = self.http.post(self.url.clone()).body(request.bytes.clone());
        if attempt > 0 {
            post = post.header("Retry-Attempt", attempt);
        }
        match post.send().await {
            Ok(response) => answer(response).await,
            Err(error) => Answer::Failed(reason(error)),
        }
    }
}

async fn answer(mut response: reqwest::Response) -> Answer {
    let status = response.status();
    let retry_after = retry_after(response.headers(), SystemTime::now());
    let mut body = Vec::new();
    if !status.is_success() {
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
        body: body.escape_ascii().to_string(),
    }
}

/// The error without the URL: it may carry a password.
fn reason(error: reqwest::Error) -> String {
    crate::chain(&error.without_url())
}

fn headers(settings: &RemoteWrite) -> HeaderMap {
    let mut headers: HeaderMap = settings.headers.iter().cloned().collect();
    // The protocol's own come last: nothing configured can break the encoding.
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("snappy"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    headers.insert("X-Prometheus-Remote-Write-Version", HeaderValue::from_static("0.1.0"));
    headers
}

fn tls(settings: &RemoteWrite) -> Result<ClientConfig, PushError> {
    let roots = if settings.url.scheme() == "https" {
        authorities(settings.ca_file.as_deref())?
    } else {
        RootCertStore::empty()
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(PushError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

fn authorities(ca_file: Option<&Path>) -> Result<RootCertStore, PushError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    for error in system.errors {
        warn!(%error, "a part of the system's certificate authorities was not loaded");
    }
    if let Some(path) = ca_file {
        let error = |source| PushError::CaFile {
            path: path.to_owned(),
            source,
        };
        let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(error)?.collect();
        let (added, _) = roots.add_parsable_certificates(read.map_err(error)?);
        if added == 0 {
            return Err(PushError::NoCertificate { path: path.to_owned() });
        }
    }
    if roots.is_empty() {
        return Err(PushError::NoAuthorities);
    }
    Ok(roots)
}

#[cfg(test)]
mod tests;
