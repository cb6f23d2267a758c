//! Counts what became of every attempt, and says what is wrong.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tracing::{info, warn};
use url::Url;
use xprober_config::agent::RemoteWrite;

use super::log::FailureLog;
use super::{Answer, FailureReason, PushStatus, Verdict};
use crate::wire::Protocol;

/// What is said about one endpoint.
#[derive(Debug)]
pub struct Reporter {
    endpoint: String,
    /// Without what could be a secret.
    url: String,
    status: watch::Sender<PushStatus>,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    limits: FailureLog,
    failing_since: Option<Instant>,
}

impl Reporter {
    /// Speaks about an endpoint.
    #[must_use]
    pub fn new(settings: &RemoteWrite, status: watch::Sender<PushStatus>) -> Self {
        Self {
            endpoint: settings.name.to_string(),
            url: plain(&settings.url),
            status,
            log: Mutex::default(),
        }
    }

    /// Counts an answer to a request of so many samples.
    pub fn count(&self, answer: &Answer, verdict: Verdict, samples: u64) {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        self.status.send_modify(|status| {
            status.count(verdict, samples, now);
            if let Some(reason) = reason(answer, verdict) {
                status.failures.count(reason);
            }
        });
    }

    /// Notes how the endpoint is spoken to from now on.
    pub fn speaks(&self, protocol: Protocol) {
        let changed = self
            .status
            .send_if_modified(|status| std::mem::replace(&mut status.protocol, protocol) != protocol);
        if changed {
            info!(
                endpoint = self.endpoint,
                protocol = protocol.as_str(),
                "remote write changes its protocol"
            );
        }
    }

    /// Tells whether the last attempt failed.
    pub fn is_failing(&self) -> bool {
        self.log().failing_since.is_some()
    }

    /// Says that the endpoint takes requests again, if it did not.
    pub fn recovered(&self, waiting: usize) {
        let since = {
            let mut log = self.log();
            let since = log.failing_since.take();
            if since.is_some() {
                log.limits.recovered();
            }
            since
        };
        if let Some(since) = since {
            info!(endpoint = self.endpoint, after = ?since.elapsed(), requests = waiting, "remote write works again");
        }
    }

    /// Says that a request is sent again after a pause.
    pub fn failing(&self, answer: &Answer, pause: Duration, waiting: u64) {
        self.log().failing_since.get_or_insert_with(Instant::now);
        self.line(answer, Verdict::Retry { after: None }, |line| {
            warn!(
                endpoint = line.endpoint,
                reason = line.reason,
                error = line.error,
                url = line.url,
                advice = line.advice,
                ?pause,
                queued = waiting,
                repeats = line.repeats,
                "remote write failed, trying again"
            );
        });
    }

    /// Says that samples are lost.
    pub fn refused(&self, answer: &Answer, samples: u64) {
        let verdict = Verdict::Drop(crate::queue::DropReason::Rejected);
        self.line(answer, verdict, |line| {
            warn!(
                endpoint = line.endpoint,
                reason = line.reason,
                error = line.error,
                url = line.url,
                advice = line.advice,
                samples,
                repeats = line.repeats,
                "remote write was refused, samples are lost"
            );
        });
    }

    /// Says that the endpoint does not take a spelling after all.
    pub fn respelt(&self, answer: &Answer, protocol: Protocol) {
        self.line(answer, Verdict::Respell, |line| {
            warn!(
                endpoint = line.endpoint,
                reason = line.reason,
                error = line.error,
                url = line.url,
                protocol = protocol.as_str(),
                repeats = line.repeats,
                "the endpoint did not store this protocol, falling back to Remote Write 1.0"
            );
        });
    }

    /// Says that one request is set aside.
    pub fn set_aside(&self, answer: &Answer, samples: u64) {
        self.line(answer, Verdict::Retry { after: None }, |line| {
            warn!(
                endpoint = line.endpoint,
                reason = line.reason,
                error = line.error,
                url = line.url,
                samples,
                repeats = line.repeats,
                "the endpoint fails on one request and takes the next: it is set aside and tried now and then"
            );
        });
    }

    /// Says that samples are stamped ahead of the clock.
    pub fn ahead_of_clock(&self, samples: u64, ahead: Duration, kept: bool) {
        if let Some(repeats) = self.log().limits.allow(FailureReason::Clock, Instant::now()) {
            let reason = FailureReason::Clock.as_str();
            let fate = if kept {
                "they wait for their time"
            } else {
                "they are dropped"
            };
            warn!(
                endpoint = self.endpoint,
                reason,
                samples,
                ?ahead,
                repeats,
                "samples are stamped ahead of this host's clock, which was set back: {fate}"
            );
        }
    }

    fn line(&self, answer: &Answer, verdict: Verdict, write: impl FnOnce(Line<'_>)) {
        let Some(reason) = reason(answer, verdict) else {
            return;
        };
        let allowed = self.log().limits.allow(reason, Instant::now());
        if let Some(repeats) = allowed {
            write(Line {
                endpoint: &self.endpoint,
                reason: reason.as_str(),
                error: describe(answer),
                url: &self.url,
                advice: reason.advice(),
                repeats,
            });
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        // Nothing between lock and unlock leaves it half changed.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What every line about a failure has.
struct Line<'a> {
    endpoint: &'a str,
    reason: &'static str,
    error: String,
    url: &'a str,
    advice: &'static str,
    repeats: u64,
}

/// A success that stored nothing fails for its spelling.
fn reason(answer: &Answer, verdict: Verdict) -> Option<FailureReason> {
    match verdict {
        Verdict::Respell => Some(FailureReason::Unsupported),
        Verdict::Done | Verdict::Partly { .. } | Verdict::Retry { .. } | Verdict::Drop(_) => answer.reason(),
    }
}

fn describe(answer: &Answer) -> String {
    match answer {
        Answer::Response { status, body, .. } => format!("status {status}: {body}"),
        Answer::Failed(failure) => failure.text.clone(),
    }
}

/// Writes scheme, host, port and path of a URL: user, password and query can hold secrets.
#[must_use]
pub fn plain(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), super::client::authority(url), url.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_what_could_be_a_secret() {
        for (url, shown) in [
            (
                "https://u:sesame@tsdb:8428/api/v1/write?token=sesame#x",
                "https://tsdb:8428/api/v1/write",
            ),
            ("http://[fd00::1]/w", "http://[fd00::1]/w"),
        ] {
            assert_eq!(plain(&url.parse().unwrap()), shown);
        }
    }
}
