//! What is said: ledger and agent state in, groups of values out.

use std::iter;
use std::time::{Duration, Instant};

use xprober_config::agent::Detail;
use xprober_proto::Line;

use super::catalogue::{self, Metric};
use super::{AgentState, EndpointState, Group, Part, Subject, Value};
use crate::ledger::histogram::BOUNDS;
use crate::ledger::{Histogram, HttpLedger, Ledger, LineCounts, RegionKey, RegionLedger, TargetKey, TargetLedger};
use crate::probe::{Outcome, Stage};
use crate::push::FailureReason;
use crate::queue::DropReason;

/// Says everything that is to be said now, one subject after the other.
///
/// `detail` leaves out the series of single echo and connect targets; those of HTTP targets stay, because nothing else
/// speaks of them.
pub fn snapshot<'a>(
    ledger: &'a Ledger,
    agent: &'a AgentState,
    detail: Detail,
    now: Instant,
) -> impl Iterator<Item = Group<'a>> {
    let targets = match detail {
        Detail::Target => Some(ledger.targets()),
        Detail::Region => None,
    };
    iter::once_with(move || about_agent(agent, now))
        .chain(agent.endpoints.iter().map(about_endpoint))
        .chain(ledger.regions().map(|(key, region)| about_region(key, region)))
        .chain(
            targets
                .into_iter()
                .flatten()
                .map(|(key, target)| about_target(key, target)),
        )
        .chain(ledger.pages().map(|(key, page)| about_page(key, page)))
        .chain(ledger.lines().iter().map(about_line))
        .chain(
            ledger
                .line_counts()
                .map(|(line, key, counts)| about_line_probes(line, key, counts)),
        )
}

fn about_agent(agent: &AgentState, now: Instant) -> Group<'_> {
    use catalogue as c;
    let plan = &agent.plan;
    let age = plan.last_heard.map(|heard| now.saturating_duration_since(heard));
    let mut group = Group::new(Subject::AGENT, 32);
    group.count(&c::AGENT_BUILD_INFO, Part::Text(agent.version), 1);
    group.count(&c::AGENT_PLAN_REVISION, Part::Whole, plan.revision.0);
    group.time(&c::AGENT_PLAN_AGE, Part::Whole, age);
    group.count(&c::AGENT_PLAN_TARGETS, Part::Whole, plan.targets as u64);
    group.count(&c::AGENT_PLANNER_CONNECTED, Part::Whole, u64::from(plan.connected));
    for (reason, count) in &plan.rejected {
        group.count(&c::AGENT_PLAN_REJECTED, Part::Text(reason), *count);
    }
    group.time(&c::AGENT_TIMER_LATENESS, Part::Whole, Some(agent.max_lateness));
    group.count(&c::AGENT_SKIPPED_TICKS, Part::Whole, agent.skipped_ticks);
    group.count(&c::AGENT_STALLS, Part::Whole, agent.engine.gaps);
    group.time(&c::AGENT_STALLED_SECONDS, Part::Whole, Some(agent.engine.gap_time));
    group.count(&c::AGENT_RECEIVE_DROPS, Part::Whole, agent.engine.receive_drops);
    group.count(&c::AGENT_UNSTAMPED, Part::Whole, agent.engine.unstamped);
    group
}

