//! One attempt at one request: credentials looked at, protocol agreed on, sent, judged, counted.

use std::time::{Duration, Instant};

use tracing::error;
use xprober_config::agent::RemoteWrite;

use super::client::Client;
use super::file::Reading;
use super::negotiation::{Finding, Negotiation, finding};
use super::report::Reporter;
use super::{Answer, FailureReason, PushError, Verdict, verdict};
use crate::queue::{DropReason, QueueHandle, SealedRequest};
use crate::wire::{Protocol, reencode};

/// Age up to which a receiver that takes samples in order only can be expected to take them: Prometheus refuses what is
/// older than its head block reaches back, an hour with the default of two hours per block.
pub const MAX_AGE_IN_ORDER: Duration = Duration::from_mins(55);

/// Makes attempts at one endpoint.
#[derive(Debug)]
pub struct Sender {
    client: Client,
    negotiation: Negotiation,
    max_age: Duration,
    out_of_order: bool,
}

impl Sender {
    /// Prepares everything; connects to nothing.
    ///
    /// # Errors
    ///
    /// When a file with a secret or certificate cannot be read or used.
    pub fn new(settings: &RemoteWrite, version: &str) -> Result<Self, PushError> {
        Ok(Self {
            client: Client::new(settings, version)?,
            negotiation: Negotiation::new(settings.protocol),
            max_age: settings.queue.max_age,
            out_of_order: settings.out_of_order,
        })
    }

    /// How long a request is worth trying.
    #[must_use]
    pub fn max_age(&self) -> Duration {
        if self.out_of_order || self.negotiation.may_be_victoria_metrics() {
            self.max_age
        } else {
            self.max_age.min(MAX_AGE_IN_ORDER)
        }
    }

    /// Sends a request in the protocol that the endpoint takes; `number` is 0 the first time. Answers what came back last
    /// and what it means, which is never [`Verdict::Respell`].
    pub async fn attempt(
        &mut self,
        request: &SealedRequest,
        number: u64,
        queue: &QueueHandle,
        reporter: &Reporter,
    ) -> (Answer, Verdict) {
        self.refresh().await;
        if let Some(away) = self.agree(queue, reporter).await {
            let verdict = Verdict::Retry { after: None };
            reporter.count(&away, verdict, request.samples);
            return (away, verdict);
        }
        let mut spelt = respelt(request, self.negotiation.speaks());
        loop {
            let answer = self.client.send(&spelt, number).await;
            let verdict = self.judge(&answer, spelt.protocol, spelt.samples).await;
            reporter.count(&answer, verdict, request.samples);
            if verdict != Verdict::Respell {
                return (answer, verdict);
            }
            self.fall_back(&answer, spelt.protocol, reporter);
            spelt = respelt(request, Protocol::V1Snappy);
            if spelt.protocol != Protocol::V1Snappy {
                return (answer, Verdict::Drop(DropReason::Rejected));
            }
        }
    }

    /// Looks whether credentials changed, at most once a second.
    pub async fn refresh(&mut self) {
        self.client.refresh(Reading::IfTouched).await;
    }

    /// Tells whether the endpoint has to be asked something before the next request.
    #[must_use]
    pub fn has_question(&self) -> bool {
        self.negotiation.due(Instant::now()).is_some()
    }

    /// Sends a request in the protocol that was agreed on, and does no more: several may be under way. Answers what came back
    /// and the protocol.
    pub async fn send(&self, request: &SealedRequest, number: u64) -> (Answer, Protocol) {
        let spelt = respelt(request, self.negotiation.speaks());
        (self.client.send(&spelt, number).await, spelt.protocol)
    }

    /// Speaks Remote Write 1.0 from now on: what was sent in another protocol was not stored.
    pub fn fall_back(&mut self, answer: &Answer, protocol: Protocol, reporter: &Reporter) {
        reporter.respelt(answer, protocol);
        self.negotiation.refused();
        reporter.speaks(self.negotiation.speaks());
    }

    /// Judges what came back to a request in that protocol, of so many samples, and remembers what it says about the endpoint.
    pub async fn judge(&mut self, answer: &Answer, protocol: Protocol, samples: u64) -> Verdict {
        let verdict = verdict(answer, protocol, samples);
        match verdict {
            Verdict::Drop(_) if answer.reason() == Some(FailureReason::Unauthorized) => {
                // Credentials that changed a moment ago are no reason to lose samples.
                if self.client.refresh(Reading::Anyway).await {
                    return Verdict::Retry {
                        after: Some(Duration::ZERO),
                    };
                }
            }
            Verdict::Retry { .. } if answer.reason() != Some(FailureReason::RateLimited) => {
                self.negotiation.disturbed();
            }
            Verdict::Done | Verdict::Partly { .. } | Verdict::Retry { .. } | Verdict::Respell | Verdict::Drop(_) => {}
        }
        verdict
    }

    /// Asks what has to be asked; answers what came back when the endpoint is away.
    async fn agree(&mut self, queue: &QueueHandle, reporter: &Reporter) -> Option<Answer> {
        while let Some(check) = self.negotiation.due(Instant::now()) {
            let answer = self.client.check(check).await;
            let finding = finding(check, &answer);
            self.negotiation.found(check, finding, Instant::now());
            if finding == Finding::Away {
                return Some(answer);
            }
            queue.set_max_age(self.max_age());
        }
        reporter.speaks(self.negotiation.speaks());
        None
    }
}

/// The request in another spelling, or as it is when there is no way.
fn respelt(request: &SealedRequest, protocol: Protocol) -> SealedRequest {
    reencode(request, protocol).unwrap_or_else(|failure| {
        let failure = crate::chain(&failure);
        error!(
            error = failure,
            samples = request.samples,
            "a request cannot be spelt as the endpoint wants it"
        );
        request.clone()
    })
}
