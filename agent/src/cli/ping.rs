//! What `ping` is asked for.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use xprober_config::agent::IcmpBackend;
use xprober_config::duration;
use xprober_config::planner::dscp;
use xprober_proto::{Family, HostName, InterfaceName, PacketOptions};

use crate::ping::Ping;

/// Arguments of `ping`.
#[derive(Debug, Args)]
#[command(after_help = PING_STATUS)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct PingArgs {
    /// Whom to ask: addresses or host names.
    #[arg(value_name = "HOST", required = true)]
    hosts: Vec<HostName>,
    /// Echoes to each host; 0 goes on until Ctrl-C.
    #[arg(short, long, value_name = "NUMBER", default_value = "5")]
    count: u32,
    /// Time between two echoes to one host; several hosts take turns within it.
    #[arg(short, long, value_name = "DURATION", default_value = "1s", value_parser = ping_interval)]
    interval: Duration,
    /// A reply after this is late.
    #[arg(short = 'W', long, value_name = "DURATION", default_value = "1s", value_parser = ping_timeout)]
    timeout: Duration,
    /// Payload in bytes.
    #[arg(short = 's', long, value_name = "BYTES", default_value = "56", value_parser = clap::value_parser!(u16).range(..=65_507))]
    payload: u16,
    /// IPv4 only.
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,
    /// IPv6 only.
    #[arg(short = '6', long)]
    ipv6: bool,
    /// Source address; it settles the family.
    #[arg(short = 'S', long, value_name = "ADDRESS")]
    source: Option<IpAddr>,
    /// Interface to leave by.
    #[arg(short = 'I', long, value_name = "NAME")]
    interface: Option<InterfaceName>,
    /// Code point: 0 to 63, ef, cs0 to cs7 or af11 to af43.
    #[arg(long, value_name = "DSCP", default_value = "0", value_parser = dscp)]
    dscp: u8,
    /// Time to live or hop limit; by default the system's.
    #[arg(short, long, value_name = "HOPS", value_parser = clap::value_parser!(u8).range(1..))]
    ttl: Option<u8>,
    /// Forbid fragmentation.
    #[arg(long)]
    dont_fragment: bool,
    /// Who sends the echoes.
    #[arg(long, value_name = "BACKEND", default_value = "auto", value_parser = backend())]
    backend: IcmpBackend,
    /// Print JSON at the end instead of the table.
    #[arg(long)]
    pub json: bool,
}

/// How `ping` ends; the statuses of `ping` in iputils.
const PING_STATUS: &str = "\
On a terminal the table is redrawn while it runs. Ctrl-C ends it and waits for the replies that are still due; a second \
one does not wait. The p99 is that of the newest 100,000 replies of a host.

Exit status: 0 every host answered at least once, 1 some host did not answer at all, 2 another error: bad usage, no right \
to send echoes, a name that does not resolve, a host to which no echo could leave.";

impl PingArgs {
    /// What is asked for.
    ///
    /// # Errors
    ///
    /// The source address is of another family than the one asked for.
    pub fn ping(&self) -> anyhow::Result<Ping> {
        let mut seen = BTreeSet::new();
        let new = |host: &&HostName| seen.insert((*host).clone());
        Ok(Ping {
            hosts: self.hosts.iter().filter(new).cloned().collect(),
            count: NonZeroU32::new(self.count),
            interval: self.interval,
            timeout: self.timeout,
            payload_bytes: self.payload,
            packet: PacketOptions {
                family: self.family()?,
                source: self.source,
                interface: self.interface.clone(),
                dscp: self.dscp,
                ttl: self.ttl,
                dont_fragment: self.dont_fragment,
            },
            backend: self.backend,
        })
    }

    fn family(&self) -> anyhow::Result<Option<Family>> {
        let asked = match (self.ipv4, self.ipv6) {
            (true, _) => Some(Family::V4),
            (false, true) => Some(Family::V6),
            (false, false) => None,
        };
        let settled = self.source.map(Family::of);
        if let (Some(source), Some(asked)) = (self.source, asked)
            && settled != Some(asked)
        {
            anyhow::bail!("--source: {source} is no {asked} address");
        }
        Ok(asked.or(settled))
    }
}

fn backend() -> impl TypedValueParser<Value = IcmpBackend> {
    PossibleValuesParser::new(IcmpBackend::ALL.map(IcmpBackend::as_str)).map(|name| {
        let named = |backend: &IcmpBackend| backend.as_str() == name;
        IcmpBackend::ALL.into_iter().find(named).unwrap_or(IcmpBackend::Auto)
    })
}

fn ping_interval(text: &str) -> Result<Duration, String> {
    between(text, Duration::from_millis(1), "1ms", Duration::from_hours(24), "1d")
}

fn ping_timeout(text: &str) -> Result<Duration, String> {
    between(text, Duration::from_millis(1), "1ms", Duration::from_mins(1), "1m")
}

fn between(text: &str, least: Duration, least_text: &str, most: Duration, most_text: &str) -> Result<Duration, String> {
    let parsed = duration::parse(text).map_err(|error| error.to_string())?;
    if (least..=most).contains(&parsed) {
        return Ok(parsed);
    }
    Err(format!("use {least_text} to {most_text}"))
}
