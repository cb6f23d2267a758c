//! The command line: what the user typed becomes one of three verbs.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use xprober_config::Override;
use xprober_config::address::listen_address;
use xprober_config::planner::PlannerOverrides;

use crate::reload::task::Source;

pub mod check;

pub mod plan;

pub mod run;

/// Tells every xprober agent what to probe.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(
    name = "xprober-planner",
    version,
    after_help = "`run` is the default: `xprober-planner --config.file=planner.yml` runs the planner.\n\
                  Exit status: 0 done, 1 bad configuration or failure, 2 bad usage."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What the planner can be asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Verb {
    /// Runs the planner
    Run(RunArgs),
    /// Checks a configuration file and tells every problem of it
    Check(FileArgs),
    /// Prints who would probe what, from a list of agents
    Plan(PlanArgs),
}

/// Where the configuration is.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct FileArgs {
    /// Configuration file; an old xprober.yml is accepted
    #[arg(
        long = "config.file",
        env = "XPROBER_CONFIG_FILE",
        value_name = "FILE",
        default_value = "planner.yml"
    )]
    pub config_file: PathBuf,
}

/// Arguments of `run`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RunArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub file: FileArgs,
    /// Where agents connect.
    #[arg(help = "Where agents connect, instead of rpc_listen_addr of the file", long = "rpc.listen-address", env = "XPROBER_RPC_LISTEN_ADDRESS", value_name = "ADDRESS", value_parser = address)]
    pub rpc_listen_address: Option<String>,
    /// Where the pages are.
    #[arg(help = "Where /metrics and the pages are, instead of metrics_listen_addr of the file", long = "web.listen-address", env = "XPROBER_WEB_LISTEN_ADDRESS", value_name = "ADDRESS", value_parser = address)]
    pub web_listen_address: Option<String>,
    /// Least important messages that are logged
    #[arg(
        long = "log.level",
        env = "XPROBER_LOG_LEVEL",
        value_name = "LEVEL",
        default_value = "info"
    )]
    pub log_level: LogLevel,
    /// Form of the log on standard error
    #[arg(
        long = "log.format",
        env = "XPROBER_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "logfmt"
    )]
    pub log_format: LogFormat,
}

/// Arguments of `plan`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct PlanArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub file: FileArgs,
    /// File with the agents to plan for.
    #[arg(
        long = "members",
        env = "XPROBER_MEMBERS",
        value_name = "FILE",
        help = "Agents to plan for: a YAML list of {id, region, addresses, kinds, tcp_port}"
    )]
    pub members: PathBuf,
    /// Says why each target is there, and what was left out
    #[arg(long = "explain", env = "XPROBER_EXPLAIN")]
    pub explain: bool,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Someone must act.
    Error,
    /// Something was lost or is degraded.
    Warn,
    /// Life cycle.
    Info,
    /// Every decision.
    Debug,
    /// Every message.
    Trace,
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `key=value` pairs.
    Logfmt,
    /// One JSON object per line.
    Json,
}

impl RunArgs {
    /// Puts file and flags together.
    #[must_use]
    pub fn source(&self) -> Source {
        let given = |value: &Option<String>, flag: &str| {
            value.clone().map(|value| Override {
                value,
                origin: flag.to_owned(),
            })
        };
        Source {
            file: self.file.config_file.clone(),
            overrides: PlannerOverrides {
                rpc_listen_addr: given(&self.rpc_listen_address, "--rpc.listen-address"),
                metrics_listen_addr: given(&self.web_listen_address, "--web.listen-address"),
            },
        }
    }
}

/// Parses a command line; without a verb it is `run`, as it was in the old tool.
///
/// # Errors
///
/// What clap says about it, help and version included.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let first = arguments.get(1).map(|first| first.to_string_lossy().into_owned());
    let verbless = match first.as_deref() {
        None => true,
        Some("-h" | "--help" | "-V" | "--version") => false,
        Some(first) => first.starts_with('-'),
    };
    if verbless {
        arguments.insert(arguments.len().min(1), "run".into());
    }
    Cli::try_parse_from(arguments)
}

fn address(text: &str) -> Result<String, xprober_config::value::InvalidValue> {
    listen_address(text).map(|_| text.to_owned())
}
