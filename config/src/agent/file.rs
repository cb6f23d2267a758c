//! What `agent.yml`, the environment and the flags say, and the default of everything they leave out.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    AgentSettings, Detail, HardLimits, IcmpBackend, IcmpSettings, Metadata, Push, ServerAddress, remote_write,
};
use crate::address;
use crate::limits::{self, LONGEST};
use crate::load::{LoadError, Override, read_text};
use crate::problem::Problems;
use crate::reader::{Field, Mapping};
use crate::report::Report;
use crate::spelling::not_one_of;
use crate::value::{self, InvalidValue, Parsed, duration_within, quote, whole_number};
use crate::yaml;

/// The old tool's port on this machine.
const GRPC_SERVER_ADDRESS: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::LOCALHOST), 6001);
/// Link-local address that the clouds agree on.
const METADATA_URL: &str = "http://169.254.169.254";
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);
const PUSH_INTERVAL: Duration = Duration::from_secs(5);
const MAX_SAMPLES_PER_REQUEST: usize = 2_000;
const ICMP_BACKEND: IcmpBackend = IcmpBackend::Auto;
const DETAIL: Detail = Detail::Target;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);
const SHORTEST_PUSH_INTERVAL: Duration = Duration::from_millis(100);

/// What stands for the file in problems when there is none.
const NO_FILE: &str = "agent settings";

/// Values that win over the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentOverrides {
    /// For `grpc_server_address`.
    pub grpc_server_address: Option<Override>,
    /// For `remote_write.url`.
    pub remote_write_url: Option<Override>,
    /// For `queue.directory`.
    pub queue_directory: Option<Override>,
    /// The folder for state that the service manager gives; where `queue.directory` is when nothing else says so.
    pub state_directory: Option<PathBuf>,
    /// For `region`.
    pub region: Option<Override>,
    /// For `zone`.
    pub zone: Option<Override>,
    /// For `agent_id`.
    pub agent_id: Option<Override>,
    /// For `probe_address`: one address, or one of each family with a comma between them.
    pub probe_address: Option<Override>,
    /// For `metadata.url`.
    pub metadata_url: Option<Override>,
    /// For `icmp.backend`.
    pub icmp_backend: Option<Override>,
    /// For `responder.tcp`.
    pub responder_tcp: Option<Override>,
    /// For `drain_timeout`.
    pub drain_timeout: Option<Override>,
}

impl AgentSettings {
    /// Loads a file, if there is one; what flags and the environment say wins.
    ///
    /// # Errors
    /// The file cannot be read, or something is wrong; then all problems are told.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers build the overrides for this one call"
    )]
    pub fn load(file: Option<&Path>, overrides: AgentOverrides) -> Result<Self, LoadError> {
        let (name, text) = match file {
            Some(path) => (path.display().to_string(), read_text(path)?),
            None => (NO_FILE.to_owned(), String::new()),
        };
        Ok(Self::parse(&name, &text, &overrides)?)
    }

    /// Reads the text of a file; what flags and the environment say wins. `file_name` is shown in problems.
    ///
    /// # Errors
    /// Every problem of the text and the overrides.
    pub fn parse(file_name: &str, text: &str, overrides: &AgentOverrides) -> Result<Self, Problems> {
        let node = yaml::read(text).map_err(|problem| Problems {
            file: file_name.to_owned(),
            problems: vec![problem],
        })?;
        let report = Report::default();
        let settings = read(Field::root(&report, &node).mapping(), overrides);
        report.finish(file_name, settings)
    }
}

/// `None` when something without a default is missing or wrong; that was told.
fn read(mut file: Mapping<'_>, overrides: &AgentOverrides) -> Option<AgentSettings> {
    let grpc_server_address = file
        .take("grpc_server_address")
        .read_or(overrides.grpc_server_address.as_ref(), address::server_address)
        .unwrap_or_else(|| ServerAddress {
            host: GRPC_SERVER_ADDRESS.0.to_string(),
            port: GRPC_SERVER_ADDRESS.1,
        });
    let region = file.take("region").read_or(overrides.region.as_ref(), value::name);
    let zone = file.take("zone").read_or(overrides.zone.as_ref(), value::name);
    let agent_id = file.take("agent_id").read_or(overrides.agent_id.as_ref(), value::name);
    let probe_addresses = read_addresses(&file.take("probe_address"), overrides.probe_address.as_ref());
    let metadata = read_metadata(file.take("metadata").mapping(), overrides);
    let remote_write = remote_write::read(file.take("remote_write"), overrides.remote_write_url.as_ref());
    let queue_directory = read_queue(file.take("queue").mapping(), overrides);
    let push = read_push(file.take("push").mapping());
    let (limits, allowed_networks) = read_limits(file.take("limits").mapping());
    let icmp = read_icmp(file.take("icmp").mapping(), overrides.icmp_backend.as_ref());
    let responder_tcp = read_responder(file.take("responder").mapping(), overrides.responder_tcp.as_ref());
    let http_ca_file = read_http(file.take("http").mapping());
    let detail = file.take("detail").read(detail).unwrap_or(DETAIL);
    let drain_timeout = file
        .take("drain_timeout")
        .read_or(
            overrides.drain_timeout.as_ref(),
            duration_within(Duration::ZERO, LONGEST),
        )
        .unwrap_or(DRAIN_TIMEOUT);
    file.finish();
    Some(AgentSettings {
        grpc_server_address,
        region,
        zone,
        agent_id,
        probe_addresses,
        metadata: metadata?,
        remote_write: remote_write?,
        queue_directory,
        push,
        limits: HardLimits {
            limits,
            allowed_networks,
            http_ca_file,
        },
        icmp,
        responder_tcp,
        detail,
        drain_timeout,
    })
}

