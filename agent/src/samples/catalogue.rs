//! Every series that the agent pushes, declared once.
//!
//! The builder takes names, labels and units from here, and `xprober-agent metrics` prints this list: a name cannot
//! exist anywhere else.

use std::fmt::Write as _;

/// How the values of a series behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, except when the agent starts again.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Classic buckets: `_bucket` with `le`, `_sum` and `_count`.
    Histogram,
}

impl Kind {
    /// Spells the kind as Prometheus does.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What a series speaks about; decides its labels beside the common ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The agent itself.
    Agent,
    /// A place where the agent pushes to.
    Endpoint,
    /// A region, by kind of probe.
    Region,
    /// One target.
    Target,
    /// A dedicated line.
    Line,
    /// A dedicated line, by kind of probe.
    LineProbes,
}

impl Scope {
    /// Every scope, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Agent,
        Self::Endpoint,
        Self::Region,
        Self::Target,
        Self::Line,
        Self::LineProbes,
    ];

    /// Labels of the scope beside [`COMMON_LABELS`].
    #[must_use]
    pub const fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Agent => &[],
            Self::Endpoint => &["endpoint"],
            Self::Region => &["target_region", "probe"],
            Self::Target => &["target_region", "probe", "target"],
            Self::Line => &["target_region", "line", "circuit", "carrier", "owner"],
            Self::LineProbes => &["target_region", "probe", "line"],
        }
    }
}

/// Labels that every series carries.
pub const COMMON_LABELS: [&str; 3] = ["job", "instance", "source_region"];

/// Most labels of a scope.
pub const MAX_SCOPE_LABELS: usize = 5;

/// Most labels that a metric has of its own, `le` among them.
pub const MAX_OWN_LABELS: usize = 2;

/// One declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Name without the suffixes of a histogram.
    pub name: &'static str,
    /// How its values behave.
    pub kind: Kind,
    /// Base unit, empty for plain numbers.
    pub unit: &'static str,
    /// What it says, one sentence.
    pub help: &'static str,
    /// What it speaks about.
    pub scope: Scope,
    /// Labels beside those of the scope.
    pub labels: &'static [&'static str],
}

impl Metric {
    /// Every label of the metric, in the order of their meaning; labels without a value are left out of a series.
    pub fn all_labels(&self) -> impl Iterator<Item = &'static str> {
        let shared = COMMON_LABELS.into_iter().chain(self.scope.labels().iter().copied());
        shared.chain(self.own_labels())
    }

    /// Labels beside those of every series and of the scope; `le` for a histogram.
    pub fn own_labels(&self) -> impl Iterator<Item = &'static str> {
        let le: &[&str] = if self.kind == Kind::Histogram { &["le"] } else { &[] };
        self.labels.iter().copied().chain(le.iter().copied())
    }
}

