//! The two sets of settings that are shipped: the defaults, and those for whoever wants to be told sooner.

use std::fs;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::error::LabError;
use crate::process::find;
use crate::process::prometheus::{FILES, Files};

/// How soon things are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pace {
    /// Agents push every 5 s, rules are evaluated every 5 s.
    #[default]
    Default,
    /// Agents push every second and rules are evaluated as often, with shorter windows.
    Fast,
}

impl Pace {
    /// As on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Fast => "fast",
        }
    }

    /// The rules, and the configuration that names them.
    #[must_use]
    pub const fn files(self) -> Files {
        match self {
            Self::Default => FILES,
            Self::Fast => Files {
                config: "config/fast/prometheus.yml",
                rules: "grafana/rules/fast",
            },
        }
    }

    /// What it adds to `agent.yml`.
    #[must_use]
    pub const fn agent_file(self) -> &'static str {
        match self {
            Self::Default => "",
            Self::Fast => "push: {interval: 1s}\n",
        }
    }

    /// The repository's sample for Alertmanager.
    ///
    /// # Errors
    /// [`LabError::Io`].
    pub fn alertmanager_file(self) -> Result<String, LabError> {
        let file = match self {
            Self::Default => "config/alertmanager.yml",
            Self::Fast => "config/fast/alertmanager.yml",
        };
        let file = find::repository().join(file);
        fs::read_to_string(&file).map_err(LabError::io(format!("reading {}", file.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_of_the_fast_pace_push_as_often_as_the_shipped_sample_says() {
        let sample = fs::read_to_string(find::repository().join("config/fast/agent.yml")).unwrap();
        assert!(sample.contains("push:\n  interval: 1s\n"), "{sample}");
        assert!(Pace::Fast.agent_file().contains("interval: 1s"));
    }
}
