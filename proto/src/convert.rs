//! Wire to domain and back. What comes off the wire is checked here and nowhere else.
//!
//! A message that fails is refused whole, with one sentence that names the field; the sentence quotes at most 128
//! characters of what was sent, escaped, so that it can be logged.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use url::Url;

use crate::hello::{Addresses, Hello};
use crate::name::InvalidName;
use crate::plan::{Limits, Line, Plan, PlanUpdate, Revision};
use crate::target::{HostName, HttpSpec, IcmpSpec, ProbeKind, ProbeSpec, StatusRange, Target, TcpSpec};
use crate::wire;

mod packet;

/// Says which field of a message was refused and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A field that must be there was not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A name was outside its alphabet.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A field had a value that is not allowed.
    #[error("{field} {value:?} is not allowed: {allowed}")]
    Value {
        /// Which field.
        field: &'static str,
        /// What was sent, shortened.
        value: String,
        /// What would have been allowed.
        allowed: &'static str,
    },
    /// A list was too long.
    #[error("{field} has more than {max} entries")]
    TooMany {
        /// Which field.
        field: &'static str,
        /// The most that is allowed.
        max: usize,
    },
}

/// Most targets in one plan; ten times the largest fleet we test with.
pub const MAX_TARGETS: usize = 200_000;
/// Longest text field in bytes: the label value limit of the design.
pub const MAX_TEXT_BYTES: usize = 1_000;

fn value(field: &'static str, value: &str, allowed: &'static str) -> WireError {
    WireError::Value {
        field,
        value: value.chars().take(128).collect(),
        allowed,
    }
}

fn text(field: &'static str, sent: String) -> Result<String, WireError> {
    if sent.len() <= MAX_TEXT_BYTES && !sent.contains(char::is_control) {
        return Ok(sent);
    }
    Err(value(field, &sent, "at most 1000 bytes without control characters"))
}

fn duration(field: &'static str, sent: Option<prost_types::Duration>) -> Result<Duration, WireError> {
    let sent = sent.ok_or(WireError::Missing(field))?;
    Duration::try_from(sent).map_err(|_| value(field, &sent.to_string(), "a duration of at least 0 s"))
}

fn positive(field: &'static str, sent: Option<prost_types::Duration>) -> Result<Duration, WireError> {
    let duration = duration(field, sent)?;
    if duration.is_zero() {
        return Err(value(field, "0s", "a duration above 0 s"));
    }
    Ok(duration)
}

