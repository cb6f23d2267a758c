//! The running chain: started, asked, disturbed and stopped.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::plan::{Database, StackPlan, agent_path, planner_path, planner_url, write};
use crate::error::LabError;
use crate::fetch;
use crate::process::alertmanager::{Alertmanager, WEBHOOK_PORT};
use crate::process::prometheus::{Files, Prometheus};
use crate::process::victoria::Victoria;
use crate::process::{Process, ProcessPlan};
use crate::promql::{PromQl, Sample};
use crate::servers::sink::Sink;
use crate::told;
use crate::world::Lab;

/// Time for one of our own programs to be ready.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// Pause between two looks at the database.
const POLL_PAUSE: Duration = Duration::from_millis(500);

/// A running database.
#[derive(Debug)]
pub enum Store {
    /// See [`Database::Prometheus`].
    Prometheus(Box<Prometheus>),
    /// See [`Database::VictoriaMetrics`].
    VictoriaMetrics(Box<Victoria>),
}

impl Store {
    async fn start(lab: &Lab, database: Database, files: Files) -> Result<Self, LabError> {
        Ok(match database {
            Database::Prometheus => Self::Prometheus(Box::new(Prometheus::start_with(lab, files).await?)),
            Database::VictoriaMetrics => Self::VictoriaMetrics(Box::new(Victoria::start_with(lab, files).await?)),
        })
    }

    /// Asks it questions.
    #[must_use]
    pub fn client(&self) -> PromQl {
        match self {
            Self::Prometheus(prometheus) => prometheus.client(),
            Self::VictoriaMetrics(victoria) => victoria.client(),
        }
    }

    /// Stops what takes samples; rules of `VictoriaMetrics` go on.
    ///
    /// # Errors
    /// [`LabError::Io`].
    pub async fn stop(&mut self) -> Result<(), LabError> {
        match self {
            Self::Prometheus(prometheus) => prometheus.process.stop().await.map(drop),
            Self::VictoriaMetrics(victoria) => victoria.store.stop().await.map(drop),
        }
    }

    /// Starts again with the same content what [`Store::stop`] stopped.
    ///
    /// # Errors
    /// [`LabError::Io`], [`LabError::Ended`], [`LabError::Timeout`].
    pub async fn restart(&mut self, lab: &Lab) -> Result<(), LabError> {
        match self {
            Self::Prometheus(prometheus) => prometheus.restart(lab).await,
            Self::VictoriaMetrics(victoria) => victoria.restart_store(lab).await,
        }
    }
}

/// The running chain.
#[derive(Debug)]
pub struct Stack {
    /// The database with its rules.
    pub store: Store,
    /// Alertmanager with the repository's own configuration.
    pub alertmanager: Alertmanager,
    /// The webhook that it tells.
    pub sink: Sink,
    /// The planner.
    pub planner: Process,
    /// Agents by host.
    pub agents: BTreeMap<String, Process>,
    planner_plan: ProcessPlan,
    planner_path: PathBuf,
    agent_plans: BTreeMap<String, ProcessPlan>,
}

impl Stack {
    /// Starts everything, one after the other, and tells `progress` what is up; agents are running but may not have probed yet.
    ///
    /// # Errors
    /// The first part that did not start.
    pub async fn start(lab: &Lab, plan: &StackPlan, mut progress: impl FnMut(&str)) -> Result<Self, LabError> {
        let sink = Sink::start(lab.hub().namespace(), WEBHOOK_PORT)?;
        let alertmanager = Alertmanager::start_with(lab, &plan.pace.alertmanager_file()?).await?;
        progress("Alertmanager is ready");
        let store = Store::start(lab, plan.database, plan.pace.files()).await?;
        progress("database and rules are ready");
        let planner_plan = plan.prepare_planner(lab)?;
        let planner = start_planner(lab, &planner_plan).await?;
        progress("planner is ready");
        let mut stack = Self {
            store,
            alertmanager,
            sink,
            planner,
            agents: BTreeMap::new(),
            planner_plan,
            planner_path: planner_path(lab),
            agent_plans: plan.prepare_agents(lab)?,
        };
        for name in stack.agent_plans.keys().cloned().collect::<Vec<_>>() {
            stack.start_agent(lab, &name)?;
        }
        progress(&format!("{} agents are running", stack.agents.len()));
        Ok(stack)
    }

    /// Starts the agent of a host, after it was stopped or for the first time.
    ///
    /// # Errors
    /// [`LabError::NoHost`], [`LabError::Io`].
    pub fn start_agent(&mut self, lab: &Lab, host: &str) -> Result<(), LabError> {
        let plan = self
            .agent_plans
            .get(host)
            .ok_or_else(|| LabError::NoHost(host.to_owned()))?;
        self.agents
            .insert(host.to_owned(), Process::start(lab.host(host)?, plan)?);
        Ok(())
    }

