//! Options of a probe, under `mesh:` and under each icmp or tcp entry of `prober_targets:`.
//!
//! In: the keys. Out: how the packets leave; for a target also whether a host name is probed once or once per family.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use xprober_proto::{Family, HostName, Limits, MAX_DSCP, MAX_SOURCE_PORTS, PacketOptions, ProbeKind};

use crate::address;
use crate::limits;
use crate::reader::{Field, Mapping};
use crate::spelling::not_one_of;
use crate::value::{self, InvalidValue, Parsed, boolean, quote, whole_number};

/// By which family a host name is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Families {
    /// The first address that the resolver has, IPv4 first.
    Any,
    One(Family),
    /// As two targets.
    Both,
}

/// What the keys say; those that belong to one kind are at their default for the other.
#[derive(Debug)]
pub(super) struct Options {
    families: Families,
    /// Without a family.
    packet: PacketOptions,
    /// Only when given.
    pub(super) payload_bytes: Option<u16>,
    pub(super) reply_ttl: bool,
    pub(super) source_ports: Vec<u16>,
}

impl Options {
    /// How every probe between agents leaves; a source address settles the family.
    pub(super) fn of_mesh(&self) -> PacketOptions {
        let family = match self.families {
            Families::One(family) => Some(family),
            Families::Any | Families::Both => self.packet.source.map(Family::of),
        };
        PacketOptions {
            family,
            ..self.packet.clone()
        }
    }

    /// How probes to `host` leave, each with what is put behind the target's name: once, or once per family.
    pub(super) fn of_host(&self, host: &HostName) -> Parsed<Vec<(PacketOptions, &'static str)>> {
        if let HostName::Address(literal) = host {
            self.allow(*literal)?;
        }
        if self.families != Families::Both {
            return Ok(vec![(self.of_mesh(), "")]);
        }
        let by = |family| PacketOptions {
            family: Some(family),
            ..self.packet.clone()
        };
        Ok(vec![(by(Family::V4), "/ipv4"), (by(Family::V6), "/ipv6")])
    }

    fn allow(&self, literal: IpAddr) -> Parsed<()> {
        let is = Family::of(literal);
        let refused = match (self.families, self.packet.source) {
            (Families::Both, _) => format!("{literal} is one address: family: both is for host names"),
            (Families::One(family), _) if family != is => {
                format!("{literal} is an {is} address: remove it, or use family: any")
            }
            (Families::One(_) | Families::Any, Some(source)) if Family::of(source) != is => {
                format!("{literal} is an {is} address and the source {source} is not: put it into an entry of its own")
            }
            (Families::One(_) | Families::Any, _) => return Ok(()),
        };
        Err(InvalidValue::new(refused))
    }
}

/// The keys, taken but not read.
struct Keys<'a> {
    family: Field<'a>,
    source: Field<'a>,
    interface: Field<'a>,
    dscp: Field<'a>,
    ttl: Field<'a>,
    dont_fragment: Field<'a>,
    payload: Field<'a>,
    reply_ttl: Field<'a>,
    source_ports: Field<'a>,
}

impl<'a> Keys<'a> {
    fn take(mapping: &mut Mapping<'a>) -> Self {
        Self {
            payload: mapping.take("payload"),
            family: mapping.take("family"),
            source: mapping.take("source"),
            interface: mapping.take("interface"),
            dscp: mapping.take("dscp"),
            ttl: mapping.take("ttl"),
            dont_fragment: mapping.take("dont_fragment"),
            reply_ttl: mapping.take("reply_ttl"),
            source_ports: mapping.take("source_ports"),
        }
    }

    fn read(&self, family: impl FnOnce(&str) -> Parsed<Families>, limits: Limits) -> Options {
        let families = self.family.read(family).unwrap_or(Families::Any);
        Options {
            families,
            packet: PacketOptions {
                family: None,
                source: read_source(&self.source, families),
                interface: self.interface.read(value::name),
                dscp: self.dscp.read(dscp).unwrap_or_default(),
                ttl: self.ttl.read(whole_number(1, u8::MAX)),
                dont_fragment: self.dont_fragment.read(boolean).unwrap_or_default(),
            },
            payload_bytes: self.payload.read(limits::payload(limits)),
            reply_ttl: self.reply_ttl.read(boolean).unwrap_or_default(),
            source_ports: read_source_ports(&self.source_ports),
        }
    }

