//! What an answer of the time-series database means: answer in, verdict out.
//!
//! | answer | verdict |
//! |---|---|
//! | 2xx | done |
//! | 429, 5xx | retry, `Retry-After` wins over the back-off |
//! | other 4xx | drop: the database will never take this request |
//! | 1xx, 3xx | retry: something else than a receiver answers; redirects are not followed |
//! | no HTTP answer: refused, timeout, garbage | retry |
//!
//! A 500 can be permanent (Prometheus answers it to a repeated label), so a retry never lasts for ever: the queue drops a
//! request that grew too old, and what waits behind it goes on.

pub mod client;

pub mod task;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};

use crate::queue::DropReason;

/// First waiting time after a failure.
pub const MIN_BACKOFF: Duration = Duration::from_millis(500);
/// Longest waiting time between two attempts that the back-off answers.
pub const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// Longest `Retry-After` that is obeyed: a receiver in trouble may ask for patience, not for silence.
pub const MAX_RETRY_AFTER: Duration = Duration::from_mins(5);

/// Says why samples cannot be pushed at all.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The HTTP client could not be built.
    #[error("build the remote-write client")]
    Client(#[source] reqwest::Error),
    /// TLS could not be set up.
    #[error("set up TLS for remote write")]
    Tls(#[source] rustls::Error),
    /// The file with the certificate authorities could not be read.
    #[error("read certificate authorities from {}", path.display())]
    CaFile {
        /// The configured file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The file with the certificate authorities holds none that can be used.
    #[error("{} holds no usable certificate: it must be a PEM file with at least one CA certificate", path.display())]
    NoCertificate {
        /// The configured file.
        path: PathBuf,
    },
    /// An https endpoint, and nothing to check its certificate with.
    #[error(
        "no certificate authority for an https remote-write URL: install the system's ca-certificates or set a ca_file"
    )]
    NoAuthorities,
}

/// What came back for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// An HTTP response.
    Response {
        /// Its status.
        status: StatusCode,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
        /// The beginning of the body, escaped; empty on success.
        body: String,
    },
    /// No HTTP response; the text says why.
    Failed(String),
}

/// What to do with a request after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It arrived.
    Done,
    /// The same bytes again, after this time or after the back-off's.
    Retry {
        /// What the answer asked for.
        after: Option<Duration>,
    },
    /// Never again.
    Drop(DropReason),
}

/// Judges an answer.
#[must_use]
pub fn verdict(answer: &Answer) -> Verdict {
    match answer {
        Answer::Response { status, .. } if status.is_success() => Verdict::Done,
        Answer::Response { status, .. } if status.is_client_error() && *status != StatusCode::TOO_MANY_REQUESTS => {
            Verdict::Drop(DropReason::Rejected)
        }
        Answer::Response { retry_after, .. } => Verdict::Retry { after: *retry_after },
        Answer::Failed(_) => Verdict::Retry { after: None },
    }
}

/// Reads `Retry-After` (RFC 9110, section 10.2.3), seconds or a date, capped at [`MAX_RETRY_AFTER`]; a date in the past
/// means at once, anything unreadable nothing.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(value)
            .ok()?
            .duration_since(now)
            .unwrap_or_default(),
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// What the push task has counted so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PushCounters {
    /// Samples that the time-series database took.
    pub pushed: u64,
    /// Requests that were answered with success.
    pub ok: u64,
    /// Requests that have to be sent again.
    pub retry: u64,
    /// Requests that were given up.
    pub drop: u64,
}

impl PushCounters {
    /// Attempts by the `result` label.
    #[must_use]
    pub const fn attempts(&self) -> [(&'static str, u64); 3] {
        [("ok", self.ok), ("retry", self.retry), ("drop", self.drop)]
    }

    const fn count(&mut self, verdict: Verdict, samples: u64) {
        match verdict {
            Verdict::Done => {
                self.pushed += samples;
                self.ok += 1;
            }
            Verdict::Retry { .. } => self.retry += 1,
            Verdict::Drop(_) => self.drop += 1,
        }
    }
}

#[cfg(test)]
pub(crate) mod receiver;

#[cfg(test)]
mod tests;
