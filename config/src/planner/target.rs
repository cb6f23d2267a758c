//! One entry of `prober_targets:`.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use url::Url;
use xprober_proto::{
    HostName, HttpSpec, IcmpSpec, Limits, PacketOptions, ProbeKind, ProbeSpec, Region, StatusRange, TcpSpec,
};

use super::file::{MAX_PROBE_TIMEOUT, SHORTEST_TIMEOUT};
use super::options::{self, Options};
use super::{ConfiguredTarget, Mesh};
use crate::address;
use crate::duration;
use crate::headers;
use crate::limits::{self, LONGEST};
use crate::reader::{Field, Mapping};
use crate::report::Unique;
use crate::spelling::not_one_of;
use crate::value::{self, InvalidValue, Parsed, duration_within, quote};

const HTTP_INTERVAL: Duration = Duration::from_secs(15);
/// Or the interval, if that is shorter.
const HTTP_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest text that a body is searched for, bytes.
const MAX_BODY_TEXT_BYTES: usize = 4_096;

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Headers that the prober writes itself (RFC 9112).
const RESERVED_HEADERS: [&str; 4] = ["connection", "content-length", "transfer-encoding", "upgrade"];

/// What `module:` says.
struct Module {
    /// Only when given.
    timeout: Option<Duration>,
    method: Method,
    headers: Vec<(HeaderName, HeaderValue)>,
    expect_status: Vec<StatusRange>,
    expect_body: String,
}

/// What makes a target the same as another one.
pub(super) type Identity = (ProbeKind, Region, String);

/// Reads one entry: a target per address or URL.
pub(super) fn read(
    mut mapping: Mapping<'_>,
    mesh: &Mesh,
    limits: Limits,
    seen: &mut Unique<Identity>,
) -> Vec<ConfiguredTarget> {
    let kind = mapping
        .take("prober_type")
        .required("use icmp, tcp or http")
        .read(probe_kind);
    let region: Option<Region> = mapping
        .take("region")
        .required("use the name of the targets' region")
        .read(value::name);
    let names = mapping.take("target").required("use a list of addresses or URLs");
    if names.is_empty_list() {
        names.problem("is empty: use a list of addresses or URLs");
    }
    let is_http = kind == Some(ProbeKind::Http);
    let interval_field = mapping.take("interval");
    let given_interval = interval_field.read(limits::interval(limits));
    let interval = given_interval.unwrap_or(if is_http {
        HTTP_INTERVAL.max(limits.min_interval)
    } else {
        mesh.interval
    });
    // An HTTP probe ends before the next one of its target starts; echoes may overlap. What the kind or the interval
    // should have been is not guessed.
    let longest_timeout = match kind {
        Some(ProbeKind::Icmp | ProbeKind::Tcp) => MAX_PROBE_TIMEOUT,
        Some(ProbeKind::Http) if given_interval.is_some() || !interval_field.is_given() => interval,
        Some(ProbeKind::Http) | None => LONGEST,
    };
    let timeout_field = mapping.take("timeout");
    let timeout = timeout_field.read(|text| timeout_within(longest_timeout, is_http, text));
    let module_field = mapping.take("module");
    if kind.is_some() && !is_http && module_field.is_given() {
        module_field.problem("belongs to http targets only: remove it or use prober_type: http");
    }
    let module = read_module(module_field.mapping(), if is_http { longest_timeout } else { LONGEST });
    if timeout_field.is_given() && module.timeout.is_some() {
        timeout_field.problem("is given here and in module: use one of them");
    }
    let options = options::of_target(&mut mapping, kind, limits);
    mapping.finish();
    let Some(kind) = kind else {
        return Vec::new();
    };
    let timeout = timeout.or(module.timeout).unwrap_or(if is_http {
        HTTP_TIMEOUT.min(interval)
    } else {
        mesh.timeout
    });
    let payload_bytes = options.payload_bytes.unwrap_or(mesh.payload_bytes);
    let one = |field: Field<'_>| {
        let field = field.required("remove the empty item");
        let probes = field.read(|text| match kind {
            ProbeKind::Icmp => icmp(text, payload_bytes, &options),
            ProbeKind::Tcp => tcp(text, &options),
            ProbeKind::Http => http(text, &module),
        });
        let mut targets = Vec::new();
        for (name, probe) in probes.unwrap_or_default() {
            let Some(region) = region.clone() else { break };
            if !field.is_new(seen, (kind, region.clone(), name.clone()), &name) {
                break;
            }
            targets.push(ConfiguredTarget {
                name,
                region,
                probe,
                interval,
                timeout,
            });
        }
        targets
    };
    names.one_or_more().into_iter().flat_map(one).collect()
}

fn probe_kind(text: &str) -> Parsed<ProbeKind> {
    let names = ProbeKind::ALL.map(ProbeKind::as_str);
    ProbeKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| InvalidValue::new(not_one_of(text, &names)))
}