/// The file has one text or a list, flags and variables have one text; each text may hold several addresses.
fn read_addresses(field: &Field<'_>, outside: Option<&Override>) -> Vec<IpAddr> {
    let listed: Vec<IpAddr> = field
        .one_or_more()
        .into_iter()
        .filter_map(|item| item.required("remove the empty item").read(addresses))
        .flatten()
        .collect();
    if let Err(error) = one_of_each(listed.clone()) {
        field.problem(error.to_string());
    }
    match outside {
        Some(outside) => field
            .read_outside(outside, |text| addresses(text).and_then(one_of_each))
            .unwrap_or_default(),
        None => listed,
    }
}

fn addresses(text: &str) -> Parsed<Vec<IpAddr>> {
    text.split(',').map(|part| address(part.trim())).collect()
}

fn address(text: &str) -> Parsed<IpAddr> {
    address::unicast(text).ok_or_else(|| {
        InvalidValue::new(format!(
            "{} is not an address that can be probed: use an IPv4 or IPv6 literal, neither unspecified nor multicast",
            quote(text)
        ))
    })
}

fn one_of_each(addresses: Vec<IpAddr>) -> Parsed<Vec<IpAddr>> {
    let v4 = addresses.iter().filter(|address| address.is_ipv4()).count();
    if v4 <= 1 && addresses.len() - v4 <= 1 {
        return Ok(addresses);
    }
    Err(InvalidValue::new(
        "has two addresses of one family: use at most one IPv4 and one IPv6 address",
    ))
}

fn read_metadata(mut mapping: Mapping<'_>, overrides: &AgentOverrides) -> Option<Metadata> {
    let url_field = mapping.take("url");
    let url = if url_field.is_given() || overrides.metadata_url.is_some() {
        url_field.read_or(overrides.metadata_url.as_ref(), value::http_url)
    } else {
        url_field.parse(METADATA_URL, value::http_url)
    };
    let timeout = mapping
        .take("timeout")
        .read(duration_within(SHORTEST_TIMEOUT, LONGEST))
        .unwrap_or(METADATA_TIMEOUT);
    mapping.finish();
    Some(Metadata { url: url?, timeout })
}

fn read_push(mut mapping: Mapping<'_>) -> Push {
    let push = Push {
        interval: mapping
            .take("interval")
            .read(duration_within(SHORTEST_PUSH_INTERVAL, LONGEST))
            .unwrap_or(PUSH_INTERVAL),
        max_samples_per_request: mapping
            .take("max_samples_per_request")
            .read(whole_number(1, 100_000))
            .unwrap_or(MAX_SAMPLES_PER_REQUEST),
    };
    mapping.finish();
    push
}

fn read_queue(mut mapping: Mapping<'_>, overrides: &AgentOverrides) -> Option<PathBuf> {
    let directory = mapping
        .take("directory")
        .read_or(overrides.queue_directory.as_ref(), value::file_path);
    mapping.finish();
    directory.or_else(|| overrides.state_directory.clone())
}

fn read_limits(mut mapping: Mapping<'_>) -> (xprober_proto::Limits, Vec<IpNet>) {
    let limits = limits::read(&mut mapping);
    let everywhere = || vec![IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
    let networks = mapping.take("allowed_networks").read_list(address::network);
    mapping.finish();
    (limits, networks.unwrap_or_else(everywhere))
}

fn read_icmp(mut mapping: Mapping<'_>, backend: Option<&Override>) -> IcmpSettings {
    let icmp = IcmpSettings {
        backend: mapping
            .take("backend")
            .read_or(backend, icmp_backend)
            .unwrap_or(ICMP_BACKEND),
    };
    mapping.finish();
    icmp
}

fn icmp_backend(text: &str) -> Parsed<IcmpBackend> {
    IcmpBackend::ALL
        .into_iter()
        .find(|backend| backend.as_str() == text)
        .ok_or_else(|| InvalidValue::new(not_one_of(text, &IcmpBackend::ALL.map(IcmpBackend::as_str))))
}

fn read_responder(mut mapping: Mapping<'_>, tcp: Option<&Override>) -> Option<SocketAddr> {
    let address = mapping.take("tcp").read_or(tcp, address::listen_address);
    mapping.finish();
    address
}

fn read_http(mut mapping: Mapping<'_>) -> Option<PathBuf> {
    let ca_file = mapping.take("ca_file").read(value::file_path);
    mapping.finish();
    ca_file
}

fn detail(text: &str) -> Parsed<Detail> {
    match text {
        "target" => Ok(Detail::Target),
        "region" => Ok(Detail::Region),
        _ => Err(InvalidValue::new(not_one_of(text, &["target", "region"]))),
    }
}
