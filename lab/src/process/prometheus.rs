//! Prometheus in the hub, with the repository's own configuration and rules.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Process, ProcessPlan, find};
use crate::error::LabError;
use crate::promql::PromQl;
use crate::world::Lab;

/// Port of the hub on which Prometheus answers.
pub const PROMETHEUS_PORT: u16 = 9090;

/// Time from start to readiness; it reads its log of writes first.
pub const READY_LIMIT: Duration = Duration::from_mins(1);

/// Files of the repository that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Files {
    /// Prometheus' configuration.
    pub config: &'static str,
    /// Folder with the rules that it names.
    pub rules: &'static str,
}

/// The default ones.
pub const FILES: Files = Files {
    config: "config/prometheus.yml",
    rules: "grafana/rules",
};

/// A running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    /// The process, to be stopped, frozen or killed.
    pub process: Process,
    plan: ProcessPlan,
}

impl Prometheus {
    /// Starts Prometheus with copies of `config/prometheus.yml` and `grafana/rules/*.yml` and waits until it is ready.
    /// Remote write is at `http://<hub>:9090/api/v1/write`.
    ///
    /// # Errors
    /// [`LabError::NoProgram`], [`LabError::Io`], [`LabError::Ended`] with its complaint about the files, or
    /// [`LabError::Timeout`].
    pub async fn start(lab: &Lab) -> Result<Self, LabError> {
        Self::start_with(lab, FILES).await
    }

    /// The same with other files of the repository.
    ///
    /// # Errors
    /// As [`Prometheus::start`].
    pub async fn start_with(lab: &Lab, files: Files) -> Result<Self, LabError> {
        let folder = lab.work().join("prometheus");
        let config = copy_configuration(&find::repository(), &folder, files)?;
        let plan = ProcessPlan::new(
            "prometheus",
            &find::tool("prometheus")?,
            [
                format!("--config.file={}", config.display()),
                format!("--storage.tsdb.path={}", folder.join("store").display()),
                format!("--web.listen-address=0.0.0.0:{PROMETHEUS_PORT}"),
                "--web.enable-remote-write-receiver".to_owned(),
                "--web.enable-lifecycle".to_owned(),
                // Prometheus finds its Alertmanager only some seconds after its start, and says what fired before that
                // again after this time; the default is a minute.
                "--rules.alert.resend-delay=10s".to_owned(),
            ],
        );
        let process = Process::start(lab.hub(), &plan)?;
        let mut prometheus = Self { process, plan };
        prometheus.wait_ready().await?;
        Ok(prometheus)
    }

    /// Waits until it answers questions.
    ///
    /// # Errors
    /// [`LabError::Ended`], [`LabError::Timeout`].
    pub async fn wait_ready(&mut self) -> Result<(), LabError> {
        self.process
            .wait_ready(&format!("http://127.0.0.1:{PROMETHEUS_PORT}/-/ready"), READY_LIMIT)
            .await
    }

    /// Starts it again with the same store after its process was stopped or killed, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Prometheus::start`].
    pub async fn restart(&mut self, lab: &Lab) -> Result<(), LabError> {
        self.process.stop().await?;
        self.process = Process::start(lab.hub(), &self.plan)?;
        self.wait_ready().await
    }

    /// Asks it questions.
    #[must_use]
    pub fn client(&self) -> PromQl {
        PromQl::new(&format!("http://127.0.0.1:{PROMETHEUS_PORT}"))
    }
}

/// Copies configuration and rules, keeping their places relative to each other, and answers the configuration's place.
///
/// # Errors
/// [`LabError::Io`].
pub(super) fn copy_configuration(repository: &Path, folder: &Path, files: Files) -> Result<PathBuf, LabError> {
    let rules = Path::new(files.rules);
    let config = Path::new(files.config);
    for copied in [Some(rules), config.parent()].into_iter().flatten() {
        copy_files(&repository.join(copied), &folder.join(copied))?;
    }
    Ok(folder.join(config))
}

/// Copies the YAML files of a folder, not of the folders in it.
fn copy_files(from: &Path, to: &Path) -> Result<(), LabError> {
    let doing = || LabError::io(format!("copying {} to {}", from.display(), to.display()));
    fs::create_dir_all(to).map_err(doing())?;
    for entry in fs::read_dir(from).map_err(doing())? {
        let file = entry.map_err(doing())?.path();
        if file.extension().is_some_and(|extension| extension == "yml")
            && let Some(name) = file.file_name()
        {
            fs::copy(&file, to.join(name)).map_err(doing())?;
        }
    }
    Ok(())
}