fn about_endpoint(endpoint: &EndpointState) -> Group<'_> {
    use catalogue as c;
    let EndpointState { queue, push, .. } = endpoint;
    let mut group = Group::new(Subject::endpoint(&endpoint.name), 24);
    group.count(&c::AGENT_QUEUE_BYTES, Part::Whole, queue.bytes);
    group.count(&c::AGENT_QUEUE_REQUESTS, Part::Whole, queue.requests as u64);
    group.time(&c::AGENT_QUEUE_OLDEST_AGE, Part::Whole, Some(queue.oldest_age));
    group.count(&c::AGENT_QUEUE_ON_DISK, Part::Whole, u64::from(queue.storage.is_disk()));
    if let Some(trouble) = queue.storage.trouble() {
        group.count(&c::AGENT_QUEUE_DEGRADED, Part::Text(trouble.as_str()), 1);
    }
    group.count(&c::AGENT_SAMPLES_INHERITED, Part::Whole, queue.inherited);
    group.count(&c::AGENT_SAMPLES_SEALED, Part::Whole, endpoint.sealed);
    group.count(&c::AGENT_STALE_MARKERS, Part::Whole, endpoint.stale_markers);
    group.count(&c::AGENT_SAMPLES_PUSHED, Part::Whole, push.counters.pushed);
    for reason in DropReason::ALL {
        let dropped = endpoint.dropped(reason);
        group.count(&c::AGENT_SAMPLES_DROPPED, Part::Text(reason.as_str()), dropped);
    }
    for (result, count) in push.counters.attempts() {
        group.count(&c::AGENT_PUSH_ATTEMPTS, Part::Text(result), count);
    }
    for reason in FailureReason::ALL {
        let count = push.failures.get(reason);
        if count > 0 {
            group.count(&c::AGENT_PUSH_FAILURES, Part::Text(reason.as_str()), count);
        }
    }
    group.time(&c::AGENT_PUSH_LAST_SUCCESS, Part::Whole, push.last_success);
    group.count(&c::AGENT_PUSH_PROTOCOL, Part::Text(push.protocol.as_str()), 1);
    group
}

fn about_region<'a>(key: &'a RegionKey, region: &'a RegionLedger) -> Group<'a> {
    let mut group = Group::new(Subject::region(key), BOUNDS + 16);
    group.histogram(&catalogue::RTT, region.rtt());
    for outcome in Outcome::ALL {
        group.count(&catalogue::PROBES, Part::Outcome(outcome), region.outcome(outcome));
    }
    for ((outcome, reason), count) in region.reasons() {
        group.count(&catalogue::PROBE_REASONS, Part::Reason(*outcome, *reason), *count);
    }
    group.count(&catalogue::PROBE_DUPLICATES, Part::Whole, region.duplicates());
    group
}

fn about_target<'a>(key: &'a TargetKey, target: &TargetLedger) -> Group<'a> {
    use catalogue as c;
    let mut group = Group::new(Subject::target(key), 8);
    group.count(&c::TARGET_SENT, Part::Whole, target.sent());
    group.count(&c::TARGET_RECEIVED, Part::Whole, target.received());
    if let Some(reading) = target.reading() {
        let rtt = reading.rtt;
        group.time(&c::TARGET_RTT_MIN, Part::Whole, rtt.map(|rtt| rtt.min));
        group.time(&c::TARGET_RTT_AVG, Part::Whole, rtt.map(|rtt| rtt.avg));
        group.time(&c::TARGET_RTT_MAX, Part::Whole, rtt.map(|rtt| rtt.max));
        group.time(&c::TARGET_JITTER, Part::Whole, rtt.and_then(|rtt| rtt.jitter));
        if let Some(ttl) = reading.reply_ttl {
            group.count(&c::TARGET_REPLY_TTL, Part::Whole, u64::from(ttl));
        }
        group.count(&c::TARGET_UP, Part::Whole, u64::from(rtt.is_some()));
    }
    group
}

