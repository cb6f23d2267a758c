//! A whole world for one case: the chain, the web servers, and a second endpoint where the fault is about one.

use std::fmt::Write as _;
use std::time::Duration;

use super::fault::Fault;
use crate::error::LabError;
use crate::process::Process;
use crate::servers::Tasks;
use crate::servers::http::{Behaviour, HttpTarget};
use crate::servers::receiver::Receiver;
use crate::stack::{Database, Pace, Stack, StackPlan, planner_file_with};
use crate::world::Lab;

/// What the budget of a line allows above its round-trip time: room for what a busy machine adds.
pub const ALLOWANCE: Duration = Duration::from_millis(12);
/// Until every pair is measured and every target is fetched after the start, on a busy machine.
const CALM_LIMIT: Duration = Duration::from_mins(2);
/// Port of the hub with the second endpoint of agents.
pub(super) const ARCHIVE_PORT: u16 = 9201;
/// What the name servers take at any time.
pub(super) const DNS_DELAY: Duration = Duration::from_millis(8);
/// What every stage of a target takes at any time.
pub(super) const STAGE_DELAY: Duration = Duration::from_millis(20);

/// Everything that runs for a case.
#[derive(Debug)]
pub struct Scene {
    /// The chain.
    pub stack: Stack,
    /// Content of every agent's `agent.yml`.
    pub(super) agent_file: String,
    /// The HTTP and the HTTPS target.
    pub(super) web: [HttpTarget; 2],
    /// The second endpoint of agents.
    pub(super) archive: Option<Receiver>,
    /// What freezes and thaws an agent in turns.
    pub(super) throttle: Option<Tasks>,
}

impl Scene {
    /// Starts everything that this fault needs.
    ///
    /// # Errors
    /// The first part that did not start.
    pub async fn start(lab: &Lab, fault: Fault, pace: Pace, database: Database) -> Result<Self, LabError> {
        lab.change_dns(|dns| dns.delay = DNS_DELAY);
        let web = [
            lab.http_target("web1", behaviour())?,
            lab.https_target("web2", behaviour())?,
        ];
        let mut plan = StackPlan::at_pace(lab, database, pace);
        plan.planner_file = planner_file_with(lab.topology(), ALLOWANCE);
        let archive = if fault == Fault::EndpointClosed {
            let hub = lab.hub().plan().address;
            let _infallible = write!(
                plan.agent_file,
                "remote_write:\n  - {{name: default, url: 'http://{hub}:{}/api/v1/write'}}\n  \
                 - {{name: archive, url: 'http://{hub}:{ARCHIVE_PORT}/api/v1/write'}}\n",
                database.port()
            );
            Some(Receiver::start_at(lab.hub().namespace(), ARCHIVE_PORT)?)
        } else {
            None
        };
        Ok(Self {
            stack: Stack::start(lab, &plan, |_| ()).await?,
            agent_file: plan.agent_file,
            web,
            archive,
            throttle: None,
        })
    }

    /// Waits until every pair is measured, every target is fetched, and nothing is told of the time before that; answers how many
    /// messages came until then.
    ///
    /// # Errors
    /// [`LabError::Timeout`] with what is there.
    pub async fn wait_until_calm(&mut self) -> Result<usize, LabError> {
        let pushing = "group by (instance) (last_over_time(xprober_agent_build_info[30s]))";
        let agents = self.stack.agents.len();
        let all = self
            .stack
            .wait_for(pushing, CALM_LIMIT, |found| found.len() == agents)
            .await;
        // An agent that ended says more than that it is missing.
        self.stack.agents.values_mut().try_for_each(Process::check_running)?;
        all?;
        let answered =
            "sum by (source_region, target_region) (increase(xprober_target_received_total{probe=\"icmp\"}[30s])) > 0";
        self.stack
            .wait_for(answered, CALM_LIMIT, |pairs| pairs.len() == 12)
            .await?;
        let fetched = "min by (source_region, target) (last_over_time(xprober_http_success[30s])) == 1";
        self.stack.wait_for(fetched, CALM_LIMIT, |urls| urls.len() == 8).await?;
        self.stack.wait_until_quiet(CALM_LIMIT).await
    }

    /// Stops everything.
    ///
    /// # Errors
    /// The first part that did not end.
    pub async fn stop(self) -> Result<(), LabError> {
        self.stack.stop().await?;
        for target in &self.web {
            target.stop().await;
        }
        if let Some(archive) = &self.archive {
            archive.stop().await;
        }
        Ok(())
    }
}

/// How both web servers behave without a fault.
pub(super) fn behaviour() -> Behaviour {
    Behaviour {
        tls_delay: STAGE_DELAY,
        processing_delay: STAGE_DELAY,
        transfer_delay: STAGE_DELAY,
        ..Behaviour::default()
    }
}
