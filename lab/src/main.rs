//! `xprober-lab`: the demo, the benchmarks, the test of accuracy and the test of delivery.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use xprober_lab::accuracy;
use xprober_lab::chaos;
use xprober_lab::demo::run::{FORWARDS, Options, run};
use xprober_lab::enter::{self, Place};
use xprober_lab::mutation;
use xprober_lab::stack::Database;
use xprober_lab::testing::chain;
use xprober_lab::{bench, bench_push};

/// Runs xprober on regions that exist only on this machine.
#[derive(Debug, Parser)]
#[command(name = "xprober-lab", version, about)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Shows four regions, two agents each, measured live; Ctrl-C ends it and removes everything.
    Demo(Demo),
    /// Measures our agent beside other probers and writes the ratios.
    BenchProbe(bench::plan::Options),
    /// Measures what pushing costs our agent beside Prometheus' agent and vmagent and writes the ratios.
    BenchPush(bench_push::plan::Options),
    /// Injects known faults and holds what our agents measure against them.
    Accuracy(accuracy::run::Options),
    /// Breaks what agents push through and holds what is stored against what they sealed.
    Chaos(chaos::run::Options),
    /// Breaks the alert and recording rules one at a time and shows that their tests notice.
    MutateRules(mutation::run::Options),
    /// One of the probers that the benchmark measures.
    #[command(hide = true)]
    Contender(bench::child::Options),
    /// The agent's push path alone, for that benchmark.
    #[command(hide = true)]
    Pusher(bench_push::child::Options),
}

#[derive(Debug, Args)]
struct Demo {
    /// Database that takes the samples.
    #[arg(long, value_enum, default_value_t = Tsdb::Prometheus)]
    tsdb: Tsdb,
    /// Ends after that many seconds: exit status 0, or 1 with what did not arrive or is off.
    #[arg(long = "for", value_name = "SECONDS")]
    watch: Option<u64>,
    /// Slows the line between two regions after 20 s, as in a-b, and shows the alert as Alertmanager sent it.
    #[arg(long = "break", value_name = "X-Y", value_parser = two_regions)]
    breaks: Option<(String, String)>,
    /// Lets nothing pass between two regions from the start on, as in a-b; with --for the exit status is then 1.
    #[arg(long, value_name = "X-Y", value_parser = two_regions)]
    cut: Option<(String, String)>,
    /// Multiplies what a mean may be off before the demo complains; above 1 for a machine that has other work.
    #[arg(long, value_name = "FACTOR", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    slack: u32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Tsdb {
    Prometheus,
    Victoriametrics,
}

fn two_regions(text: &str) -> Result<(String, String), String> {
    let known = |region: &str| ["a", "b", "c", "d"].contains(&region);
    match text.split_once('-') {
        Some((one, other)) if one != other && known(one) && known(other) => {
            Ok((format!("region-{one}"), format!("region-{other}")))
        }
        _ => Err("two different regions of a, b, c, d, as in a-b".to_owned()),
    }
}

fn main() -> ExitCode {
    let verb = Arguments::parse().verb;
    let level = std::env::var("XPROBER_LAB_LOG").unwrap_or_else(|_| "warn".to_owned());
    tracing_subscriber::fmt()
        .with_env_filter(level)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let done = match &verb {
        Verb::Demo(demo) => show(demo),
        Verb::BenchProbe(options) => compare(options),
        Verb::BenchPush(options) => compare_push(options),
        Verb::Pusher(options) => bench_push::child::run(options)
            .map(|()| ExitCode::SUCCESS)
            .map_err(Into::into),
        Verb::Accuracy(options) => inject(options),
        Verb::Chaos(options) => disturb(options),
        Verb::MutateRules(options) => mutate(options),
        Verb::Contender(options) => bench::child::run(options)
            .map(|()| ExitCode::SUCCESS)
            .map_err(Into::into),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("xprober-lab: {}", chain(error.as_ref())));
            ExitCode::FAILURE
        }
    }
}

fn show(demo: &Demo) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let inside = match enter::enter(&FORWARDS)? {
        Place::Inside(inside) => inside,
        Place::Finished(finished) => return Ok(ExitCode::from(u8::try_from(finished.code).unwrap_or(1))),
    };
    let database = match demo.tsdb {
        Tsdb::Prometheus => Database::Prometheus,
        Tsdb::Victoriametrics => Database::VictoriaMetrics,
    };
    let options = Options {
        database,
        watch: demo.watch.map(Duration::from_secs),
        breaks: demo.breaks.clone(),
        cut: demo.cut.clone(),
        slack: demo.slack,
    };
    let complaints = tokio::runtime::Runtime::new()?.block_on(run(&inside, &options))?;
    for complaint in &complaints {
        complain(&format!("demo: {complaint}"));
    }
    Ok(if complaints.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn compare(options: &bench::plan::Options) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let inside = match enter::enter(&[])? {
        Place::Inside(inside) => inside,
        Place::Finished(finished) => return Ok(ExitCode::from(u8::try_from(finished.code).unwrap_or(1))),
    };
    tokio::runtime::Runtime::new()?.block_on(bench::run::run(&inside, options))?;
    Ok(ExitCode::SUCCESS)
}

fn compare_push(options: &bench_push::plan::Options) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let inside = match enter::enter(&[])? {
        Place::Inside(inside) => inside,
        Place::Finished(finished) => return Ok(ExitCode::from(u8::try_from(finished.code).unwrap_or(1))),
    };
    tokio::runtime::Runtime::new()?.block_on(bench_push::run::run(&inside, options))?;
    Ok(ExitCode::SUCCESS)
}

fn inject(options: &accuracy::run::Options) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let inside = match enter::enter(&[])? {
        Place::Inside(inside) => inside,
        Place::Finished(finished) => return Ok(ExitCode::from(u8::try_from(finished.code).unwrap_or(1))),
    };
    let complaints = tokio::runtime::Runtime::new()?.block_on(accuracy::run::run(&inside, options))?;
    for complaint in &complaints {
        complain(&format!("accuracy: {complaint}"));
    }
    Ok(if complaints.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn disturb(options: &chaos::run::Options) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let inside = match enter::enter(&[])? {
        Place::Inside(inside) => inside,
        Place::Finished(finished) => return Ok(ExitCode::from(u8::try_from(finished.code).unwrap_or(1))),
    };
    let complaints = tokio::runtime::Runtime::new()?.block_on(chaos::run::run(&inside, options))?;
    for complaint in &complaints {
        complain(&format!("chaos: {complaint}"));
    }
    Ok(if complaints.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn mutate(options: &mutation::run::Options) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let complaints = mutation::run::run(options)?;
    for complaint in &complaints {
        complain(&format!("mutate-rules: {complaint}"));
    }
    Ok(if complaints.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn complain(text: &str) {
    let _gone = writeln!(std::io::stderr(), "{text}");
}
