//! What a probe can end in.
//!
//! Every probe that left ends in exactly one [`EchoResult`] or [`HttpResult`], and only once its window has closed: nothing in flight is
//! ever counted.

pub mod reason;

pub mod resolve;

pub mod lookup;

pub mod errno;

pub mod icmp;

pub mod tcp;

pub mod http;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use xprober_proto::Target;

pub use reason::Reason;

/// A probe that has to leave now.
#[derive(Debug, Clone)]
pub struct Due {
    /// What to probe.
    pub target: Arc<Target>,
    /// When it should have left, by the schedule.
    pub scheduled: Instant,
}

/// How one echo or connect probe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The reply came in time.
    Ok,
    /// The reply came after the timeout but before the window closed.
    Late,
    /// No reply.
    Lost,
    /// The network said that the target cannot be reached.
    Unreachable,
    /// The probe could not leave: our side.
    SendError,
    /// A reply came with damaged content.
    Corrupt,
    /// We were too late to judge: timer or receive queue behind. Our side.
    Stalled,
}

impl Outcome {
    /// Every outcome; their counters add up to the probes sent.
    pub const ALL: [Self; 7] = [
        Self::Ok,
        Self::Late,
        Self::Lost,
        Self::Unreachable,
        Self::SendError,
        Self::Corrupt,
        Self::Stalled,
    ];

    /// Spells the outcome as in the `outcome` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Late => "late",
            Self::Lost => "lost",
            Self::Unreachable => "unreachable",
            Self::SendError => "send_error",
            Self::Corrupt => "corrupt",
            Self::Stalled => "stalled",
        }
    }

    /// Tells whether a reply came back.
    #[must_use]
    pub const fn received(self) -> bool {
        matches!(self, Self::Ok | Self::Late)
    }

    /// Tells whether the outcome says something about the network; our own faults do not.
    #[must_use]
    pub const fn judges_network(self) -> bool {
        !matches!(self, Self::SendError | Self::Stalled)
    }
}

/// Who took the times of a round trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stamp {
    /// This process, at one end at least: the time holds its own delays.
    User,
    /// The kernel at the arrival; at the departure the kernel, or this process right before a call that nothing interrupted.
    Kernel,
}

impl Stamp {
    /// Spells the source as in tables and the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Kernel => "kernel",
        }
    }
}

/// How one echo or connect probe ended, with its target.
#[derive(Debug, Clone)]
pub struct EchoResult {
    /// What was probed.
    pub target: Arc<Target>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, where the outcome alone does not say it.
    pub reason: Option<Reason>,
    /// Round-trip time, for outcomes that received a reply.
    pub rtt: Option<Duration>,
    /// Who took the times of `rtt`.
    pub stamp: Stamp,
    /// Time to live or hop limit of the reply, where the prober sees it.
    pub reply_ttl: Option<u8>,
    /// Further copies of the reply that came inside the window.
    pub duplicates: u32,
}

impl EchoResult {
    /// Describes a probe that nothing came back from.
    #[must_use]
    pub const fn failed(target: Arc<Target>, outcome: Outcome, reason: Option<Reason>) -> Self {
        Self {
            target,
            outcome,
            reason,
            rtt: None,
            stamp: Stamp::User,
            reply_ttl: None,
            duplicates: 0,
        }
    }
}

/// Stage of an HTTP probe; stages are disjoint in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Name resolution.
    Resolve,
    /// TCP connect.
    Connect,
    /// TLS handshake; takes no time on plain HTTP.
    Tls,
    /// From the request's first byte to the end of the response's head.
    Processing,
    /// From the end of the response's head to the end of its body.
    Transfer,
}

impl Stage {
    /// Every stage in the order of time.
    pub const ALL: [Self; 5] = [
        Self::Resolve,
        Self::Connect,
        Self::Tls,
        Self::Processing,
        Self::Transfer,
    ];

    /// Spells the stage as in the `stage` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Processing => "processing",
            Self::Transfer => "transfer",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an HTTP probe failed; the `reason` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HttpReason {
    /// The name did not resolve.
    Dns,
    /// The connection was refused or reset, or the network was unreachable.
    Refused,
    /// The deadline of the probe passed.
    Timeout,
    /// The TLS handshake failed: certificate, name or protocol.
    Tls,
    /// The peer broke HTTP or closed early.
    Protocol,
    /// The status was not an expected one.
    Status,
    /// The body was not as expected or larger than what we read.
    Body,
    /// More redirects than allowed, or one that leads nowhere.
    Redirect,
    /// The agent's own limits forbid the address.
    Forbidden,
}

impl HttpReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Dns,
        Self::Refused,
        Self::Timeout,
        Self::Tls,
        Self::Protocol,
        Self::Status,
        Self::Body,
        Self::Redirect,
        Self::Forbidden,
    ];

    /// Spells the reason as in the `reason` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::Status => "status",
            Self::Body => "body",
            Self::Redirect => "redirect",
            Self::Forbidden => "forbidden",
        }
    }
}

/// Where and why an HTTP probe failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpFailure {
    /// The stage that was under way.
    pub stage: Stage,
    /// Why.
    pub reason: HttpReason,
}

/// Time spent in each stage, summed over redirects; `None` for a stage that was never reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StageTimes {
    times: [Option<Duration>; 5],
}

impl StageTimes {
    /// Adds `spent` to `stage`.
    pub fn add(&mut self, stage: Stage, spent: Duration) {
        let slot = &mut self.times[stage as usize];
        *slot = Some(slot.unwrap_or_default() + spent);
    }

    /// Time spent in `stage`.
    #[must_use]
    pub const fn get(&self, stage: Stage) -> Option<Duration> {
        self.times[stage as usize]
    }
}

/// How one HTTP probe ended.
#[derive(Debug, Clone)]
pub struct HttpResult {
    /// What was probed.
    pub target: Arc<Target>,
    /// Time per stage.
    pub stages: StageTimes,
    /// From the start of the probe to its end, failure included.
    pub duration: Duration,
    /// `None` on success.
    pub failure: Option<HttpFailure>,
    /// Status of the last response.
    pub status: Option<u16>,
    /// Body bytes read of the last response.
    pub body_bytes: u64,
    /// Redirects followed.
    pub redirects: u32,
    /// End of validity of the certificate that expires first in the chain last seen, seconds since the Unix epoch.
    pub tls_not_after: Option<i64>,
}
