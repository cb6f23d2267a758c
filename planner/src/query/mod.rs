//! What the time-series store says: the measured values that the page shows.
//!
//! In: the store's answers to a fixed list of [`question`]s. Out: [`Values`], and in [`Reading`] since when there are none and
//! why. No clock and no socket: [`task`] asks while somebody looks, and [`client`] is the HTTP edge.
//!
//! ```text
//!   page, /api/v1/matrix --look (bounded)--> [task] --question--> client ==HTTP==> Prometheus, VictoriaMetrics
//!            ^                                  |  <--answer----
//!            +---------- watch Reading ---------+
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

pub mod answer;

pub mod question;

pub mod client;

pub mod task;

/// How long values are shown after they were read. Older ones say nothing about now, so they are not shown at all.
pub const SHOWN_FOR: Duration = Duration::from_secs(20);

/// An ordered pair of regions: source, then target.
pub type PairKey = (String, String);

/// What is known of one ordered pair, by one kind of probe.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PairValues {
    /// Median round-trip time, seconds; `None` when nothing came back.
    pub rtt_p50_seconds: Option<f64>,
    /// Round-trip time that 99 of 100 answered probes stayed below, seconds.
    pub rtt_p99_seconds: Option<f64>,
    /// Lost share, 0 to 1.
    pub loss_ratio: Option<f64>,
}

/// What is known of one HTTP target from one region.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HttpValues {
    /// Mean time of each stage, seconds, by its name.
    pub stages: BTreeMap<String, f64>,
    /// Mean time of the whole probe, seconds.
    pub duration_seconds: Option<f64>,
    /// Share of agents whose last probe succeeded, 0 to 1.
    pub success_ratio: Option<f64>,
}

/// Everything that was read in one go. Names in it come from the store and are not checked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Values {
    /// By kind of probe, then by pair.
    pub pairs: BTreeMap<String, BTreeMap<PairKey, PairValues>>,
    /// Share of probes over the round-trip time budget, by line and direction.
    pub over_budget: BTreeMap<(String, PairKey), f64>,
    /// By target, then by source and target region.
    pub http: BTreeMap<(String, PairKey), HttpValues>,
    /// Seconds since the newest sample that an agent pushed, by region and agent id.
    pub sample_age_seconds: BTreeMap<(String, String), f64>,
}

impl Values {
    /// Tells whether agents of several regions report and the recording rules still gave nothing at all.
    #[must_use]
    pub fn rules_are_missing(&self) -> bool {
        let mut regions = self.sample_age_seconds.keys().map(|(region, _)| region);
        let first = regions.next();
        regions.any(|region| Some(region) != first) && self.pairs.is_empty() && self.http.is_empty()
    }
}

/// Where the questions stand.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Whether the settings name a store at all.
    pub configured: bool,
    /// When the store was asked last, answered or not.
    pub asked_at: Option<Instant>,
    /// The last values and when they came.
    pub last: Option<(Moment, Arc<Values>)>,
    /// Why the last questions brought nothing.
    pub failure: Option<String>,
}

/// A moment on both clocks: one tells ages, the other is shown.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// For ages.
    pub monotonic: Instant,
    /// For people.
    pub wall: SystemTime,
}

impl Reading {
    /// The values that may be shown at `now`; old ones are none.
    #[must_use]
    pub fn values(&self, now: Instant) -> Option<&Arc<Values>> {
        let (at, values) = self.last.as_ref()?;
        (now.saturating_duration_since(at.monotonic) <= SHOWN_FOR).then_some(values)
    }

    /// When the last values came, shown or not.
    #[must_use]
    pub fn values_at(&self) -> Option<SystemTime> {
        self.last.as_ref().map(|(at, _)| at.wall)
    }

    /// Takes note of what came of questions that were asked at `at`.
    #[must_use]
    pub fn after(&self, at: Moment, answered: Result<Values, String>) -> Self {
        let (last, failure) = match answered {
            Ok(values) => (Some((at, Arc::new(values))), None),
            Err(reason) => (self.last.clone(), Some(reason)),
        };
        Self {
            configured: true,
            asked_at: Some(at.monotonic),
            last,
            failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(after: Duration) -> Moment {
        Moment {
            monotonic: Instant::now() + after,
            wall: SystemTime::now() + after,
        }
    }

    #[test]
    fn values_end_soon_after_the_store_falls_silent() {
        let read = moment(Duration::ZERO);
        let reading = Reading::default().after(read, Ok(Values::default()));
        assert!(reading.values(read.monotonic + SHOWN_FOR).is_some());
        let failed = reading.after(moment(Duration::from_secs(5)), Err("refused".to_owned()));
        assert!(failed.values(read.monotonic + SHOWN_FOR).is_some());
        assert!(
            failed
                .values(read.monotonic + SHOWN_FOR + Duration::from_secs(1))
                .is_none()
        );
        assert_eq!(failed.values_at(), Some(read.wall));
        assert_eq!(failed.failure.as_deref(), Some("refused"));
        let back = failed.after(moment(Duration::from_secs(9)), Ok(Values::default()));
        assert_eq!(back.failure, None);
    }

    #[test]
    fn rules_are_missing_when_two_regions_report_and_nothing_is_recorded() {
        let ages = |names: &[(&str, &str)]| {
            let age = |(region, id): &(&str, &str)| (((*region).to_owned(), (*id).to_owned()), 1.0);
            names.iter().map(age).collect::<BTreeMap<_, _>>()
        };
        let mut values = Values {
            sample_age_seconds: ages(&[("a", "vm1"), ("a", "vm2")]),
            ..Values::default()
        };
        assert!(!values.rules_are_missing(), "one region alone has no pairs");
        values.sample_age_seconds = ages(&[("a", "vm1"), ("b", "vm2")]);
        assert!(values.rules_are_missing());
        values.pairs.entry("icmp".to_owned()).or_default();
        assert!(!values.rules_are_missing());
    }
}
