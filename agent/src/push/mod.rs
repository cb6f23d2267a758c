//! What an answer of the time-series database means: answer in, verdict out.
//!
//! ```text
//!                     +--> [negotiation: which spelling] --+
//!   queue --lease--> [task: one attempt] --client--> HTTP answer --> verdict --> ack, discard, set aside or back-off
//!                     +<-- [suspicion: is it poisoned]  <--+    \--> failure reason --> log line, counter
//! ```
//!
//! | answer | verdict |
//! |---|---|
//! | 2xx | done; to Remote-Write 2.0 only with the headers that count what was written, else the same again in 1.0 |
//! | 429, 5xx | retry, `Retry-After` wins over the back-off |
//! | 415, and 400 without a count, to anything but Remote-Write 1.0 with snappy | the same again in that |
//! | other 4xx | drop: the database will never take this request; what it says to have written counts as pushed |
//! | 1xx, 3xx | retry: something else than a receiver answers; redirects are not followed |
//! | no HTTP answer: refused, timeout, garbage | retry |
//!
//! A 500 can be permanent (Prometheus answers it to a repeated label). So a retry never lasts for ever: a request that
//! grew too old is dropped, and one that the receiver fails on while it takes the next is set aside until then.

pub mod failure;

pub mod file;

pub mod sigv4;

pub mod authentication;

pub mod tls;

pub mod client;

pub mod negotiation;

pub mod suspicion;

pub mod log;

pub mod report;

pub mod attempt;

pub mod task;

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};

pub use failure::{FailureReason, Failures};

use crate::queue::DropReason;
use crate::wire::Protocol;

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
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// A file with a secret could not be read.
    #[error(transparent)]
    File(#[from] file::FileError),
    /// The configured TLS name cannot stand in a URL.
    #[error("tls.server_name cannot stand in a URL")]
    ServerName,
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
        /// What it says to have written; only who stores Remote-Write 2.0 says so.
        written: Option<Written>,
        /// The beginning of the body, escaped; empty where nobody asks for it.
        body: String,
    },
    /// No HTTP response.
    Failed(Failure),
}

/// What a receiver says to have written of a Remote-Write 2.0 request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Samples and histograms.
    pub values: u64,
}

/// Why there was no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind.
    pub reason: FailureReason,
    /// The error with its causes, without URL and secrets.
    pub text: String,
}

impl Failure {
    /// Names kind and cause.
    #[must_use]
    pub fn new(reason: FailureReason, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { reason, text }
    }
}

impl Answer {
    /// Why the attempt failed; `None` for a success.
    #[must_use]
    pub fn reason(&self) -> Option<FailureReason> {
        match self {
            Self::Response { status, .. } if status.is_success() => None,
            Self::Response { status, body, .. } => Some(FailureReason::of_response(*status, body)),
            Self::Failed(failure) => Some(failure.reason),
        }
    }
}

/// What to do with a request after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It arrived.
    Done,
    /// So many of its samples arrived; the rest never will.
    Partly {
        /// Samples that the receiver says to have written.
        written: u64,
    },
    /// The same bytes again, after this time or after the back-off's.
    Retry {
        /// What the answer asked for.
        after: Option<Duration>,
    },
    /// The same samples again at once, in Remote-Write 1.0 with snappy: the receiver does not take this spelling.
    Respell,
    /// Never again.
    Drop(DropReason),
}

/// Judges the answer to a request of that spelling and so many samples.
#[must_use]
pub fn verdict(answer: &Answer, protocol: Protocol, samples: u64) -> Verdict {
    let Answer::Response {
        status,
        retry_after,
        written,
        ..
    } = answer
    else {
        return Verdict::Retry { after: None };
    };
    let plain = protocol == Protocol::V1Snappy;
    match (status.as_u16(), written) {
        (200..=299, None) if protocol == Protocol::V2Snappy => Verdict::Respell,
        (200..=299, _) => Verdict::Done,
        (415 | 400, None) if !plain => Verdict::Respell,
        (400..=428 | 430..=499, Some(written)) if protocol == Protocol::V2Snappy && written.values > 0 => {
            Verdict::Partly {
                written: written.values.min(samples),
            }
        }
        (400..=428 | 430..=499, _) => Verdict::Drop(DropReason::Rejected),
        (..200 | 300..=399 | 429 | 500.., _) => Verdict::Retry { after: *retry_after },
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

/// Reads how much was written (Remote-Write 2.0, "Required Written Response Headers"); `None` unless the counts of samples
/// and of histograms are there.
#[must_use]
pub fn written(headers: &HeaderMap) -> Option<Written> {
    let count = |kind| {
        let name = format!("X-Prometheus-Remote-Write-{kind}-Written");
        headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok()
    };
    let values = count("Samples")?.saturating_add(count("Histograms")?);
    Some(Written { values })
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
    /// Requests that were given up, wholly or in part.
    pub drop: u64,
}

impl PushCounters {
    /// Attempts by the `result` label.
    #[must_use]
    pub const fn attempts(&self) -> [(&'static str, u64); 3] {
        [("ok", self.ok), ("retry", self.retry), ("drop", self.drop)]
    }
}

/// What the push to one endpoint says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushStatus {
    /// What became of requests and samples.
    pub counters: PushCounters,
    /// Samples that were refused out of requests of which others were taken.
    pub partly_rejected: u64,
    /// Failed attempts by reason.
    pub failures: Failures,
    /// When a request was taken last, time since the Unix epoch.
    pub last_success: Option<Duration>,
    /// How requests are spelt.
    pub protocol: Protocol,
}

impl Default for PushStatus {
    fn default() -> Self {
        Self {
            counters: PushCounters::default(),
            partly_rejected: 0,
            failures: Failures::default(),
            last_success: None,
            protocol: Protocol::V1Snappy,
        }
    }
}

impl PushStatus {
    /// Counts what became of a request of so many samples at a time since the Unix epoch.
    pub fn count(&mut self, verdict: Verdict, samples: u64, now: Duration) {
        let counters = &mut self.counters;
        match verdict {
            Verdict::Done => {
                counters.pushed += samples;
                counters.ok += 1;
                self.last_success = Some(now);
            }
            Verdict::Partly { written } => {
                counters.pushed += written;
                counters.drop += 1;
                self.partly_rejected += samples.saturating_sub(written);
                self.last_success = Some(now);
            }
            Verdict::Retry { .. } | Verdict::Respell => counters.retry += 1,
            Verdict::Drop(_) => counters.drop += 1,
        }
    }
}

#[cfg(test)]
pub(crate) mod receiver;

#[cfg(test)]
mod tests;
