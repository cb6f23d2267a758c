//! What `planner.yml` says, and the default of everything it leaves out.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use xprober_proto::{Limits, ProbeKind};

use super::{Agents, ConfiguredTarget, LineSettings, Mesh, PlannerSettings, line, options, query, target};
use crate::address;
use crate::limits::{self, LONGEST};
use crate::load::{LoadError, Override, read_text};
use crate::problem::Problems;
use crate::reader::{Field, Mapping};
use crate::report::{Report, Unique};
use crate::spelling::not_one_of;
use crate::value::{InvalidValue, Parsed, duration_within, whole_number};
use crate::yaml;

const RPC_PORT: u16 = 6001;
const METRICS_PORT: u16 = 6002;
const MESH_INTERVAL: Duration = Duration::from_secs(1);
const MESH_TIMEOUT: Duration = Duration::from_secs(1);
/// What `ping` sends.
const PAYLOAD_BYTES: u16 = 56;
const LEASE: Duration = Duration::from_secs(30);
const PLAN_TTL: Duration = Duration::from_hours(1);

/// Longest ICMP or TCP timeout: every probe in flight takes memory, and no line takes longer.
pub(super) const MAX_PROBE_TIMEOUT: Duration = Duration::from_secs(10);
pub(super) const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);

/// Values that win over the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlannerOverrides {
    /// For `rpc_listen_addr`.
    pub rpc_listen_addr: Option<Override>,
    /// For `metrics_listen_addr`.
    pub metrics_listen_addr: Option<Override>,
}

impl PlannerSettings {
    /// Loads a file without overrides.
    ///
    /// # Errors
    /// The file cannot be read, or is wrong; then all of its problems are told.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        Self::load_with(path, &PlannerOverrides::default())
    }

    /// Loads a file; what flags and the environment say wins.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_with(path: &Path, overrides: &PlannerOverrides) -> Result<Self, LoadError> {
        let text = read_text(path)?;
        Ok(Self::parse_with(&path.display().to_string(), &text, overrides)?)
    }

    /// Reads the text of a file without overrides; `file_name` is shown in problems.
    ///
    /// # Errors
    /// Every problem of the text.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Problems> {
        Self::parse_with(file_name, text, &PlannerOverrides::default())
    }

    /// Reads the text of a file; what flags and the environment say wins.
    ///
    /// # Errors
    /// Every problem of the text and the overrides.
    pub fn parse_with(file_name: &str, text: &str, overrides: &PlannerOverrides) -> Result<Self, Problems> {
        let node = yaml::read(text).map_err(|problem| Problems {
            file: file_name.to_owned(),
            problems: vec![problem],
        })?;
        let report = Report::default();
        let settings = read(Field::root(&report, &node).mapping(), overrides);
        report.finish(file_name, Some(settings))
    }
}

fn read(mut file: Mapping<'_>, overrides: &PlannerOverrides) -> PlannerSettings {
    let every_interface = |port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let rpc_listen_addr = file
        .take("rpc_listen_addr")
        .read_or(overrides.rpc_listen_addr.as_ref(), address::listen_address)
        .unwrap_or(every_interface(RPC_PORT));
    let metrics_listen_addr = file
        .take("metrics_listen_addr")
        .read_or(overrides.metrics_listen_addr.as_ref(), address::listen_address)
        .unwrap_or(every_interface(METRICS_PORT));
    let query = query::read(&mut file);
    let limits = read_limits(file.take("limits").mapping());
    let mesh = read_mesh(file.take("mesh").mapping(), limits);
    let targets = read_targets(&file.take("prober_targets"), &mesh, limits);
    let lines = read_lines(&file.take("lines"));
    let agents = read_agents(file.take("agents").mapping());
    file.finish();
    PlannerSettings {
        rpc_listen_addr,
        metrics_listen_addr,
        query,
        targets,
        mesh,
        lines,
        agents,
        limits,
    }
}

fn read_limits(mut mapping: Mapping<'_>) -> Limits {
    let limits = limits::read(&mut mapping);
    mapping.finish();
    limits
}

fn read_mesh(mut mapping: Mapping<'_>, limits: Limits) -> Mesh {
    let probes = read_probes(&mapping.take("probes"));
    let options = options::of_mesh(&mut mapping, &probes, limits);
    let mesh = Mesh {
        probes,
        interval: mapping
            .take("interval")
            .read(limits::interval(limits))
            .unwrap_or(MESH_INTERVAL.max(limits.min_interval)),
        timeout: mapping
            .take("timeout")
            .read(duration_within(SHORTEST_TIMEOUT, MAX_PROBE_TIMEOUT))
            .unwrap_or(MESH_TIMEOUT),
        payload_bytes: options
            .payload_bytes
            .unwrap_or(PAYLOAD_BYTES.min(limits.max_payload_bytes)),
        packet: options.of_mesh(),
        reply_ttl: options.reply_ttl,
        source_ports: options.source_ports,
        targets_per_region: mapping
            .take("targets_per_region")
            .read(whole_number(0, 100_000))
            .unwrap_or(0),
    };
    mapping.finish();
    mesh
}

fn read_probes(field: &Field<'_>) -> Vec<ProbeKind> {
    let mut probes = Vec::new();
    for item in field.one_or_more() {
        let item = item.required("use icmp or tcp");
        let Some(kind) = item.read(mesh_kind) else {
            continue;
        };
        if probes.contains(&kind) {
            item.problem(format!("{kind} is listed twice"));
        } else {
            probes.push(kind);
        }
    }
    if probes.is_empty() {
        if field.is_empty_list() {
            field.problem("is empty: use icmp, tcp or both");
        }
        probes.push(ProbeKind::Icmp);
    }
    probes
}

fn mesh_kind(text: &str) -> Parsed<ProbeKind> {
    match text {
        "icmp" => Ok(ProbeKind::Icmp),
        "tcp" => Ok(ProbeKind::Tcp),
        "http" => Err(InvalidValue::new(
            "http is not allowed between agents, which serve no HTTP: use icmp or tcp, and prober_targets for URLs",
        )),
        _ => Err(InvalidValue::new(not_one_of(text, &["icmp", "tcp"]))),
    }
}

fn read_targets(field: &Field<'_>, mesh: &Mesh, limits: Limits) -> Vec<ConfiguredTarget> {
    let mut seen = Unique::new();
    let items = field.list().into_iter();
    items
        .flat_map(|item| {
            target::read(
                item.required("remove the empty item").mapping(),
                mesh,
                limits,
                &mut seen,
            )
        })
        .collect()
}

fn read_lines(field: &Field<'_>) -> Vec<LineSettings> {
    let mut seen = Unique::new();
    let items = field.list().into_iter();
    items
        .filter_map(|item| line::read(item.required("remove the empty item").mapping(), &mut seen))
        .collect()
}

fn read_agents(mut mapping: Mapping<'_>) -> Agents {
    let span = || duration_within(Duration::from_secs(1), 365 * LONGEST);
    let agents = Agents {
        lease: mapping.take("lease").read(span()).unwrap_or(LEASE),
        plan_ttl: mapping.take("plan_ttl").read(span()).unwrap_or(PLAN_TTL),
        allowed_networks: mapping
            .take("allowed_networks")
            .read_list(address::network)
            .unwrap_or_default(),
    };
    mapping.finish();
    agents
}
