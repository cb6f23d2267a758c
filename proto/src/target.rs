//! One thing to probe and how.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use url::Url;

use crate::name::{Region, TargetId};
use crate::packet::PacketOptions;

/// Says which kind of probe; the value of the `probe` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeKind {
    /// ICMP or `ICMPv6` echo.
    Icmp,
    /// TCP connect.
    Tcp,
    /// HTTP request.
    Http,
}

impl ProbeKind {
    /// Every kind, in the order of the protocol.
    pub const ALL: [Self; 3] = [Self::Icmp, Self::Tcp, Self::Http];

    /// Spells the kind as in labels and configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Icmp => "icmp",
            Self::Tcp => "tcp",
            Self::Http => "http",
        }
    }
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An address literal or a DNS name (RFC 1123), never anything else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostName {
    /// An IPv4 or IPv6 literal.
    Address(IpAddr),
    /// A name that the agent resolves.
    Name(String),
}

/// Says that a text is neither an address nor a host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an IP address nor a host name")]
pub struct InvalidHost(String);

impl FromStr for HostName {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Address(address));
        }
        let label_ok = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        };
        let name = text.strip_suffix('.').unwrap_or(text);
        // "1.2.3" and "999.1.1.1" are mistyped addresses, not names: no top-level domain is numeric.
        let numeric = name
            .rsplit('.')
            .next()
            .is_some_and(|last| last.chars().all(|c| c.is_ascii_digit()));
        if name.len() <= 253 && !numeric && name.split('.').all(label_ok) {
            return Ok(Self::Name(text.to_ascii_lowercase()));
        }
        Err(InvalidHost(text.chars().take(253).collect()))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// One entry of an agent's plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Stable identity over plans.
    pub id: TargetId,
    /// The `target` label: the other agent's id, or the configured address or URL.
    pub name: String,
    /// The `target_region` label.
    pub region: Region,
    /// Time between the starts of two probes.
    pub interval: Duration,
    /// A reply after this is late; for HTTP the deadline of the whole probe.
    pub timeout: Duration,
    /// What to send.
    pub probe: ProbeSpec,
}

/// What to send to a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeSpec {
    /// ICMP echo.
    Icmp(IcmpSpec),
    /// TCP connect.
    Tcp(TcpSpec),
    /// HTTP request.
    Http(HttpSpec),
}

impl ProbeSpec {
    /// Says which kind this is.
    #[must_use]
    pub const fn kind(&self) -> ProbeKind {
        match self {
            Self::Icmp(_) => ProbeKind::Icmp,
            Self::Tcp(_) => ProbeKind::Tcp,
            Self::Http(_) => ProbeKind::Http,
        }
    }
}

/// ICMP echo request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IcmpSpec {
    /// Where to.
    pub host: HostName,
    /// Payload after the ICMP header, bytes.
    pub payload_bytes: u16,
    /// How the packets leave.
    pub packet: PacketOptions,
    /// Whether the TTL of the replies is pushed as a series.
    pub reply_ttl: bool,
}

impl IcmpSpec {
    /// Describes an echo without options.
    #[must_use]
    pub fn new(host: HostName, payload_bytes: u16) -> Self {
        Self {
            host,
            payload_bytes,
            packet: PacketOptions::default(),
            reply_ttl: false,
        }
    }
}

/// Most source ports of one target: more paths than routers spread over, and few enough to be walked within a minute.
pub const MAX_SOURCE_PORTS: usize = 64;

/// TCP connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpSpec {
    /// Where to.
    pub host: HostName,
    /// Destination port.
    pub port: u16,
    /// How the packets leave.
    pub packet: PacketOptions,
    /// Source ports that are used in turn, so that a probe walks the equal-cost paths; empty means a new port every time.
    pub source_ports: Vec<u16>,
}

impl TcpSpec {
    /// Describes a connect without options.
    #[must_use]
    pub fn new(host: HostName, port: u16) -> Self {
        Self {
            host,
            port,
            packet: PacketOptions::default(),
            source_ports: Vec::new(),
        }
    }
}

/// HTTP request and what counts as success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSpec {
    /// Absolute http or https URL with a host.
    pub url: Url,
    /// Request method.
    pub method: Method,
    /// Request headers in the order they are sent.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Status codes that count as success; empty means 200-299.
    pub expect_status: Vec<StatusRange>,
    /// Text that the body must contain; empty means anything.
    pub expect_body: String,
}

impl HttpSpec {
    /// Describes a plain GET of `url`.
    #[must_use]
    pub fn get(url: Url) -> Self {
        Self {
            url,
            method: Method::GET,
            headers: Vec::new(),
            expect_status: Vec::new(),
            expect_body: String::new(),
        }
    }

    /// Tells whether `status` counts as success.
    #[must_use]
    pub fn accepts(&self, status: StatusCode) -> bool {
        if self.expect_status.is_empty() {
            return status.is_success();
        }
        self.expect_status.iter().any(|range| range.contains(status))
    }
}

/// Inclusive range of HTTP status codes, `100 <= first <= last <= 599`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    first: u16,
    last: u16,
}

impl StatusRange {
    /// Builds a range; `None` when it is empty or outside 100-599.
    #[must_use]
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first >= 100 && first <= last && last <= 599 {
            Some(Self { first, last })
        } else {
            None
        }
    }

    /// First code.
    #[must_use]
    pub const fn first(self) -> u16 {
        self.first
    }

    /// Last code.
    #[must_use]
    pub const fn last(self) -> u16 {
        self.last
    }

    /// Tells whether `status` lies inside.
    #[must_use]
    pub fn contains(self, status: StatusCode) -> bool {
        (self.first..=self.last).contains(&status.as_u16())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_addresses_or_names_and_nothing_else() {
        for good in [
            "10.0.0.1",
            "fd00::1",
            "api.example.com",
            "api.example.com.",
            "_srv.example.com",
            "localhost",
        ] {
            assert!(good.parse::<HostName>().is_ok(), "{good:?} refused");
        }
        for bad in [
            "",
            "1.2.3",
            "999.1.1.1",
            "a b",
            "-x",
            "$(id)",
            "a..b",
            "x;y",
            "10.0.0.1; rm -rf /",
        ] {
            assert!(bad.parse::<HostName>().is_err(), "{bad:?} passed");
        }
    }

    #[test]
    fn without_expectation_every_2xx_counts_and_a_redirect_does_not() {
        let spec = HttpSpec::get(Url::parse("http://example.com/").unwrap());
        assert!(spec.accepts(StatusCode::NO_CONTENT));
        assert!(!spec.accepts(StatusCode::FOUND));
    }
}
