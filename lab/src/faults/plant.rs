//! How each fault is planted and repaired, and what must have caught up after that.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use xprober_agent::probe::Stage;

use super::fault::{Fault, HOST, LINE, REGION};
use super::scene::{ALLOWANCE, ARCHIVE_PORT, DNS_DELAY, STAGE_DELAY, Scene, behaviour};
use crate::error::LabError;
use crate::process::Process;
use crate::promql::Series;
use crate::servers::Tasks;
use crate::servers::receiver::Receiver;
use crate::stack::planner_file_with;
use crate::topology::{HUB, Topology};
use crate::wan::Path;
use crate::world::Lab;

/// No agent's samples may lie farther apart after an outage of the database than this.
const MOST_BETWEEN_SAMPLES: f64 = 10.5;

impl Scene {
    /// Breaks something.
    ///
    /// # Errors
    /// What could not be broken.
    pub async fn plant(&mut self, lab: &Lab, fault: Fault) -> Result<(), LabError> {
        let [one, other] = LINE;
        match fault {
            Fault::LineSlower(by) => lab.wan().change_both(one, other, |path| path.latency += by / 2),
            Fault::LineLossy(share) => lab.wan().change_both(one, other, |path| path.loss = share),
            Fault::LineLossyOneWay(share) => lab.wan().change(one, other, |path| path.loss = share),
            Fault::RequestsLost(share) => lab.wan().change(one, other, |path| path.request_loss = share),
            Fault::RequestsSlower(by) => lab.wan().change(one, other, |path| path.request_latency = by),
            Fault::LineCut => lab.wan().set_up(one, other, false),
            Fault::NetworkForbidden => self.allow(lab, Some(other)).await,
            Fault::RegionCutOff { pushes } => set_region(lab, REGION, pushes, |path| path.up = false),
            Fault::HubCutOff => set_region(lab, HUB, false, |path| path.up = false),
            Fault::HostLossy(share) => lab.wan().set_host_loss(HOST, share),
            Fault::AgentKilled => self.agent()?.kill().await.map(drop),
            Fault::AgentFrozen => self.agent()?.freeze(),
            Fault::AgentThrottled(turn, share) => self.throttle(turn, share),
            Fault::PlannerKilled => self.stack.planner.kill().await.map(drop),
            Fault::PlannerFileBad => self.reload(lab, "lines: [{name: a-b-1}]\n", false).await,
            Fault::DatabaseAway => self.stack.store.stop().await,
            Fault::EndpointClosed => {
                if let Some(archive) = &self.archive {
                    archive.stop().await;
                }
                Ok(())
            }
            Fault::HttpSlower(stage, by) => self.slow(lab, stage, by),
            Fault::HttpFailing => {
                self.web[1].change(|web| web.status = 503);
                Ok(())
            }
            Fault::CertificateExpires(left) => self.certify(lab, Some(left)).await,
        }
    }

    /// Repairs what [`Scene::plant`] broke.
    ///
    /// # Errors
    /// What could not be repaired.
    pub async fn repair(&mut self, lab: &Lab, fault: Fault) -> Result<(), LabError> {
        let [one, other] = LINE;
        match fault {
            Fault::LineSlower(by) => lab.wan().change_both(one, other, |path| path.latency -= by / 2),
            Fault::LineLossy(_) | Fault::LineLossyOneWay(_) => {
                lab.wan().change_both(one, other, |path| path.loss = 0.0)
            }
            Fault::RequestsLost(_) => lab.wan().change(one, other, |path| path.request_loss = 0.0),
            Fault::RequestsSlower(_) => lab
                .wan()
                .change(one, other, |path| path.request_latency = Duration::ZERO),
            Fault::LineCut => lab.wan().set_up(one, other, true),
            Fault::NetworkForbidden => self.allow(lab, None).await,
            Fault::RegionCutOff { .. } => set_region(lab, REGION, false, |path| path.up = true),
            Fault::HubCutOff => set_region(lab, HUB, false, |path| path.up = true),
            Fault::HostLossy(_) => lab.wan().set_host_loss(HOST, 0.0),
            Fault::AgentKilled => self.stack.start_agent(lab, HOST),
            Fault::AgentFrozen => self.agent()?.thaw(),
            Fault::AgentThrottled(..) => {
                if let Some(throttle) = self.throttle.take() {
                    throttle.stop().await;
                }
                self.agent()?.thaw()
            }
            Fault::PlannerKilled => self.stack.restart_planner(lab).await,
            Fault::PlannerFileBad => {
                self.reload(lab, &planner_file_with(lab.topology(), ALLOWANCE), true)
                    .await
            }
            Fault::DatabaseAway => self.stack.store.restart(lab).await,
            Fault::EndpointClosed => {
                self.archive = Some(Receiver::start_at(lab.hub().namespace(), ARCHIVE_PORT)?);
                Ok(())
            }
            Fault::HttpSlower(stage, _) => self.slow(lab, stage, Duration::ZERO),
            Fault::HttpFailing => {
                self.web[1].change(|web| web.status = 200);
                Ok(())
            }
            Fault::CertificateExpires(_) => self.certify(lab, None).await,
        }
    }

