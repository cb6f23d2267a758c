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
    let before = scene.wait_until_calm().await?;
    tokio::time::sleep(timing.calm).await;
    note(&format!("break: {}", case.fault));
    let clock = Clock {
        before,
        broken: Instant::now(),
    };
    scene.plant(lab, case.fault).await?;
    let verdict = clock.wait(case, &scene.stack.sink, Verdict::all_firing).await;
    note(&arrived("told", verdict.told_after(), verdict.all_firing()));
    tokio::time::sleep(timing.lasts.saturating_sub(clock.broken.elapsed())).await;
    note("repair");
    let mended = clock.broken.elapsed().as_secs_f64();
    scene.repair(lab, case.fault).await?;
    let verdict = clock.wait(case, &scene.stack.sink, Verdict::is_settled).await;
    let over = verdict.over_after().map(|at| at - mended);
    note(&arrived("over", over, verdict.all_over()));
    tokio::time::sleep(timing.after).await;
    let messages = clock.messages(&scene.stack.sink);
    let mut outcome = judged(case, options, &messages, mended);
    let window = clock.broken.elapsed() + timing.calm;
    outcome.complaints.extend(scene.aftermath(case.fault, window).await?);
    scene.stop().await?;
    shorten(&mut outcome.complaints);
    let is_right = outcome.complaints.is_empty();
    note(if is_right { "as expected" } else { "NOT as expected" });
    Ok(outcome)
}

fn judged(case: &Case, options: &Options, messages: &[Message], mended: f64) -> Outcome {
    let limit = case.limit(options.settings);
    let limit = limit.map(|limit| (limit * options.slack).as_secs_f64());
    let verdict = judge::judge(&case.expected, messages, mended, limit);
    let alerts = case.expected.iter().zip(&verdict.times).map(|(expected, times)| Alert {
        name: expected.alert.to_owned(),
        told: times.firing,
        over: times.over.map(|at| at - mended),
    });
    let tells = |message: &&Message| message.alerts.iter().any(|told| !told.resolved);
    let firing = messages.iter().filter(tells).count();
    Outcome {
        case: case.name.to_owned(),
        pace: options.settings,
        database: options.database,
        alerts: alerts.collect(),
        messages: [firing, messages.len() - firing],
        complaints: verdict.complaints,
    }
}

/// A storm is told by its beginning.
fn shorten(complaints: &mut Vec<String>) {
    let more = complaints.len().saturating_sub(MOST_COMPLAINTS);
    complaints.truncate(MOST_COMPLAINTS);
    if more > 0 {
        complaints.push(format!("and {more} complaints more"));
    }
}

/// From when on messages count, and when the fault was planted.
#[derive(Clone, Copy)]
struct Clock {
    /// Messages that came before the world was calm.
    before: usize,
    broken: Instant,
}

impl Clock {
    /// Waits until the messages so far please, or patience ends.
    async fn wait(self, case: &Case, sink: &Sink, pleases: impl Fn(&Verdict) -> bool) -> Verdict {
        let begin = Instant::now();
        loop {
            let verdict = judge::follow(&case.expected, &self.messages(sink));
            if pleases(&verdict) || begin.elapsed() >= PATIENCE {
                return verdict;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn messages(self, sink: &Sink) -> Vec<Message> {
        let received = sink.received();
        let messages = received.iter().skip(self.before).map(|message| {
            let after = message.at.checked_duration_since(self.broken);
            let before = || -self.broken.duration_since(message.at).as_secs_f64();
            Message {
                at: after.map_or_else(before, |after| after.as_secs_f64()),
                alerts: told::alerts(message).iter().map(read).collect(),
            }
        });
        messages.collect()
    }
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
