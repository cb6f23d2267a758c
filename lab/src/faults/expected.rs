//! What a case expects at the webhook, as values.

use std::collections::BTreeMap;

use crate::stack::line_name;

/// Labels by name, without `alertname`.
pub type Labels = BTreeMap<String, String>;

/// An alert that must come, and end after the repair and not before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its name.
    pub alert: &'static str,
    /// All of its labels but the name.
    pub labels: Labels,
    /// Words that its summary or its description must hold.
    pub says: Vec<String>,
}

impl Expected {
    /// Expects an alert with these labels, `severity` and `component` among them.
    #[must_use]
    pub fn new(alert: &'static str, severity: &str, component: &str, labels: &[(&str, &str)]) -> Self {
        let fixed = [("severity", severity), ("component", component)];
        let all = labels.iter().chain(&fixed);
        Self {
            alert,
            labels: all
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            says: Vec::new(),
        }
    }

    /// Adds a label.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Expects words in its summary or its description.
    #[must_use]
    pub fn saying(mut self, words: &str) -> Self {
        self.says.push(words.to_owned());
        self
    }

    /// Whether an alert is this one.
    #[must_use]
    pub fn is(&self, alert: &str, labels: &Labels) -> bool {
        self.alert == alert && self.labels == *labels
    }
}

/// Expects an alert about the line between two regions in one direction, with everything that the lab's `planner.yml` says
/// of it; `number` is the line's place in there.
#[must_use]
pub fn of_line(
    alert: &'static str,
    severity: &str,
    component: &str,
    [source, target]: [&str; 2],
    number: u8,
) -> Expected {
    let (one, other) = if source < target {
        (source, target)
    } else {
        (target, source)
    };
    let (line, circuit) = (line_name(one, other), format!("LAB-{number}"));
    let labels = [
        ("source_region", source),
        ("target_region", target),
        ("line", &line),
        ("circuit", &circuit),
        ("carrier", "lab"),
        ("owner", "netops"),
    ];
    Expected::new(alert, severity, component, &labels)
        .saying(&line)
        .saying(&circuit)
}

/// The same in both directions.
#[must_use]
pub fn both_ways(
    alert: &'static str,
    severity: &str,
    component: &str,
    [one, other]: [&str; 2],
    number: u8,
) -> Vec<Expected> {
    [[one, other], [other, one]]
        .map(|direction| of_line(alert, severity, component, direction, number))
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_expected_only_with_all_its_labels_and_no_others() {
        let expected = of_line("LineLossOverBudget", "critical", "line", ["region-b", "region-a"], 1);
        let labels = expected.labels.clone();
        assert_eq!(labels["line"], "a-b-1");
        assert!(expected.is("LineLossOverBudget", &labels));
        assert!(!expected.is("LineLatencyOverBudget", &labels));
        for name in ["owner", "severity"] {
            let mut without = labels.clone();
            without.remove(name);
            assert!(!expected.is("LineLossOverBudget", &without), "{name}");
        }
        let mut with = labels;
        with.insert("instance".to_owned(), "vm1".to_owned());
        assert!(!expected.is("LineLossOverBudget", &with));
    }
}
