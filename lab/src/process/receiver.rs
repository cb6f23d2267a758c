//! A time-series database of a Debian release in the hub, bare: it takes remote write, answers questions, and does nothing
//! else. [`super::prometheus`] and [`super::victoria`] are those with the repository's rules.

use std::fmt;
use std::fs;
use std::time::Duration;

use super::prometheus::READY_LIMIT;
use super::{Process, ProcessPlan, find};
use crate::error::LabError;
use crate::fetch;
use crate::promql::PromQl;
use crate::world::Lab;

/// Whose program it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// Prometheus.
    Prometheus,
    /// `VictoriaMetrics`.
    VictoriaMetrics,
}

/// A receiver by maker and Debian release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Whose program it is.
    pub maker: Maker,
    /// `bookworm`, `trixie` or `sid`.
    pub release: &'static str,
}

impl Kind {
    /// Every receiver that we promise something about, oldest first: Prometheus 2.42, 2.53, 3.x; `VictoriaMetrics` 1.79,
    /// 1.112, 1.145 or what `sid` has by now.
    pub const ALL: [Self; 6] = [
        Self::new(Maker::Prometheus, "bookworm"),
        Self::new(Maker::Prometheus, "trixie"),
        Self::new(Maker::Prometheus, "sid"),
        Self::new(Maker::VictoriaMetrics, "bookworm"),
        Self::new(Maker::VictoriaMetrics, "trixie"),
        Self::new(Maker::VictoriaMetrics, "sid"),
    ];

    const fn new(maker: Maker, release: &'static str) -> Self {
        Self { maker, release }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let maker = match self.maker {
            Maker::Prometheus => "prometheus",
            Maker::VictoriaMetrics => "victoria-metrics",
        };
        write!(formatter, "{maker}-{}", self.release)
    }
}

/// What an operator can switch and senders notice; all off is what a fresh installation does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Switches {
    /// Prometheus: native histograms and samples up to an hour out of order are taken.
    pub lenient: bool,
    /// `VictoriaMetrics`: of samples with one timestamp one is kept.
    pub deduplicate: bool,
}

/// A running receiver.
#[derive(Debug)]
pub struct Receiver {
    /// The process, to be stopped, frozen or killed.
    pub process: Process,
    kind: Kind,
    plan: ProcessPlan,
    port: u16,
}

impl Receiver {
    /// Starts a receiver on a port of the hub and waits until it is ready; its store is a folder named after it and its port.
    ///
    /// # Errors
    /// [`LabError::NoProgram`], [`LabError::Io`], [`LabError::Ended`] with its complaint, [`LabError::Timeout`].
    pub async fn start(lab: &Lab, kind: Kind, switches: Switches, port: u16) -> Result<Self, LabError> {
        let name = format!("{kind}-{port}");
        let folder = lab.work().join(&name);
        fs::create_dir_all(&folder).map_err(LabError::io(format!("making {}", folder.display())))?;
        let store = folder.join("store");
        let arguments = match kind.maker {
            Maker::Prometheus => {
                let config = folder.join("prometheus.yml");
                let text = if switches.lenient {
                    "storage: {tsdb: {out_of_order_time_window: 1h}}\n"
                } else {
                    "global: {}\n"
                };
                fs::write(&config, text).map_err(LabError::io(format!("writing {}", config.display())))?;
                let mut arguments = vec![
                    format!("--config.file={}", config.display()),
                    format!("--storage.tsdb.path={}", store.display()),
                    format!("--web.listen-address=0.0.0.0:{port}"),
                    "--web.enable-remote-write-receiver".to_owned(),
                ];
                if switches.lenient {
                    arguments.push("--enable-feature=native-histograms".to_owned());
                }
                arguments
            }
            Maker::VictoriaMetrics => {
                let mut arguments = vec![
                    format!("-storageDataPath={}", store.display()),
                    format!("-httpListenAddr=0.0.0.0:{port}"),
                    // Samples count at once, not 30 s later.
                    "-search.latencyOffset=0s".to_owned(),
                    "-retentionPeriod=1".to_owned(),
                ];
                if switches.deduplicate {
                    arguments.push("-dedup.minScrapeInterval=1ms".to_owned());
                }
                arguments
            }
        };
        let program = match kind.maker {
            Maker::Prometheus => "prometheus",
            Maker::VictoriaMetrics => "victoria-metrics",
        };
        let plan = ProcessPlan::new(&name, &find::tool_of(kind.release, program)?, arguments);
        let process = Process::start(lab.hub(), &plan)?;
        let mut receiver = Self {
            process,
            kind,
            plan,
            port,
        };
        receiver.wait_ready().await?;
        Ok(receiver)
    }

    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Its base URL as the hub reaches it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Asks it questions.
    #[must_use]
    pub fn client(&self) -> PromQl {
        PromQl::new(&self.url())
    }

    /// Starts it again with the same store after its process was stopped or killed, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Receiver::start`].
    pub async fn restart(&mut self, lab: &Lab) -> Result<(), LabError> {
        self.process.stop().await?;
        self.process = Process::start(lab.hub(), &self.plan)?;
        self.wait_ready().await
    }

    /// Makes what was written so far visible to questions at once.
    ///
    /// # Errors
    /// [`LabError::Http`].
    pub async fn flush(&self) -> Result<(), LabError> {
        if self.kind.maker == Maker::VictoriaMetrics {
            let url = format!("{}/internal/force_flush", self.url());
            fetch::get(&url, Duration::from_secs(20)).await?;
        }
        Ok(())
    }

    async fn wait_ready(&mut self) -> Result<(), LabError> {
        let path = match self.kind.maker {
            Maker::Prometheus => "-/ready",
            Maker::VictoriaMetrics => "health",
        };
        let url = format!("{}/{path}", self.url());
        self.process.wait_ready(&url, READY_LIMIT).await
    }
}
