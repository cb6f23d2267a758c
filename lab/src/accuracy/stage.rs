//! The programs on the lab's hosts and the captures beside them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::cases::{CROWD, FAR, FAR_REGION};
use super::wire::{PAYLOAD_BYTES, TIMEOUT};
use crate::capture::{Capture, Captured, Filter};
use crate::error::LabError;
use crate::fetch;
use crate::namespace::device::HOST_DEVICE;
use crate::process::victoria::VICTORIA_PORT;
use crate::process::{Process, ProcessPlan, find};
use crate::promql::PromQl;
use crate::topology::HUB;
use crate::world::{Host, Lab};

/// Ports of the planner of the regions: agents, web.
const PORTS: [u16; 2] = [6001, 6002];
/// Ports of the planner of the many targets.
const CROWD_PORTS: [u16; 2] = [6011, 6012];
/// Time for a program to be ready.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// Time until every target has been probed and pushed once.
const FIRST_LIMIT: Duration = Duration::from_secs(90);
/// Pause between two looks at the database.
const POLL_PAUSE: Duration = Duration::from_millis(500);

/// Everything that runs.
#[derive(Debug)]
pub struct Stage {
    database: Process,
    planners: Vec<Process>,
    agents: BTreeMap<String, Process>,
    captures: BTreeMap<String, Capture>,
}

impl Stage {
    /// Starts captures, database, planners and agents, in this order, so that nothing is missed on the wire.
    ///
    /// # Errors
    /// The first part that did not start.
    pub async fn start(lab: &Lab, interval: Duration) -> Result<Self, LabError> {
        let captures = probing_hosts(lab).map(|host| {
            let capture = Capture::start(host.namespace(), HOST_DEVICE, Filter::OwnEchoes)?;
            Ok((host.name().to_owned(), capture))
        });
        let captures = captures.collect::<Result<_, LabError>>()?;
        let database = start_database(lab).await?;
        let targets = &lab.host(FAR)?.plan().further;
        let planners = vec![
            start_planner(lab, "planner", PORTS, &mesh_file(interval)).await?,
            start_planner(lab, "planner-crowd", CROWD_PORTS, &crowd_file(targets)).await?,
        ];
        let mut stage = Self {
            database,
            planners,
            agents: BTreeMap::new(),
            captures,
        };
        let file = agent_file(lab, interval, targets.len())?;
        for host in probing_hosts(lab) {
            stage.start_agent(lab, host, &file)?;
        }
        Ok(stage)
    }

    fn start_agent(&mut self, lab: &Lab, host: &Host, file: &Path) -> Result<(), LabError> {
        let hub = lab.hub().plan().address;
        let [rpc, _] = if host.name() == CROWD { CROWD_PORTS } else { PORTS };
        let flags = [
            format!("--grpc.server-address={hub}:{rpc}"),
            format!("--remote-write.url=http://{hub}:{VICTORIA_PORT}/api/v1/write"),
            format!("--agent.id={}", host.name()),
            format!("--config.file={}", file.display()),
        ];
        let plan = ProcessPlan::new(
            &format!("agent-{}", host.name()),
            &find::own_program("xprober-agent")?,
            flags,
        );
        self.agents.insert(host.name().to_owned(), Process::start(host, &plan)?);
        Ok(())
    }

    /// Waits until that many targets have been probed and the database knows it.
    ///
    /// # Errors
    /// [`LabError::Timeout`], [`LabError::Ended`].
    pub async fn wait_for_targets(&mut self, targets: usize) -> Result<(), LabError> {
        let expected = super::band::double(super::band::whole(targets));
        let deadline = Instant::now() + FIRST_LIMIT;
        loop {
            let found = self.client().number("count(xprober_target_sent_total > 0)").await;
            match found {
                Ok(Some(found)) if found >= expected => return Ok(()),
                found if Instant::now() >= deadline => {
                    return Err(LabError::Timeout {
                        what: format!("a first probe of {targets} targets"),
                        limit: FIRST_LIMIT,
                        detail: format!("; last answer: {:?}", found?),
                    });
                }
                Ok(_) | Err(_) => tokio::time::sleep(POLL_PAUSE).await,
            }
            for agent in self.agents.values_mut() {
                agent.check_running()?;
            }
        }
    }

    /// The agent of the many targets.
    ///
    /// # Errors
    /// None on a stage that started.
    pub fn crowd(&self) -> Result<&Process, LabError> {
        self.agents.get(CROWD).ok_or_else(|| LabError::NoHost(CROWD.to_owned()))
    }

