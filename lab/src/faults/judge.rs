//! Whether what the webhook got is what was expected; pure.
//!
//! Each expected alert goes `quiet -> firing -> over`, once. A message may repeat an alert or its end only together with news, as
//! Alertmanager does when the second direction of a line joins or leaves the first.

use super::expected::{Expected, Labels};

/// Annotations that every alert must have.
const ANNOTATIONS: [&str; 5] = ["summary", "description", "value", "runbook", "dashboard"];

/// One alert as one message had it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its name.
    pub alert: String,
    /// All of its labels but the name.
    pub labels: Labels,
    /// Its annotations.
    pub annotations: Labels,
    /// Whether the message says that it is over.
    pub resolved: bool,
}

/// One message; times are seconds since the break, before which they are negative.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// When it came.
    pub at: f64,
    /// What it told.
    pub alerts: Vec<Told>,
}

/// When one expected alert came and went.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Times {
    /// First told, seconds since the break.
    pub firing: Option<f64>,
    /// Told to be over, seconds since the break.
    pub over: Option<f64>,
}

/// What is said about a case.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdict {
    /// Of each expected alert, in their order.
    pub times: Vec<Times>,
    /// What is wrong, one sentence each.
    pub complaints: Vec<String>,
}

impl Verdict {
    /// Whether every expected alert has come.
    #[must_use]
    pub fn all_firing(&self) -> bool {
        self.times.iter().all(|times| times.firing.is_some())
    }

    /// Whether every expected alert has come and gone.
    #[must_use]
    pub fn all_over(&self) -> bool {
        self.times
            .iter()
            .all(|times| times.firing.is_some() && times.over.is_some())
    }

    /// Whether nothing is left to wait for after the repair: what never came needs no end.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !self.all_firing() || self.all_over()
    }

    /// Until the last expected alert came, seconds since the break.
    #[must_use]
    pub fn told_after(&self) -> Option<f64> {
        self.times.iter().filter_map(|times| times.firing).reduce(f64::max)
    }

    /// Until the last expected alert was told to be over, seconds since the break.
    #[must_use]
    pub fn over_after(&self) -> Option<f64> {
        self.times.iter().filter_map(|times| times.over).reduce(f64::max)
    }
}

/// Follows the messages so far; what is still missing is no complaint.
#[must_use]
pub fn follow(expected: &[Expected], messages: &[Message]) -> Verdict {
    let mut verdict = Verdict {
        times: vec![Times::default(); expected.len()],
        complaints: Vec::new(),
    };
    for message in messages {
        let mut news = false;
        for told in &message.alerts {
            let place = expected.iter().position(|one| one.is(&told.alert, &told.labels));
            if let Some(place) = place {
                verdict.complaints.extend(unsaid(&expected[place], told));
                let (is_news, complaint) = step(&mut verdict.times[place], told, message.at);
                news |= is_news;
                verdict.complaints.extend(complaint);
            } else {
                news = true;
                let what = describe(told, message.at);
                verdict.complaints.push(format!("{what} was not expected"));
            }
            if !told.resolved {
                verdict.complaints.extend(bad_annotations(told));
            }
        }
        if !news {
            let complaint = format!("the message {:.1} s after the break tells nothing new", message.at);
            verdict.complaints.push(complaint);
        }
    }
    verdict.complaints.dedup();
    verdict
}

/// Judges the whole course; `repaired` is in seconds since the break, and so is `limit`, within which every expected alert
/// was promised.
#[must_use]
pub fn judge(expected: &[Expected], messages: &[Message], repaired: f64, limit: Option<f64>) -> Verdict {
    let mut verdict = follow(expected, messages);
    for (expected, times) in expected.iter().zip(&verdict.times) {
        let name = || format!("{} {}", expected.alert, words(&expected.labels));
        let complaint = match times.firing {
            None => Some(format!("{} never came", name())),
            Some(at) if at < 0.0 => Some(format!("{} came {:.1} s before the break", name(), -at)),
            Some(at) if at > repaired => Some(format!("{} came only after the repair", name())),
            Some(at) if limit.is_some_and(|limit| at > limit) => {
                let limit = limit.unwrap_or_default();
                Some(format!(
                    "{} came {at:.1} s after the break, {limit:.0} s are promised",
                    name()
                ))
            }
            Some(_) => None,
        };
        verdict.complaints.extend(complaint);
        let complaint = match (times.firing, times.over) {
            (Some(_), None) => Some(format!("{} was never told to be over", name())),
            (Some(_), Some(over)) if over < repaired => Some(format!(
                "{} was told to be over {:.1} s before the repair",
                name(),
                repaired - over
            )),
            _ => None,
        };
        verdict.complaints.extend(complaint);
    }
    verdict
}

/// Takes one expected alert one step further; answers whether that is news, and what is wrong with it.
fn step(times: &mut Times, told: &Told, at: f64) -> (bool, Option<String>) {
    match (times.firing, times.over, told.resolved) {
        (None, _, false) => {
            times.firing = Some(at);
            (true, None)
        }
        (Some(_), None, false) | (Some(_), Some(_), true) => (false, None),
        (Some(_), Some(_), false) => (true, Some(format!("{} came again", describe(told, at)))),
        (Some(_), None, true) => {
            times.over = Some(at);
            (true, None)
        }
        (None, _, true) => (true, Some(format!("{} was never told before", describe(told, at)))),
    }
}

/// Annotations that are missing, or hold what Go's templates write when they fail.
fn bad_annotations(told: &Told) -> Option<String> {
    let broken = ["<no value>", "<error", "%!", "error expanding", "error executing"];
    let bad: Vec<_> = ANNOTATIONS
        .into_iter()
        .filter(|name| {
            let text = told.annotations.get(*name).map_or("", String::as_str);
            text.trim().is_empty() || broken.iter().any(|broken| text.contains(broken))
        })
        .collect();
    (!bad.is_empty()).then(|| format!("{} has no good {}", told.alert, bad.join(", ")))
}

/// Words that should be in an alert's texts and are not.
fn unsaid(expected: &Expected, told: &Told) -> Option<String> {
    let texts = ["summary", "description"].map(|name| told.annotations.get(name).map_or("", String::as_str));
    let unsaid = expected
        .says
        .iter()
        .filter(|words| !texts.iter().any(|text| text.contains(*words)));
    let unsaid: Vec<_> = unsaid.map(String::as_str).collect();
    (!told.resolved && !unsaid.is_empty()).then(|| format!("{} does not say {}", told.alert, unsaid.join(", ")))
}

fn describe(told: &Told, at: f64) -> String {
    let what = if told.resolved { "the end of " } else { "" };
    format!(
        "{what}{} {}, {at:.1} s after the break,",
        told.alert,
        words(&told.labels)
    )
}

/// Labels as in a selector.
#[must_use]
pub fn words(labels: &Labels) -> String {
    let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

#[cfg(test)]
mod tests;
