//! How each contender is started, ended and asked for its losses.

use std::path::PathBuf;
use std::time::Duration;

use super::arena::{Arena, PROBE};
use super::child::Summary;
use super::plan::{Contender, Load, Options, PAYLOAD_BYTES, PERIOD, Place};
use crate::error::LabError;
use crate::process::victoria::VICTORIA_PORT;
use crate::process::{Process, ProcessPlan, find};
use crate::stack::PLANNER_RPC_PORT;

/// Time that fping has for the echoes that it still has to send after the measurement.
const FPING_LIMIT: Duration = Duration::from_secs(6);

/// fping numbers its echoes with 16 bits and gives a number free after 10 s: with more echoes than that in flight it ends
/// ("not enough sequence numbers available").
const FPING_SEQUENCES: usize = 65_535;

/// Echoes that our engine lets leave together at most, as long as its tick is the longest.
const PROBES_PER_TICK: u64 = 128;

/// One measurement to make.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The world.
    pub arena: &'a Arena,
    /// What the user asked for.
    pub options: &'a Options,
    /// Where.
    pub place: Place,
    /// How much.
    pub load: Load,
    /// Who.
    pub contender: Contender,
    /// Number of the measurement, different for each.
    pub number: u32,
    /// Whether it shall tell every round-trip time.
    pub rtts: bool,
}

impl Job<'_> {
    /// Starts the contender.
    ///
    /// # Errors
    /// [`LabError::NoProgram`], [`LabError::Io`].
    pub fn start(&self) -> Result<Process, LabError> {
        let (program, arguments) = match self.contender {
            Contender::Agent => (find::own_program("xprober-agent")?, self.agent()?),
            Contender::Fping => (find::tool("fping")?, self.fping()?),
            Contender::SurgePing => (this_program()?, self.child("surge-ping")?),
            Contender::Engine => (this_program()?, self.child("engine")?),
            Contender::Portable => (this_program()?, self.child("portable")?),
            Contender::Bare => (this_program()?, self.child("bare")?),
            Contender::Smokeping => (
                find::tool("prometheus-smokeping-prober")?,
                self.smokeping("--no-privileged")?,
            ),
            Contender::SmokepingRaw => (
                find::tool("prometheus-smokeping-prober")?,
                self.smokeping("--privileged")?,
            ),
        };
        Process::start(
            self.arena.probe()?,
            &ProcessPlan::new(&self.name(), &program, arguments),
        )
    }

    /// Ends the contender and answers how many echoes it calls lost, or does not know the fate of; `None` where it does not tell.
    ///
    /// # Errors
    /// [`LabError::Io`], [`LabError::Http`], [`LabError::Ended`] when it ended before its time.
    pub async fn finish(&self, mut process: Process) -> Result<Option<u64>, LabError> {
        match self.contender {
            Contender::Agent => {
                process.stop().await?;
                self.agent_losses().await
            }
            Contender::Fping => {
                let in_time = process.wait(FPING_LIMIT).await.is_ok();
                process.kill().await?;
                Ok(in_time.then(|| fping_losses(&process.log_text())).flatten())
            }
            Contender::Engine | Contender::Portable | Contender::SurgePing | Contender::Bare => {
                process.stop().await?;
                Ok(Summary::find(&process.log_text()).map(|summary| summary.sent - summary.received))
            }
            Contender::Smokeping | Contender::SmokepingRaw => process.kill().await.map(|_| None),
        }
    }

    /// File in which contenders of this program tell every round-trip time.
    #[must_use]
    pub fn rtts_file(&self) -> PathBuf {
        self.arena.lab().work().join(format!("{}.rtts", self.name()))
    }

    /// Name of the process and, for agents, of their series.
    fn name(&self) -> String {
        format!("{}-{}", self.contender, self.number)
    }

    fn agent(&self) -> Result<Vec<String>, LabError> {
        let hub = self.arena.lab().hub().plan().address;
        Ok(vec![
            "run".to_owned(),
            format!("--grpc.server-address={hub}:{PLANNER_RPC_PORT}"),
            format!("--remote-write.url=http://{hub}:{VICTORIA_PORT}/api/v1/write"),
            format!("--region={PROBE}"),
            format!("--agent.id={}", self.name()),
            format!(
                "--config.file={}",
                self.arena.agent_file(self.load.targets())?.display()
            ),
        ])
    }

    async fn agent_losses(&self) -> Result<Option<u64>, LabError> {
        self.arena.flush_database().await?;
        let name = self.name();
        let found = |outcomes: &str| {
            let expression = format!(
                "sum(last_over_time(xprober_probes_total{{instance=\"{name}\",outcome=~\"{outcomes}\"}}[10m]))"
            );
            let database = self.arena.database();
            async move { database.number(&expression).await }
        };
        // Without any series at all nothing was pushed, and nothing can be said.
        Ok(match found("ok").await? {
            Some(_) => Some(whole(
                found("lost|unreachable|send_error|corrupt").await?.unwrap_or_default(),
            )),
            None => None,
        })
    }

    fn fping(&self) -> Result<Vec<String>, LabError> {
        let targets = self.load.targets();
        let (period, gap, count) = match self.load {
            Load::Paced(_) => {
                let seconds = self.options.warm_up + self.options.seconds + 3;
                (
                    PERIOD,
                    PERIOD.div_f64(float(targets)),
                    usize::try_from(seconds).unwrap_or(usize::MAX),
                )
            }
            // A round of all targets must not begin before the last one's replies are in.
            Load::FlatOut => (self.flat_out_period(), Duration::ZERO, FPING_SEQUENCES / targets),
        };
        let mut arguments = vec![
            format!("-f{}", self.arena.targets_file(self.place, self.load)?.display()),
            format!("-b{PAYLOAD_BYTES}"),
            format!("-p{}", period.as_millis()),
            format!("-t{}", PERIOD.as_millis()),
            format!("-i{}", gap.as_secs_f64() * 1e3),
            format!("-c{count}"),
        ];
        if !self.rtts {
            arguments.push("-q".to_owned());
        }
        Ok(arguments)
    }

    const fn flat_out_period(&self) -> Duration {
        match self.place {
            Place::Loopback => Duration::from_millis(10),
            Place::Wan => Duration::from_millis(50),
        }
    }

    fn smokeping(&self, mode: &str) -> Result<Vec<String>, LabError> {
        let mut arguments = vec![
            mode.to_owned(),
            format!("--ping.interval={}s", PERIOD.as_secs()),
            format!("--ping.size={PAYLOAD_BYTES}"),
            "--web.listen-address=127.0.0.1:9374".to_owned(),
        ];
        let targets = self.arena.targets(self.place, self.load)?;
        arguments.extend(targets.iter().map(ToString::to_string));
        Ok(arguments)
    }

    fn child(&self, kind: &str) -> Result<Vec<String>, LabError> {
        let mut arguments = vec![
            "contender".to_owned(),
            kind.to_owned(),
            format!(
                "--targets={}",
                self.arena.targets_file(self.place, self.load)?.display()
            ),
            format!("--tick={}", tick(self.options.tick, self.load)),
        ];
        if self.load == Load::FlatOut {
            arguments.push("--flat-out".to_owned());
        }
        if self.rtts {
            arguments.push(format!("--rtts={}", self.rtts_file().display()));
        }
        Ok(arguments)
    }
}

