//! Packet options: how a probe leaves, wire to domain and back.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{WireError, port, value};
use crate::hello::Addresses;
use crate::packet::{Family, InterfaceName, MAX_DSCP, PacketOptions};
use crate::target::{HostName, MAX_SOURCE_PORTS};
use crate::wire;

/// Leaves the message out when nothing is asked for: most targets of a large plan ask for nothing.
pub(super) fn to_wire(options: &PacketOptions) -> Option<wire::PacketOptions> {
    if *options == PacketOptions::default() {
        return None;
    }
    let family = match options.family {
        None => wire::AddressFamily::Unspecified,
        Some(Family::V4) => wire::AddressFamily::Ipv4,
        Some(Family::V6) => wire::AddressFamily::Ipv6,
    };
    Some(wire::PacketOptions {
        family: family.into(),
        source: options.source.map(|source| source.to_string()).unwrap_or_default(),
        interface: options.interface.as_ref().map(ToString::to_string).unwrap_or_default(),
        dscp: u32::from(options.dscp),
        ttl: options.ttl.map_or(0, u32::from),
        dont_fragment: options.dont_fragment,
    })
}

/// Checks every field, and that family, source and `host` can go together.
pub(super) fn from_wire(sent: Option<wire::PacketOptions>, host: &HostName) -> Result<PacketOptions, WireError> {
    let sent = sent.unwrap_or_default();
    let options = PacketOptions {
        family: family(sent.family)?,
        source: source(&sent.source)?,
        interface: interface(&sent.interface)?,
        dscp: u8::try_from(sent.dscp)
            .ok()
            .filter(|dscp| *dscp <= MAX_DSCP)
            .ok_or_else(|| value("dscp", &sent.dscp.to_string(), "0 to 63"))?,
        ttl: match u8::try_from(sent.ttl) {
            Ok(0) => None,
            Ok(ttl) => Some(ttl),
            Err(_) => return Err(value("ttl", &sent.ttl.to_string(), "0 to 255")),
        },
        dont_fragment: sent.dont_fragment,
    };
    agree(&options, host)?;
    Ok(options)
}

/// A family of a later version is refused: the probe would leave by another one than was asked for.
fn family(sent: i32) -> Result<Option<Family>, WireError> {
    match wire::AddressFamily::try_from(sent) {
        Ok(wire::AddressFamily::Unspecified) => Ok(None),
        Ok(wire::AddressFamily::Ipv4) => Ok(Some(Family::V4)),
        Ok(wire::AddressFamily::Ipv6) => Ok(Some(Family::V6)),
        Err(_) => Err(value("family", &sent.to_string(), "a known address family")),
    }
}

fn source(sent: &str) -> Result<Option<IpAddr>, WireError> {
    if sent.is_empty() {
        return Ok(None);
    }
    let source = sent.parse::<IpAddr>().ok().map(|source| source.to_canonical());
    source
        .filter(|source| Addresses::of(*source).is_some())
        .map(Some)
        .ok_or_else(|| value("source", sent, "an IP address, neither unspecified nor multicast"))
}

fn interface(sent: &str) -> Result<Option<InterfaceName>, WireError> {
    if sent.is_empty() {
        return Ok(None);
    }
    sent.parse()
        .map(Some)
        .map_err(|_| value("interface", sent, "1 to 15 characters of [A-Za-z0-9._:@-]"))
}

fn agree(options: &PacketOptions, host: &HostName) -> Result<(), WireError> {
    let literal = match host {
        HostName::Address(address) => Some(Family::of(*address)),
        HostName::Name(_) => None,
    };
    let source = options.source.map(Family::of);
    if let (Some(family), Some(source)) = (options.family.or(literal), source)
        && family != source
    {
        return Err(value("source", source.as_str(), "an address of the target's family"));
    }
    match (options.family, literal) {
        (Some(family), Some(literal)) if family != literal => {
            Err(value("family", family.as_str(), "the family of the host's address"))
        }
        (_, _) => Ok(()),
    }
}

