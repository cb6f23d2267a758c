//! The cases: which fault is planted, and what must be told.

use std::time::Duration;

use xprober_agent::probe::Stage;

use super::expected::{Expected, both_ways, of_line};
use super::fault::{Fault, HOST, LINE, REGION};
use crate::stack::{Pace, web_targets};

/// One fault and what must come of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is planted.
    pub fault: Fault,
    /// What must be told.
    pub expected: Vec<Expected>,
    /// How it runs with the default settings.
    pub timing: Timing,
    /// Until the message, as promised; with the defaults and with the fast settings.
    pub promise: Option<[Duration; 2]>,
    /// Whether it runs with the fast settings alone, because the others take too long.
    pub fast_only: bool,
}

/// How long a case takes, besides waiting for what is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long the world is watched before the break. Rules that know what was usual look at it once a minute.
    pub calm: Duration,
    /// How long the fault lasts at least, so that whatever else might be told has its time.
    pub lasts: Duration,
    /// How long the world is watched after the last end was told.
    pub after: Duration,
}

impl Timing {
    /// How long the case takes at least.
    #[must_use]
    pub fn sum(self) -> Duration {
        self.calm + self.lasts + self.after
    }
}

impl Case {
    fn new(name: &'static str, fault: Fault, lasts: u64, expected: Vec<Expected>) -> Self {
        Self {
            name,
            fault,
            expected,
            timing: Timing {
                calm: Duration::from_secs(75),
                lasts: Duration::from_secs(lasts),
                after: Duration::from_secs(45),
            },
            promise: None,
            fast_only: false,
        }
    }

    fn calm_for(mut self, seconds: u64) -> Self {
        self.timing.calm = Duration::from_secs(seconds);
        self
    }

    fn watched_after(mut self, seconds: u64) -> Self {
        self.timing.after = Duration::from_secs(seconds);
        self
    }

    fn promised(mut self, default: u64, fast: u64) -> Self {
        self.promise = Some([default, fast].map(Duration::from_secs));
        self
    }

    fn fast_only(mut self) -> Self {
        self.fast_only = true;
        self
    }

    /// Whether it runs with these settings.
    #[must_use]
    pub fn runs_with(&self, pace: Pace) -> bool {
        pace == Pace::Fast || !self.fast_only
    }

    /// How long the message may take, if that is promised.
    #[must_use]
    pub fn limit(&self, pace: Pace) -> Option<Duration> {
        self.promise.map(|[default, fast]| match pace {
            Pace::Default => default,
            Pace::Fast => fast,
        })
    }

    /// How it runs with these settings.
    #[must_use]
    pub fn timing(&self, pace: Pace) -> Timing {
        let Timing { calm, lasts, after } = self.timing;
        match pace {
            Pace::Default => self.timing,
            Pace::Fast => Timing {
                calm: calm / FASTER,
                lasts: lasts / FASTER,
                after: after / FASTER,
            },
        }
    }
}

/// The fast settings shorten every window to a fifth; starting, Alertmanager and the planner's lease stay as they are.
const FASTER: u32 = 3;
/// Round trips of the line take that much longer.
const SLOWER: Duration = Duration::from_millis(20);
/// The same within the line's budget, see [`super::scene::ALLOWANCE`].
const STEP: Duration = Duration::from_millis(8);
/// A stage of a target takes that much longer: less than the second after which TCP sends a SYN again.
const STAGE_SLOWER: Duration = Duration::from_millis(700);
/// Left of the certificate.
const EXPIRES_IN: Duration = Duration::from_hours(5 * 24);
/// Place of the line in the lab's `planner.yml`.
const LINE_NUMBER: u8 = 1;

/// All cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut cases = lines();
    cases.extend(regions());
    cases.extend(agents());
    cases.extend(parts());
    cases.extend(targets());
    cases
}

