//! What Alertmanager told the webhook, one entry for each alert of each message.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;

use crate::servers::sink::{Notification, Sink};

/// One alert as one message had it.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// When the message came, monotonic.
    pub at: Instant,
    /// Whether the message says that the alert is over.
    pub resolved: bool,
    /// Alertmanager's words: `labels`, `annotations`, `startsAt`, ..
    pub alert: Value,
}

impl Told {
    /// A label's value, empty when it is not there.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.alert["labels"][name].as_str().unwrap_or_default()
    }

    /// Name, source region and target region.
    #[must_use]
    pub fn what(&self) -> [&str; 3] {
        ["alertname", "source_region", "target_region"].map(|name| self.label(name))
    }
}

/// The alerts of one message.
#[must_use]
pub fn alerts(message: &Notification) -> Vec<Told> {
    let alerts = message.alerts().map(|alert| Told {
        at: message.at,
        resolved: alert["status"] == "resolved",
        alert: alert.clone(),
    });
    alerts.collect()
}

/// Whether the end of everything that was told was told, too.
#[must_use]
pub fn is_over(told: &[Told]) -> bool {
    let last = told.iter().map(|one| (one.alert["labels"].to_string(), one.resolved));
    last.collect::<BTreeMap<_, _>>().into_values().all(|resolved| resolved)
}

/// Every alert of every message so far, in order of arrival.
#[must_use]
pub fn all(sink: &Sink) -> Vec<Told> {
    sink.received().iter().flat_map(|message| alerts(message)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_told_is_over_with_the_last_message_about_each_alert() {
        let told = |name: &str, resolved| Told {
            at: Instant::now(),
            resolved,
            alert: json!({"labels": {"alertname": name}}),
        };
        let mut all = vec![told("A", false), told("B", false), told("A", true)];
        assert!(is_over(&[]) && !is_over(&all));
        all.push(told("B", true));
        assert!(is_over(&all));
        all.push(told("A", false));
        assert!(!is_over(&all));
    }
}
