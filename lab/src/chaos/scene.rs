//! One database with a judge before it, a planner, and an agent on every host.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::READY_LIMIT;
use super::agent::{Agent, now_millis};
use super::pushing::{Histograms, INTERVAL_MILLIS, Pushing, Queue};
use super::script::{Ending, Step};
use crate::error::LabError;
use crate::fetch;
use crate::judge::Account;
use crate::judge::book::value;
use crate::judge::task::Judge;
use crate::process::receiver::{Kind, Maker, Receiver, Switches};
use crate::process::{Process, ProcessPlan, find};
use crate::stack::planner_file;
use crate::topology::{HUB, Topology};
use crate::world::Lab;

/// Regions of the lab.
const REGIONS: usize = 5;
/// Ports of the first scene; the next has each a hundred higher.
const RECEIVER_PORT: u16 = 10_001;
const JUDGE_PORT: u16 = 10_002;
const PLANNER_PORT: u16 = 10_003;
const PLANNER_WEB_PORT: u16 = 10_004;
const PORTS: u16 = 100;
/// Time for an agent to catch up that found nobody for a while: the back-off that a step lets grow, and some.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(5);
/// Between two looks at something that has no way to call us.
const PAUSE: Duration = Duration::from_millis(200);
/// Runs in which an agent may send what it still had at its end; only a machine that hardly runs needs one.
const MORE_RUNS: usize = 3;

/// Everything of one database.
#[derive(Debug)]
pub struct Scene {
    /// The database.
    pub receiver: Receiver,
    /// What agents push to.
    pub judge: Judge,
    /// Everybody who pushes.
    pub agents: Vec<Agent>,
    planner: Process,
}

/// A host for each agent, spread over the regions, and a distance of its own between every two regions.
#[must_use]
pub fn topology(agents: usize) -> Topology {
    let hosts = 0..agents;
    let topology = hosts.fold(Topology::new(), |topology, index| {
        topology.host(&format!("vm{}", index + 1), &format!("region-{}", index % REGIONS + 1))
    });
    let pairs = (1..=REGIONS).flat_map(|one| (one + 1..=REGIONS).map(move |other| (one, other)));
    pairs.fold(topology, |topology, (one, other)| {
        let rtt = Duration::from_millis(5 * (one + other) as u64);
        topology.rtt(&format!("region-{one}"), &format!("region-{other}"), rtt)
    })
}

impl Scene {
    /// Starts everything; `number` keeps scenes of one lab apart.
    ///
    /// # Errors
    /// The first part that did not start.
    pub async fn start(lab: &Lab, kind: Kind, number: u16, pushing: Pushing, seed: u64) -> Result<Self, LabError> {
        let port = |first: u16| first + PORTS * number;
        let switches = Switches {
            lenient: pushing.histograms != Histograms::Classic,
            deduplicate: true,
        };
        let receiver = Receiver::start(lab, kind, switches, port(RECEIVER_PORT)).await?;
        let judge = Judge::start(lab.hub().namespace(), port(JUDGE_PORT), &receiver.url(), seed)?;
        let planner = start_planner(lab, kind, port(PLANNER_PORT), port(PLANNER_WEB_PORT)).await?;
        let agent_file = lab.work().join(format!("agent-{kind}.yml"));
        write(&agent_file, &pushing.settings())?;
        let program = find::own_program("xprober-agent")?;
        let hub = lab.hub().plan().address;
        let mut agents = Vec::new();
        for host in lab.topology().hosts().iter().filter(|host| host.region != HUB) {
            let mut flags = vec![
                format!("--config.file={}", agent_file.display()),
                format!("--grpc.server-address={hub}:{}", port(PLANNER_PORT)),
                format!("--remote-write.url=http://{hub}:{}/api/v1/write", port(JUDGE_PORT)),
                format!("--agent.id={}", host.name),
            ];
            if pushing.queue == Queue::Disk {
                let folder = lab.work().join(format!("queue-{kind}-{}", host.name));
                flags.push(format!("--queue.directory={}", folder.display()));
            }
            let plan = ProcessPlan::new(&format!("agent-{kind}-{}", host.name), &program, flags);
            agents.push(Agent::new(host, plan));
        }
        let mut scene = Self {
            receiver,
            judge,
            agents,
            planner,
        };
        let everybody: Vec<_> = (0..scene.agents.len()).collect();
        scene.start_agents(lab, &everybody).await?;
        Ok(scene)
    }

    /// Breaks what the step says, waits, and repairs it.
    ///
    /// # Errors
    /// What could not be ended or started again.
    pub async fn play(&mut self, lab: &Lab, step: &Step) -> Result<(), LabError> {
        let repaired = tokio::time::Instant::now() + step.lasts;
        self.judge.disturb(step.disturbance);
        if step.kills_receiver {
            self.kill_receiver().await?;
        }
        let ends = step.agents.as_ref();
        if let Some((ending, victims)) = ends.filter(|(ending, _)| *ending != Ending::KillCatchingUp) {
            self.end(*ending, victims).await?;
        }
        tokio::time::sleep_until(repaired).await;
        if step.kills_receiver {
            self.receiver.restart(lab).await?;
        }
        self.judge.disturb(None);
        if let Some((ending, victims)) = ends.filter(|(ending, _)| *ending == Ending::KillCatchingUp) {
            self.end(*ending, victims).await?;
        }
        if let Some((_, victims)) = ends {
            self.start_agents(lab, victims).await?;
        }
        for agent in &mut self.agents {
            agent.check_running()?;
        }
        Ok(())
    }

