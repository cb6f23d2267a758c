//! An agent of a run, which is ended and started again.

use std::net::IpAddr;
use std::time::SystemTime;

use super::READY_LIMIT;
use super::life::{End, Life, Totals};
use super::script::Ending;
use crate::error::LabError;
use crate::process::{Process, ProcessPlan};
use crate::topology::HostPlan;
use crate::world::Lab;

/// An agent's runs.
#[derive(Debug)]
pub struct Agent {
    /// Its name, the `instance` label.
    pub name: String,
    /// Its host's address, by which the judge knows it.
    pub address: IpAddr,
    /// Its runs so far, the last may be going on.
    pub lives: Vec<Life>,
    plan: ProcessPlan,
    process: Option<Process>,
}

impl Agent {
    /// One that is to run as planned on the host of its name.
    pub(super) fn new(host: &HostPlan, plan: ProcessPlan) -> Self {
        Self {
            name: host.name.clone(),
            address: host.address.into(),
            lives: Vec::new(),
            plan,
            process: None,
        }
    }

    /// Begins a run, and waits until it says so: from then on it listens to signals.
    pub(super) async fn start(&mut self, lab: &Lab) -> Result<(), LabError> {
        self.lives.push(Life {
            begun: now_millis(),
            started: i64::MAX,
            ended: i64::MAX,
            end: End::Alive,
        });
        let process = self.process.insert(Process::start(lab.host(&self.name)?, &self.plan)?);
        process.wait_log("agent started", READY_LIMIT).await?;
        if let Some(life) = self.lives.last_mut() {
            life.started = now_millis();
        }
        Ok(())
    }

    /// Whether the last run was told to end and left something in its queue.
    pub(super) fn left_some(&self) -> bool {
        let end = self.lives.last().map(|life| life.end);
        matches!(end, Some(End::Stopped(Some(totals))) if totals.left > 0)
    }

    /// When the last run began, in milliseconds since 1970.
    pub(super) fn begun(&self) -> i64 {
        self.lives.last().map_or(i64::MAX, |life| life.begun)
    }

    /// Fails when it ended by itself.
    pub(super) fn check_running(&mut self) -> Result<(), LabError> {
        self.process.as_mut().map_or(Ok(()), Process::check_running)
    }

    /// Ends the run, and notes how and when.
    pub(super) async fn end(&mut self, ending: Ending) -> Result<(), LabError> {
        let (Some(mut process), Some(life)) = (self.process.take(), self.lives.last_mut()) else {
            return Ok(());
        };
        match ending {
            Ending::Kill | Ending::KillCatchingUp => {
                life.ended = now_millis();
                process.kill().await?;
                life.end = End::Killed;
            }
            Ending::Stop => {
                let status = process.stop().await?;
                life.ended = now_millis();
                life.end = End::Stopped(Totals::last(&process.log_text()).filter(|_| status.success()));
            }
        }
        Ok(())
    }
}

/// The wall clock, as samples have it.
pub(super) fn now_millis() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}
