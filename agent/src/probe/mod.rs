//! What a probe can end in.
//!
//! Every probe that left ends in exactly one [`EchoResult`] or [`HttpResult`], and only once its window has closed: nothing in flight is
//! ever counted.

pub mod resolve;

pub mod errno;

pub mod icmp;

pub mod tcp;

pub mod http;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use xprober_proto::Target;

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

/// Why a probe ended as it did; the `reason` label. Each reason belongs to one outcome ([`Reason::outcome`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The host answered that nobody listens on the port (TCP RST): it is reachable.
    Refused,
    /// No route to the network (ICMP 3/0, 3/6, 3/11; `ICMPv6` 1/0).
    NetUnreachable,
    /// The host does not answer its last router (ICMP 3/1, 3/7, 3/8, 3/12; `ICMPv6` 1/3).
    HostUnreachable,
    /// The host has no such protocol (ICMP 3/2).
    ProtocolUnreachable,
    /// Nobody listens on the port (ICMP 3/3, `ICMPv6` 1/4).
    PortUnreachable,
    /// Too large for a link on the way (ICMP 3/4, `ICMPv6` 2/0).
    FragmentationNeeded,
    /// A filter on the way says no (ICMP 3/9, 3/10, 3/13; `ICMPv6` 1/1, 1/5, 1/6).
    Prohibited,
    /// The time to live was used up on the way (ICMP 11, `ICMPv6` 3).
    TtlExceeded,
    /// Another code of unreachable.
    OtherUnreachable,
    /// No room in the socket or the device queue (`ENOBUFS`, `EAGAIN`).
    NoBuffer,
    /// A local filter or policy says no (`EPERM`, `EACCES`).
    NotPermitted,
    /// The routing table knows no way (`ENETUNREACH`, `EHOSTUNREACH`, `ENETDOWN`).
    NoRoute,
    /// Larger than the interface takes without fragmenting (`EMSGSIZE`).
    TooLong,
    /// The source address or interface is not there (`EADDRNOTAVAIL`, `ENODEV`, `EINVAL`).
    BadSource,
    /// No socket of the family or with that option on this machine.
    NoSocket,
    /// The name did not resolve to an address of the wanted family.
    Unresolved,
    /// The name resolved to addresses that the agent's own limits forbid.
    Forbidden,
    /// Too many probes were in flight.
    InFlight,
    /// Another error of the system call.
    OtherSendError,
    /// This process did not run for a while, so silence says nothing.
    Gap,
    /// The receive queue overflowed, so the reply may have been dropped here.
    Overflow,
    /// The wall clock was set while the probe was under way, so its time is unknown.
    ClockStep,
    /// The probe never left: its time had passed when this process came to it.
    Skipped,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 23] = [
        Self::Refused,
        Self::NetUnreachable,
        Self::HostUnreachable,
        Self::ProtocolUnreachable,
        Self::PortUnreachable,
        Self::FragmentationNeeded,
        Self::Prohibited,
        Self::TtlExceeded,
        Self::OtherUnreachable,
        Self::NoBuffer,
        Self::NotPermitted,
        Self::NoRoute,
        Self::TooLong,
        Self::BadSource,
        Self::NoSocket,
        Self::Unresolved,
        Self::Forbidden,
        Self::InFlight,
        Self::OtherSendError,
        Self::Gap,
        Self::Overflow,
        Self::ClockStep,
        Self::Skipped,
    ];

    /// Spells the reason as in the `reason` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::NetUnreachable => "net_unreachable",
            Self::HostUnreachable => "host_unreachable",
            Self::ProtocolUnreachable => "protocol_unreachable",
            Self::PortUnreachable => "port_unreachable",
            Self::FragmentationNeeded => "fragmentation_needed",
            Self::Prohibited => "prohibited",
            Self::TtlExceeded => "ttl_exceeded",
            Self::OtherUnreachable | Self::OtherSendError => "other",
            Self::NoBuffer => "no_buffer",
            Self::NotPermitted => "not_permitted",
            Self::NoRoute => "no_route",
            Self::TooLong => "too_long",
            Self::BadSource => "bad_source",
            Self::NoSocket => "no_socket",
            Self::Unresolved => "unresolved",
            Self::Forbidden => "forbidden",
            Self::InFlight => "in_flight",
            Self::Gap => "gap",
            Self::Overflow => "overflow",
            Self::ClockStep => "clock_step",
            Self::Skipped => "skipped",
        }
    }

    /// The outcome that the reason explains.
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Refused => Outcome::Ok,
            Self::NetUnreachable
            | Self::HostUnreachable
            | Self::ProtocolUnreachable
            | Self::PortUnreachable
            | Self::FragmentationNeeded
            | Self::Prohibited
            | Self::TtlExceeded
            | Self::OtherUnreachable => Outcome::Unreachable,
            Self::NoBuffer
            | Self::NotPermitted
            | Self::NoRoute
            | Self::TooLong
            | Self::BadSource
            | Self::NoSocket
            | Self::Unresolved
            | Self::Forbidden
            | Self::InFlight
            | Self::OtherSendError => Outcome::SendError,
            Self::Gap | Self::Overflow | Self::ClockStep | Self::Skipped => Outcome::Stalled,
        }
    }
}

/// Who took the times of a round trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stamp {
    /// This process, at one end at least: the time holds its own delays.
    User,
    /// The kernel, at both ends.
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