    async fn start_agents(&mut self, lab: &Lab, chosen: &[usize]) -> Result<(), LabError> {
        let agents = self.agents.iter_mut().enumerate();
        let agents = agents.filter(|(index, _)| chosen.contains(index));
        let started = futures_util::future::try_join_all(agents.map(|(_, agent)| agent.start(lab)));
        started.await.map(drop)
    }

    /// Waits until no agent has more than one request queued, as they say themselves in this run; answers who still has.
    pub async fn settle(&self, limit: Duration) -> Vec<String> {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let late = self.judge.account(|account| self.late(account));
            if late.is_empty() || tokio::time::Instant::now() > deadline {
                return late;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Ends all agents at once. Those whose time was up before everything had left run again, as they would elsewhere, a few
    /// times at most.
    ///
    /// # Errors
    /// [`LabError::Io`], or an agent that did not start.
    pub async fn stop_agents(&mut self, lab: &Lab) -> Result<(), LabError> {
        let everybody: Vec<_> = (0..self.agents.len()).collect();
        self.end(Ending::Stop, &everybody).await?;
        for _ in 0..MORE_RUNS {
            let numbered = self.agents.iter().enumerate();
            let left: Vec<_> = numbered
                .filter(|(_, agent)| agent.left_some())
                .map(|(index, _)| index)
                .collect();
            self.start_agents(lab, &left).await?;
            for agent in left.iter().filter_map(|index| self.agents.get(*index)) {
                let _it_ends_all_the_same = self.judge.wait_for_snapshots(agent.address, 2, CATCH_UP_LIMIT).await;
            }
            self.end(Ending::Stop, &left).await?;
        }
        Ok(())
    }

    /// Ends everything else.
    ///
    /// # Errors
    /// [`LabError::Io`].
    pub async fn stop(mut self) -> Result<(), LabError> {
        self.planner.stop().await?;
        self.judge.stop().await;
        self.receiver.process.stop().await.map(drop)
    }

    async fn kill_receiver(&mut self) -> Result<(), LabError> {
        if self.receiver.kind().maker == Maker::VictoriaMetrics {
            // It answers 2xx before it writes to the disk: what it took in the last seconds would be gone, and nobody but it
            // is to blame. A snapshot makes it write; nothing comes in between.
            self.judge.close().await?;
            fetch::get(&format!("{}/snapshot/create", self.receiver.url()), READY_LIMIT).await?;
        }
        self.receiver.process.kill().await.map(drop)
    }

    async fn end(&mut self, ending: Ending, victims: &[usize]) -> Result<(), LabError> {
        for victim in victims.iter().filter_map(|victim| self.agents.get(*victim)) {
            // Told to end, it tries at once.
            self.judge.forget(victim.address);
        }
        let chosen = self.agents.iter_mut().enumerate();
        let chosen = chosen.filter(|(index, _)| victims.contains(index));
        let judge = &self.judge;
        let ends = chosen.map(async |(_, agent)| {
            if ending == Ending::KillCatchingUp {
                // Where it has nothing to catch up with, it is killed all the same.
                let _killed_anyway = judge.wait_for_snapshots(agent.address, 2, CATCH_UP_LIMIT).await;
            }
            agent.end(ending).await?;
            judge.gone(agent.address).await
        });
        futures_util::future::try_join_all(ends).await.map(drop)
    }

    /// Agents whose newest snapshot is old, or of an earlier run, or says that requests wait.
    fn late(&self, account: &Account) -> Vec<String> {
        let oldest = now_millis() - 4 * INTERVAL_MILLIS;
        let waits = |agent: &Agent| {
            let series = account.book.series().iter().filter(|(labels, _)| {
                value(labels, "__name__") == "xprober_agent_queue_requests" && value(labels, "instance") == agent.name
            });
            let newest = series.filter_map(|(_, points)| points.last_key_value());
            let fresh = newest.filter(|(at, _)| **at >= oldest.max(agent.begun()));
            fresh.map(|(_, bits)| f64::from_bits(*bits)).reduce(f64::max)
        };
        let late = self
            .agents
            .iter()
            .filter(|agent| waits(agent).is_none_or(|requests| requests > 1.0));
        late.map(|agent| agent.name.clone()).collect()
    }
}

async fn start_planner(lab: &Lab, kind: Kind, port: u16, web_port: u16) -> Result<Process, LabError> {
    let file: PathBuf = lab.work().join(format!("planner-{kind}.yml"));
    let text = planner_file(lab.topology())
        .replace(":6001", &format!(":{port}"))
        .replace(":6002", &format!(":{web_port}"));
    write(&file, &text)?;
    let flags = [format!("--config.file={}", file.display())];
    let plan = ProcessPlan::new(
        &format!("planner-{kind}"),
        &find::own_program("xprober-planner")?,
        flags,
    );
    let mut planner = Process::start(lab.hub(), &plan)?;
    planner
        .wait_ready(&format!("http://127.0.0.1:{web_port}/readyz"), READY_LIMIT)
        .await?;
    Ok(planner)
}

fn write(path: &std::path::Path, text: &str) -> Result<(), LabError> {
    fs::write(path, text).map_err(LabError::io(format!("writing {}", path.display())))
}