/// Checks the source ports of a connect; their order is kept.
pub(super) fn source_ports(sent: &[u32]) -> Result<Vec<u16>, WireError> {
    if sent.len() > MAX_SOURCE_PORTS {
        return Err(WireError::TooMany {
            field: "source_ports",
            max: MAX_SOURCE_PORTS,
        });
    }
    let mut seen = BTreeSet::new();
    sent.iter()
        .map(|number| {
            let port = port("source_ports", *number)?;
            if seen.insert(port) {
                return Ok(port);
            }
            Err(value("source_ports", &number.to_string(), "each port once"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> PacketOptions {
        PacketOptions {
            family: Some(Family::V6),
            source: Some("fd00::7".parse().unwrap()),
            interface: Some("eth1".parse().unwrap()),
            dscp: 46,
            ttl: Some(64),
            dont_fragment: true,
        }
    }

    fn refusal(spoil: impl FnOnce(&mut wire::PacketOptions), host: &str) -> String {
        let mut sent = to_wire(&options()).unwrap();
        spoil(&mut sent);
        from_wire(Some(sent), &host.parse().unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn options_survive_the_wire_and_their_absence_asks_for_nothing() {
        let host = "vm1.example.com".parse().unwrap();
        assert_eq!(from_wire(to_wire(&options()), &host), Ok(options()));
        assert_eq!(to_wire(&PacketOptions::default()), None);
        assert_eq!(from_wire(None, &host), Ok(PacketOptions::default()));
    }

    #[test]
    fn each_option_is_refused_by_its_name() {
        type Spoil = fn(&mut wire::PacketOptions);
        let cases: [(&str, Spoil); 9] = [
            ("family", |o| o.family = 3),
            ("source", |o| o.source = "vm1".to_owned()),
            ("source", |o| o.source = "::".to_owned()),
            ("source", |o| o.source = "ff02::1".to_owned()),
            ("source", |o| o.source = "::ffff:224.0.0.1".to_owned()),
            ("interface", |o| o.interface = "eth0; id".to_owned()),
            ("interface", |o| o.interface = "a-name-of-16-let".to_owned()),
            ("dscp", |o| o.dscp = 64),
            ("ttl", |o| o.ttl = 256),
        ];
        for (field, spoil) in cases {
            let told = refusal(spoil, "fd00::1");
            assert!(told.starts_with(field), "{told:?} does not name {field:?}");
        }
    }

    #[test]
    fn family_source_and_a_literal_agree_or_are_refused() {
        assert!(refusal(|_| {}, "10.0.0.1").starts_with("family"));
        assert!(refusal(|o| o.family = 1, "10.0.0.1").starts_with("source"));
        assert!(refusal(|o| o.family = 0, "10.0.0.1").starts_with("source"));
        assert!(refusal(|o| o.source = "10.0.0.7".to_owned(), "name.example.com").starts_with("source"));
        let mut mapped = to_wire(&options()).unwrap();
        mapped.family = 1;
        mapped.source = "::ffff:10.0.0.7".to_owned();
        let read = from_wire(Some(mapped), &"::ffff:10.0.0.1".parse().unwrap()).unwrap();
        assert_eq!(read.source, Some("10.0.0.7".parse().unwrap()));
    }

    #[test]
    fn source_ports_are_few_valid_and_different() {
        assert_eq!(source_ports(&[40_001, 40_000]), Ok(vec![40_001, 40_000]));
        let many: Vec<u32> = (1..=65).collect();
        assert_eq!(source_ports(&many[..64]).unwrap().len(), 64);
        for bad in [&many[..], &[0], &[65_536], &[5, 6, 5]] {
            let told = source_ports(bad).unwrap_err().to_string();
            assert!(told.starts_with("source_ports"), "{told}");
        }
    }
}
