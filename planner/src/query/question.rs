//! The questions, and where each answer belongs in [`Values`].
//!
//! Everything but the age of samples is a recording of `grafana/rules/recording.yml`, so the page, the dashboards and the
//! alerts read the same numbers.

use super::answer::Sample;
use super::{HttpValues, PairKey, PairValues, Values};

/// One question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Median round-trip time per pair.
    RttP50,
    /// 99th percentile of the round-trip time per pair.
    RttP99,
    /// Lost share per pair.
    Loss,
    /// Share over the round-trip time budget per line and direction.
    OverBudget,
    /// Time of each HTTP stage.
    HttpStage,
    /// Time of whole HTTP probes.
    HttpDuration,
    /// Share of HTTP probes that succeed.
    HttpSuccess,
    /// Age of each agent's newest sample.
    SampleAge,
}

impl Question {
    /// All of them, in the order in which they are asked.
    pub const ALL: [Self; 8] = [
        Self::RttP50,
        Self::RttP99,
        Self::Loss,
        Self::OverBudget,
        Self::HttpStage,
        Self::HttpDuration,
        Self::HttpSuccess,
        Self::SampleAge,
    ];

    /// The recording that is read; `None` for what is read from the agents' own series.
    #[must_use]
    pub const fn recording(self) -> Option<&'static str> {
        match self {
            Self::RttP50 => Some("region_pair:xprober_rtt_seconds:p50_1m"),
            Self::RttP99 => Some("region_pair:xprober_rtt_seconds:p99_1m"),
            Self::Loss => Some("region_pair:xprober_loss:ratio_1m"),
            Self::OverBudget => Some("line:xprober_over_budget:ratio_30s"),
            Self::HttpStage => Some("region_http:xprober_http_stage_seconds:avg"),
            Self::HttpDuration => Some("region_http:xprober_http_duration_seconds:avg"),
            Self::HttpSuccess => Some("region_http:xprober_http_success:ratio"),
            Self::SampleAge => None,
        }
    }

    /// The expression, the same for Prometheus and `VictoriaMetrics`.
    ///
    /// A store looks back five minutes for a sample. Where the rules are no longer evaluated that would show old values as
    /// today's, so recordings older than a minute are left out.
    #[must_use]
    pub fn expression(self) -> String {
        match self.recording() {
            Some(name) => format!("{name} and (time() - timestamp({name}) < 60)"),
            None => "min by (source_region, instance) (time() - timestamp(xprober_agent_build_info))".to_owned(),
        }
    }

    /// Puts the samples of an answer where they belong; a sample without the labels that name its place is left out.
    pub fn fill(self, values: &mut Values, samples: &[Sample]) {
        for sample in samples.iter().filter(|sample| sample.value.is_finite()) {
            // A sample that lacks a label belongs to no row.
            let _ = self.place(values, sample);
        }
    }

    fn place(self, values: &mut Values, sample: &Sample) -> Option<()> {
        match self {
            Self::RttP50 => pair(values, sample)?.rtt_p50_seconds = Some(sample.value),
            Self::RttP99 => pair(values, sample)?.rtt_p99_seconds = Some(sample.value),
            Self::Loss => pair(values, sample)?.loss_ratio = Some(sample.value.clamp(0.0, 1.0)),
            Self::OverBudget => {
                let key = (sample.label("line")?.to_owned(), pair_key(sample)?);
                values.over_budget.insert(key, sample.value.clamp(0.0, 1.0));
            }
            Self::HttpStage => {
                let stage = sample.label("stage")?.to_owned();
                http(values, sample)?.stages.insert(stage, sample.value);
            }
            Self::HttpDuration => http(values, sample)?.duration_seconds = Some(sample.value),
            Self::HttpSuccess => http(values, sample)?.success_ratio = Some(sample.value.clamp(0.0, 1.0)),
            Self::SampleAge => {
                let key = (
                    sample.label("source_region")?.to_owned(),
                    sample.label("instance")?.to_owned(),
                );
                values.sample_age_seconds.insert(key, sample.value.max(0.0));
            }
        }
        Some(())
    }
}

fn pair<'a>(values: &'a mut Values, sample: &Sample) -> Option<&'a mut PairValues> {
    let (probe, key) = (sample.label("probe")?, pair_key(sample)?);
    // Whole HTTP probes are no round trips.
    let of_probe = (probe != "http").then(|| values.pairs.entry(probe.to_owned()).or_default())?;
    Some(of_probe.entry(key).or_default())
}

fn http<'a>(values: &'a mut Values, sample: &Sample) -> Option<&'a mut HttpValues> {
    let key = (sample.label("target")?.to_owned(), pair_key(sample)?);
    Some(values.http.entry(key).or_default())
}

fn pair_key(sample: &Sample) -> Option<PairKey> {
    let label = |name| sample.label(name).map(str::to_owned);
    Some((label("source_region")?, label("target_region")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = include_str!("../../../grafana/rules/recording.yml");

    fn sample(labels: &[(&str, &str)], value: f64) -> Sample {
        let labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Sample {
            labels: labels.collect(),
            value,
        }
    }

    fn key(source: &str, target: &str) -> PairKey {
        (source.to_owned(), target.to_owned())
    }

    #[test]
    fn every_recording_that_is_read_is_recorded() {
        for name in Question::ALL.into_iter().filter_map(Question::recording) {
            let declared = format!("- record: {name}");
            assert!(RULES.lines().any(|line| line.trim() == declared), "{name}");
        }
    }

    #[test]
    fn samples_become_cells_by_probe_and_direction() {
        let labels = |probe| [("source_region", "a"), ("target_region", "b"), ("probe", probe)];
        let mut values = Values::default();
        Question::RttP99.fill(
            &mut values,
            &[sample(&labels("icmp"), 0.010), sample(&labels("tcp"), 0.020)],
        );
        Question::RttP50.fill(&mut values, &[sample(&labels("icmp"), 0.009)]);
        Question::Loss.fill(
            &mut values,
            &[sample(&labels("icmp"), 0.25), sample(&labels("http"), 0.5)],
        );
        let icmp = PairValues {
            rtt_p50_seconds: Some(0.009),
            rtt_p99_seconds: Some(0.010),
            loss_ratio: Some(0.25),
        };
        assert_eq!(values.pairs["icmp"][&key("a", "b")], icmp);
        assert_eq!(values.pairs["tcp"][&key("a", "b")].rtt_p99_seconds, Some(0.020));
        assert!(!values.pairs.contains_key("http"));
    }

    #[test]
    fn what_is_no_number_or_has_no_place_is_left_out() {
        let whole = [("source_region", "a"), ("target_region", "b"), ("probe", "icmp")];
        let mut values = Values::default();
        Question::RttP99.fill(&mut values, &[sample(&whole, f64::NAN), sample(&whole[..2], 1.0)]);
        Question::OverBudget.fill(&mut values, &[sample(&whole, 0.5)]);
        Question::HttpStage.fill(&mut values, &[sample(&whole, 0.5)]);
        assert_eq!(values, Values::default());
    }

    #[test]
    fn rounding_never_shows_more_than_everything_lost() {
        let labels = [("source_region", "a"), ("target_region", "b"), ("probe", "icmp")];
        let mut values = Values::default();
        Question::Loss.fill(&mut values, &[sample(&labels, 1.000_000_2)]);
        assert_eq!(values.pairs["icmp"][&key("a", "b")].loss_ratio, Some(1.0));
    }
}