fn to_wire_duration(duration: Duration) -> prost_types::Duration {
    // Configured durations are far below 292 billion years; saturate rather than fail.
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

impl From<&Hello> for wire::Hello {
    fn from(hello: &Hello) -> Self {
        Self {
            agent_id: hello.agent_id.to_string(),
            region: hello.region.to_string(),
            zone: hello.zone.as_ref().map(ToString::to_string).unwrap_or_default(),
            addresses: hello.addresses.iter().map(|address| address.to_string()).collect(),
            kinds: hello.kinds.iter().map(|kind| kind_to_wire(*kind) as i32).collect(),
            version: hello.version.clone(),
            tcp_port: hello.tcp_port.map_or(0, |port| u32::from(port.get())),
        }
    }
}

impl TryFrom<wire::Hello> for Hello {
    type Error = WireError;

    fn try_from(hello: wire::Hello) -> Result<Self, WireError> {
        let mut kinds = Vec::new();
        for kind in hello.kinds {
            kinds.extend(kind_from_wire(kind));
        }
        kinds.sort_unstable();
        kinds.dedup();
        Ok(Self {
            agent_id: hello.agent_id.parse()?,
            region: hello.region.parse()?,
            zone: if hello.zone.is_empty() {
                None
            } else {
                Some(hello.zone.parse()?)
            },
            addresses: addresses(&hello.addresses)?,
            kinds,
            version: text("version", hello.version)?,
            tcp_port: NonZeroU16::new(
                u16::try_from(hello.tcp_port)
                    .map_err(|_| value("tcp_port", &hello.tcp_port.to_string(), "0 to 65535"))?,
            ),
        })
    }
}

fn addresses(sent: &[String]) -> Result<Addresses, WireError> {
    const ALLOWED: &str = "one IPv4 and/or one IPv6 literal, neither unspecified nor multicast";
    let (mut v4, mut v6) = (None, None);
    for text in sent {
        match IpAddr::from_str(text) {
            Ok(IpAddr::V4(address)) if v4.is_none() => v4 = Some(address),
            Ok(IpAddr::V6(address)) if v6.is_none() => v6 = Some(address),
            Ok(_) | Err(_) => return Err(value("address", text, ALLOWED)),
        }
    }
    Addresses::new(v4, v6).ok_or_else(|| value("addresses", &sent.join(","), ALLOWED))
}

const fn kind_to_wire(kind: ProbeKind) -> wire::ProbeKind {
    match kind {
        ProbeKind::Icmp => wire::ProbeKind::Icmp,
        ProbeKind::Tcp => wire::ProbeKind::Tcp,
        ProbeKind::Http => wire::ProbeKind::Http,
    }
}

/// Kinds of a later version are unknown here and mean nothing to this planner: they are left out, not refused.
fn kind_from_wire(kind: i32) -> Option<ProbeKind> {
    match wire::ProbeKind::try_from(kind) {
        Ok(wire::ProbeKind::Icmp) => Some(ProbeKind::Icmp),
        Ok(wire::ProbeKind::Tcp) => Some(ProbeKind::Tcp),
        Ok(wire::ProbeKind::Http) => Some(ProbeKind::Http),
        Ok(wire::ProbeKind::Unspecified) | Err(_) => None,
    }
}

impl From<&Target> for wire::Target {
    fn from(target: &Target) -> Self {
        Self {
            id: target.id.to_string(),
            name: target.name.clone(),
            target_region: target.region.to_string(),
            interval: Some(to_wire_duration(target.interval)),
            timeout: Some(to_wire_duration(target.timeout)),
            probe: Some(match &target.probe {
                ProbeSpec::Icmp(spec) => wire::target::Probe::Icmp(wire::IcmpProbe {
                    host: spec.host.to_string(),
                    payload_bytes: u32::from(spec.payload_bytes),
                    options: packet::to_wire(&spec.packet),
                    reply_ttl: spec.reply_ttl,
                }),
                ProbeSpec::Tcp(spec) => wire::target::Probe::Tcp(wire::TcpProbe {
                    host: spec.host.to_string(),
                    port: u32::from(spec.port),
                    options: packet::to_wire(&spec.packet),
                    source_ports: spec.source_ports.iter().copied().map(u32::from).collect(),
                }),
                ProbeSpec::Http(spec) => wire::target::Probe::Http(http_to_wire(spec)),
            }),
        }
    }
}

fn http_to_wire(spec: &HttpSpec) -> wire::HttpProbe {
    let header = |(name, value): &(HeaderName, HeaderValue)| wire::Header {
        name: name.to_string(),
        value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
    };
    let range = |range: &StatusRange| wire::StatusRange {
        first: u32::from(range.first()),
        last: u32::from(range.last()),
    };
    wire::HttpProbe {
        url: spec.url.to_string(),
        method: spec.method.to_string(),
        headers: spec.headers.iter().map(header).collect(),
        expect_status: spec.expect_status.iter().map(range).collect(),
        expect_body: spec.expect_body.clone(),
    }
}

impl TryFrom<wire::Target> for Target {
    type Error = WireError;

    fn try_from(target: wire::Target) -> Result<Self, WireError> {
        Ok(Self {
            id: target.id.parse()?,
            name: text("target name", target.name)?,
            region: target.target_region.parse()?,
            interval: positive("target interval", target.interval)?,
            timeout: positive("target timeout", target.timeout)?,
            probe: probe(target.probe.ok_or(WireError::Missing("target probe"))?)?,
        })
    }
}

fn probe(sent: wire::target::Probe) -> Result<ProbeSpec, WireError> {
    match sent {
        wire::target::Probe::Icmp(icmp) => Ok(ProbeSpec::Icmp(icmp_from_wire(icmp)?)),
        wire::target::Probe::Tcp(tcp) => Ok(ProbeSpec::Tcp(tcp_from_wire(tcp)?)),
        wire::target::Probe::Http(http) => Ok(ProbeSpec::Http(http_from_wire(http)?)),
    }
}

fn icmp_from_wire(icmp: wire::IcmpProbe) -> Result<IcmpSpec, WireError> {
    let host = host("icmp host", &icmp.host)?;
    let payload = icmp.payload_bytes;
    Ok(IcmpSpec {
        payload_bytes: u16::try_from(payload)
            .map_err(|_| value("icmp payload_bytes", &payload.to_string(), "0 to 65535 bytes"))?,
        packet: packet::from_wire(icmp.options, &host)?,
        reply_ttl: icmp.reply_ttl,
        host,
    })
}

fn tcp_from_wire(tcp: wire::TcpProbe) -> Result<TcpSpec, WireError> {
    let host = host("tcp host", &tcp.host)?;
    Ok(TcpSpec {
        port: port("tcp port", tcp.port)?,
        packet: packet::from_wire(tcp.options, &host)?,
        source_ports: packet::source_ports(&tcp.source_ports)?,
        host,
    })
}

fn port(field: &'static str, sent: u32) -> Result<u16, WireError> {
    u16::try_from(sent)
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| value(field, &sent.to_string(), "1 to 65535"))
}