    /// Asks the database.
    #[must_use]
    pub fn client(&self) -> PromQl {
        PromQl::new(&format!("http://127.0.0.1:{VICTORIA_PORT}"))
    }

    /// Ends planners and agents: the planners first, so that no agent that leaves changes the others' plans; the agents
    /// wait until their windows have closed and push what they have. Then hands out what the wires saw, by host.
    ///
    /// # Errors
    /// [`LabError::Io`], [`LabError::Http`].
    pub async fn finish(&mut self) -> Result<BTreeMap<String, Captured>, LabError> {
        for planner in &mut self.planners {
            planner.stop().await?;
        }
        futures_util::future::try_join_all(self.agents.values_mut().map(Process::stop)).await?;
        let flush = format!("http://127.0.0.1:{VICTORIA_PORT}/internal/force_flush");
        fetch::get(&flush, READY_LIMIT).await?;
        let captures = std::mem::take(&mut self.captures).into_iter();
        captures.map(|(host, capture)| Ok((host, capture.stop()?))).collect()
    }

    /// Ends the database.
    ///
    /// # Errors
    /// [`LabError::Io`].
    pub async fn stop(mut self) -> Result<(), LabError> {
        self.database.stop().await.map(drop)
    }
}

/// Hosts with an agent: the crowd's and those of the cases.
pub fn probing_hosts(lab: &Lab) -> impl Iterator<Item = &Host> {
    lab.hosts()
        .iter()
        .filter(|host| host.name() != HUB && host.name() != FAR)
}

async fn start_database(lab: &Lab) -> Result<Process, LabError> {
    let flags = [
        format!("-storageDataPath={}", lab.work().join("victoria").display()),
        format!("-httpListenAddr=0.0.0.0:{VICTORIA_PORT}"),
        "-search.latencyOffset=0s".to_owned(),
        "-retentionPeriod=1".to_owned(),
    ];
    let plan = ProcessPlan::new("victoria-metrics", &find::tool("victoria-metrics")?, flags);
    let mut database = Process::start(lab.hub(), &plan)?;
    let health = format!("http://127.0.0.1:{VICTORIA_PORT}/health");
    database.wait_ready(&health, READY_LIMIT).await?;
    Ok(database)
}

async fn start_planner(lab: &Lab, name: &str, [rpc, web]: [u16; 2], rest: &str) -> Result<Process, LabError> {
    let file = lab.work().join(format!("{name}.yml"));
    let listen = format!("# Written by xprober-lab.\nrpc_listen_addr: \":{rpc}\"\nmetrics_listen_addr: \":{web}\"\n");
    write(&file, &(listen + rest))?;
    let flags = [format!("--config.file={}", file.display())];
    let plan = ProcessPlan::new(name, &find::own_program("xprober-planner")?, flags);
    let mut planner = Process::start(lab.hub(), &plan)?;
    planner
        .wait_ready(&format!("http://127.0.0.1:{web}/readyz"), READY_LIMIT)
        .await?;
    Ok(planner)
}

fn mesh_file(interval: Duration) -> String {
    format!(
        "mesh: {{interval: {0}ms, timeout: {1}ms, payload: {PAYLOAD_BYTES}}}\nlimits: {{min_interval: {0}ms}}\n",
        interval.as_millis(),
        TIMEOUT.as_millis()
    )
}

/// As an operator would write it; timeout and payload are those of the mesh.
fn crowd_file(targets: &[std::net::Ipv4Addr]) -> String {
    let mut text = format!(
        "mesh: {{timeout: {}ms, payload: {PAYLOAD_BYTES}}}\nlimits: {{max_probes_per_second: {}}}\nprober_targets:\n  \
         - prober_type: icmp\n    region: {FAR_REGION}\n    interval: 1s\n    target:\n",
        TIMEOUT.as_millis(),
        2 * targets.len()
    );
    for target in targets {
        let _infallible = writeln!(text, "      - {target}");
    }
    text
}

/// The agents' settings: as shipped but for their limits, and for the time that a busy lab may take to say where they are.
fn agent_file(lab: &Lab, interval: Duration, targets: usize) -> Result<PathBuf, LabError> {
    let file = lab.work().join("agent.yml");
    let limits = format!(
        "limits: {{max_probes_per_second: {}, min_interval: {}ms}}\nmetadata: {{timeout: 10s}}\n",
        (2 * targets).max(2000),
        interval.as_millis()
    );
    write(&file, &limits)?;
    Ok(file)
}

fn write(path: &Path, text: &str) -> Result<(), LabError> {
    fs::write(path, text).map_err(LabError::io(format!("writing {}", path.display())))
}
