//! Watches the file and the signal, loads, and tells the owner of the plan.

use std::hash::Hasher as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use siphasher::sip::SipHasher13;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use xprober_config::LoadError;
use xprober_config::load::MAX_FILE_BYTES;
use xprober_config::planner::{PlannerOverrides, PlannerSettings};

use super::{ConfigState, needs_restart};
use crate::metrics::Metrics;
use crate::plan::task::Event;

/// How often the file is looked at. It is read, not only looked up: an edit within the clock's grain, a swapped symbolic
/// link and a bind mount all change the content, and not always the time stamp.
const POLL: Duration = Duration::from_secs(2);

/// Where settings come from.
#[derive(Debug, Clone)]
pub struct Source {
    /// `planner.yml`.
    pub file: PathBuf,
    /// What flags and the environment say.
    pub overrides: PlannerOverrides,
}

impl Source {
    /// Loads the settings.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is wrong.
    pub fn load(&self) -> Result<PlannerSettings, LoadError> {
        PlannerSettings::load_with(&self.file, &self.overrides)
    }
}

/// Asks for a reload; the answer is what is wrong with the file, one problem per line.
pub type Request = oneshot::Sender<Result<(), String>>;

/// Everything a reload touches.
#[derive(Debug)]
pub struct Reloader {
    /// Where settings come from; `None` refuses every reload.
    pub source: Option<Source>,
    /// What the ports were bound with.
    pub bound: Arc<PlannerSettings>,
    /// To the owner of the plan.
    pub events: mpsc::Sender<Event>,
    /// For the status page.
    pub state: watch::Sender<ConfigState>,
    /// The catalogue.
    pub metrics: Arc<Metrics>,
}

impl Reloader {
    /// Runs until `stop`.
    pub async fn run(self, mut requests: mpsc::Receiver<Request>, stop: CancellationToken) {
        let mut hangup = signal(SignalKind::hangup())
            .inspect_err(|error| warn!(%error, "SIGHUP will not reload"))
            .ok();
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = self.fingerprint().await;
        loop {
            let hung_up = async {
                match &mut hangup {
                    Some(signal) => signal.recv().await,
                    None => std::future::pending().await,
                }
            };
            let asked = tokio::select! {
                () = stop.cancelled() => return,
                _ = hung_up => None,
                request = requests.recv() => match request {
                    Some(request) => Some(request),
                    None => return,
                },
                _ = poll.tick() => {
                    let now = self.fingerprint().await;
                    if now == seen {
                        continue;
                    }
                    None
                }
            };
            seen = self.fingerprint().await;
            let result = self.reload().await;
            if let Some(asked) = asked {
                let _ = asked.send(result);
            }
        }
    }

    async fn fingerprint(&self) -> Option<u64> {
        let file = self.source.as_ref()?.file.clone();
        tokio::task::spawn_blocking(move || fingerprint(&file)).await.ok()?
    }

    async fn reload(&self) -> Result<(), String> {
        let Some(source) = self.source.clone() else {
            return Err("the settings did not come from a file".to_owned());
        };
        let file = source.file.display().to_string();
        let loaded = tokio::task::spawn_blocking(move || source.load()).await;
        let settings = match loaded {
            Ok(Ok(settings)) => Arc::new(settings),
            Ok(Err(error)) => return Err(self.failed(&file, explain(&error))),
            Err(error) => return Err(self.failed(&file, error.to_string())),
        };
        let needs_restart = needs_restart(&self.bound, &settings);
        if !needs_restart.is_empty() {
            warn!(
                file,
                keys = needs_restart.join(","),
                "a changed listen address needs a restart"
            );
        }
        let now = SystemTime::now();
        // The owner is gone only when the planner stops.
        let _ = self.events.send(Event::Settings(settings)).await;
        self.metrics.reloaded(Some(now));
        self.state.send_modify(|state| {
            state.loaded_at = now;
            state.failure = None;
            state.needs_restart = needs_restart;
        });
        info!(file, "configuration reloaded");
        Ok(())
    }

    fn failed(&self, file: &str, problems: String) -> String {
        error!(file, "configuration refused, the running settings stay");
        for problem in problems.lines() {
            error!(problem, "configuration problem");
        }
        self.metrics.reloaded(None);
        self.state.send_modify(|state| state.failure = Some(problems.clone()));
        problems
    }
}

/// Spells an error and its causes out: one line for a file that cannot be read, one per problem for a wrong one.
#[must_use]
pub fn explain(error: &LoadError) -> String {
    match error {
        LoadError::Read { source, .. } => format!("{error}: {source}"),
        LoadError::Problems(problems) => problems.to_string(),
    }
}

/// Stands for the content; `None` when there is none to read.
fn fingerprint(file: &Path) -> Option<u64> {
    let mut content = Vec::new();
    std::fs::File::open(file)
        .ok()?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut content)
        .ok()?;
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    hasher.write(&content);
    Some(hasher.finish())
}
