//! How the packets of a probe leave: what it asks for of the IP header and of the host.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Fields of the IP header that a probe asks for; the default asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PacketOptions {
    /// Family to use; `None` takes what the host has, IPv4 first.
    pub family: Option<Family>,
    /// Source address; `None` leaves it to the routing table.
    pub source: Option<IpAddr>,
    /// Interface to leave by; `None` leaves it to the routing table.
    pub interface: Option<InterfaceName>,
    /// Differentiated services code point, 0 to 63 (RFC 2474).
    pub dscp: u8,
    /// Time to live or hop limit, 1 to 255; `None` takes the system's default.
    pub ttl: Option<u8>,
    /// Forbids fragmentation: the DF flag of IPv4, no fragment header on IPv6.
    pub dont_fragment: bool,
}

/// Highest code point (RFC 2474, section 3).
pub const MAX_DSCP: u8 = 63;

/// Says which version of the Internet Protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Every family, in the order in which they are preferred.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// Spells the family as in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }

    /// Says to which family an address belongs; an IPv4-mapped IPv6 address is an IPv4 address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Names a network interface: 1 to 15 characters, as Linux has it (`IFNAMSIZ`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName(Box<str>);

/// Says that a text cannot name a network interface.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a network interface: use 1 to 15 characters of [A-Za-z0-9._:@-], starting with a letter or digit"
)]
pub struct InvalidInterface(String);

impl InterfaceName {
    /// Shows the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfaceName {
    type Err = InvalidInterface;

    fn from_str(text: &str) -> Result<Self, InvalidInterface> {
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if starts_well && text.len() <= 15 && text.chars().all(|c| c.is_ascii_alphanumeric() || "._:@-".contains(c)) {
            return Ok(Self(text.into()));
        }
        Err(InvalidInterface(text.chars().take(32).collect()))
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
