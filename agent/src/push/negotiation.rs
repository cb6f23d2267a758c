//! Which protocol an endpoint takes: what was asked and answered in, the spelling of the next request out.
//!
//! ```text
//!             due() -> Check        found(Speaks)
//!   asking ----------------------> settled on the protocol <---+ refused(): settled on RW 1.0
//!     ^  |  found(SpeaksNot): the next question, or RW 1.0     |
//!     |  +-----------------------------------------------------+
//!     +---- disturbed(): another receiver may answer after a reconnect
//! ```
//!
//! Receivers that do not know a protocol may answer 204 to it and store nothing (Prometheus 2 and `VictoriaMetrics` to
//! Remote-Write 2.0), so nothing but RW 1.0 is sent before the endpoint showed that it takes it.

use std::time::{Duration, Instant};

use http::StatusCode;
use xprober_config::agent::remote_write::ProtocolChoice;

use super::Answer;
use crate::wire::Protocol;

/// After an answer that told nothing the question waits for this long; RW 1.0 serves meanwhile.
const ASK_AGAIN: Duration = Duration::from_mins(1);

/// One question to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// `GET <url>?get_vm_proto_version=1`: `VictoriaMetrics` that reads zstd answers `1`.
    Zstd,
    /// An empty Remote-Write 2.0 request: who stores them answers with the headers that count what was written.
    EmptyV2,
}

/// What an answer says about a [`Check`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// The endpoint takes the protocol.
    Speaks,
    /// It does not.
    SpeaksNot,
    /// It cannot say now.
    Unknown,
    /// There was no answer at all: the endpoint is away.
    Away,
}

/// Reads the answer to a check.
#[must_use]
pub fn finding(check: Check, answer: &Answer) -> Finding {
    let Answer::Response {
        status, body, written, ..
    } = answer
    else {
        return Finding::Away;
    };
    let speaks = match check {
        Check::Zstd => *status == StatusCode::OK && body.trim_end_matches("\\n") == "1",
        Check::EmptyV2 => status.is_success() && written.is_some(),
    };
    if speaks {
        Finding::Speaks
    } else if status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS {
        Finding::Unknown
    } else {
        Finding::SpeaksNot
    }
}

/// What is known about the protocols of one endpoint.
#[derive(Debug, Clone)]
pub struct Negotiation {
    choice: ProtocolChoice,
    speaks: Protocol,
    asking: Option<Check>,
    not_before: Option<Instant>,
    victoria_metrics: bool,
}

impl Negotiation {
    /// Starts with RW 1.0 and what has to be asked for the choice.
    #[must_use]
    pub const fn new(choice: ProtocolChoice) -> Self {
        Self {
            choice,
            speaks: Protocol::V1Snappy,
            asking: first_check(choice),
            not_before: None,
            victoria_metrics: matches!(choice, ProtocolChoice::Zstd | ProtocolChoice::Auto),
        }
    }

    /// The spelling of the next request, once [`Self::due`] asks nothing.
    #[must_use]
    pub const fn speaks(&self) -> Protocol {
        self.speaks
    }

    /// Tells whether the endpoint is `VictoriaMetrics`, which takes samples in any order, or may be because it is asked and
    /// has not answered: nothing is given up as too old before that.
    #[must_use]
    pub const fn may_be_victoria_metrics(&self) -> bool {
        self.victoria_metrics
    }

    /// The question to ask before the next request.
    #[must_use]
    pub fn due(&self, now: Instant) -> Option<Check> {
        self.asking
            .filter(|_| self.not_before.is_none_or(|not_before| now >= not_before))
    }

    /// Notes what the answer to a question said.
    pub fn found(&mut self, check: Check, finding: Finding, now: Instant) {
        self.not_before = None;
        match (check, finding) {
            (_, Finding::Away) => {}
            (_, Finding::Unknown) => {
                self.speaks = Protocol::V1Snappy;
                self.not_before = Some(now + ASK_AGAIN);
            }
            (Check::Zstd, Finding::Speaks) => {
                self.victoria_metrics = true;
                self.settle(Protocol::V1Zstd);
            }
            (Check::Zstd, Finding::SpeaksNot) => {
                self.victoria_metrics = false;
                match self.choice {
                    ProtocolChoice::Auto => self.asking = Some(Check::EmptyV2),
                    ProtocolChoice::V1 | ProtocolChoice::V2 | ProtocolChoice::Zstd => self.settle(Protocol::V1Snappy),
                }
            }
            (Check::EmptyV2, Finding::Speaks) => self.settle(Protocol::V2Snappy),
            (Check::EmptyV2, Finding::SpeaksNot) => self.settle(Protocol::V1Snappy),
        }
    }

    /// Notes that data was refused for its spelling, or taken and not stored.
    pub fn refused(&mut self) {
        self.settle(Protocol::V1Snappy);
    }

    /// Notes a network failure or a 5xx: who answers next may be another.
    pub const fn disturbed(&mut self) {
        if self.asking.is_none() {
            self.asking = first_check(self.choice);
        }
    }

    const fn settle(&mut self, protocol: Protocol) {
        self.speaks = protocol;
        self.asking = None;
        self.not_before = None;
    }
}

