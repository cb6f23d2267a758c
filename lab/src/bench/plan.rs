//! What is measured: contenders, loads, places; values only.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

/// Bytes after the ICMP header that every contender sends.
pub const PAYLOAD_BYTES: usize = 56;

/// Time between two echoes to one target.
pub const PERIOD: Duration = Duration::from_secs(1);

/// Most unanswered echoes of a contender that sends as fast as it can.
pub const FLAT_OUT_WINDOW: usize = 1000;

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum Contender {
    /// `xprober-agent run` as shipped: fed by a planner, with ledger, samples, queue and push.
    Agent,
    /// Its echo engine alone: schedule, in-flight table, engine thread; no ledger, no push.
    Engine,
    /// The same on the portable backend, whose stamps are its own; for round-trip times only.
    Portable,
    /// fping, one process for all targets.
    Fping,
    /// A loop on surge-ping's own client, one task per target, as its documentation shows.
    SurgePing,
    /// `smokeping_prober` with datagram sockets, the cheaper of its two modes.
    Smokeping,
    /// `smokeping_prober` with raw sockets, its default.
    SmokepingRaw,
    /// sendmmsg and recvmmsg on a tick, no stamps, no table, no ledger: the floor.
    Bare,
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Agent => "agent",
            Self::Engine => "engine",
            Self::Portable => "portable",
            Self::Fping => "fping",
            Self::SurgePing => "surge-ping",
            Self::Smokeping => "smokeping",
            Self::SmokepingRaw => "smokeping-raw",
            Self::Bare => "bare",
        })
    }
}

/// How much is asked of a contender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Load {
    /// That many targets, one echo per second each, evenly spread.
    Paced(u16),
    /// As fast as it can, at most [`FLAT_OUT_WINDOW`] echoes unanswered.
    FlatOut,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paced(targets) => write!(f, "{targets} targets x 1/s"),
            Self::FlatOut => f.write_str("flat out"),
        }
    }
}

impl Load {
    /// How many targets it needs.
    #[must_use]
    pub fn targets(self) -> usize {
        match self {
            Self::Paced(targets) => targets.into(),
            Self::FlatOut => FLAT_OUT_WINDOW,
        }
    }

    /// Whether a contender can carry that load at all: agents have no flat-out form, and `smokeping_prober` needs more than this
    /// machine for 10,000 targets.
    #[must_use]
    pub fn suits(self, contender: Contender) -> bool {
        match contender {
            Contender::Agent => matches!(self, Self::Paced(_)),
            Contender::Smokeping | Contender::SmokepingRaw => matches!(self, Self::Paced(targets) if targets <= 1000),
            Contender::Portable => false,
            Contender::Engine | Contender::Fping | Contender::SurgePing | Contender::Bare => true,
        }
    }
}

/// Where the echoes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Place {
    /// Addresses of 127.0.0.0/8 in the prober's own namespace.
    Loopback,
    /// Addresses of a host in another region, 40 ms away over the emulated WAN.
    Wan,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "loopback",
            Self::Wan => "WAN",
        })
    }
}

/// The first addresses of a place; `far` are those of the host on the other side of the WAN.
#[must_use]
pub fn addresses(place: Place, far: &[Ipv4Addr], count: usize) -> Vec<Ipv4Addr> {
    match place {
        Place::Loopback => {
            let first = u32::from(Ipv4Addr::new(127, 1, 0, 1));
            (first..).take(count).map(Ipv4Addr::from).collect()
        }
        Place::Wan => far.iter().copied().take(count).collect(),
    }
}

/// Options of `xprober-lab bench-probe`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Rounds; in each, every contender is measured once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Seconds that one contender is measured.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// Seconds from the moment when every target was probed once to the start of the measurement.
    #[arg(long, default_value_t = 3)]
    pub warm_up: u64,
    /// Numbers of targets, each probed once a second.
    #[arg(long, value_delimiter = ',', default_values_t = [1000, 10_000], value_parser = clap::value_parser!(u16).range(1..=50_000))]
    pub targets: Vec<u16>,
    /// Leaves out the measurement of how fast a contender can be.
    #[arg(long)]
    pub no_flat_out: bool,
    /// Contenders; all by default.
    #[arg(long, value_delimiter = ',', value_enum)]
    pub contenders: Vec<Contender>,
    /// Places; both by default.
    #[arg(long = "where", value_delimiter = ',', value_enum, default_values_t = [Place::Loopback, Place::Wan])]
    pub places: Vec<Place>,
    /// Longest tick of the bare loop in milliseconds: that of our engine, which shortens it where many echoes would leave
    /// together.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub tick: u64,
    /// Numbers of busy processes beside which round-trip times are compared with a capture.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 1, 2, 4])]
    pub busy: Vec<u32>,
    /// Leaves out the comparison of round-trip times with a capture.
    #[arg(long)]
    pub no_rtt: bool,
    /// Leaves out CPU time, memory and losses.
    #[arg(long)]
    pub no_cost: bool,
    /// Document whose table is replaced, e.g. docs/benchmarks.md; without it the table is only printed.
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
}

impl Options {
    /// Contenders in the order in which the tables show them.
    #[must_use]
    pub fn contenders(&self) -> Vec<Contender> {
        let wanted = |contender: &Contender| self.contenders.is_empty() || self.contenders.contains(contender);
        Contender::value_variants().iter().copied().filter(wanted).collect()
    }

    /// Loads in the order in which they are measured.
    #[must_use]
    pub fn loads(&self) -> Vec<Load> {
        let paced = self.targets.iter().copied().map(Load::Paced);
        paced.chain((!self.no_flat_out).then_some(Load::FlatOut)).collect()
    }

    /// Most targets of any load.
    #[must_use]
    pub fn most_targets(&self) -> usize {
        self.loads().into_iter().map(Load::targets).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn loopback_targets_are_all_different_and_stay_in_the_loopback_network() {
        let targets = addresses(Place::Loopback, &[], 50_000);
        assert!(targets.iter().all(Ipv4Addr::is_loopback));
        assert_eq!(targets.into_iter().collect::<BTreeSet<_>>().len(), 50_000);
    }

    #[test]
    fn agents_are_not_asked_to_run_flat_out() {
        assert!(!Load::FlatOut.suits(Contender::Agent));
        assert!(Load::Paced(10_000).suits(Contender::Agent));
        assert!(!Load::Paced(10_000).suits(Contender::Smokeping));
    }
}
