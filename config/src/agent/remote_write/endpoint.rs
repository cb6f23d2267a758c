//! One endpoint or a list of them: what the file and the flag say together.

use std::time::Duration;

use url::Url;

use super::authentication::Method;
use super::{EndpointName, HistogramForm, ProtocolChoice, RemoteWrite};
use super::{authentication, labels, queue, spelling, tls};
use crate::agent::file::SHORTEST_TIMEOUT;
use crate::headers;
use crate::limits::LONGEST;
use crate::load::Override;
use crate::reader::{Field, Mapping};
use crate::report::Unique;
use crate::value::{self, duration_within};

const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
const PROTOCOL: ProtocolChoice = ProtocolChoice::V1;
const HISTOGRAMS: HistogramForm = HistogramForm::Classic;

/// Headers that the remote-write protocol fixes.
const PROTOCOL_HEADERS: [&str; 5] = [
    "content-encoding",
    "content-type",
    "retry-attempt",
    "user-agent",
    "x-prometheus-remote-write-version",
];

/// Headers that the connection fixes.
const CONNECTION_HEADERS: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that a signature is made of or carried in.
const SIGNATURE_HEADERS: [&str; 3] = ["x-amz-content-sha256", "x-amz-date", "x-amz-security-token"];

const MISSING_URL: &str = "say where samples go with --remote-write.url or the key remote_write.url, \
                           as in http://prometheus:9090/api/v1/write";
const EMPTY_LIST: &str =
    "is an empty list: say where samples go, as in [{name: a, url: http://prometheus:9090/api/v1/write}]";

/// Reads all endpoints; `None` when there is no place to send samples to, which was told.
pub(in crate::agent) fn read(field: Field<'_>, url: Option<&Override>) -> Option<Vec<RemoteWrite>> {
    if !field.is_list() {
        return read_endpoint(field.mapping(), url, Naming::Optional).map(|(_, endpoint)| vec![endpoint]);
    }
    if field.is_empty_list() {
        field.problem(EMPTY_LIST);
        return None;
    }
    let items = field.list();
    let single = items.len() == 1;
    let mut seen = Unique::new();
    let mut endpoints = Vec::new();
    let mut complete = true;
    for item in items {
        match read_endpoint(item.required("remove the empty item").mapping(), None, Naming::Required) {
            Some((field, endpoint)) => {
                let name = endpoint.name.as_str().to_owned();
                complete &= field.is_new(&mut seen, name.clone(), &name);
                endpoints.push(endpoint);
            }
            None => complete = false,
        }
    }
    if let Some(outside) = url {
        let meant = |endpoint: &&mut RemoteWrite| single || endpoint.name == EndpointName::default();
        let url = field.read_outside(outside, value::http_url);
        match (endpoints.iter_mut().find(meant), url) {
            (Some(endpoint), Some(url)) => endpoint.url = url,
            (None, Some(_)) if complete => {
                field.read_outside(outside, |_| Err::<Url, _>(ambiguous()));
                complete = false;
            }
            (Some(_) | None, _) => complete = false,
        }
    }
    complete.then_some(endpoints)
}

fn ambiguous() -> value::InvalidValue {
    value::InvalidValue::new(
        "names the URL of one endpoint, and remote_write lists several: call one of them default, or leave it out",
    )
}

/// Whether an endpoint must say its name.
#[derive(Clone, Copy)]
enum Naming {
    Required,
    Optional,
}

fn read_endpoint<'a>(
    mut mapping: Mapping<'a>,
    url: Option<&Override>,
    naming: Naming,
) -> Option<(Field<'a>, RemoteWrite)> {
    let name_field = mapping.take("name");
    let name_field = match naming {
        Naming::Required => name_field.required("name every endpoint of a list"),
        Naming::Optional => name_field,
    };
    let name = match (name_field.is_given(), naming) {
        (false, Naming::Optional) => Some(EndpointName::default()),
        (true, _) | (false, Naming::Required) => name_field.read(str::parse),
    };
    let url_field = mapping.take("url");
    let url_field = match (url, naming) {
        (Some(_), _) => url_field,
        (None, Naming::Optional) => url_field.required(MISSING_URL),
        (None, Naming::Required) => {
            url_field.required("say where samples go, as in http://prometheus:9090/api/v1/write")
        }
    };
    let url = url_field.read_or(url, value::http_url);
    let timeout = mapping
        .take("timeout")
        .read(duration_within(SHORTEST_TIMEOUT, LONGEST))
        .unwrap_or(WRITE_TIMEOUT);
    let protocol = mapping.take("protocol").read(spelling::protocol).unwrap_or(PROTOCOL);
    let histograms = mapping
        .take("histograms")
        .read(spelling::histograms)
        .unwrap_or(HISTOGRAMS);
    let out_of_order = mapping.take("out_of_order").read(value::boolean).unwrap_or(false);
    let labels = labels::read(mapping.take("labels"));
    let headers_field = mapping.take("headers");
    let (method, authentication) = authentication::read(&mut mapping);
    let headers = headers::read(headers_field, |name| reserved(name, method));
    let tls = tls::read(mapping.take("tls").mapping());
    let queue = queue::read(mapping.take("queue").mapping());
    mapping.finish();
    let endpoint = RemoteWrite {
        name: name?,
        url: url?,
        timeout,
        protocol,
        histograms,
        out_of_order,
        labels,
        headers,
        authentication,
        tls,
        queue,
    };
    Some((name_field, endpoint))
}

fn reserved(name: &str, method: Option<Method>) -> Option<&'static str> {
    if PROTOCOL_HEADERS.contains(&name) {
        return Some("the remote-write protocol fixes it");
    }
    if CONNECTION_HEADERS.contains(&name) {
        return Some("the connection fixes it");
    }
    if method == Some(Method::SigV4) && SIGNATURE_HEADERS.contains(&name) {
        return Some("sigv4 sets it");
    }
    (method.is_some() && name == "authorization").then_some("basic_auth, authorization or sigv4 sets it")
}
