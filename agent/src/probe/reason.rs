//! Why a probe ended as it did.

use super::Outcome;

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
