//! `VictoriaMetrics` and its rule evaluator vmalert in the hub, with the repository's own scrape jobs and rules.

use std::time::Duration;

use super::alertmanager::ALERTMANAGER_PORT;
use super::prometheus::{FILES, Files, READY_LIMIT, copy_configuration};
use super::{Process, ProcessPlan, find};
use crate::error::LabError;
use crate::promql::PromQl;
use crate::world::Lab;

/// Port of the hub on which the store answers.
pub const VICTORIA_PORT: u16 = 8428;

/// Port of the hub on which vmalert answers.
const VMALERT_PORT: u16 = 8880;

/// A running store with its rule evaluator.
#[derive(Debug)]
pub struct Victoria {
    /// The store's process.
    pub store: Process,
    /// The rule evaluator's process.
    pub rules: Process,
    plan: ProcessPlan,
}

impl Victoria {
    /// Starts both and waits until they are ready. Remote write is at `http://<hub>:8428/api/v1/write`.
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
    /// As [`Victoria::start`].
    pub async fn start_with(lab: &Lab, files: Files) -> Result<Self, LabError> {
        let folder = lab.work().join("victoria");
        let config = copy_configuration(&find::repository(), &folder, files)?;
        let plan = ProcessPlan::new(
            "victoria-metrics",
            &find::tool("victoria-metrics")?,
            [
                format!("-storageDataPath={}", folder.join("store").display()),
                format!("-httpListenAddr=0.0.0.0:{VICTORIA_PORT}"),
                format!("-promscrape.config={}", config.display()),
                // The file is Prometheus' and has sections of no meaning here.
                "-promscrape.config.strictParse=false".to_owned(),
                // Samples count at once, not 30 s later.
                "-search.latencyOffset=0s".to_owned(),
                // A replayed request is stored once.
                "-dedup.minScrapeInterval=1ms".to_owned(),
                "-retentionPeriod=1".to_owned(),
            ],
        );
        let store_url = format!("http://127.0.0.1:{VICTORIA_PORT}");
        let mut store = Process::start(lab.hub(), &plan)?;
        store.wait_ready(&format!("{store_url}/health"), READY_LIMIT).await?;
        let rules = ProcessPlan::new(
            "vmalert",
            &find::tool("vmalert")?,
            [
                format!("-rule={}", folder.join(files.rules).join("*.yml").display()),
                format!("-datasource.url={store_url}"),
                format!("-remoteWrite.url={store_url}"),
                format!("-remoteRead.url={store_url}"),
                format!("-notifier.url=http://127.0.0.1:{ALERTMANAGER_PORT}"),
                format!("-httpListenAddr=127.0.0.1:{VMALERT_PORT}"),
                "-remoteWrite.flushInterval=500ms".to_owned(),
                // Four times that is how long an alert outlives a pause of its rules.
                "-rule.resendDelay=2s".to_owned(),
                // Alerts carry the same labels as Prometheus gives them.
                "-disableAlertgroupLabel".to_owned(),
            ],
        );
        let mut rules = Process::start(lab.hub(), &rules)?;
        rules
            .wait_ready(&format!("http://127.0.0.1:{VMALERT_PORT}/health"), READY_LIMIT)
            .await?;
        Ok(Self { store, rules, plan })
    }

    /// Starts the store again with the same content after it was stopped or killed, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Victoria::start`].
    pub async fn restart_store(&mut self, lab: &Lab) -> Result<(), LabError> {
        self.store.stop().await?;
        self.store = Process::start(lab.hub(), &self.plan)?;
        self.store
            .wait_ready(&format!("http://127.0.0.1:{VICTORIA_PORT}/health"), READY_LIMIT)
            .await
    }

    /// Stops both.
    ///
    /// # Errors
    /// [`LabError::Io`].
    pub async fn stop(&mut self) -> Result<(), LabError> {
        self.rules.stop().await?;
        self.store.stop().await.map(drop)
    }

    /// Asks the store questions.
    #[must_use]
    pub fn client(&self) -> PromQl {
        PromQl::new(&format!("http://127.0.0.1:{VICTORIA_PORT}"))
    }

    /// Asks vmalert for its alerts.
    #[must_use]
    pub fn rules_client(&self) -> PromQl {
        PromQl::new(&format!("http://127.0.0.1:{VMALERT_PORT}"))
    }

    /// Makes what was written so far visible to questions at once; the store else takes about a second.
    ///
    /// # Errors
    /// [`LabError::Http`].
    pub async fn flush(&self) -> Result<(), LabError> {
        let url = format!("http://127.0.0.1:{VICTORIA_PORT}/internal/force_flush");
        crate::fetch::get(&url, Duration::from_secs(20)).await.map(drop)
    }
}
