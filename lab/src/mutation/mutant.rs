//! Which breaks of the rules there are.

use std::collections::BTreeMap;

use super::expression::{comparisons, turned};
use super::rules::{Rule, RuleFiles};

/// A `for` is stretched to so many times its length.
const STRETCH: u64 = 3;

/// The rules with one break.
#[derive(Debug, Clone, PartialEq)]
pub struct Mutant {
    /// What was broken, as in `LineLatencyOverBudget: comparison 2 of 3 turned (>=)`; unique.
    pub what: String,
    /// Name of the broken rule.
    pub rule: String,
    /// All rules, with the break.
    pub files: RuleFiles,
}

/// Lists every break: each rule removed, each comparison turned, each `for` stretched.
#[must_use]
pub fn mutants(files: &RuleFiles) -> Vec<Mutant> {
    let mut seen = BTreeMap::<String, usize>::new();
    let mut all = Vec::new();
    for rule in files.rules() {
        let count = seen.entry(rule.name.clone()).or_default();
        *count += 1;
        let title = if *count == 1 {
            rule.name.clone()
        } else {
            format!("{} (rule {count})", rule.name)
        };
        all.extend(of_rule(files, &rule, &title));
    }
    all
}

fn of_rule(files: &RuleFiles, rule: &Rule, title: &str) -> Vec<Mutant> {
    let mutant = |what: String, files: RuleFiles| Mutant {
        what,
        rule: rule.name.clone(),
        files,
    };
    let mut all = vec![mutant(format!("{title}: removed"), files.without(&rule.place))];
    let places = comparisons(&rule.expression);
    for (index, place) in places.iter().enumerate() {
        if let Some(expression) = turned(&rule.expression, place) {
            let operator = &rule.expression[place.clone()];
            let what = format!(
                "{title}: comparison {} of {} turned ({operator})",
                index + 1,
                places.len()
            );
            all.push(mutant(what, files.with(&rule.place, "expr", &expression)));
        }
    }
    if let Some(longer) = rule.patience.as_deref().and_then(stretched) {
        let what = format!("{title}: `for` stretched to {longer}");
        all.push(mutant(what, files.with(&rule.place, "for", &longer)));
    }
    all
}

/// A duration of seconds, minutes or hours, stretched; nothing for one of several units.
fn stretched(duration: &str) -> Option<String> {
    let (number, unit) = duration.split_at(duration.len().checked_sub(1)?);
    let number: u64 = number.parse().ok()?;
    ["s", "m", "h"]
        .contains(&unit)
        .then(|| format!("{}{unit}", number * STRETCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_break_of_a_rule_is_listed_once() {
        let mut files = RuleFiles::default();
        let text = "groups: [{name: g, rules: [{record: 'a:b:c', expr: sum(b)}, {alert: A, expr: 'x > 1 and y <= 2', for: 20s}, {alert: A, expr: z}]}]";
        files.add("all.yml", text).unwrap();
        let all = mutants(&files);
        let whats: Vec<_> = all.iter().map(|mutant| mutant.what.as_str()).collect();
        assert_eq!(
            whats,
            [
                "a:b:c: removed",
                "A: removed",
                "A: comparison 1 of 2 turned (>)",
                "A: comparison 2 of 2 turned (<=)",
                "A: `for` stretched to 60s",
                "A (rule 2): removed",
            ]
        );
        assert!(all.iter().all(|mutant| mutant.files != files));
        assert_eq!(all[3].files.rules()[1].expression, "x > 1 and y > 2");
    }

    #[test]
    fn durations_of_one_unit_are_stretched() {
        assert_eq!(stretched("75s").as_deref(), Some("225s"));
        assert_eq!(stretched("1m").as_deref(), Some("3m"));
        assert_eq!(stretched("1m30s"), None);
        assert_eq!(stretched(""), None);
    }
}
