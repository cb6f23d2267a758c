//! The tests of the rules, one by one: promtool takes files, but a broken rule is noticed soonest by the tests that name it.

use std::collections::BTreeSet;

use serde_yaml::{Mapping, Value};

use super::rules::{Rule, names};

/// One test of a test file.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// File and name of the test.
    pub title: String,
    /// A test file that holds this test alone and takes the rule files from its own folder.
    pub text: String,
    /// Every word of the test, without its input series.
    pub mentions: BTreeSet<String>,
}

impl Case {
    /// Says whether the test asks for series by a pattern, so that any rule may matter to it.
    #[must_use]
    pub fn asks_by_pattern(&self) -> bool {
        self.text.contains("__name__=~")
    }
}

/// Cuts a test file into its tests.
///
/// # Errors
/// When the text is no YAML.
pub fn cases(file: &str, text: &str) -> Result<Vec<Case>, serde_yaml::Error> {
    let whole: Mapping = serde_yaml::from_str(text)?;
    let tests = whole.get("tests").and_then(Value::as_sequence);
    tests
        .into_iter()
        .flatten()
        .map(|test| case(file, &whole, test))
        .collect()
}

fn case(file: &str, whole: &Mapping, test: &Value) -> Result<Case, serde_yaml::Error> {
    let mut alone = whole.clone();
    let base = |path: &Value| path.as_str().map(|path| Value::from(path.trim_start_matches("../")));
    let rule_files = whole.get("rule_files").and_then(Value::as_sequence);
    let rule_files: Vec<_> = rule_files.into_iter().flatten().filter_map(base).collect();
    alone.insert("rule_files".into(), rule_files.into());
    alone.insert("tests".into(), vec![test.clone()].into());
    let mut asked = test.clone();
    if let Some(asked) = asked.as_mapping_mut() {
        asked.remove("input_series");
    }
    Ok(Case {
        title: format!(
            "{file}: {}",
            test.get("name").and_then(Value::as_str).unwrap_or("without a name")
        ),
        text: serde_yaml::to_string(&alone)?,
        mentions: names(&serde_yaml::to_string(&asked)?),
    })
}

/// Names of the rule and of everything that reads it, directly or through others.
#[must_use]
pub fn readers(rule: &str, rules: &[Rule]) -> BTreeSet<String> {
    let mut found = BTreeSet::from([rule.to_owned()]);
    loop {
        let before = found.len();
        let more = rules.iter().filter(|rule| !rule.uses.is_disjoint(&found));
        let more: Vec<_> = more.map(|rule| rule.name.clone()).collect();
        found.extend(more);
        if found.len() == before {
            return found;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::RuleFiles;
    use super::*;

    const FILE: &str = "
rule_files: [../a.yml, ../b.yml]
evaluation_interval: 5s
tests:
  - name: one
    interval: 5s
    input_series: [{series: 'x{a=\"1\"}', values: '0+1x5'}]
    alert_rule_test: [{eval_time: 1m, alertname: Broken}]
  - name: two
    interval: 5s
    input_series: []
    promql_expr_test: [{expr: 'a:x:sum', eval_time: 1m}]
";

    #[test]
    fn each_test_becomes_a_file_of_its_own() {
        let found = cases("all.yml", FILE).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].title, "all.yml: one");
        let alone: Value = serde_yaml::from_str(&found[1].text).unwrap();
        assert_eq!(alone["rule_files"], Value::from(vec!["a.yml", "b.yml"]));
        assert_eq!(alone["tests"].as_sequence().unwrap().len(), 1);
        assert!(found[0].mentions.contains("Broken") && !found[0].mentions.contains("x"));
        assert!(found[1].mentions.contains("a:x:sum"));
    }

    #[test]
    fn readers_are_found_through_others() {
        let mut files = RuleFiles::default();
        let text = "groups: [{name: g, rules: [{record: 'a:x:sum', expr: sum(x)}, {record: 'b:x:max', expr: 'max(a:x:sum)'}, {alert: Broken, expr: 'b:x:max > 1'}, {alert: Other, expr: y}]}]";
        files.add("all.yml", text).unwrap();
        let found = readers("a:x:sum", &files.rules());
        assert_eq!(
            found,
            BTreeSet::from(["a:x:sum", "b:x:max", "Broken"].map(str::to_owned))
        );
    }
}