fn host(field: &'static str, sent: &str) -> Result<HostName, WireError> {
    sent.parse()
        .map_err(|_| value(field, sent, "an IP address or a host name"))
}

fn http_from_wire(http: wire::HttpProbe) -> Result<HttpSpec, WireError> {
    let url = Url::parse(&http.url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| value("http url", &http.url, "an absolute http or https URL"))?;
    let method = Method::from_str(if http.method.is_empty() { "GET" } else { &http.method })
        .map_err(|_| value("http method", &http.method, "an HTTP method such as GET"))?;
    let mut headers = Vec::new();
    for header in http.headers {
        let name = HeaderName::from_str(&header.name)
            .map_err(|_| value("http header name", &header.name, "a field name (RFC 9110)"))?;
        // A header value can be a secret: never quote it.
        let content = HeaderValue::from_str(&header.value)
            .map_err(|_| value("http header value of", &header.name, "a field value (RFC 9110)"))?;
        headers.push((name, content));
    }
    let mut expect_status = Vec::new();
    for range in http.expect_status {
        let bounds = u16::try_from(range.first).ok().zip(u16::try_from(range.last).ok());
        let checked = bounds
            .and_then(|(first, last)| StatusRange::new(first, last))
            .ok_or_else(|| {
                value(
                    "http expect_status",
                    &format!("{}-{}", range.first, range.last),
                    "a range within 100-599",
                )
            })?;
        expect_status.push(checked);
    }
    Ok(HttpSpec {
        url,
        method,
        headers,
        expect_status,
        expect_body: http.expect_body,
    })
}

impl From<&Line> for wire::Line {
    fn from(line: &Line) -> Self {
        Self {
            name: line.name.clone(),
            target_region: line.target_region.to_string(),
            rtt_budget: line.rtt_budget.map(to_wire_duration),
            loss_budget: line.loss_budget,
            circuit: line.circuit.clone(),
            carrier: line.carrier.clone(),
            owner: line.owner.clone(),
        }
    }
}

impl TryFrom<wire::Line> for Line {
    type Error = WireError;

    fn try_from(line: wire::Line) -> Result<Self, WireError> {
        if line.name.is_empty() {
            return Err(WireError::Missing("line name"));
        }
        let loss_budget = match line.loss_budget {
            Some(ratio) if !(0.0..=1.0).contains(&ratio) => {
                return Err(value("line loss_budget", &ratio.to_string(), "a ratio from 0 to 1"));
            }
            budget => budget,
        };
        Ok(Self {
            name: text("line name", line.name)?,
            target_region: line.target_region.parse()?,
            rtt_budget: match line.rtt_budget {
                None => None,
                sent => Some(positive("line rtt_budget", sent)?),
            },
            loss_budget,
            circuit: text("line circuit", line.circuit)?,
            carrier: text("line carrier", line.carrier)?,
            owner: text("line owner", line.owner)?,
        })
    }
}