fn about_page<'a>(key: &'a TargetKey, page: &HttpLedger) -> Group<'a> {
    use catalogue as c;
    let mut group = Group::new(Subject::target(key), 16);
    if let Some(last) = page.last() {
        for stage in Stage::ALL {
            group.time(&c::HTTP_STAGE, Part::Stage(stage), last.stages.get(stage));
        }
        group.time(&c::HTTP_DURATION, Part::Whole, Some(last.duration));
        group.count(&c::HTTP_SUCCESS, Part::Whole, u64::from(last.failure.is_none()));
        if let Some(status) = last.status {
            group.count(&c::HTTP_STATUS_CODE, Part::Whole, u64::from(status));
            group.count(&c::HTTP_BODY_BYTES, Part::Whole, last.body_bytes);
        }
        group.count(&c::HTTP_REDIRECTS, Part::Whole, u64::from(last.redirects));
        if let Some(not_after) = last.tls_not_after {
            group.number(&c::HTTP_TLS_NOT_AFTER, Part::Whole, float_signed(not_after));
        }
    }
    group.count(&c::HTTP_PROBES, Part::Whole, page.probes());
    for ((stage, reason), count) in page.failures() {
        group.count(&c::HTTP_FAILURES, Part::Failure(*stage, *reason), *count);
    }
    group
}

fn about_line(line: &Line) -> Group<'_> {
    let mut group = Group::new(Subject::line(line), 2);
    group.time(&catalogue::LINE_RTT_BUDGET, Part::Whole, line.rtt_budget);
    if let Some(budget) = line.loss_budget {
        group.number(&catalogue::LINE_LOSS_BUDGET, Part::Whole, budget);
    }
    group
}

fn about_line_probes<'a>(line: &'a Line, key: &'a RegionKey, counts: LineCounts) -> Group<'a> {
    let mut group = Group::new(Subject::line_probes(line, key), 2);
    group.count(&catalogue::LINE_PROBES, Part::Whole, counts.probes);
    if line.rtt_budget.is_some() {
        group.count(&catalogue::LINE_OVER_BUDGET, Part::Whole, counts.over_budget);
    }
    group
}

impl<'a> Group<'a> {
    fn new(subject: Subject<'a>, values: usize) -> Self {
        Self {
            subject,
            values: Vec::with_capacity(values),
            native: None,
        }
    }

    fn number(&mut self, metric: &'static Metric, part: Part, value: f64) {
        self.values.push(Value { metric, part, value });
    }

    fn count(&mut self, metric: &'static Metric, part: Part, value: u64) {
        self.number(metric, part, float(value));
    }

    fn time(&mut self, metric: &'static Metric, part: Part, value: Option<Duration>) {
        if let Some(value) = value {
            self.number(metric, part, seconds(value));
        }
    }

    fn histogram(&mut self, metric: &'static Metric, histogram: &'a Histogram) {
        for (bucket, count) in histogram.cumulative().enumerate() {
            self.count(metric, Part::Bucket(bucket), count);
        }
        debug_assert_eq!(self.values.len(), BOUNDS + 1, "one bucket per bound and one above");
        self.time(metric, Part::Sum, Some(histogram.sum()));
        self.count(metric, Part::Count, histogram.count());
        if let Some(exponential) = histogram.exponential() {
            self.count(metric, Part::Native, exponential.count());
            self.native = Some((exponential, seconds(histogram.sum())));
        }
    }
}

/// Seconds, rounded to 1 us: `VictoriaMetrics` needs a third of the disk for such gauges, and no clock here is better.
fn seconds(duration: Duration) -> f64 {
    let micros = duration.as_nanos().saturating_add(500) / 1000;
    float(u64::try_from(micros).unwrap_or(u64::MAX)) / 1e6
}

#[expect(
    clippy::cast_precision_loss,
    reason = "samples are floats; counters stay exact up to 2^53"
)]
const fn float(count: u64) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "samples are floats; a date stays exact up to 2^53 seconds"
)]
const fn float_signed(count: i64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_to_a_microsecond() {
        for (nanos, expected) in [
            (0, 0.0),
            (499, 0.0),
            (500, 1e-6),
            (12_345_678, 0.012_346),
            (3_000_000_000, 3.0),
        ] {
            let rounded = seconds(Duration::from_nanos(nanos));
            assert!((rounded - expected).abs() < f64::EPSILON, "{nanos} ns became {rounded}");
        }
    }
}