    /// What is wrong after the repair besides the alerts: with what must have caught up.
    ///
    /// # Errors
    /// [`LabError::Http`].
    pub async fn aftermath(&self, fault: Fault, window: Duration) -> Result<Vec<String>, LabError> {
        match fault {
            Fault::DatabaseAway => {
                let stored = self
                    .stack
                    .store
                    .client()
                    .stored("xprober_agent_build_info", window)
                    .await?;
                let mut complaints = gaps(&stored);
                if stored.len() != self.stack.agents.len() {
                    complaints.push(format!(
                        "{} agents of {} are stored",
                        stored.len(),
                        self.stack.agents.len()
                    ));
                }
                Ok(complaints)
            }
            Fault::EndpointClosed => {
                let came = self
                    .archive
                    .as_ref()
                    .is_some_and(|archive| !archive.recorded().is_empty());
                Ok(if came {
                    Vec::new()
                } else {
                    vec!["nothing came to the endpoint again".to_owned()]
                })
            }
            Fault::LineSlower(_)
            | Fault::LineLossy(_)
            | Fault::LineLossyOneWay(_)
            | Fault::RequestsLost(_)
            | Fault::RequestsSlower(_)
            | Fault::LineCut
            | Fault::NetworkForbidden
            | Fault::RegionCutOff { .. }
            | Fault::HubCutOff
            | Fault::HostLossy(_)
            | Fault::AgentKilled
            | Fault::AgentFrozen
            | Fault::AgentThrottled(..)
            | Fault::PlannerKilled
            | Fault::PlannerFileBad
            | Fault::HttpSlower(..)
            | Fault::HttpFailing
            | Fault::CertificateExpires(_) => Ok(Vec::new()),
        }
    }

    fn agent(&mut self) -> Result<&mut Process, LabError> {
        let agent = self.stack.agents.get_mut(HOST);
        agent.ok_or_else(|| LabError::NoHost(HOST.to_owned()))
    }

    /// Freezes and thaws the agent in turns, as the kernel does with a control group above its CPU limit.
    fn throttle(&mut self, turn: Duration, share: f64) -> Result<(), LabError> {
        let agent = self.agent()?;
        agent.freeze()?;
        let pid = agent.pid().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
        let pid = pid.ok_or_else(|| LabError::NoHost(HOST.to_owned()))?;
        let tasks = Tasks::default();
        tasks.spawn(async move {
            loop {
                for (signal, part) in [(Signal::SIGSTOP, 1.0 - share), (Signal::SIGCONT, share)] {
                    if let Err(error) = kill(pid, signal) {
                        tracing::warn!(%error, "agent is throttled no more");
                        return;
                    }
                    tokio::time::sleep(turn.mul_f64(part)).await;
                }
            }
        });
        self.throttle = Some(tasks);
        Ok(())
    }

