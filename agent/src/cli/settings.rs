//! Where the settings come from: the file, and each flag and variable that wins over it.
//!
//! Values stay text here, with the name under which the user gave them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use xprober_config::Override;
use xprober_config::agent::AgentOverrides;

/// Where settings come from.
#[derive(Debug, Args)]
pub struct SettingsArgs {
    /// File with settings (agent.yml); none is needed.
    #[arg(
        id = "config.file",
        long = "config.file",
        value_name = "FILE",
        env = "XPROBER_CONFIG_FILE"
    )]
    file: Option<PathBuf>,
    /// The planner.
    #[arg(
        id = "grpc.server-address",
        long = "grpc.server-address",
        value_name = "HOST:PORT",
        env = "XPROBER_GRPC_SERVER_ADDRESS"
    )]
    grpc_server_address: Option<String>,
    /// Where samples go: the remote-write endpoint of Prometheus or VictoriaMetrics.
    #[arg(
        id = "remote-write.url",
        long = "remote-write.url",
        value_name = "URL",
        env = "XPROBER_REMOTE_WRITE_URL"
    )]
    remote_write_url: Option<String>,
    /// Folder for what waits while a database is away; without it the unit's state folder, or memory.
    #[arg(
        id = "queue.directory",
        long = "queue.directory",
        value_name = "FOLDER",
        env = "XPROBER_QUEUE_DIRECTORY"
    )]
    queue_directory: Option<String>,
    /// Region to speak for; without it the cloud's metadata service is asked.
    #[arg(id = "region", long = "region", value_name = "NAME", env = "XPROBER_REGION")]
    region: Option<String>,
    /// Availability zone, for people.
    #[arg(id = "zone", long = "zone", value_name = "NAME", env = "XPROBER_ZONE")]
    zone: Option<String>,
    /// Unique in the region; by default the host name.
    #[arg(id = "agent.id", long = "agent.id", value_name = "NAME", env = "XPROBER_AGENT_ID")]
    agent_id: Option<String>,
    /// Where other agents reach this one; by default the source address of the route towards the planner.
    #[arg(
        id = "probe.address",
        long = "probe.address",
        value_name = "ADDRESS[,ADDRESS]",
        env = "XPROBER_PROBE_ADDRESS"
    )]
    probe_address: Option<String>,
    /// The cloud's metadata service.
    #[arg(
        id = "metadata.url",
        long = "metadata.url",
        value_name = "URL",
        env = "XPROBER_METADATA_URL"
    )]
    metadata_url: Option<String>,
    /// Who sends the echoes: auto, linux or portable.
    #[arg(
        id = "icmp.backend",
        long = "icmp.backend",
        value_name = "BACKEND",
        env = "XPROBER_ICMP_BACKEND"
    )]
    icmp_backend: Option<String>,
    /// Opens this port to the TCP probes of other agents; none is open by default.
    #[arg(
        id = "responder.tcp",
        long = "responder.tcp",
        value_name = "[HOST]:PORT",
        env = "XPROBER_RESPONDER_TCP"
    )]
    responder_tcp: Option<String>,
    /// How long SIGTERM may take to push what was measured.
    #[arg(
        id = "drain.timeout",
        long = "drain.timeout",
        value_name = "DURATION",
        env = "XPROBER_DRAIN_TIMEOUT"
    )]
    drain_timeout: Option<String>,
    /// Where each value came from; filled in after parsing.
    #[arg(skip)]
    overrides: AgentOverrides,
}

impl SettingsArgs {
    /// The file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// What wins over the file.
    #[must_use]
    pub fn overrides(&self) -> AgentOverrides {
        self.overrides.clone()
    }

    /// Notes for every value whether it is a flag's or a variable's: problems name it as the user wrote it.
    pub(super) fn note_origins(&mut self, matches: &ArgMatches) {
        let with_origin = |id: &str, value: &Option<String>| {
            let origin = match matches.value_source(id) {
                Some(ValueSource::EnvVariable) => variable(id),
                Some(_) | None => format!("--{id}"),
            };
            value.clone().map(|value| Override { value, origin })
        };
        self.overrides = AgentOverrides {
            grpc_server_address: with_origin("grpc.server-address", &self.grpc_server_address),
            remote_write_url: with_origin("remote-write.url", &self.remote_write_url),
            queue_directory: with_origin("queue.directory", &self.queue_directory),
            state_directory: std::env::var_os("STATE_DIRECTORY").and_then(|folders| first_folder(&folders)),
            region: with_origin("region", &self.region),
            zone: with_origin("zone", &self.zone),
            agent_id: with_origin("agent.id", &self.agent_id),
            probe_address: with_origin("probe.address", &self.probe_address),
            metadata_url: with_origin("metadata.url", &self.metadata_url),
            icmp_backend: with_origin("icmp.backend", &self.icmp_backend),
            responder_tcp: with_origin("responder.tcp", &self.responder_tcp),
            drain_timeout: with_origin("drain.timeout", &self.drain_timeout),
        };
    }
}

/// The first of the folders that systemd names, colon-separated (systemd.exec, `StateDirectory=`).
pub(super) fn first_folder(folders: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(folders).find(|folder| !folder.as_os_str().is_empty())
}

pub(super) fn variable(flag: &str) -> String {
    format!("XPROBER_{}", flag.to_ascii_uppercase().replace(['.', '-'], "_"))
}