    /// Tells which keys mean nothing to a target of `kind`.
    fn refuse_foreign(&self, kind: ProbeKind) {
        let of_packet = [
            &self.family,
            &self.source,
            &self.interface,
            &self.dscp,
            &self.ttl,
            &self.dont_fragment,
        ];
        let owned: [(&[&Field<'_>], &str, &[ProbeKind]); 3] = [
            (
                &of_packet,
                "icmp and tcp targets only: remove it",
                &[ProbeKind::Icmp, ProbeKind::Tcp],
            ),
            (
                &[&self.payload, &self.reply_ttl],
                "icmp targets only: remove it or use prober_type: icmp",
                &[ProbeKind::Icmp],
            ),
            (
                &[&self.source_ports],
                "tcp targets only: remove it or use prober_type: tcp",
                &[ProbeKind::Tcp],
            ),
        ];
        for (fields, owner, kinds) in owned {
            for field in fields.iter().filter(|field| field.is_given() && !kinds.contains(&kind)) {
                field.problem(format!("belongs to {owner}"));
            }
        }
    }
}

/// Reads the options of agents that probe each other by `probes`.
pub(super) fn of_mesh(mapping: &mut Mapping<'_>, probes: &[ProbeKind], limits: Limits) -> Options {
    let keys = Keys::take(mapping);
    let options = keys.read(mesh_families, limits);
    // A default may be written out whatever the probes are.
    let asked = [
        (ProbeKind::Icmp, &keys.reply_ttl, options.reply_ttl),
        (ProbeKind::Tcp, &keys.source_ports, !options.source_ports.is_empty()),
    ];
    for (kind, field, is_asked) in asked {
        if is_asked && !probes.contains(&kind) {
            field.problem(format!(
                "belongs to {kind} only: remove it or add {kind} to mesh.probes"
            ));
        }
    }
    options
}

/// Reads the options of a target; what does not belong to its kind is told, unless nobody knows the kind.
pub(super) fn of_target(mapping: &mut Mapping<'_>, kind: Option<ProbeKind>, limits: Limits) -> Options {
    let keys = Keys::take(mapping);
    if let Some(kind) = kind {
        keys.refuse_foreign(kind);
    }
    keys.read(target_families, limits)
}

fn mesh_families(text: &str) -> Parsed<Families> {
    match text {
        "any" => Ok(Families::Any),
        "ipv4" => Ok(Families::One(Family::V4)),
        "ipv6" => Ok(Families::One(Family::V6)),
        "both" => Err(InvalidValue::new(
            "both is for prober_targets, agents probe each other by one family: use any, ipv4, ipv6",
        )),
        _ => Err(InvalidValue::new(not_one_of(text, &["any", "ipv4", "ipv6"]))),
    }
}

fn target_families(text: &str) -> Parsed<Families> {
    match text {
        "any" => Ok(Families::Any),
        "ipv4" => Ok(Families::One(Family::V4)),
        "ipv6" => Ok(Families::One(Family::V6)),
        "both" => Ok(Families::Both),
        _ => Err(InvalidValue::new(not_one_of(text, &["any", "ipv4", "ipv6", "both"]))),
    }
}

fn read_source(field: &Field<'_>, families: Families) -> Option<IpAddr> {
    field.read(|text| {
        let source = address::unicast(text).ok_or_else(|| {
            InvalidValue::new(format!(
                "{} is not a source address: use an IPv4 or IPv6 literal, neither unspecified nor multicast",
                quote(text)
            ))
        })?;
        let is = Family::of(source);
        match families {
            Families::One(family) if family != is => Err(InvalidValue::new(format!(
                "{source} is an {is} address and family is {family}: use an {family} address, or family: {is}"
            ))),
            Families::Both => Err(InvalidValue::new(format!(
                "{source} is of one family and family is both: use family: {is}, or no source"
            ))),
            Families::One(_) | Families::Any => Ok(source),
        }
    })
}

/// Parses a code point: a number, or a name of RFC 4594 in either case.
///
/// # Errors
/// The text is neither.
pub fn dscp(text: &str) -> Parsed<u8> {
    let lower = text.to_ascii_lowercase();
    whole_number(0, MAX_DSCP)(text)
        .ok()
        .or_else(|| named_code_point(&lower))
        .ok_or_else(|| {
            InvalidValue::new(format!(
                "{} is not a code point: use 0 to {MAX_DSCP}, ef, cs0 to cs7 or af11 to af43",
                quote(text)
            ))
        })
}

fn named_code_point(name: &str) -> Option<u8> {
    if name == "ef" {
        return Some(46);
    }
    let digit = |text: &str, allowed: RangeInclusive<u8>| text.parse::<u8>().ok().filter(|n| allowed.contains(n));
    // Class selectors (RFC 2474) and assured forwarding, class and drop precedence (RFC 2597).
    match (name.strip_prefix("cs"), name.strip_prefix("af")) {
        (Some(class), _) if class.len() == 1 => digit(class, 0..=7).map(|class| 8 * class),
        (_, Some(rest)) if rest.len() == 2 => {
            let (class, drop) = rest.split_at_checked(1)?;
            digit(class, 1..=4)
                .zip(digit(drop, 1..=3))
                .map(|(class, drop)| 8 * class + 2 * drop)
        }
        (_, _) => None,
    }
}

/// Reads ports and ranges of ports, as a list or alone.
fn read_source_ports(field: &Field<'_>) -> Vec<u16> {
    let one = |item: Field<'_>| item.required("remove the empty item").read(port_range);
    let ranges: Vec<RangeInclusive<u16>> = field.one_or_more().into_iter().filter_map(one).collect();
    let count: usize = ranges.iter().map(ExactSizeIterator::len).sum();
    if count > MAX_SOURCE_PORTS {
        field.problem(format!("has {count} ports: use at most {MAX_SOURCE_PORTS}"));
        return Vec::new();
    }
    let mut seen = BTreeSet::new();
    let ports: Vec<u16> = ranges.into_iter().flatten().collect();
    if let Some(twice) = ports.iter().find(|port| !seen.insert(**port)) {
        field.problem(format!("has {twice} twice: use each port once"));
    }
    ports
}

/// Parses `40000` or `40000-40007`.
fn port_range(text: &str) -> Parsed<RangeInclusive<u16>> {
    let port = |text: &str| whole_number(1, u16::MAX)(text).ok();
    let bounds = match text.split_once('-') {
        Some((first, last)) => port(first).zip(port(last)),
        None => port(text).zip(port(text)),
    };
    bounds
        .filter(|(first, last)| first <= last)
        .map(|(first, last)| first..=last)
        .ok_or_else(|| {
            InvalidValue::new(format!(
                "{} is no source port: use a port as 40000 or a range as 40000-40007, within 1-65535",
                quote(text)
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_points_have_numbers_and_the_names_of_rfc_4594() {
        for (text, point) in [
            ("0", 0),
            ("63", 63),
            ("ef", 46),
            ("EF", 46),
            ("cs0", 0),
            ("CS1", 8),
            ("cs7", 56),
            ("af11", 10),
            ("af12", 12),
            ("AF21", 18),
            ("af33", 30),
            ("af41", 34),
            ("af43", 38),
        ] {
            assert_eq!(dscp(text), Ok(point), "{text}");
        }
        for text in [
            "", "64", "-1", "+1", "0x2e", "cs", "cs8", "cs07", "cs+1", "af", "af1", "af10", "af14", "af51", "af+1",
            "afé", "ef1", "be",
        ] {
            assert!(dscp(text).is_err(), "{text:?} passed");
        }
    }

    #[test]
    fn source_ports_are_single_or_ranges() {
        assert_eq!(port_range("40000"), Ok(40_000..=40_000));
        assert_eq!(port_range("40000-40007"), Ok(40_000..=40_007));
        assert_eq!(port_range("1-65535"), Ok(1..=65_535));
        for text in [
            "",
            "0",
            "65536",
            "40007-40000",
            "40000-",
            "-1",
            "a",
            "1-2-3",
            "1 - 2",
            "40000-+40007",
        ] {
            assert!(port_range(text).is_err(), "{text:?} passed");
        }
    }
}
