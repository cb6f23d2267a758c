//! Asks the store while somebody looks: at most one set of questions every few seconds, however many browsers there are.

use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use xprober_config::planner::QuerySettings;

use super::client::{Client, QueryError};
use super::question::Question;
use super::{Moment, Reading, Values};
use crate::plan::task::Published;

/// Time between two sets of questions. Rules are evaluated every 5 s by default, so more often shows nothing new.
pub const REFRESH: Duration = Duration::from_secs(4);
/// Time for all questions of a set.
const DEADLINE: Duration = Duration::from_secs(8);
/// How long a page waits for values that are being asked for. A store that is slower shows with the next refresh.
const PATIENCE: Duration = Duration::from_millis(700);

/// The pages' end.
#[derive(Debug, Clone)]
pub struct Looker {
    look: mpsc::Sender<()>,
    reading: watch::Receiver<Reading>,
}

impl Looker {
    /// Has the store asked if that was not done just now, waits a moment for the answer, and hands over what there is.
    pub async fn look(&self) -> Reading {
        let mut reading = self.reading.clone();
        let fresh =
            |reading: &Reading| !reading.configured || reading.asked_at.is_some_and(|at| at.elapsed() < REFRESH);
        if !fresh(&reading.borrow_and_update()) {
            // A full queue means that the question is about to be asked.
            let _ = self.look.try_send(());
            let _ = timeout(PATIENCE, reading.wait_for(fresh)).await;
        }
        self.reading.borrow().clone()
    }
}

/// The end that asks.
#[derive(Debug)]
pub struct Asker {
    looks: mpsc::Receiver<()>,
    published: watch::Receiver<Published>,
    reading: watch::Sender<Reading>,
    client: Option<Client>,
}

impl Asker {
    /// Makes both ends; the settings are those in force at the time of each question.
    #[must_use]
    pub fn new(published: watch::Receiver<Published>) -> (Self, Looker) {
        let (look, looks) = mpsc::channel(1);
        let configured = published.borrow().settings.query.is_some();
        let (reading, latest) = watch::channel(Reading {
            configured,
            ..Reading::default()
        });
        let asker = Self {
            looks,
            published,
            reading,
            client: None,
        };
        let looker = Looker { look, reading: latest };
        (asker, looker)
    }

    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = self.published.changed() => match changed {
                    Ok(()) => self.follow_settings(),
                    Err(_) => return,
                },
                look = self.looks.recv() => match look {
                    // A set of questions that is under way ends with the planner, not after its deadline.
                    Some(()) => if stop.run_until_cancelled(self.refresh()).await.is_none() {
                        return;
                    },
                    None => return,
                },
            }
        }
    }

    fn query(&mut self) -> Option<QuerySettings> {
        self.published.borrow_and_update().settings.query.clone()
    }

    /// Values of another store than the one that is named now are not shown.
    fn follow_settings(&mut self) {
        let query = self.query();
        let known = self.client.as_ref().map(Client::settings);
        let configured = query.is_some();
        if (known.is_some() && known != query.as_ref()) || configured != self.reading.borrow().configured {
            self.client = None;
            self.reading.send_replace(Reading {
                configured,
                ..Reading::default()
            });
        }
    }

    async fn refresh(&mut self) {
        self.follow_settings();
        let asked_just_now = self.reading.borrow().asked_at.is_some_and(|at| at.elapsed() < REFRESH);
        let Some(settings) = self.query() else { return };
        if asked_just_now {
            return;
        }
        let at = Moment {
            monotonic: Instant::now(),
            wall: SystemTime::now(),
        };
        let answered = match timeout(DEADLINE, self.ask(&settings, at.wall)).await {
            Ok(answered) => answered.map_err(|error| explain(&error)),
            Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
        };
        self.tell(&answered);
        // A slow store is asked again REFRESH after it answered or failed, not after it was asked.
        let at = Moment {
            monotonic: Instant::now(),
            ..at
        };
        let reading = self.reading.borrow().after(at, answered);
        self.reading.send_replace(reading);
    }

    async fn ask(&mut self, settings: &QuerySettings, now: SystemTime) -> Result<Values, QueryError> {
        let client = match self.client.take() {
            Some(client) => client,
            None => Client::new(settings)?,
        };
        let client = self.client.insert(client);
        let mut values = Values::default();
        for question in Question::ALL {
            let samples = client.ask(&question.expression(), now).await?;
            question.fill(&mut values, &samples);
        }
        Ok(values)
    }

    /// Logs the change from answers to silence and back, not every silence.
    fn tell(&self, answered: &Result<Values, String>) {
        let before = self.reading.borrow().failure.clone();
        match (answered, before) {
            (Err(reason), None) => warn!(reason, "the page has no values"),
            (Ok(_), Some(_)) => info!("the page has values again"),
            (Err(_), Some(_)) | (Ok(_), None) => {}
        }
    }
}

/// An error with its causes, without the URL, which may be nobody's business.
fn explain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
