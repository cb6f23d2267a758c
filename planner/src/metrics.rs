//! The catalogue: every series on the planner's `/metrics`, declared once.
//!
//! Label values come from fixed lists, but for `region`: regions are bounded by the registry and their series leave with
//! their last member.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The version in `xprober_planner_build_info` and on the status page.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RegionLabel {
    region: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RejectionLabel {
    reason: Rejection,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SentLabel {
    kind: Sent,
}

/// Says why a stream was refused: the `reason` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the variants are the label values")]
pub enum Rejection {
    /// The hello did not decode into checked values.
    malformed,
    /// An address was neither the peer's own nor allowed.
    address,
    /// No hello within the deadline, or something else came first.
    missing,
    /// The planner keeps as many agents or streams as it can.
    full,
}

/// Says how a plan went out: the `kind` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the variants are the label values")]
pub enum Sent {
    /// Everything.
    full,
    /// Changes only.
    delta,
}

/// Every series of the planner.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    last_reload_successful: Gauge,
    last_reload_success: Gauge<f64, AtomicU64>,
    members: Family<RegionLabel, Gauge>,
    /// Agent streams that are open.
    pub streams: Gauge,
    /// Plans computed since the start.
    pub plan_revision: Gauge,
    /// (agent, target) pairs in the plan.
    pub plan_pairs: Gauge,
    hellos_rejected: Family<RejectionLabel, Counter>,
    /// Agents whose lease ended.
    pub evictions: Counter,
    /// Plans that agents refused.
    pub nacks: Counter,
    plans_sent: Family<SentLabel, Counter>,
}

impl Metrics {
    /// Registers everything; series with fixed labels start at 0.
    #[must_use]
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("xprober_planner"),
            last_reload_successful: Gauge::default(),
            last_reload_success: Gauge::default(),
            members: Family::default(),
            streams: Gauge::default(),
            plan_revision: Gauge::default(),
            plan_pairs: Gauge::default(),
            hellos_rejected: Family::default(),
            evictions: Counter::default(),
            nacks: Counter::default(),
            plans_sent: Family::default(),
        };
        for reason in [
            Rejection::malformed,
            Rejection::address,
            Rejection::missing,
            Rejection::full,
        ] {
            let _ = metrics.hellos_rejected.get_or_create(&RejectionLabel { reason });
        }
        for kind in [Sent::full, Sent::delta] {
            let _ = metrics.plans_sent.get_or_create(&SentLabel { kind });
        }
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        let build = Gauge::<i64>::default();
        build.set(1);
        let labels = vec![("version", VERSION)];
        registry
            .sub_registry_with_prefix("build")
            .sub_registry_with_labels(labels.into_iter().map(|(name, value)| (name.into(), value.into())))
            .register("info", "Version of this planner, always 1", build);
        registry.register(
            "config_last_reload_successful",
            "Whether the configuration file as it stands now is the one in force",
            self.last_reload_successful.clone(),
        );
        registry.register(
            "config_last_reload_success_timestamp_seconds",
            "Unix time at which the configuration in force was loaded",
            self.last_reload_success.clone(),
        );
        registry.register(
            "members",
            "Agents in the plan, connected or kept by their lease",
            self.members.clone(),
        );
        registry.register("streams", "Agent streams that are open", self.streams.clone());
        registry.register(
            "plan_revision",
            "Plans computed since the planner started",
            self.plan_revision.clone(),
        );
        registry.register(
            "plan_pairs",
            "Pairs of an agent and a target in the plan",
            self.plan_pairs.clone(),
        );
        registry.register(
            "hellos_rejected",
            "Agent streams refused at their first message",
            self.hellos_rejected.clone(),
        );
        registry.register(
            "evictions",
            "Agents removed because their lease ended",
            self.evictions.clone(),
        );
        registry.register(
            "nacks",
            "Plans that an agent refused as a whole or in part",
            self.nacks.clone(),
        );
        registry.register("plans_sent", "Plans sent to agents", self.plans_sent.clone());
    }

    /// Counts a refused stream.
    pub fn rejected(&self, reason: Rejection) {
        self.hellos_rejected.get_or_create(&RejectionLabel { reason }).inc();
    }

    /// Counts a plan that went out.
    pub fn sent(&self, kind: Sent) {
        self.plans_sent.get_or_create(&SentLabel { kind }).inc();
    }

    /// Notes how a load of the configuration ended; a failure leaves the time of the last success.
    pub fn reloaded(&self, success_at: Option<SystemTime>) {
        self.last_reload_successful.set(i64::from(success_at.is_some()));
        if let Some(since_epoch) = success_at.and_then(|at| at.duration_since(UNIX_EPOCH).ok()) {
            self.last_reload_success.set(since_epoch.as_secs_f64());
        }
    }

    /// Sets the members per region; a region that is not there loses its series.
    pub fn members(&self, by_region: &BTreeMap<String, usize>) {
        self.members.clear();
        for (region, count) in by_region {
            let label = RegionLabel { region: region.clone() };
            self.members
                .get_or_create(&label)
                .set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
    }

    /// Writes everything in the `OpenMetrics` text format.
    ///
    /// # Errors
    ///
    /// When a value cannot be written.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
