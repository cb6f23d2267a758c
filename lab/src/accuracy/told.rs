//! What the database says that the agents measured, per ordered pair of regions.

use std::collections::BTreeMap;

use crate::error::LabError;
use crate::promql::{PromQl, Sample};

/// Source region and target region.
pub type Pair = (String, String);

/// One region's measurements of another since the agents started.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Told {
    /// Probes by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Probes that were never sent, because their time had passed; stalled ones.
    pub skipped: u64,
    /// Further copies of replies.
    pub duplicates: u64,
    /// Sum of the round-trip times of answers in time, seconds.
    pub rtt_sum: f64,
    /// How many those are.
    pub rtt_count: u64,
    /// The jitter of the target, averaged over all pushes; seconds.
    pub jitter: Option<f64>,
    /// Fewest and most probes of one target.
    pub per_target: Option<[u64; 2]>,
}

impl Told {
    /// Probes with this outcome.
    #[must_use]
    pub fn count(&self, outcome: &str) -> u64 {
        self.outcomes.get(outcome).copied().unwrap_or_default()
    }

    /// Probes that must have been on the wire.
    #[must_use]
    pub fn sent(&self) -> u64 {
        let all: u64 = self.outcomes.values().sum();
        all.saturating_sub(self.skipped + self.count("send_error"))
    }

    /// Probes on the wire about which the agent does not say anything, because it was not running well itself.
    #[must_use]
    pub fn stalled_on_the_wire(&self) -> u64 {
        self.count("stalled").saturating_sub(self.skipped)
    }

    /// Probes that say something about the network.
    #[must_use]
    pub fn judged(&self) -> u64 {
        self.sent().saturating_sub(self.stalled_on_the_wire())
    }

    /// Mean round-trip time, seconds.
    #[must_use]
    pub fn rtt(&self) -> Option<f64> {
        (self.rtt_count > 0).then(|| self.rtt_sum / super::band::double(self.rtt_count))
    }
}

/// Reads everything; the agents have ended and pushed their last.
///
/// # Errors
/// [`LabError::Http`].
pub async fn read(client: &PromQl) -> Result<BTreeMap<Pair, Told>, LabError> {
    let mut all: BTreeMap<Pair, Told> = BTreeMap::new();
    let mut each = |samples: Vec<Sample>, take: fn(&mut Told, &Sample)| {
        for sample in samples {
            let pair = (
                sample.label("source_region").to_owned(),
                sample.label("target_region").to_owned(),
            );
            take(all.entry(pair).or_default(), &sample);
        }
    };
    each(last(client, "xprober_probes_total").await?, |told, sample| {
        told.outcomes.insert(sample.label("outcome").to_owned(), count(sample));
    });
    let skipped = "xprober_probe_reasons_total{outcome=\"stalled\",reason=\"skipped\"}";
    each(last(client, skipped).await?, |told, sample| {
        told.skipped = count(sample);
    });
    each(last(client, "xprober_probe_duplicates_total").await?, |told, sample| {
        told.duplicates = count(sample);
    });
    each(last(client, "xprober_rtt_seconds_sum").await?, |told, sample| {
        told.rtt_sum = sample.value;
    });
    each(last(client, "xprober_rtt_seconds_count").await?, |told, sample| {
        told.rtt_count = count(sample);
    });
    let jitter = client.query("avg_over_time(xprober_target_jitter_seconds[6h])").await?;
    each(jitter, |told, sample| told.jitter = Some(sample.value));
    each(last(client, "xprober_target_sent_total").await?, |told, sample| {
        let sent = count(sample);
        let [least, most] = told.per_target.unwrap_or([sent, sent]);
        told.per_target = Some([least.min(sent), most.max(sent)]);
    });
    Ok(all)
}

/// The last value of every series; stale markers do not count.
async fn last(client: &PromQl, selector: &str) -> Result<Vec<Sample>, LabError> {
    client.query(&format!("last_over_time({selector}[6h])")).await
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counters are whole and not negative"
)]
fn count(sample: &Sample) -> u64 {
    sample.value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_probes_and_those_that_could_not_leave_were_not_on_the_wire() {
        let outcomes = [("ok", 90), ("lost", 4), ("send_error", 1), ("stalled", 5)];
        let told = Told {
            outcomes: outcomes.map(|(name, count)| (name.to_owned(), count)).into(),
            skipped: 3,
            ..Told::default()
        };
        assert_eq!((told.sent(), told.stalled_on_the_wire(), told.judged()), (96, 2, 94));
    }
}
