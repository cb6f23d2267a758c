//! Whether the probes that the database holds add up: at every snapshot of every agent the outcomes of a region are the
//! probes that were sent to its targets.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::LabError;
use crate::promql::{PromQl, Series};

/// One snapshot of one agent as far as one region and one kind of probe goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Region that sends.
    pub source_region: String,
    /// Agent that sends.
    pub instance: String,
    /// Region that answers.
    pub target_region: String,
    /// Kind of probe.
    pub probe: String,
    /// When, in milliseconds since 1970.
    pub at: i64,
}

/// Both sides of the ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sides {
    /// `xprober_probes_total`, summed over the outcomes.
    pub outcomes: f64,
    /// `xprober_target_sent_total`, summed over the targets.
    pub sent: f64,
}

/// Every snapshot's two sides.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ledger(BTreeMap<Entry, Sides>);

impl Ledger {
    /// Reads what was stored in the last `window`.
    ///
    /// # Errors
    /// As [`PromQl::query`].
    pub async fn read(client: &PromQl, window: Duration) -> Result<Self, LabError> {
        // The sent side first: a snapshot that comes between the two questions then has outcomes alone, at its very end.
        let sent = client.stored("xprober_target_sent_total", window).await?;
        let outcomes = client.stored("xprober_probes_total", window).await?;
        Ok(Self::new(&outcomes, &sent))
    }

    /// Adds up both sides; snapshots newer than the same agent's newest of the sent side are left out, because only one side
    /// of them was read.
    #[must_use]
    pub fn new(outcomes: &[Series], sent: &[Series]) -> Self {
        let mut ledger = Self::default();
        let mut newest = BTreeMap::new();
        for (entry, value) in entries(sent) {
            let newest = newest.entry(agent(&entry)).or_insert(entry.at);
            *newest = entry.at.max(*newest);
            ledger.0.entry(entry).or_default().sent += value;
        }
        for (entry, value) in entries(outcomes) {
            if newest.get(&agent(&entry)).is_none_or(|newest| entry.at <= *newest) {
                ledger.0.entry(entry).or_default().outcomes += value;
            }
        }
        ledger
    }

    /// How many snapshots were compared.
    #[must_use]
    pub fn snapshots(&self) -> usize {
        self.0.len()
    }

    /// The snapshots whose sides differ; probes are whole, so no tolerance is given.
    #[must_use]
    pub fn gaps(&self) -> Vec<(&Entry, Sides)> {
        let differ = self.0.iter().filter(|(_, sides)| {
            #[expect(clippy::float_cmp, reason = "counts of probes are whole and far below 2^53")]
            let differ = sides.outcomes != sides.sent;
            differ
        });
        differ.map(|(entry, sides)| (entry, *sides)).collect()
    }
}

fn agent(entry: &Entry) -> (String, String) {
    (entry.source_region.clone(), entry.instance.clone())
}

fn entries(series: &[Series]) -> impl Iterator<Item = (Entry, f64)> {
    series.iter().flat_map(|one| {
        let label = |name: &str| one.labels.get(name).cloned().unwrap_or_default();
        one.points.iter().map(move |(at, value)| {
            let entry = Entry {
                source_region: label("source_region"),
                instance: label("instance"),
                target_region: label("target_region"),
                probe: label("probe"),
                at: milliseconds(*at),
            };
            (entry, *value)
        })
    })
}

#[expect(clippy::cast_possible_truncation, reason = "the next 200,000 years fit")]
fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1e3).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(extra: (&str, &str), points: &[(f64, f64)]) -> Series {
        let labels = [
            ("instance", "vm1"),
            ("source_region", "a"),
            ("target_region", "b"),
            ("probe", "icmp"),
            extra,
        ];
        Series {
            name: String::new(),
            labels: labels
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into_iter()
                .collect(),
            points: points.to_vec(),
        }
    }

    #[test]
    fn outcomes_of_a_region_balance_the_probes_sent_to_its_targets() {
        let outcomes = [
            series(("outcome", "ok"), &[(1.0, 4.0), (2.0, 7.0)]),
            // A series of its own only from the first loss on.
            series(("outcome", "lost"), &[(2.0, 1.0)]),
        ];
        let sent = [
            series(("target", "vm3"), &[(1.0, 2.0), (2.0, 4.0)]),
            series(("target", "vm4"), &[(1.0, 2.0), (2.0, 4.0)]),
        ];
        let ledger = Ledger::new(&outcomes, &sent);
        assert_eq!((ledger.snapshots(), ledger.gaps()), (2, vec![]));
    }

    #[test]
    fn probe_without_outcome_is_a_gap() {
        let outcomes = [series(("outcome", "ok"), &[(1.0, 4.0), (2.0, 7.0)])];
        let sent = [series(("target", "vm3"), &[(1.0, 4.0), (2.0, 8.0)])];
        let ledger = Ledger::new(&outcomes, &sent);
        let gaps = ledger.gaps();
        assert_eq!(gaps.len(), 1);
        assert_eq!((gaps[0].0.at, gaps[0].1.outcomes, gaps[0].1.sent), (2000, 7.0, 8.0));
    }

    #[test]
    fn snapshot_that_came_between_the_questions_is_left_out() {
        let outcomes = [series(("outcome", "ok"), &[(1.0, 4.0), (2.0, 7.0)])];
        let sent = [series(("target", "vm3"), &[(1.0, 4.0)])];
        assert_eq!(Ledger::new(&outcomes, &sent).snapshots(), 1);
    }
}
