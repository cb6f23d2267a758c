//! What a person sees of a few echoes: the table and the JSON of `xprober-agent ping`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::probe::{EchoResult, Outcome};

/// Echoes to one host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    outcomes: BTreeMap<Outcome, u64>,
    duplicates: u64,
    /// Of replies in time and late ones.
    rtts: Vec<Duration>,
}

impl Summary {
    /// Adds one result.
    pub fn add(&mut self, result: &EchoResult) {
        *self.outcomes.entry(result.outcome).or_default() += 1;
        self.duplicates += u64::from(result.duplicates);
        self.rtts.extend(result.rtt);
    }

    fn sent(&self) -> u64 {
        self.outcomes.values().sum()
    }

    /// Echoes that were answered.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.count(Outcome::received)
    }

    fn count(&self, wanted: impl Fn(Outcome) -> bool) -> u64 {
        self.outcomes
            .iter()
            .filter(|(outcome, _)| wanted(**outcome))
            .map(|(_, count)| count)
            .sum()
    }

    /// Share of the echoes that say something about the network and were not answered; `None` when none does.
    fn loss(&self) -> Option<f64> {
        let judged = self.count(Outcome::judges_network);
        let unanswered = judged - self.received();
        (judged > 0).then(|| as_float(unanswered) / as_float(judged))
    }

    fn average(&self) -> Option<Duration> {
        let count = u32::try_from(self.rtts.len()).ok().filter(|count| *count > 0)?;
        Some(self.rtts.iter().sum::<Duration>() / count)
    }
}

/// Counts of a few echoes are exact in a float.
fn as_float(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// Draws a table, one line for each host in the order given.
#[must_use]
pub fn render(summaries: &[(String, Summary)]) -> String {
    let width = summaries.iter().map(|(host, _)| host.len()).max().unwrap_or(0).max(4);
    let mut text = format!(
        "{:width$}  {:>5}  {:>8}  {:>7}  {:>9}  {:>9}  {:>9}  outcomes\n",
        "host", "sent", "received", "loss", "min ms", "avg ms", "max ms"
    );
    for (host, summary) in summaries {
        let loss = summary
            .loss()
            .map_or_else(|| "-".to_owned(), |loss| format!("{:.1} %", loss * 100.0));
        let mut outcomes: Vec<String> = summary
            .outcomes
            .iter()
            .map(|(outcome, count)| format!("{} {count}", outcome.as_str()))
            .collect();
        if summary.duplicates > 0 {
            outcomes.push(format!("duplicates {}", summary.duplicates));
        }
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{host:width$}  {:>5}  {:>8}  {loss:>7}  {:>9}  {:>9}  {:>9}  {}",
            summary.sent(),
            summary.received(),
            millis(summary.rtts.iter().min().copied()),
            millis(summary.average()),
            millis(summary.rtts.iter().max().copied()),
            outcomes.join(", ")
        );
    }
    text
}

fn millis(rtt: Option<Duration>) -> String {
    rtt.map_or_else(|| "-".to_owned(), |rtt| format!("{:.3}", rtt.as_secs_f64() * 1000.0))
}

/// Writes an array of objects, one for each host: times in seconds, absent values as null.
#[must_use]
pub fn to_json(summaries: &[(String, Summary)]) -> Value {
    let seconds = |rtt: Option<Duration>| rtt.map(|rtt| rtt.as_secs_f64());
    let one = |(host, summary): &(String, Summary)| {
        let outcomes: BTreeMap<&str, u64> = summary
            .outcomes
            .iter()
            .map(|(outcome, count)| (outcome.as_str(), *count))
            .collect();
        json!({
            "host": host,
            "sent": summary.sent(),
            "received": summary.received(),
            "loss_ratio": summary.loss(),
            "rtt_min_seconds": seconds(summary.rtts.iter().min().copied()),
            "rtt_avg_seconds": seconds(summary.average()),
            "rtt_max_seconds": seconds(summary.rtts.iter().max().copied()),
            "outcomes": outcomes,
            "duplicates": summary.duplicates,
        })
    };
    summaries.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use xprober_proto::{IcmpSpec, ProbeSpec, Target};

    use super::*;

    fn summary(results: &[(Outcome, Option<u64>)]) -> Summary {
        let target = Arc::new(Target {
            id: "t".parse().unwrap(),
            name: "t".to_owned(),
            region: "here".parse().unwrap(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            probe: ProbeSpec::Icmp(IcmpSpec::new("10.0.0.1".parse().unwrap(), 56)),
        });
        let mut summary = Summary::default();
        for (outcome, rtt) in results {
            summary.add(&EchoResult {
                rtt: rtt.map(Duration::from_millis),
                ..EchoResult::failed(Arc::clone(&target), *outcome, None)
            });
        }
        summary
    }

    #[test]
    fn our_own_faults_are_no_loss() {
        let mixed = summary(&[
            (Outcome::Ok, Some(10)),
            (Outcome::Late, Some(30)),
            (Outcome::Lost, None),
            (Outcome::Unreachable, None),
            (Outcome::SendError, None),
            (Outcome::Stalled, None),
        ]);
        assert_eq!((mixed.sent(), mixed.received(), mixed.loss()), (6, 2, Some(0.5)));
        assert_eq!(mixed.average(), Some(Duration::from_millis(20)));
        assert_eq!(summary(&[(Outcome::SendError, None)]).loss(), None);
    }

    #[test]
    fn the_table_shows_what_came_back_and_what_did_not() {
        let good = summary(&[(Outcome::Ok, Some(10)), (Outcome::Ok, Some(20))]);
        let table = render(&[
            ("10.0.0.1".to_owned(), good),
            ("gone".to_owned(), summary(&[(Outcome::Lost, None)])),
        ]);
        let expected = "\
host       sent  received     loss     min ms     avg ms     max ms  outcomes
10.0.0.1      2         2    0.0 %     10.000     15.000     20.000  ok 2
gone          1         0  100.0 %          -          -          -  lost 1
";
        assert_eq!(table, expected);
    }
}
