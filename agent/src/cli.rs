//! What the command line says: verbs, flags, environment.
//!
//! Flags have the dots of the ecosystem and of the old tool. Each has an environment variable, `XPROBER_` and the flag in
//! upper case with `_` for dots and dashes. Values are checked where the file's are, so that all problems come at once.

mod settings;

mod ping;

mod http;

use std::ffi::OsString;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

pub use http::HttpArgs;
pub use ping::PingArgs;
pub use settings::SettingsArgs;

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
