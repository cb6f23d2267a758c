//! One case from its start to its verdict, inside a lab of its own.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::cases::{Case, cases};
use super::judge::{self, Message, Told, Verdict};
use super::scene::Scene;
use crate::enter::Inside;
use crate::error::LabError;
use crate::servers::sink::Sink;
use crate::side_by_side;
use crate::stack::{Database, Pace};
use crate::told;
use crate::topology::Topology;
use crate::world::Lab;

/// Longest time until an alert and until its end that is waited for.
const PATIENCE: Duration = Duration::from_mins(7);
/// Between two looks at what came; each message has the time of its arrival whenever it is looked at.
const PAUSE: Duration = Duration::from_millis(200);
/// Complaints about one case that are told.
const MOST_COMPLAINTS: usize = 12;
/// Decides the WAN's dice.
const SEED: u64 = 1;

/// Options of one case.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Its name.
    #[arg(long)]
    pub case: String,
    /// The settings it runs with.
    #[arg(long, value_enum)]
    pub settings: Pace,
    /// The database it runs with.
    #[arg(long, value_enum)]
    pub database: Database,
    /// Multiplies what is promised.
    #[arg(long, default_value_t = 1)]
    pub slack: u32,
    /// Where the outcome is written.
    #[arg(long)]
    pub result: PathBuf,
}

/// One expected alert: its name, and when it came and went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Its name.
    pub name: String,
    /// Seconds from the break to the webhook.
    pub told: Option<f64>,
    /// Seconds from the repair to the webhook; negative when it ended before.
    pub over: Option<f64>,
}

/// What came of a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Its name.
    pub case: String,
    /// The settings.
    pub pace: Pace,
    /// The database.
    pub database: Database,
    /// The expected alerts.
    pub alerts: Vec<Alert>,
    /// Messages in which something was firing, and the others.
    pub messages: [usize; 2],
    /// What is wrong, one sentence each.
    pub complaints: Vec<String>,
}

/// Builds the lab, runs the case in it, and writes the outcome; answers whether it was asked to stop, and what is wrong.
///
/// # Errors
/// The first step that failed.
pub async fn run(inside: &Inside, options: &Options) -> Result<(bool, Vec<String>), LabError> {
    let Some(case) = cases().into_iter().find(|case| case.name == options.case) else {
        return Ok((false, vec![format!("no case has the name {:?}", options.case)]));
    };
    let lab = Lab::start(inside, Topology::demo(), SEED).await?;
    let stop = lab.stop_token();
    let outcome = stop.run_until_cancelled(play(&lab, &case, options)).await.transpose()?;
    lab.stop().await;
    let Some(outcome) = outcome else {
        return Ok((true, vec!["stopped before the end".to_owned()]));
    };
    side_by_side::write(&options.result, &outcome)?;
    Ok((false, outcome.complaints))
}

async fn play(lab: &Lab, case: &Case, options: &Options) -> Result<Outcome, LabError> {
    let note = |text: &str| note(case, options, text);
    let timing = case.timing(options.settings);
    let mut scene = Scene::start(lab, case.fault, options.settings, options.database).await?;
    scene.wait_until_measured().await?;
    tokio::time::sleep(timing.calm).await;
    note(&format!("break: {}", case.fault));
    let broken = Instant::now();
    scene.plant(lab, case.fault).await?;
    let verdict = wait(case, &scene.stack.sink, broken, Verdict::all_firing).await;
    note(&arrived("told", verdict.told_after(), verdict.all_firing()));
    tokio::time::sleep(timing.lasts.saturating_sub(broken.elapsed())).await;
    note("repair");
    let repaired = Instant::now();
    scene.repair(lab, case.fault).await?;
    let verdict = wait(case, &scene.stack.sink, broken, |verdict| {
        !verdict.all_firing() || verdict.all_over()
    })
    .await;
    let mended = repaired.duration_since(broken).as_secs_f64();
    note(&arrived(
        "over",
        verdict.over_after().map(|at| at - mended),
        verdict.all_over(),
    ));
    tokio::time::sleep(timing.after).await;
    let limit = case
        .limit(options.settings)
        .map(|limit| (limit * options.slack).as_secs_f64());
    let messages = messages(&scene.stack.sink, broken);
    let verdict = judge::judge(&case.expected, &messages, mended, limit);
    let mut complaints = verdict.complaints;
    complaints.extend(scene.aftermath(case.fault, broken.elapsed() + timing.calm).await?);
    scene.stop().await?;
    shorten(&mut complaints);
    note(if complaints.is_empty() {
        "as expected"
    } else {
        "NOT as expected"
    });
    let alerts = case.expected.iter().zip(&verdict.times).map(|(expected, times)| Alert {
        name: expected.alert.to_owned(),
        told: times.firing,
        over: times.over.map(|at| at - mended),
    });
    let firing = messages
        .iter()
        .filter(|message| message.alerts.iter().any(|told| !told.resolved))
        .count();
    Ok(Outcome {
        case: case.name.to_owned(),
        pace: options.settings,
        database: options.database,
        alerts: alerts.collect(),
        messages: [firing, messages.len() - firing],
        complaints,
    })
}

/// A storm is told by its beginning.
fn shorten(complaints: &mut Vec<String>) {
    let more = complaints.len().saturating_sub(MOST_COMPLAINTS);
    complaints.truncate(MOST_COMPLAINTS);
    if more > 0 {
        complaints.push(format!("and {more} complaints more"));
    }
}

/// Waits until the messages so far please, or patience ends.
async fn wait(case: &Case, sink: &Sink, broken: Instant, pleases: impl Fn(&Verdict) -> bool) -> Verdict {
    let begin = Instant::now();
    loop {
        let verdict = judge::follow(&case.expected, &messages(sink, broken));
        if pleases(&verdict) || begin.elapsed() >= PATIENCE {
            return verdict;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What the webhook got so far, on the course's clock.
fn messages(sink: &Sink, broken: Instant) -> Vec<Message> {
    let received = sink.received();
    let messages = received.iter().map(|message| {
        let after = message
            .at
            .checked_duration_since(broken)
            .map(|after| after.as_secs_f64());
        let before = || -broken.duration_since(message.at).as_secs_f64();
        Message {
            at: after.unwrap_or_else(before),
            alerts: told::alerts(message).iter().map(read).collect(),
        }
    });
    messages.collect()
}

fn read(one: &told::Told) -> Told {
    let texts = |name: &str| {
        let texts = one.alert[name].as_object().into_iter().flatten();
        texts
            .map(|(name, text)| (name.clone(), text.as_str().unwrap_or_default().to_owned()))
            .collect()
    };
    let mut labels: super::expected::Labels = texts("labels");
    Told {
        alert: labels.remove("alertname").unwrap_or_default(),
        labels,
        annotations: texts("annotations"),
        resolved: one.resolved,
    }
}

fn arrived(what: &str, after: Option<f64>, all: bool) -> String {
    match after {
        Some(after) if all => format!("{what} after {after:.1} s"),
        Some(_) => format!("not everything was {what}"),
        None if all => "nothing is expected".to_owned(),
        None => format!("nothing was {what}"),
    }
}

fn note(case: &Case, options: &Options, text: &str) {
    let name = format!(
        "{}, {}, {}",
        case.name,
        options.settings.name(),
        options.database.name()
    );
    let _gone = writeln!(std::io::stdout(), "{name}: {text}");
}