    /// Restarts the agents of the line's first region with or without a network that they may not probe.
    async fn allow(&mut self, lab: &Lab, forbidden: Option<&str>) -> Result<(), LabError> {
        let limit = forbidden.map(|region| networks_without(lab.topology(), region));
        let limit = limit.map_or_else(String::new, |list| format!("limits: {{allowed_networks: [{list}]}}\n"));
        let text = format!("{}{limit}", self.agent_file);
        let hosts = lab.topology().hosts().iter().filter(|host| host.region == LINE[0]);
        for host in hosts {
            self.stack.restart_agent_with(lab, &host.name, &text).await?;
        }
        Ok(())
    }

    async fn reload(&self, lab: &Lab, text: &str, is_good: bool) -> Result<(), LabError> {
        let answer = self.stack.reload_planner(text).await?;
        if answer.status.is_success() == is_good {
            return Ok(());
        }
        Err(LabError::Config {
            file: lab.work().join("planner.yml"),
            reason: format!("the planner answered {}: {}", answer.status, answer.text()),
        })
    }

    fn slow(&self, lab: &Lab, stage: Stage, by: Duration) -> Result<(), LabError> {
        match stage {
            Stage::Resolve => lab.change_dns(|dns| dns.delay = DNS_DELAY + by),
            Stage::Connect => lab.wan().set_syn_delay("web2", by)?,
            Stage::Tls => self.web[1].change(|web| web.tls_delay = STAGE_DELAY + by),
            Stage::Processing => self.web[1].change(|web| web.processing_delay = STAGE_DELAY + by),
            Stage::Transfer => self.web[1].change(|web| web.transfer_delay = STAGE_DELAY + by),
        }
        Ok(())
    }

    /// Starts the HTTPS target anew with another certificate.
    async fn certify(&mut self, lab: &Lab, left: Option<Duration>) -> Result<(), LabError> {
        self.web[1].stop().await;
        self.web[1] = match left {
            Some(left) => lab.https_target_valid_for("web2", behaviour(), left)?,
            None => lab.https_target("web2", behaviour())?,
        };
        Ok(())
    }
}

/// Changes every path from and to a region, that to the hub only if `spares_hub` is false.
fn set_region(lab: &Lab, region: &str, spares_hub: bool, change: impl Fn(&mut Path)) -> Result<(), LabError> {
    for other in lab.topology().regions() {
        if other != region && !(spares_hub && other == HUB) {
            lab.wan().change_both(region, other, &change)?;
        }
    }
    Ok(())
}

/// The networks of all regions but one, as a list in YAML.
fn networks_without(topology: &Topology, forbidden: &str) -> String {
    let hosts = topology.hosts().iter().filter(|host| host.region != forbidden);
    let networks = hosts.map(|host| {
        let [ten, region, ..] = host.address.octets();
        format!("{ten}.{region}.0.0/16")
    });
    networks
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect::<Vec<_>>()
        .join(", ")
}

/// Says of which agents samples are missing.
fn gaps(stored: &[Series]) -> Vec<String> {
    let longest = |series: &Series| {
        let pauses = series.points.windows(2).map(|pair| pair[1].0 - pair[0].0);
        pauses.fold(0.0, f64::max)
    };
    let gaps = stored.iter().map(|series| (series, longest(series)));
    gaps.filter(|(_, longest)| *longest > MOST_BETWEEN_SAMPLES)
        .map(|(series, longest)| {
            let agent = series.labels.get("instance").map_or("", String::as_str);
            format!("no sample of {agent} for {longest:.1} s")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_region_is_the_only_one_that_is_not_allowed() {
        assert_eq!(
            networks_without(&Topology::demo(), "region-b"),
            "10.1.0.0/16, 10.2.0.0/16, 10.4.0.0/16, 10.5.0.0/16, 10.6.0.0/16"
        );
    }

    #[test]
    fn a_gap_of_three_pushes_is_told() {
        let series = |instance: &str, times: &[f64]| Series {
            name: "up".to_owned(),
            labels: [("instance".to_owned(), instance.to_owned())].into(),
            points: times.iter().map(|at| (*at, 1.0)).collect(),
        };
        let stored = [series("vm1", &[0.0, 5.0, 10.0]), series("vm2", &[0.0, 5.0, 20.0])];
        assert_eq!(gaps(&stored), ["no sample of vm2 for 15.0 s"]);
    }
}
