//! Questions over HTTP, with a deadline and a bound on what is read.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_TYPE, USER_AGENT};
use reqwest::{StatusCode, redirect};
use rustls::{ClientConfig, RootCertStore};
use tracing::warn;
use url::{Url, form_urlencoded};
use xprober_config::planner::QuerySettings;

use super::answer::{self, AnswerError, Sample};
use crate::metrics::VERSION;

/// Most bytes of one answer: 50,000 series of 300 bytes.
const MAX_BODY_BYTES: usize = 16 << 20;

/// Part of a question's time that connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Says why the store gave no values.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// TLS or the client could not be set up.
    #[error("questions cannot be asked")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The https store's certificate cannot be checked.
    #[error("no certificate authority for an https query_url: install the system's ca-certificates")]
    NoAuthorities,
    /// No response came, or it broke off.
    #[error("the store does not answer")]
    Exchange(#[source] reqwest::Error),
    /// The response is larger than anything that is meant.
    #[error("the answer has more than {} MiB", MAX_BODY_BYTES >> 20)]
    TooLarge,
    /// The store wants to know who asks.
    #[error("the store answered {0}: query_headers must say who asks")]
    Unauthorized(StatusCode),
    /// The response is of no use.
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

/// Asks one store.
///
/// Redirects are not followed and proxies of the environment are not used: credentials go where the file says and nowhere
/// else.
#[derive(Debug)]
pub struct Client {
    settings: QuerySettings,
    url: Url,
    http: reqwest::Client,
}

impl Client {
    /// Prepares TLS and headers; connects to nothing.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(settings: &QuerySettings) -> Result<Self, QueryError> {
        let mut url = settings.url.clone();
        url.set_path(&format!("{}/api/v1/query", settings.url.path().trim_end_matches('/')));
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(url.scheme() == "https")?)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_LIMIT)
            .build()
            .map_err(|error| QueryError::Client(error.into()))?;
        Ok(Self {
            settings: settings.clone(),
            url,
            http,
        })
    }

    /// The settings that it was made from.
    #[must_use]
    pub const fn settings(&self) -> &QuerySettings {
        &self.settings
    }

    /// Asks one question about `now`. Its time is limited by whoever asks.
    ///
    /// # Errors
    /// No values came.
    pub async fn ask(&self, expression: &str, now: SystemTime) -> Result<Vec<Sample>, QueryError> {
        let seconds = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64();
        // VictoriaMetrics hides the newest half minute unless it is told not to; Prometheus ignores the word.
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("query", expression)
            .append_pair("time", &format!("{seconds:.3}"))
            .append_pair("nocache", "1")
            .finish();
        let mut request = self
            .http
            .post(self.url.clone())
            .header(USER_AGENT, format!("xprober-planner/{VERSION}"))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        for (name, value) in &self.settings.headers {
            request = request.header(name, value);
        }
        let exchange = |error: reqwest::Error| QueryError::Exchange(error.without_url());
        let mut response = request.send().await.map_err(exchange)?;
        let status = response.status();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(QueryError::Unauthorized(status));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(exchange)? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(QueryError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(answer::read(status.as_u16(), &body)?)
    }
}

/// TLS settings that trust the system's authorities, or nobody where there is no TLS.
fn tls(used: bool) -> Result<ClientConfig, QueryError> {
    let mut roots = RootCertStore::empty();
    if used {
        let loaded = rustls_native_certs::load_native_certs();
        for error in loaded.errors {
            warn!(%error, "a part of the system's certificate authorities was not loaded");
        }
        roots.add_parsable_certificates(loaded.certs);
        if roots.is_empty() {
            return Err(QueryError::NoAuthorities);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| QueryError::Client(error.into()))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