    /// Stops the agent of a host and starts it with another `agent.yml`.
    ///
    /// # Errors
    /// [`LabError::NoHost`], [`LabError::Io`].
    pub async fn restart_agent_with(&mut self, lab: &Lab, host: &str, text: &str) -> Result<(), LabError> {
        write(&agent_path(lab, host), text)?;
        if let Some(agent) = self.agents.get_mut(host) {
            agent.stop().await?;
        }
        self.start_agent(lab, host)
    }

    /// Starts the planner again after it was stopped or killed.
    ///
    /// # Errors
    /// [`LabError::Ended`], [`LabError::Timeout`].
    pub async fn restart_planner(&mut self, lab: &Lab) -> Result<(), LabError> {
        self.planner.stop().await?;
        self.planner = start_planner(lab, &self.planner_plan).await?;
        Ok(())
    }

    /// Gives the planner another file and asks it to reload; answers the planner's status and words.
    ///
    /// # Errors
    /// [`LabError::Http`], [`LabError::Io`].
    pub async fn reload_planner(&self, text: &str) -> Result<fetch::Fetched, LabError> {
        write(&self.planner_path, text)?;
        fetch::post(&planner_url("/-/reload"), "text/plain", "", READY_LIMIT).await
    }

    /// The targets of every agent as the planner has them now: agent id -> names of targets, sorted.
    ///
    /// # Errors
    /// [`LabError::Http`].
    pub async fn planned_targets(&self) -> Result<BTreeMap<String, Vec<String>>, LabError> {
        let url = planner_url("/api/v1/plan");
        let fetched = fetch::get(&url, READY_LIMIT).await?;
        let plan: Value = serde_json::from_slice(&fetched.body).map_err(|error| LabError::Http {
            url,
            reason: format!("{error}: {}", fetched.text()),
        })?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let agents = list(&plan["agents"]).into_iter().map(|agent| {
            let mut targets: Vec<_> = list(&agent["targets"])
                .iter()
                .map(|target| text(&target["name"]))
                .collect();
            targets.sort();
            (text(&agent["id"]), targets)
        });
        Ok(agents.collect())
    }

    /// Asks the database again and again until the answers please, and hands them over.
    ///
    /// # Errors
    /// [`LabError::Timeout`] with the last answers.
    pub async fn wait_for(
        &self,
        expression: &str,
        limit: Duration,
        pleases: impl Fn(&[Sample]) -> bool,
    ) -> Result<Vec<Sample>, LabError> {
        let deadline = Instant::now() + limit;
        loop {
            let answers = self.store.client().query(expression).await;
            match answers {
                Ok(answers) if pleases(&answers) => return Ok(answers),
                answers if Instant::now() >= deadline => {
                    let mut detail = String::from("; last answer:");
                    for one in answers? {
                        let _infallible = write!(detail, "\n{} {:?} = {}", one.name, one.labels, one.value);
                    }
                    return Err(LabError::Timeout {
                        what: expression.to_owned(),
                        limit,
                        detail,
                    });
                }
                Ok(_) | Err(_) => tokio::time::sleep(POLL_PAUSE).await,
            }
        }
    }

    /// Waits until nothing but the watchdog fires and the end of all that was told is told, and answers how many messages came
    /// until then: rules run before the first sample comes, and on a slow machine say so.
    ///
    /// # Errors
    /// [`LabError::Timeout`] with what still fires.
    pub async fn wait_until_quiet(&self, limit: Duration) -> Result<usize, LabError> {
        let deadline = Instant::now() + limit;
        loop {
            let messages = self.sink.received().len();
            let firing = self.alertmanager.alerts().await?;
            let names = firing
                .iter()
                .map(|alert| alert["labels"]["alertname"].as_str().unwrap_or_default());
            let names: Vec<_> = names.filter(|name| *name != "Watchdog").collect();
            if names.is_empty() && told::is_over(&told::all(&self.sink)) && self.sink.received().len() == messages {
                return Ok(messages);
            }
            if Instant::now() >= deadline {
                return Err(LabError::Timeout {
                    what: "an end of all alerts".to_owned(),
                    limit,
                    detail: format!("; Alertmanager has {names:?}"),
                });
            }
            tokio::time::sleep(POLL_PAUSE).await;
        }
    }

    /// Stops agents (they push what they have), planner, database and Alertmanager, in this order.
    ///
    /// # Errors
    /// The first that did not end.
    pub async fn stop(mut self) -> Result<(), LabError> {
        let ends = self.agents.values_mut().map(Process::stop);
        futures_util::future::try_join_all(ends).await?;
        self.planner.stop().await?;
        match &mut self.store {
            Store::Prometheus(prometheus) => prometheus.process.stop().await.map(drop)?,
            Store::VictoriaMetrics(victoria) => victoria.stop().await?,
        }
        self.alertmanager.process.stop().await?;
        self.sink.stop().await;
        Ok(())
    }
}

async fn start_planner(lab: &Lab, plan: &ProcessPlan) -> Result<Process, LabError> {
    let mut planner = Process::start(lab.hub(), plan)?;
    planner.wait_ready(&planner_url("/readyz"), READY_LIMIT).await?;
    Ok(planner)
}