fn lines() -> Vec<Case> {
    let line = |alert, severity| both_ways(alert, severity, "line", LINE, LINE_NUMBER);
    let unreachable = both_ways("PairUnreachable", "critical", "pair", LINE, LINE_NUMBER);
    let asymmetric = of_line("LineAsymmetric", "warning", "line", LINE, LINE_NUMBER);
    let [source, target] = LINE;
    let silent = [("source_region", source), ("target_region", target)];
    // The round trip takes 10 ms, and the lab allows 12 ms more.
    let slow = line("LineLatencyOverBudget", "critical")
        .into_iter()
        .map(|one| one.saying("budget of 22ms"));
    vec![
        Case::new("line-slow", Fault::LineSlower(SLOWER), 120, slow.collect()).promised(60, 20),
        Case::new(
            "line-lossy",
            Fault::LineLossy(0.02),
            60,
            line("LineLossOverBudget", "critical"),
        ),
        Case::new(
            "line-lossy-one-way",
            Fault::LineLossyOneWay(0.05),
            60,
            line("LineLossOverBudget", "critical"),
        ),
        Case::new(
            "requests-lost",
            Fault::RequestsLost(0.1),
            150,
            vec![asymmetric.clone().with("measure", "loss")],
        ),
        // Calm for as long as the case below, so that the move of this direction would be told as well.
        Case::new(
            "requests-slower",
            Fault::RequestsSlower(STEP),
            0,
            vec![asymmetric.with("measure", "rtt")],
        )
        .calm_for(480)
        .fast_only(),
        Case::new(
            "line-cut",
            Fault::LineCut,
            180,
            unreachable.into_iter().map(|one| one.with("blame", "pair")).collect(),
        ),
        // The median of five minutes against that of the hour: the old place must have lasted longer than the new one.
        Case::new(
            "line-moved",
            Fault::LineSlower(STEP),
            0,
            line("RttStepChange", "warning"),
        )
        .calm_for(480)
        .fast_only(),
        Case::new(
            "pair-forbidden",
            Fault::NetworkForbidden,
            150,
            vec![Expected::new("PairSilent", "warning", "pair", &silent)],
        ),
    ]
}

fn regions() -> Vec<Case> {
    let region = |alert, labels: &[(&str, &str)]| Expected::new(alert, "critical", "region", labels);
    let (here, from, to) = (("region", REGION), ("source_region", REGION), ("target_region", REGION));
    let as_target = region("RegionDegraded", &[here, to, ("blame", "target")]);
    let as_source = region("RegionDegraded", &[here, from, ("blame", "source")]);
    vec![
        Case::new(
            "region-cut-off",
            Fault::RegionCutOff { pushes: false },
            240,
            vec![region("RegionSilent", &[here, from, to])],
        )
        .watched_after(180),
        Case::new(
            "region-isolated",
            Fault::RegionCutOff { pushes: true },
            180,
            vec![as_target, as_source],
        )
        .watched_after(90),
        Case::new(
            "hub-cut-off",
            Fault::HubCutOff,
            150,
            vec![Expected::new("NoData", "critical", "xprober", &[])],
        )
        .watched_after(90),
    ]
}

fn agents() -> Vec<Case> {
    let (instance, source) = (("instance", HOST), ("source_region", REGION));
    let agent = |alert| vec![Expected::new(alert, "warning", "agent", &[instance, source])];
    let blamed = [instance, source, ("region", REGION), ("blame", "prober")];
    vec![
        Case::new("agent-killed", Fault::AgentKilled, 150, agent("AgentSilent")),
        // Watched for longer than AgentStalled takes, which a pause that is over must not become.
        Case::new("agent-frozen", Fault::AgentFrozen, 150, agent("AgentSilent")).watched_after(150),
        Case::new(
            "agent-overloaded",
            Fault::AgentThrottled(Duration::from_secs(2), 0.25),
            180,
            agent("AgentStalled"),
        ),
        Case::new(
            "host-lossy",
            Fault::HostLossy(0.2),
            150,
            vec![Expected::new("RegionDegraded", "warning", "region", &blamed)],
        ),
    ]
}

