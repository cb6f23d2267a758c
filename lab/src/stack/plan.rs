//! What is to be run: ports, files, and the programs that read them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::pace::Pace;
use super::settings::{self, planner_file};
use crate::error::LabError;
use crate::process::prometheus::PROMETHEUS_PORT;
use crate::process::victoria::VICTORIA_PORT;
use crate::process::{ProcessPlan, find};
use crate::topology::HostPlan;
use crate::world::Lab;

/// Port of the hub that agents connect to.
pub const PLANNER_RPC_PORT: u16 = 6001;
/// Port of the hub with the planner's page and metrics.
pub const PLANNER_WEB_PORT: u16 = 6002;

/// Which database takes the samples and evaluates the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Database {
    /// Prometheus with its remote-write receiver.
    #[default]
    Prometheus,
    /// `VictoriaMetrics` with vmalert.
    #[value(name = "victoriametrics")]
    VictoriaMetrics,
}

impl Database {
    /// As on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prometheus => "prometheus",
            Self::VictoriaMetrics => "victoriametrics",
        }
    }

    /// Port of the hub on which it answers questions and takes samples.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Prometheus => PROMETHEUS_PORT,
            Self::VictoriaMetrics => VICTORIA_PORT,
        }
    }
}

/// What to start on a lab.
#[derive(Debug, Clone)]
pub struct StackPlan {
    /// Where samples go.
    pub database: Database,
    /// How soon things are told.
    pub pace: Pace,
    /// Content of `planner.yml`.
    pub planner_file: String,
    /// Content of every agent's `agent.yml`.
    pub agent_file: String,
}

impl StackPlan {
    /// Plans a full mesh of the topology's regions with a line between every two of them, see [`planner_file`].
    #[must_use]
    pub fn new(lab: &Lab, database: Database) -> Self {
        Self::at_pace(lab, database, Pace::Default)
    }

    /// The same with other settings than the default ones.
    #[must_use]
    pub fn at_pace(lab: &Lab, database: Database, pace: Pace) -> Self {
        // A second is little on a machine that starts several labs.
        let trust = format!(
            "http: {{ca_file: '{}'}}\nmetadata: {{timeout: 10s}}\n",
            lab.authority().file().display()
        );
        Self {
            database,
            pace,
            planner_file: format!(
                "{}query_url: http://127.0.0.1:{}\n",
                planner_file(lab.topology()),
                database.port()
            ),
            agent_file: trust + pace.agent_file(),
        }
    }

    /// Writes `planner.yml` and plans the planner that reads it.
    pub(super) fn prepare_planner(&self, lab: &Lab) -> Result<ProcessPlan, LabError> {
        let path = planner_path(lab);
        write(&path, &self.planner_file)?;
        let flags = [format!("--config.file={}", path.display())];
        Ok(ProcessPlan::new(
            "planner",
            &find::own_program("xprober-planner")?,
            flags,
        ))
    }

    /// Writes an `agent.yml` for every agent and plans the agents that read them, by host.
    pub(super) fn prepare_agents(&self, lab: &Lab) -> Result<BTreeMap<String, ProcessPlan>, LabError> {
        let program = find::own_program("xprober-agent")?;
        for host in settings::agent_hosts(lab.topology()) {
            write(&agent_path(lab, &host.name), &self.agent_file)?;
        }
        let hub = lab.hub().plan().address;
        // No --region: agents ask the metadata endpoint of their host.
        let flags = |host: &HostPlan| {
            [
                format!("--grpc.server-address={hub}:{PLANNER_RPC_PORT}"),
                format!("--remote-write.url=http://{hub}:{}/api/v1/write", self.database.port()),
                format!("--agent.id={}", host.name),
                format!("--config.file={}", agent_path(lab, &host.name).display()),
            ]
        };
        let plans = settings::agent_hosts(lab.topology()).map(|host| {
            (
                host.name.clone(),
                ProcessPlan::new(&format!("agent-{}", host.name), &program, flags(host)),
            )
        });
        Ok(plans.collect())
    }
}

/// URL of the planner's web port as the hub reaches it.
#[must_use]
pub fn planner_url(path: &str) -> String {
    format!("http://127.0.0.1:{PLANNER_WEB_PORT}{path}")
}

/// The planner's file.
pub(super) fn planner_path(lab: &Lab) -> PathBuf {
    lab.work().join("planner.yml")
}

/// Every agent has a file of its own.
pub(super) fn agent_path(lab: &Lab, host: &str) -> PathBuf {
    lab.work().join(format!("agent-{host}.yml"))
}

/// Writes one of these files.
pub(super) fn write(path: &Path, text: &str) -> Result<(), LabError> {
    fs::write(path, text).map_err(LabError::io(format!("writing {}", path.display())))
}