macro_rules! catalogue {
    ($($id:ident: $kind:ident $scope:ident $name:literal $([$($label:literal),+])? $unit:literal, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $id: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                unit: $unit,
                help: $help,
                scope: Scope::$scope,
                labels: &[$($($label),+)?],
            };
        )*

        /// Every metric, in the order of this file.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

catalogue! {
    RTT: Histogram Region "xprober_rtt_seconds" "seconds",
        "Round-trip time of every probe to the region that was answered in time.";
    PROBES: Counter Region "xprober_probes_total" ["outcome"] "",
        "Probes to the region that ended, by outcome; the outcomes add up to the probes sent.";
    PROBE_REASONS: Counter Region "xprober_probe_reasons_total" ["outcome", "reason"] "",
        "Probes to the region whose outcome has a reason, by both; absent until the first of each.";
    PROBE_DUPLICATES: Counter Region "xprober_probe_duplicates_total" "",
        "Further copies of replies from the region.";

    TARGET_SENT: Counter Target "xprober_target_sent_total" "",
        "Probes to the target that ended, whatever their outcome.";
    TARGET_RECEIVED: Counter Target "xprober_target_received_total" "",
        "Probes to the target that were answered, late answers among them.";
    TARGET_RTT_MIN: Gauge Target "xprober_target_rtt_min_seconds" "seconds",
        "Shortest round-trip time in the last push window; absent when nothing came back.";
    TARGET_RTT_AVG: Gauge Target "xprober_target_rtt_avg_seconds" "seconds",
        "Mean round-trip time in the last push window; absent when nothing came back.";
    TARGET_RTT_MAX: Gauge Target "xprober_target_rtt_max_seconds" "seconds",
        "Longest round-trip time in the last push window; absent when nothing came back.";
    TARGET_JITTER: Gauge Target "xprober_target_jitter_seconds" "seconds",
        "Smoothed difference between the round-trip times of consecutive replies (RFC 3550, section 6.4.1); absent when nothing came back.";
    TARGET_REPLY_TTL: Gauge Target "xprober_target_reply_ttl" "",
        "TTL or hop limit of the last reply in the last push window; only for targets that ask for it.";
    TARGET_UP: Gauge Target "xprober_target_up" "",
        "1 if any reply came in the last push window with a probe in it, else 0.";

    HTTP_STAGE: Gauge Target "xprober_http_stage_seconds" ["stage"] "seconds",
        "Time of each stage of the last HTTP probe, summed over redirects; absent for a stage that did not happen.";
    HTTP_DURATION: Gauge Target "xprober_http_duration_seconds" "seconds",
        "Duration of the last HTTP probe, failed or not.";
    HTTP_SUCCESS: Gauge Target "xprober_http_success" "",
        "1 if the last HTTP probe succeeded, else 0.";
    HTTP_STATUS_CODE: Gauge Target "xprober_http_status_code" "",
        "Status code of the last response of the last HTTP probe; absent when there was none.";
    HTTP_BODY_BYTES: Gauge Target "xprober_http_body_bytes" "bytes",
        "Body bytes read by the last HTTP probe; absent when there was no response.";
    HTTP_REDIRECTS: Gauge Target "xprober_http_redirects" "",
        "Redirects that the last HTTP probe followed.";
    HTTP_TLS_NOT_AFTER: Gauge Target "xprober_http_tls_not_after_timestamp_seconds" "seconds",
        "When the certificate of the chain that expires first does so, Unix time; absent without TLS.";
    HTTP_PROBES: Counter Target "xprober_http_probes_total" "",
        "HTTP probes that ended.";
    HTTP_FAILURES: Counter Target "xprober_http_failures_total" ["stage", "reason"] "",
        "HTTP probes that failed, by the stage that was under way and the reason; absent until the first.";

    LINE_RTT_BUDGET: Gauge Line "xprober_line_rtt_budget_seconds" "seconds",
        "Round-trip time that the line is allowed; absent for a line without such a budget.";
    LINE_LOSS_BUDGET: Gauge Line "xprober_line_loss_budget_ratio" "ratio",
        "Share of probes that the line may lose, 0 to 1; absent for a line without such a budget.";
    LINE_PROBES: Counter LineProbes "xprober_line_probes_total" "",
        "Probes that say something about the line: all but those that failed by the agent's own fault.";
    LINE_OVER_BUDGET: Counter LineProbes "xprober_line_over_budget_total" "",
        "Replies that took longer than the line's round-trip time budget; absent without one.";

    AGENT_BUILD_INFO: Gauge Agent "xprober_agent_build_info" ["version"] "",
        "Always 1; the version is in the label.";
    AGENT_PLAN_REVISION: Gauge Agent "xprober_agent_plan_revision" "",
        "Revision of the plan in force, 0 before the first.";
    AGENT_PLAN_AGE: Gauge Agent "xprober_agent_plan_age_seconds" "seconds",
        "Time since a planner was last heard; absent before the first word.";
    AGENT_PLAN_TARGETS: Gauge Agent "xprober_agent_plan_targets" "",
        "Targets in force.";
    AGENT_PLANNER_CONNECTED: Gauge Agent "xprober_agent_planner_connected" "",
        "1 if a stream to a planner is open, else 0.";
    AGENT_PLAN_REJECTED: Counter Agent "xprober_agent_plan_rejected_total" ["reason"] "",
        "Plans and targets that the agent refused, by reason; absent until the first.";
    AGENT_TIMER_LATENESS: Gauge Agent "xprober_agent_timer_lateness_seconds" "seconds",
        "Latest departure of a probe in the last push window, measured from its scheduled time.";
    AGENT_SKIPPED_TICKS: Counter Agent "xprober_agent_skipped_ticks_total" "",
        "Probes that were never sent because their time had passed.";
    AGENT_STALLS: Counter Agent "xprober_agent_stalls_total" "",
        "Times that the ICMP prober did not run for so long that silence said nothing; the probes concerned are stalled.";
    AGENT_STALLED_SECONDS: Counter Agent "xprober_agent_stalled_seconds_total" "seconds",
        "Time that the ICMP prober did not run in its stalls.";
    AGENT_RECEIVE_DROPS: Counter Agent "xprober_agent_receive_drops_total" "",
        "Packets that the kernel dropped because the ICMP prober's receive queue was full.";
    AGENT_UNSTAMPED: Counter Agent "xprober_agent_unstamped_total" "",
        "Round-trip times that may hold delays of the agent: the kernel stamped no arrival, or the departure was interrupted and not stamped.";
    AGENT_QUEUE_BYTES: Gauge Endpoint "xprober_agent_queue_bytes" "bytes",
        "Sealed requests that wait for the endpoint.";
    AGENT_QUEUE_REQUESTS: Gauge Endpoint "xprober_agent_queue_requests" "",
        "Number of requests that wait for the endpoint.";
    AGENT_QUEUE_OLDEST_AGE: Gauge Endpoint "xprober_agent_queue_oldest_age_seconds" "seconds",
        "Age of the oldest request that waits, 0 when none does.";
    AGENT_QUEUE_ON_DISK: Gauge Endpoint "xprober_agent_queue_on_disk" "",
        "1 if what waits is kept on disk, 0 if in memory, where a restart loses it.";
    AGENT_QUEUE_DEGRADED: Gauge Endpoint "xprober_agent_queue_degraded" ["reason"] "",
        "1 while the folder of the queue cannot be used, with the reason: locked, denied, hung, ...; absent while all is well.";
    AGENT_SAMPLES_INHERITED: Counter Endpoint "xprober_agent_samples_inherited_total" "",
        "Samples that an earlier run left in the queue on disk.";
    AGENT_SAMPLES_SEALED: Counter Endpoint "xprober_agent_samples_sealed_total" "",
        "Samples that were put into the queue, stale markers among them.";
    AGENT_STALE_MARKERS: Counter Endpoint "xprober_agent_stale_markers_sealed_total" "",
        "Stale markers among the sealed samples; queries do not count those.";
    AGENT_SAMPLES_PUSHED: Counter Endpoint "xprober_agent_samples_pushed_total" "",
        "Samples that the endpoint took.";
    AGENT_SAMPLES_DROPPED: Counter Endpoint "xprober_agent_samples_dropped_total" ["reason"] "",
        "Samples that were given up, by reason: full, expired, rejected, clock or damaged.";
    AGENT_PUSH_ATTEMPTS: Counter Endpoint "xprober_agent_push_attempts_total" ["result"] "",
        "Requests to the endpoint, by what their answer led to: ok, retry or drop.";
    AGENT_PUSH_FAILURES: Counter Endpoint "xprober_agent_push_failures_total" ["reason"] "",
        "Requests to the endpoint that failed, by reason (dns, refused, tls, unauthorized, clock, ...); absent until the first.";
    AGENT_PUSH_LAST_SUCCESS: Gauge Endpoint "xprober_agent_push_last_success_timestamp_seconds" "seconds",
        "When the endpoint took a request last, Unix time; absent until the first.";
    AGENT_PUSH_PROTOCOL: Gauge Endpoint "xprober_agent_push_protocol_info" ["protocol"] "",
        "Always 1; how requests to the endpoint are spelt is in the label.";
}

/// Renders the catalogue as a table for people.
#[must_use]
pub fn table() -> String {
    let mut text = String::new();
    let name_width = ALL.iter().map(|metric| metric.name.len()).max().unwrap_or_default();
    for metric in ALL {
        let labels: Vec<&str> = metric.all_labels().skip(COMMON_LABELS.len()).collect();
        let labels = labels.join(",");
        let Metric { name, help, unit, .. } = metric;
        let kind = metric.kind.as_str();
        let unit = if unit.is_empty() { "-" } else { unit };
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{name:name_width$}  {kind:9}  {unit:7}  {{{labels}}}");
        let _ = writeln!(text, "{:name_width$}  {help}", "");
    }
    let _ = writeln!(text, "\nOn every series beside these: {}.", COMMON_LABELS.join(", "));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_say_their_kind_and_unit() {
        let mut names: Vec<&str> = ALL.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            let name = metric.name;
            assert!(name.starts_with("xprober_"), "{name}");
            assert_eq!(metric.kind == Kind::Counter, name.ends_with("_total"), "{name}");
            let unit = match metric.unit {
                "" => true,
                unit => name.trim_end_matches("_total").ends_with(&format!("_{unit}")),
            };
            assert!(unit, "{name} is in {}", metric.unit);
            assert!(metric.help.ends_with('.'), "{name}: help is no sentence");
        }
    }

    #[test]
    fn labels_are_unique_and_few() {
        for (number, scope) in Scope::ALL.into_iter().enumerate() {
            assert_eq!(scope as usize, number);
            assert!(scope.labels().len() <= MAX_SCOPE_LABELS);
        }
        for metric in ALL {
            let mut labels: Vec<&str> = metric.all_labels().collect();
            let all = labels.len();
            labels.sort_unstable();
            labels.dedup();
            assert!(labels.len() == all && all < 28, "{}", metric.name);
            assert!(metric.own_labels().count() <= MAX_OWN_LABELS, "{}", metric.name);
            // `__name__` comes first in every series.
            assert!(
                labels
                    .iter()
                    .all(|label| label.starts_with(|c: char| c.is_ascii_lowercase()))
            );
        }
    }

    #[test]
    fn the_series_that_are_promised() {
        insta::assert_snapshot!(table());
    }
}
