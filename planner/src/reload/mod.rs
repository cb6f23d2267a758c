//! Reloading: when, and what comes of it.
//!
//! In: the file's content, SIGHUP, `POST /-/reload`. Out: new settings to the owner of the plan, or the reasons why the old
//! ones stay, in [`ConfigState`]. The rules are here, the file and the signal in [`task`].

use std::path::PathBuf;
use std::time::SystemTime;

use xprober_config::planner::PlannerSettings;

pub mod task;

/// Where the configuration stands; shown on the status page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigState {
    /// The file, `None` when the settings were given directly.
    pub file: Option<PathBuf>,
    /// When the settings in force were loaded.
    pub loaded_at: SystemTime,
    /// Why the file as it stands now is not in force.
    pub failure: Option<String>,
    /// Settings of the file that wait for a restart.
    pub needs_restart: Vec<&'static str>,
}

impl ConfigState {
    /// Describes settings that were loaded at `loaded_at`.
    #[must_use]
    pub const fn loaded(file: Option<PathBuf>, loaded_at: SystemTime) -> Self {
        Self {
            file,
            loaded_at,
            failure: None,
            needs_restart: Vec::new(),
        }
    }
}

/// Lists the settings that differ from those the ports were bound with: a socket is not moved while agents hang on it.
#[must_use]
pub fn needs_restart(bound: &PlannerSettings, new: &PlannerSettings) -> Vec<&'static str> {
    let addresses = [
        ("rpc_listen_addr", bound.rpc_listen_addr, new.rpc_listen_addr),
        (
            "metrics_listen_addr",
            bound.metrics_listen_addr,
            new.metrics_listen_addr,
        ),
    ];
    addresses
        .into_iter()
        .filter(|(_, bound, new)| bound != new)
        .map(|(key, _, _)| key)
        .collect()
}