fn timeout_within(longest: Duration, is_http: bool, text: &str) -> Parsed<Duration> {
    let timeout = duration_within(SHORTEST_TIMEOUT, LONGEST)(text)?;
    if timeout <= longest {
        return Ok(timeout);
    }
    let (timeout, longest) = (duration::format(timeout), duration::format(longest));
    Err(InvalidValue::new(if is_http {
        format!("{timeout} is over the interval: use at most {longest}, or a longer interval")
    } else {
        format!("{timeout} is out of range: use at most {longest}")
    }))
}

/// Names with what is sent to them: one, or one per family.
type Named = Vec<(String, ProbeSpec)>;

fn icmp(text: &str, payload_bytes: u16, options: &Options) -> Parsed<Named> {
    let host: HostName = text.parse().map_err(|_| {
        InvalidValue::new(format!(
            "{} is not an icmp target: use an IP address or a host name",
            quote(text)
        ))
    })?;
    by_family(text, &host, options, |packet| {
        ProbeSpec::Icmp(IcmpSpec {
            host: host.clone(),
            payload_bytes,
            packet,
            reply_ttl: options.reply_ttl,
        })
    })
}

fn tcp(text: &str, options: &Options) -> Parsed<Named> {
    let (host, port) = address::host_and_port(text).ok_or_else(|| {
        InvalidValue::new(format!(
            "{} is not a tcp target: use HOST:PORT or [IPv6]:PORT",
            quote(text)
        ))
    })?;
    by_family(text, &host, options, |packet| {
        ProbeSpec::Tcp(TcpSpec {
            host: host.clone(),
            port,
            packet,
            source_ports: options.source_ports.clone(),
        })
    })
}

fn by_family(
    text: &str,
    host: &HostName,
    options: &Options,
    probe: impl Fn(PacketOptions) -> ProbeSpec,
) -> Parsed<Named> {
    let named = |(packet, suffix)| Ok((value::label(&format!("{text}{suffix}"))?, probe(packet)));
    options.of_host(host)?.into_iter().map(named).collect()
}

fn http(text: &str, module: &Module) -> Parsed<Named> {
    // Without a scheme the old tool meant http.
    let url: Url = if text.contains("://") {
        value::http_url(text)?
    } else {
        value::http_url(&format!("http://{text}"))?
    };
    let probe = ProbeSpec::Http(HttpSpec {
        url,
        method: module.method.clone(),
        headers: module.headers.clone(),
        expect_status: module.expect_status.clone(),
        expect_body: module.expect_body.clone(),
    });
    Ok(vec![(value::label(text)?, probe)])
}

fn read_module(mut mapping: Mapping<'_>, longest_timeout: Duration) -> Module {
    let method = mapping.take("method").read(method).unwrap_or(Method::GET);
    let body_field = mapping.take("expect_body");
    let expect_body = body_field.read(body_text).unwrap_or_default();
    if method == Method::HEAD && !expect_body.is_empty() {
        body_field.problem("cannot be met: the answer to HEAD has no body");
    }
    let module = Module {
        timeout: mapping
            .take("timeout")
            .read(|text| timeout_within(longest_timeout, true, text)),
        method,
        headers: headers::read(mapping.take("headers"), |name| {
            RESERVED_HEADERS
                .contains(&name)
                .then_some("the prober writes it itself")
        }),
        expect_status: read_status(&mapping.take("expect_status")),
        expect_body,
    };
    mapping.finish();
    module
}

fn method(text: &str) -> Parsed<Method> {
    METHODS
        .contains(&text)
        .then(|| text.parse().ok())
        .flatten()
        .ok_or_else(|| InvalidValue::new(not_one_of(text, &METHODS)))
}

fn body_text(text: &str) -> Parsed<String> {
    if text.len() <= MAX_BODY_TEXT_BYTES {
        return Ok(text.to_owned());
    }
    Err(InvalidValue::new(format!(
        "is too long: use at most {MAX_BODY_TEXT_BYTES} bytes"
    )))
}

fn read_status(field: &Field<'_>) -> Vec<StatusRange> {
    let one = |item: Field<'_>| item.required("remove the empty item").read(status_range);
    field.one_or_more().into_iter().filter_map(one).collect()
}

/// Parses `2xx`, `301` or `200-204`.
fn status_range(text: &str) -> Parsed<StatusRange> {
    let number = |text: &str| {
        let digits = text.len() == 3 && text.chars().all(|c| c.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten()
    };
    let bounds = if let Some(class) = text.strip_suffix("xx") {
        number(&format!("{class}00")).zip(number(&format!("{class}99")))
    } else if let Some((first, last)) = text.split_once('-') {
        number(first).zip(number(last))
    } else {
        number(text).zip(number(text))
    };
    bounds
        .and_then(|(first, last)| StatusRange::new(first, last))
        .ok_or_else(|| {
            InvalidValue::new(format!(
                "{} is not a status: use a class as 2xx, a code as 301 or a range as 200-204, within 100-599",
                quote(text)
            ))
        })
}
