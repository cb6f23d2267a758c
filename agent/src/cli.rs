//! What the command line says: verbs, flags, environment.
//!
//! Flags have the dots of the ecosystem and of the old tool. Each has an environment variable, `XPROBER_` and the flag in
//! upper case with `_` for dots and dashes. Values are checked where the file's are, so that all problems come at once.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use url::Url;
use xprober_config::agent::{AgentOverrides, IcmpBackend};
use xprober_config::planner::dscp;
use xprober_config::{Override, duration};
use xprober_proto::{Family, HostName, InterfaceName, PacketOptions};

use crate::ping::Ping;

/// Probes other regions and HTTP interfaces as the planner says, and pushes what it measured.
#[derive(Debug, Parser)]
#[command(
    name = "xprober-agent",
    version,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "Precedence: flag, environment, file, default. Exit status: 0 done, 1 it failed, 2 bad usage."
)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    run: RunArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the agent; the default verb.
    Run(RunArgs),
    /// Check the settings and tell every problem at once.
    Check(SettingsArgs),
    /// Send echoes to each host and show, live on a terminal, what comes back.
    Ping(PingArgs),
    /// Probe one URL once and draw where the time went.
    Http(HttpArgs),
    /// Print every series that the agent pushes.
    Metrics,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The settings.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Least important messages that are logged.
    #[arg(
        long = "log.level",
        value_name = "LEVEL",
        default_value = "info",
        env = "XPROBER_LOG_LEVEL",
        value_enum
    )]
    pub level: Level,
    /// Form of the log on standard error.
    #[arg(
        long = "log.format",
        value_name = "FORMAT",
        default_value = "logfmt",
        env = "XPROBER_LOG_FORMAT",
        value_enum
    )]
    pub format: Format,
}

/// Where settings come from.
#[derive(Debug, Args)]
pub struct SettingsArgs {
    /// File with settings (agent.yml); none is needed.
    #[arg(
        id = "config.file",
        long = "config.file",
        value_name = "FILE",
        env = "XPROBER_CONFIG_FILE"
    )]
    file: Option<PathBuf>,
    /// The planner.
    #[arg(
        id = "grpc.server-address",
        long = "grpc.server-address",
        value_name = "HOST:PORT",
        env = "XPROBER_GRPC_SERVER_ADDRESS"
    )]
    grpc_server_address: Option<String>,
    /// Where samples go: the remote-write endpoint of Prometheus or VictoriaMetrics.
    #[arg(
        id = "remote-write.url",
        long = "remote-write.url",
        value_name = "URL",
        env = "XPROBER_REMOTE_WRITE_URL"
    )]
    remote_write_url: Option<String>,
    /// Folder for what waits while a database is away; without it the unit's state folder, or memory.
    #[arg(
        id = "queue.directory",
        long = "queue.directory",
        value_name = "FOLDER",
        env = "XPROBER_QUEUE_DIRECTORY"
    )]
    queue_directory: Option<String>,
    /// Region to speak for; without it the cloud's metadata service is asked.
    #[arg(id = "region", long = "region", value_name = "NAME", env = "XPROBER_REGION")]
    region: Option<String>,
    /// Availability zone, for people.
    #[arg(id = "zone", long = "zone", value_name = "NAME", env = "XPROBER_ZONE")]
    zone: Option<String>,
    /// Unique in the region; by default the host name.
    #[arg(id = "agent.id", long = "agent.id", value_name = "NAME", env = "XPROBER_AGENT_ID")]
    agent_id: Option<String>,
    /// Where other agents reach this one; by default the source address of the route towards the planner.
    #[arg(
        id = "probe.address",
        long = "probe.address",
        value_name = "ADDRESS[,ADDRESS]",
        env = "XPROBER_PROBE_ADDRESS"
    )]
    probe_address: Option<String>,
    /// The cloud's metadata service.
    #[arg(
        id = "metadata.url",
        long = "metadata.url",
        value_name = "URL",
        env = "XPROBER_METADATA_URL"
    )]
    metadata_url: Option<String>,
    /// Who sends the echoes: auto, linux or portable.
    #[arg(
        id = "icmp.backend",
        long = "icmp.backend",
        value_name = "BACKEND",
        env = "XPROBER_ICMP_BACKEND"
    )]
    icmp_backend: Option<String>,
    /// Opens this port to the TCP probes of other agents; none is open by default.
    #[arg(
        id = "responder.tcp",
        long = "responder.tcp",
        value_name = "[HOST]:PORT",
        env = "XPROBER_RESPONDER_TCP"
    )]
    responder_tcp: Option<String>,
    /// How long SIGTERM may take to push what was measured.
    #[arg(
        id = "drain.timeout",
        long = "drain.timeout",
        value_name = "DURATION",
        env = "XPROBER_DRAIN_TIMEOUT"
    )]
    drain_timeout: Option<String>,
    /// Where each value came from; filled in after parsing.
    #[arg(skip)]
    overrides: AgentOverrides,
}