fn this_program() -> Result<PathBuf, LabError> {
    std::env::current_exe().map_err(LabError::io("finding this program"))
}

/// The tick in milliseconds that our engine would choose: shorter where more than a hundred echoes would leave together.
fn tick(longest: u64, load: Load) -> u64 {
    let echoes_per_second = load.targets() as u64;
    (PROBES_PER_TICK * 1000 / echoes_per_second.max(1)).clamp(1, longest)
}

/// Adds up the lines `127.1.0.1 : xmt/rcv/%loss = 14/14/0%, min/avg/max = ..` with which fping ends.
fn fping_losses(text: &str) -> Option<u64> {
    let counts = text.lines().filter_map(|line| {
        let mut fields = line.split_once("xmt/rcv/%loss = ")?.1.split('/');
        let mut next = || fields.next()?.parse::<u64>().ok();
        Some(next()?.saturating_sub(next()?))
    });
    let counts: Vec<u64> = counts.collect();
    (!counts.is_empty()).then(|| counts.into_iter().sum())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a counter as the database hands it over"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

fn float(number: usize) -> f64 {
    super::measure::count(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_loop_ticks_as_the_engine_does() {
        assert_eq!(tick(50, Load::Paced(1000)), 50);
        assert_eq!(tick(50, Load::Paced(10_000)), 12);
        assert_eq!(tick(50, Load::FlatOut), 50);
    }

    #[test]
    fn losses_of_fping_are_sent_minus_received_over_all_targets() {
        let text = "127.1.0.1 : xmt/rcv/%loss = 14/14/0%, min/avg/max = 0.005/0.007/0.013\n\
                    127.1.0.2 : xmt/rcv/%loss = 14/11/21%, min/avg/max = 0.005/0.007/0.013\n\
                    127.1.0.3 : xmt/rcv/%loss = 2/0/100%\n";
        assert_eq!(fping_losses(text), Some(5));
        assert_eq!(
            fping_losses("fping error: not enough sequence numbers available!"),
            None
        );
    }
}
