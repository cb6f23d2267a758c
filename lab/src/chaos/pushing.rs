//! How the agents of a run push.

use std::time::Duration;

use crate::judge::task::SENDER_TIMEOUT;

/// Time between two snapshots of an agent.
const INTERVAL: Duration = Duration::from_secs(2);
/// The same in milliseconds.
pub const INTERVAL_MILLIS: i64 = 2_000;

/// Where agents keep what is not pushed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Queue {
    /// In a folder of their own; they may be killed at any time.
    Disk,
    /// In memory; they are left alone, because with them goes what they hold.
    Memory,
}

/// The agents' `protocol` setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// Remote-Write 1.0.
    Rw1,
    /// Remote-Write 2.0 where the database takes it, else 1.0.
    Rw2,
    /// Remote-Write 1.0 compressed by zstd where the database takes it, else by snappy.
    Zstd,
    /// The best that the database takes.
    Auto,
}

/// The agents' `histograms` setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Histograms {
    /// Buckets with `le`.
    Classic,
    /// Exponential ones in one series.
    Native,
    /// Both.
    Both,
}

/// How agents push.
#[derive(Debug, Clone, Copy)]
pub struct Pushing {
    /// Where requests wait.
    pub queue: Queue,
    /// How they are spelt.
    pub protocol: Protocol,
    /// The form of histograms.
    pub histograms: Histograms,
    /// Most samples in one of them.
    pub max_samples: u32,
}

impl Pushing {
    /// The agents' settings; a short time limit for requests that nobody answers, and for the end with nobody there.
    #[must_use]
    pub fn settings(self) -> String {
        let protocol = match self.protocol {
            Protocol::Rw1 => "rw1",
            Protocol::Rw2 => "rw2",
            Protocol::Zstd => "zstd",
            Protocol::Auto => "auto",
        };
        let histograms = match self.histograms {
            Histograms::Classic => "classic",
            Histograms::Native => "native",
            Histograms::Both => "both",
        };
        format!(
            "push: {{interval: {}s, max_samples_per_request: {}}}\n\
             remote_write: {{timeout: {}s, protocol: {protocol}, histograms: {histograms}}}\ndrain_timeout: 3s\n",
            INTERVAL.as_secs(),
            self.max_samples,
            SENDER_TIMEOUT.as_secs()
        )
    }
}