const fn first_check(choice: ProtocolChoice) -> Option<Check> {
    match choice {
        ProtocolChoice::V1 => None,
        ProtocolChoice::V2 => Some(Check::EmptyV2),
        ProtocolChoice::Zstd | ProtocolChoice::Auto => Some(Check::Zstd),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Failure, FailureReason, Written};
    use super::*;

    fn settled(choice: ProtocolChoice, zstd: Finding, v2: Finding) -> (Protocol, bool, Vec<Check>) {
        let now = Instant::now();
        let (mut negotiation, mut asked) = (Negotiation::new(choice), Vec::new());
        while let Some(check) = negotiation.due(now) {
            asked.push(check);
            negotiation.found(check, if check == Check::Zstd { zstd } else { v2 }, now);
        }
        (negotiation.speaks(), negotiation.may_be_victoria_metrics(), asked)
    }

    #[test]
    fn nothing_but_rw1_is_spoken_before_it_was_shown() {
        use Finding::{Speaks, SpeaksNot, Unknown};
        use Protocol as P;
        use ProtocolChoice as C;
        let (zstd, v2) = (Check::Zstd, Check::EmptyV2);
        for (choice, says_zstd, says_v2, speaks, victoria, asked) in [
            (C::V1, Speaks, Speaks, P::V1Snappy, false, vec![]),
            (C::V2, Speaks, Speaks, P::V2Snappy, false, vec![v2]),
            (C::V2, Speaks, SpeaksNot, P::V1Snappy, false, vec![v2]),
            (C::V2, Speaks, Unknown, P::V1Snappy, false, vec![v2]),
            (C::Zstd, Speaks, Speaks, P::V1Zstd, true, vec![zstd]),
            (C::Zstd, SpeaksNot, Speaks, P::V1Snappy, false, vec![zstd]),
            (C::Auto, Speaks, Speaks, P::V1Zstd, true, vec![zstd]),
            (C::Auto, SpeaksNot, Speaks, P::V2Snappy, false, vec![zstd, v2]),
            (C::Auto, SpeaksNot, SpeaksNot, P::V1Snappy, false, vec![zstd, v2]),
            (C::Auto, Unknown, Speaks, P::V1Snappy, true, vec![zstd]),
        ] {
            let expected = (speaks, victoria, asked);
            assert_eq!(
                settled(choice, says_zstd, says_v2),
                expected,
                "{choice:?} {says_zstd:?} {says_v2:?}"
            );
        }
    }

    #[test]
    fn a_reconnect_asks_again_and_may_find_another_receiver() {
        let now = Instant::now();
        let mut negotiation = Negotiation::new(ProtocolChoice::V2);
        negotiation.found(Check::EmptyV2, Finding::Speaks, now);
        assert_eq!(negotiation.due(now), None);
        negotiation.disturbed();
        assert_eq!(negotiation.due(now), Some(Check::EmptyV2));
        negotiation.found(Check::EmptyV2, Finding::Away, now);
        assert_eq!(negotiation.due(now), Some(Check::EmptyV2), "away: nothing is known");
        negotiation.found(Check::EmptyV2, Finding::SpeaksNot, now);
        assert_eq!((negotiation.due(now), negotiation.speaks()), (None, Protocol::V1Snappy));
        let mut plain = Negotiation::new(ProtocolChoice::V1);
        plain.disturbed();
        assert_eq!(plain.due(now), None);
    }

    #[test]
    fn an_answer_that_tells_nothing_is_asked_again_a_minute_later() {
        let now = Instant::now();
        let mut negotiation = Negotiation::new(ProtocolChoice::Auto);
        negotiation.found(Check::Zstd, Finding::Unknown, now);
        assert_eq!(negotiation.due(now + ASK_AGAIN / 2), None);
        assert_eq!(negotiation.due(now + ASK_AGAIN), Some(Check::Zstd));
    }

    #[test]
    fn refused_data_falls_back_until_the_next_reconnect() {
        let now = Instant::now();
        let mut negotiation = Negotiation::new(ProtocolChoice::Zstd);
        negotiation.found(Check::Zstd, Finding::Speaks, now);
        negotiation.refused();
        assert_eq!((negotiation.due(now), negotiation.speaks()), (None, Protocol::V1Snappy));
        negotiation.disturbed();
        assert_eq!(negotiation.due(now), Some(Check::Zstd));
    }

    #[test]
    fn answers_are_read_as_receivers_mean_them() {
        let answer = |status: u16, body: &str, written| Answer::Response {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            written,
            body: body.to_owned(),
        };
        let none = Some(Written { values: 0 });
        for (check, answer, expected) in [
            (Check::Zstd, answer(200, "1", None), Finding::Speaks),
            (Check::Zstd, answer(200, "1\\n", None), Finding::Speaks),
            (Check::Zstd, answer(200, "11", None), Finding::SpeaksNot),
            (Check::Zstd, answer(204, "", None), Finding::SpeaksNot),
            (Check::Zstd, answer(405, "1", None), Finding::SpeaksNot),
            (Check::Zstd, answer(401, "", None), Finding::SpeaksNot),
            (Check::Zstd, answer(503, "", None), Finding::Unknown),
            (Check::EmptyV2, answer(204, "", none), Finding::Speaks),
            (Check::EmptyV2, answer(204, "", None), Finding::SpeaksNot),
            (Check::EmptyV2, answer(400, "", none), Finding::SpeaksNot),
            (Check::EmptyV2, answer(415, "", None), Finding::SpeaksNot),
            (Check::EmptyV2, answer(500, "", None), Finding::Unknown),
            (Check::EmptyV2, answer(429, "", None), Finding::Unknown),
            (
                Check::EmptyV2,
                Answer::Failed(Failure::new(FailureReason::Refused, "connection refused")),
                Finding::Away,
            ),
        ] {
            assert_eq!(finding(check, &answer), expected, "{check:?} {answer:?}");
        }
    }
}