impl From<Limits> for wire::Limits {
    fn from(limits: Limits) -> Self {
        Self {
            max_probes_per_second: limits.max_probes_per_second,
            max_payload_bytes: u32::from(limits.max_payload_bytes),
            min_interval: Some(to_wire_duration(limits.min_interval)),
        }
    }
}

impl TryFrom<wire::Limits> for Limits {
    type Error = WireError;

    fn try_from(limits: wire::Limits) -> Result<Self, WireError> {
        Ok(Self {
            max_probes_per_second: limits.max_probes_per_second,
            max_payload_bytes: u16::try_from(limits.max_payload_bytes).unwrap_or(u16::MAX),
            min_interval: duration("limits min_interval", limits.min_interval)?,
        })
    }
}

impl From<&PlanUpdate> for wire::PlannerMessage {
    fn from(update: &PlanUpdate) -> Self {
        let body = match update {
            PlanUpdate::Full(plan) => wire::planner_message::Body::Full(wire::FullPlan {
                revision: plan.revision.0,
                plan_ttl: Some(to_wire_duration(plan.plan_ttl)),
                limits: Some(plan.limits.into()),
                targets: plan.targets.iter().map(Into::into).collect(),
                lines: plan.lines.iter().map(Into::into).collect(),
                lease: Some(to_wire_duration(plan.lease)),
            }),
            PlanUpdate::Delta {
                revision,
                base,
                upserts,
                removals,
            } => wire::planner_message::Body::Delta(wire::PlanDelta {
                revision: revision.0,
                base_revision: base.0,
                upserts: upserts.iter().map(Into::into).collect(),
                removals: removals.iter().map(ToString::to_string).collect(),
            }),
            PlanUpdate::KeepAlive => wire::planner_message::Body::KeepAlive(wire::KeepAlive {}),
        };
        Self { body: Some(body) }
    }
}

impl TryFrom<wire::PlannerMessage> for PlanUpdate {
    type Error = WireError;

    fn try_from(message: wire::PlannerMessage) -> Result<Self, WireError> {
        match message.body.ok_or(WireError::Missing("planner message body"))? {
            wire::planner_message::Body::Full(full) => full_plan(full).map(Self::Full),
            wire::planner_message::Body::Delta(delta) => Ok(Self::Delta {
                revision: Revision(delta.revision),
                base: Revision(delta.base_revision),
                upserts: targets(delta.upserts)?,
                removals: delta.removals.iter().map(|id| id.parse()).collect::<Result<_, _>>()?,
            }),
            wire::planner_message::Body::KeepAlive(wire::KeepAlive {}) => Ok(Self::KeepAlive),
        }
    }
}

fn full_plan(full: wire::FullPlan) -> Result<Plan, WireError> {
    let mut targets = targets(full.targets)?;
    targets.sort_by(|a, b| a.id.cmp(&b.id));
    if let Some(pair) = targets.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(value("target id", pair[0].id.as_str(), "unique ids"));
    }
    let mut lines = full
        .lines
        .into_iter()
        .map(Line::try_from)
        .collect::<Result<Vec<_>, _>>()?;
    lines.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Plan {
        revision: Revision(full.revision),
        plan_ttl: positive("plan_ttl", full.plan_ttl)?,
        lease: positive("lease", full.lease)?,
        limits: full.limits.ok_or(WireError::Missing("limits"))?.try_into()?,
        targets,
        lines,
    })
}

fn targets(sent: Vec<wire::Target>) -> Result<Vec<Target>, WireError> {
    if sent.len() > MAX_TARGETS {
        return Err(WireError::TooMany {
            field: "targets",
            max: MAX_TARGETS,
        });
    }
    sent.into_iter().map(Target::try_from).collect()
}

#[cfg(test)]
mod tests;