impl SettingsArgs {
    /// The file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&std::path::Path> {
        self.file.as_deref()
    }

    /// What wins over the file.
    #[must_use]
    pub fn overrides(&self) -> AgentOverrides {
        self.overrides.clone()
    }

    /// Notes for every value whether it is a flag's or a variable's: problems name it as the user wrote it.
    fn note_origins(&mut self, matches: &ArgMatches) {
        let with_origin = |id: &str, value: &Option<String>| {
            let origin = match matches.value_source(id) {
                Some(ValueSource::EnvVariable) => variable(id),
                Some(_) | None => format!("--{id}"),
            };
            value.clone().map(|value| Override { value, origin })
        };
        self.overrides = AgentOverrides {
            grpc_server_address: with_origin("grpc.server-address", &self.grpc_server_address),
            remote_write_url: with_origin("remote-write.url", &self.remote_write_url),
            queue_directory: with_origin("queue.directory", &self.queue_directory),
            state_directory: std::env::var_os("STATE_DIRECTORY").and_then(|folders| first_folder(&folders)),
            region: with_origin("region", &self.region),
            zone: with_origin("zone", &self.zone),
            agent_id: with_origin("agent.id", &self.agent_id),
            probe_address: with_origin("probe.address", &self.probe_address),
            metadata_url: with_origin("metadata.url", &self.metadata_url),
            icmp_backend: with_origin("icmp.backend", &self.icmp_backend),
            responder_tcp: with_origin("responder.tcp", &self.responder_tcp),
            drain_timeout: with_origin("drain.timeout", &self.drain_timeout),
        };
    }
}

/// The first of the folders that systemd names, colon-separated (systemd.exec, `StateDirectory=`).
fn first_folder(folders: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(folders).find(|folder| !folder.as_os_str().is_empty())
}

fn variable(flag: &str) -> String {
    format!("XPROBER_{}", flag.to_ascii_uppercase().replace(['.', '-'], "_"))
}

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

/// Arguments of `http`.
#[derive(Debug, Args)]
pub struct HttpArgs {
    /// What to fetch, http or https.
    #[arg(value_name = "URL", value_parser = web_url)]
    pub url: Url,
    /// Limit for the whole probe.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = positive)]
    pub timeout: Duration,
    /// PEM file with certificate authorities, beside the system's.
    #[arg(long = "ca-file", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Print one JSON object instead of the picture.
    #[arg(long)]
    pub json: bool,
}

fn web_url(text: &str) -> Result<Url, String> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| "use an absolute http or https URL, as in https://api.example.com/health".to_owned())
}

fn positive(text: &str) -> Result<Duration, String> {
    let parsed = duration::parse(text).map_err(|error| error.to_string())?;
    if parsed.is_zero() {
        return Err("use a duration above 0s".to_owned());
    }
    Ok(parsed)
}

/// Least important messages that are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    /// Ours at the level asked for; libraries only where they warn, unless the level goes into details.
    #[must_use]
    pub const fn filter(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "warn,xprober_agent=info",
            Self::Debug => "info,xprober_agent=debug",
            Self::Trace => "debug,xprober_agent=trace",
        }
    }
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Format {
    Logfmt,
    Json,
}

/// Help tells the variables' names; their values may be nobody's business.
fn command() -> clap::Command {
    let names_only = |argument: clap::Arg| argument.hide_env_values(true);
    let mut command = Cli::command().mut_args(names_only);
    for verb in ["run", "check"] {
        command = command.mut_subcommand(verb, |verb| verb.mut_args(names_only));
    }
    command
}

/// Reads the command line.
///
/// # Errors
///
/// Bad usage, or a question for help or the version; the error prints itself.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Verb, clap::Error> {
    let matches = command().try_get_matches_from(arguments)?;
    let cli = Cli::from_arg_matches(&matches)?;
    let inner = matches.subcommand().map_or(&matches, |(_, inner)| inner);
    let mut verb = cli.verb.unwrap_or(Verb::Run(cli.run));
    match &mut verb {
        Verb::Run(args) => args.settings.note_origins(inner),
        Verb::Check(args) => args.note_origins(inner),
        Verb::Ping(_) | Verb::Http(_) | Verb::Metrics => {}
    }
    Ok(verb)
}

#[cfg(test)]
mod tests;
