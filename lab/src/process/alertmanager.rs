//! Alertmanager in the hub, with the repository's own configuration or another one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::prometheus::READY_LIMIT;
use super::{Process, ProcessPlan, find};
use crate::error::LabError;
use crate::fetch;
use crate::world::Lab;

/// Port of the hub on which Alertmanager answers.
pub const ALERTMANAGER_PORT: u16 = 9093;

/// Port of the hub that the sample configuration's webhook posts to.
pub const WEBHOOK_PORT: u16 = 9099;

/// Where Debian's Alertmanager looks for its templates.
const TEMPLATES: &str = "usr/share/prometheus/alertmanager";

/// How long it may take to take alerts.
const TAKE_LIMIT: Duration = Duration::from_secs(10);

/// Which Alertmanager to start, with what.
#[derive(Debug, Clone, Default)]
pub struct AlertmanagerPlan {
    /// The configuration file's text.
    pub configuration: String,
    /// Files to lay beside the configuration, e.g. its templates.
    pub beside: Vec<PathBuf>,
    /// Debian release to take it from, as [`find::tool_of`] knows them; none takes what the machine has.
    pub release: Option<&'static str>,
}

/// A running Alertmanager.
#[derive(Debug)]
pub struct Alertmanager {
    /// The process, to be stopped, frozen or killed.
    pub process: Process,
}

impl Alertmanager {
    /// Starts Alertmanager with a copy of `config/alertmanager.yml` and waits until it is ready. Start a
    /// [`crate::servers::sink::Sink`] on [`WEBHOOK_PORT`] to receive what it sends.
    ///
    /// # Errors
    /// As [`Alertmanager::start_with`].
    pub async fn start(lab: &Lab) -> Result<Self, LabError> {
        let file = find::repository().join("config/alertmanager.yml");
        let text = fs::read_to_string(&file).map_err(LabError::io(format!("reading {}", file.display())))?;
        Self::start_with(lab, &text).await
    }

    /// Starts Alertmanager with a configuration and waits until it is ready.
    ///
    /// # Errors
    /// [`LabError::NoProgram`], [`LabError::Io`], [`LabError::Ended`] with its complaint, or [`LabError::Timeout`].
    pub async fn start_with(lab: &Lab, configuration: &str) -> Result<Self, LabError> {
        let plan = AlertmanagerPlan {
            configuration: configuration.to_owned(),
            ..AlertmanagerPlan::default()
        };
        Self::start_plan(lab, &plan).await
    }

    /// Starts the planned Alertmanager and waits until it is ready.
    ///
    /// # Errors
    /// As [`Alertmanager::start_with`].
    pub async fn start_plan(lab: &Lab, plan: &AlertmanagerPlan) -> Result<Self, LabError> {
        let folder = lab.work().join("alertmanager");
        fs::create_dir_all(&folder).map_err(LabError::io(format!("making {}", folder.display())))?;
        let config = folder.join("alertmanager.yml");
        fs::write(&config, &plan.configuration).map_err(LabError::io(format!("writing {}", config.display())))?;
        for file in &plan.beside {
            let doing = LabError::io(format!("copying {}", file.display()));
            fs::copy(file, folder.join(file.file_name().unwrap_or_default())).map_err(doing)?;
        }
        let program = match plan.release {
            Some(release) => find::tool_of(release, "prometheus-alertmanager")?,
            None => find::tool("prometheus-alertmanager")?,
        };
        let arguments = [
            format!("--config.file={}", config.display()),
            format!("--storage.path={}", folder.join("store").display()),
            format!("--web.listen-address=127.0.0.1:{ALERTMANAGER_PORT}"),
            // What its messages link to; the default is this machine's name.
            format!("--web.external-url=http://127.0.0.1:{ALERTMANAGER_PORT}"),
            // No cluster.
            "--cluster.listen-address=".to_owned(),
        ];
        // Times in messages are in its own zone.
        let mut plan = ProcessPlan::new("alertmanager", &program, arguments).variable("TZ", "UTC");
        plan.mounts = unpacked_share(&program)
            .map(|share| (share, PathBuf::from("/usr/share")))
            .into_iter()
            .collect();
        let mut process = Process::start(lab.hub(), &plan)?;
        process
            .wait_ready(&format!("http://127.0.0.1:{ALERTMANAGER_PORT}/-/ready"), READY_LIMIT)
            .await?;
        Ok(Self { process })
    }

    /// Hands alerts over by its API, as Prometheus does: objects with `labels`, `annotations`, `startsAt` and `endsAt`.
    ///
    /// # Errors
    /// [`LabError::Http`], also when it refuses them.
    pub async fn send(&self, alerts: &[Value]) -> Result<(), LabError> {
        let url = format!("http://127.0.0.1:{ALERTMANAGER_PORT}/api/v2/alerts");
        let body = Value::from(alerts).to_string();
        let fetched = fetch::post(&url, "application/json", body, TAKE_LIMIT).await?;
        if fetched.status.is_success() {
            return Ok(());
        }
        let reason = format!("status {}: {}", fetched.status, fetched.text());
        Err(LabError::Http { url, reason })
    }

    /// The alerts that it knows, as JSON: `labels`, `annotations`, `status` with `state` and `inhibitedBy`.
    ///
    /// # Errors
    /// [`LabError::Http`].
    pub async fn alerts(&self) -> Result<Vec<Value>, LabError> {
        let url = format!("http://127.0.0.1:{ALERTMANAGER_PORT}/api/v2/alerts");
        let fetched = fetch::get(&url, READY_LIMIT).await?;
        serde_json::from_slice(&fetched.body).map_err(|error| LabError::Http {
            url,
            reason: error.to_string(),
        })
    }
}

/// The `usr/share` of a package that was only unpacked. The process alone sees it at `/usr/share`, because its template is
/// looked for there, and that of another version would not do. It hides the time zones, so the process knows UTC alone.
fn unpacked_share(program: &Path) -> Option<PathBuf> {
    let root = program.parent()?.parent()?.parent()?;
    let is_unpacked = root != Path::new("/") && root.join(TEMPLATES).is_dir();
    is_unpacked.then(|| root.join("usr/share"))
}
