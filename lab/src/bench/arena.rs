//! The world that contenders are measured in: a probing host, a host with many addresses 40 ms away, `VictoriaMetrics` and,
//! while our agent needs one, a planner.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use super::plan::{Load, Place, addresses};
use crate::enter::Inside;
use crate::error::LabError;
use crate::namespace::Namespace;
use crate::process::victoria::VICTORIA_PORT;
use crate::process::{Process, ProcessPlan, find};
use crate::promql::PromQl;
use crate::stack::planner_url;
use crate::topology::Topology;
use crate::world::{Host, Lab};

/// The host that probes, in the region of the same name.
pub const PROBE: &str = "probe";
/// The host that answers on the other side of the WAN, in the region of the same name.
pub const FAR: &str = "far";
/// Round-trip time between the two.
const RTT: Duration = Duration::from_millis(40);
/// Time for one of the programs to be ready.
const READY_LIMIT: Duration = Duration::from_secs(20);

/// The running world.
#[derive(Debug)]
pub struct Arena {
    lab: Lab,
    database: Process,
}

impl Arena {
    /// Builds hosts and WAN with that many far addresses, and starts the database.
    ///
    /// # Errors
    /// The first part that did not start.
    pub async fn start(inside: &Inside, far_addresses: usize) -> Result<Self, LabError> {
        let further = u16::try_from(far_addresses).unwrap_or(u16::MAX);
        let topology = Topology::new()
            .host(PROBE, PROBE)
            .host(FAR, FAR)
            .further_addresses(further);
        let lab = Lab::start(inside, topology.rtt(PROBE, FAR, RTT), 1).await?;
        let folder = lab.work().join("victoria");
        let flags = [
            format!("-storageDataPath={}", folder.display()),
            format!("-httpListenAddr=0.0.0.0:{VICTORIA_PORT}"),
            "-search.latencyOffset=0s".to_owned(),
            "-retentionPeriod=1".to_owned(),
        ];
        let plan = ProcessPlan::new("victoria-metrics", &find::tool("victoria-metrics")?, flags);
        let mut database = Process::start(lab.hub(), &plan)?;
        database
            .wait_ready(&format!("http://127.0.0.1:{VICTORIA_PORT}/health"), READY_LIMIT)
            .await?;
        Ok(Self { lab, database })
    }

    /// The lab.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The host that probes.
    ///
    /// # Errors
    /// None in an arena that started.
    pub fn probe(&self) -> Result<&Host, LabError> {
        self.lab.host(PROBE)
    }

    /// The probing host's namespace.
    ///
    /// # Errors
    /// None in an arena that started.
    pub fn namespace(&self) -> Result<&Namespace, LabError> {
        self.probe().map(Host::namespace)
    }

    /// The addresses that a load probes.
    ///
    /// # Errors
    /// None in an arena that started.
    pub fn targets(&self, place: Place, load: Load) -> Result<Vec<Ipv4Addr>, LabError> {
        Ok(addresses(place, &self.lab.host(FAR)?.plan().further, load.targets()))
    }

    /// Writes the addresses that a load probes into a file, one per line.
    ///
    /// # Errors
    /// [`LabError::Io`].
    pub fn targets_file(&self, place: Place, load: Load) -> Result<PathBuf, LabError> {
        let file = self.lab.work().join(format!("targets-{place}-{}", load.targets()));
        let mut text = String::new();
        for target in self.targets(place, load)? {
            let _infallible = writeln!(text, "{target}");
        }
        write(&file, &text)?;
        Ok(file)
    }

    /// Asks the database.
    #[must_use]
    pub fn database(&self) -> PromQl {
        PromQl::new(&format!("http://127.0.0.1:{VICTORIA_PORT}"))
    }

    /// Makes what was pushed visible to questions at once.
    ///
    /// # Errors
    /// [`LabError::Http`].
    pub async fn flush_database(&self) -> Result<(), LabError> {
        let url = format!("http://127.0.0.1:{VICTORIA_PORT}/internal/force_flush");
        crate::fetch::get(&url, READY_LIMIT).await.map(drop)
    }

    /// Starts a planner that has every agent of the probing host probe these targets once a second.
    ///
    /// # Errors
    /// [`LabError::Ended`], [`LabError::Timeout`].
    pub async fn start_planner(&self, targets: &[Ipv4Addr]) -> Result<Process, LabError> {
        let file = self.lab.work().join("planner.yml");
        write(&file, &planner_file(targets))?;
        let flags = [format!("--config.file={}", file.display())];
        let plan = ProcessPlan::new("planner", &find::own_program("xprober-planner")?, flags);
        let mut planner = Process::start(self.lab.hub(), &plan)?;
        planner.wait_ready(&planner_url("/readyz"), READY_LIMIT).await?;
        Ok(planner)
    }

    /// Writes the agents' settings: as shipped but for the limit on echoes per second.
    ///
    /// # Errors
    /// [`LabError::Io`].
    pub fn agent_file(&self, targets: usize) -> Result<PathBuf, LabError> {
        let file = self.lab.work().join("agent.yml");
        write(&file, &format!("limits: {{max_probes_per_second: {}}}\n", 2 * targets))?;
        Ok(file)
    }

    /// Stops the database and the lab.
    ///
    /// # Errors
    /// [`LabError::Io`].
    pub async fn stop(mut self) -> Result<(), LabError> {
        self.database.stop().await?;
        self.lab.stop().await;
        Ok(())
    }
}

/// A `planner.yml` with these targets in the far region, one second between two echoes to each.
fn planner_file(targets: &[Ipv4Addr]) -> String {
    let mut text = format!(
        "# Written by xprober-lab.\nlimits: {{max_probes_per_second: {}}}\nprober_targets:\n  - prober_type: icmp\n    \
         region: {FAR}\n    interval: 1s\n    target:\n",
        2 * targets.len()
    );
    for target in targets {
        let _infallible = writeln!(text, "      - {target}");
    }
    text
}

fn write(path: &std::path::Path, text: &str) -> Result<(), LabError> {
    fs::write(path, text).map_err(LabError::io(format!("writing {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planner_is_told_every_target_and_a_limit_above_them() {
        let text = planner_file(&[Ipv4Addr::new(127, 1, 0, 1), Ipv4Addr::new(127, 1, 0, 2)]);
        assert!(text.contains("max_probes_per_second: 4}"), "{text}");
        assert!(
            text.ends_with("    target:\n      - 127.1.0.1\n      - 127.1.0.2\n"),
            "{text}"
        );
    }
}
