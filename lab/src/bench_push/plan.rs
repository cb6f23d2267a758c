//! Who is measured, and how much of it; values only.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::remote_write::Spelling;

/// Samples that 10,000 targets give in a second at the agent's default interval of 5 s.
pub const REAL_TIME_RATE: f64 = 14_000.0;

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Contender {
    /// The agent, Remote-Write 1.0 with snappy.
    Agent,
    /// The agent, Remote-Write 2.0 with snappy.
    AgentRw2,
    /// The agent, Remote-Write 1.0 with zstd.
    AgentZstd,
    /// Prometheus 2.42 of bookworm in agent mode.
    Prometheus2,
    /// Prometheus 3.x of sid in agent mode.
    Prometheus3,
    /// vmagent of trixie, made to speak Remote-Write 1.0 with snappy.
    Vmagent,
}

impl Contender {
    /// Value of the agent's `protocol` setting; none for others, and none where it is the default.
    #[must_use]
    pub const fn protocol(self) -> Option<&'static str> {
        match self {
            Self::AgentRw2 => Some("rw2"),
            Self::AgentZstd => Some("zstd"),
            Self::Agent | Self::Prometheus2 | Self::Prometheus3 | Self::Vmagent => None,
        }
    }

    /// How its requests have to be spelt, or something else is measured than was meant.
    #[must_use]
    pub const fn spelling(self) -> Spelling {
        match self {
            Self::AgentRw2 => Spelling::V2Snappy,
            Self::AgentZstd => Spelling::V1Zstd,
            Self::Agent | Self::Prometheus2 | Self::Prometheus3 | Self::Vmagent => Spelling::V1Snappy,
        }
    }

    /// Whether it is ours.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::Agent | Self::AgentRw2 | Self::AgentZstd)
    }

    /// Most bytes that a sample of ours may take on the wire.
    #[must_use]
    pub const fn wire_bound(self) -> Option<f64> {
        match self {
            Self::Agent => Some(27.0),
            Self::AgentRw2 => Some(16.0),
            Self::AgentZstd => Some(12.0),
            Self::Prometheus2 | Self::Prometheus3 | Self::Vmagent => None,
        }
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Agent => "agent, RW1 snappy",
            Self::AgentRw2 => "agent, RW2 snappy",
            Self::AgentZstd => "agent, RW1 zstd",
            Self::Prometheus2 => "Prometheus 2.42 agent",
            Self::Prometheus3 => "Prometheus 3 agent",
            Self::Vmagent => "vmagent",
        })
    }
}

/// What a run is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// Targets whose series are pushed.
    pub targets: usize,
    /// Time between two samples of a series.
    pub interval: Duration,
    /// Nothing is sent.
    pub drops_all: bool,
    /// Our agent's queue is on disk, as that of the others always is: where there is an outage, not where costs are compared,
    /// because what the others spend on their disk is not counted there.
    pub on_disk: bool,
}

/// Options of `xprober-lab bench-push`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Numbers of targets.
    #[arg(long, value_delimiter = ',', default_value = "1000,10000")]
    pub targets: Vec<usize>,
    /// Contenders; by default all.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "agent,agent-rw2,agent-zstd,prometheus2,prometheus3,vmagent"
    )]
    pub contenders: Vec<Contender>,
    /// Rounds of everything.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub rounds: u32,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(3..=600))]
    pub seconds: u64,
    /// Seconds that the sink is away before the catch-up, 0 for no catch-up.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=3000))]
    pub outage: u64,
    /// Document whose tables are replaced, e.g. docs/benchmarks-push.md; without it they are only printed.
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
}