fn parts() -> Vec<Case> {
    let hosts = (1..=8).map(|number| (format!("vm{number}"), (number - 1) / 2));
    let failing = hosts.map(|(host, region)| {
        let source = ["region-a", "region-b", "region-c", "region-d"][region];
        let labels = [
            ("instance", host.as_str()),
            ("source_region", source),
            ("endpoint", "archive"),
        ];
        Expected::new("AgentPushFailing", "warning", "push", &labels)
    });
    let bad_file = Expected::new(
        "PlannerConfigBad",
        "warning",
        "planner",
        &[("instance", "127.0.0.1:6002")],
    );
    vec![
        Case::new(
            "planner-gone",
            Fault::PlannerKilled,
            150,
            vec![Expected::new("PlannerDown", "critical", "planner", &[])],
        ),
        Case::new("planner-file-bad", Fault::PlannerFileBad, 60, vec![bad_file]),
        Case::new("database-away", Fault::DatabaseAway, 90, Vec::new()).watched_after(120),
        Case::new("endpoint-closed", Fault::EndpointClosed, 150, failing.collect()),
    ]
}

fn targets() -> Vec<Case> {
    let [plain, secure] = web_targets();
    let from_everywhere = |alert: &'static str, target: &str, stage: Option<Stage>| {
        let regions = ["region-a", "region-b", "region-c", "region-d"];
        let expected = regions.map(|source| {
            let mut labels = vec![("source_region", source), ("target_region", "web"), ("target", target)];
            labels.extend(stage.map(|stage| ("stage", stage.as_str())));
            Expected::new(alert, "warning", "http", &labels)
        });
        expected.to_vec()
    };
    let slow = |name, stage, urls: &[&str]| {
        let expected = urls
            .iter()
            .flat_map(|url| from_everywhere("HttpStageSlow", url, Some(stage)));
        // What was usual must have lasted longer than what is slow.
        Case::new(name, Fault::HttpSlower(stage, STAGE_SLOWER), 90, expected.collect()).calm_for(180)
    };
    let expiring = [("target", secure.as_str()), ("target_region", "web")];
    vec![
        // Both targets are found through the same name servers.
        slow("http-slow-resolve", Stage::Resolve, &[&plain, &secure]),
        slow("http-slow-connect", Stage::Connect, &[&secure]),
        slow("http-slow-tls", Stage::Tls, &[&secure]),
        slow("http-slow-processing", Stage::Processing, &[&secure]),
        slow("http-slow-transfer", Stage::Transfer, &[&secure]),
        Case::new(
            "http-failing",
            Fault::HttpFailing,
            90,
            from_everywhere("HttpFailing", &secure, None),
        ),
        Case::new(
            "certificate-expiring",
            Fault::CertificateExpires(EXPIRES_IN),
            60,
            vec![Expected::new("CertificateExpiring", "warning", "http", &expiring)],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;
    use crate::process::find;
    use crate::stack::planner_file;
    use crate::topology::Topology;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = cases().iter().map(|case| case.name).collect();
        assert_eq!(names.len(), cases().len());
    }

    #[test]
    fn the_line_is_what_the_labs_planner_file_says() {
        let file = planner_file(&Topology::demo());
        let line = file.lines().find(|line| line.contains("region-a, region-b")).unwrap();
        let expected = &cases()[0].expected[0].labels;
        for name in ["circuit", "carrier", "owner"] {
            assert!(line.contains(&format!("{name}: {}", expected[name])), "{name}: {line}");
        }
    }

    /// The watchdog is no fault.
    #[test]
    fn every_shipped_alert_is_expected_by_a_case_and_no_other_is() {
        let file = find::repository().join("grafana/rules/alerts.yml");
        let text = fs::read_to_string(file).unwrap();
        let names = text.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
        let shipped: BTreeSet<_> = names.filter(|name| *name != "Watchdog").collect();
        let cases = cases();
        let expected: BTreeSet<_> = cases
            .iter()
            .flat_map(|case| case.expected.iter().map(|one| one.alert))
            .collect();
        assert_eq!(expected, shipped);
    }
}
