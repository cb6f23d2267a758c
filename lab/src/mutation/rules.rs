//! Rule files as values: what rules they hold, and the same files with one rule changed or gone.

use std::collections::{BTreeMap, BTreeSet};

use serde_yaml::{Mapping, Value};

/// Where a rule stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Name of the file, as in `alerts.yml`.
    pub file: String,
    group: usize,
    rule: usize,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Where it stands.
    pub place: Place,
    /// Name of the alert or of the recording.
    pub name: String,
    /// Its expression.
    pub expression: String,
    /// Its `for`, if it has one.
    pub patience: Option<String>,
    /// Every name that it uses, in its expression and its annotations.
    pub uses: BTreeSet<String>,
}

/// Rule files by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuleFiles {
    files: BTreeMap<String, Value>,
}

impl RuleFiles {
    /// Adds a file with its content.
    ///
    /// # Errors
    /// When the content is no YAML.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), serde_yaml::Error> {
        self.files.insert(name.to_owned(), serde_yaml::from_str(text)?);
        Ok(())
    }

    /// Every rule, in the order of files and lines.
    #[must_use]
    pub fn rules(&self) -> Vec<Rule> {
        let mut all = Vec::new();
        for (file, content) in &self.files {
            for (group, found) in sequence(content, "groups").iter().enumerate() {
                for (rule, found) in sequence(found, "rules").iter().enumerate() {
                    let place = Place {
                        file: file.clone(),
                        group,
                        rule,
                    };
                    all.extend(read(place, found));
                }
            }
        }
        all
    }

    /// The files without a rule.
    #[must_use]
    pub fn without(&self, place: &Place) -> Self {
        let mut changed = self.clone();
        if let Some(rules) = changed.rules_of(place)
            && place.rule < rules.len()
        {
            rules.remove(place.rule);
        }
        changed
    }

    /// The files with another text for one key of a rule.
    #[must_use]
    pub fn with(&self, place: &Place, key: &str, text: &str) -> Self {
        let mut changed = self.clone();
        let rule = changed.rules_of(place).and_then(|rules| rules.get_mut(place.rule));
        if let Some(rule) = rule.and_then(Value::as_mapping_mut) {
            rule.insert(key.into(), text.into());
        }
        changed
    }

    /// The files without the recordings that neither alerts nor `wanted` need, directly or through others.
    #[must_use]
    pub fn needed(&self, wanted: &BTreeSet<String>) -> Self {
        let rules = self.rules();
        let mut needed = wanted.clone();
        for alert in rules.iter().filter(|rule| !rule.is_recording()) {
            needed.extend(alert.uses.iter().cloned());
        }
        loop {
            let before = needed.len();
            let used = rules.iter().filter(|rule| needed.contains(&rule.name));
            let used: Vec<_> = used.flat_map(|rule| rule.uses.iter().cloned()).collect();
            needed.extend(used);
            if needed.len() == before {
                break;
            }
        }
        let mut kept = self.clone();
        for rule in rules.iter().rev() {
            if rule.is_recording() && !needed.contains(&rule.name) {
                kept = kept.without(&rule.place);
            }
        }
        kept
    }

    /// Names of the files with their content.
    ///
    /// # Errors
    /// When a content cannot be spelt as YAML.
    pub fn texts(&self) -> Result<Vec<(String, String)>, serde_yaml::Error> {
        let spelt = self.files.iter();
        spelt
            .map(|(name, content)| Ok((name.clone(), serde_yaml::to_string(content)?)))
            .collect()
    }

    fn rules_of(&mut self, place: &Place) -> Option<&mut Vec<Value>> {
        let groups = self.files.get_mut(&place.file)?.get_mut("groups")?;
        groups.get_mut(place.group)?.get_mut("rules")?.as_sequence_mut()
    }
}

impl Rule {
    /// Says whether the rule records a series, and is no alert.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.name.chars().any(|c| c == ':' || c == '_')
    }
}

fn sequence<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_sequence).map_or(&[], Vec::as_slice)
}

fn read(place: Place, rule: &Value) -> Option<Rule> {
    let text = |key: &str| rule.get(key).and_then(Value::as_str);
    let expression = text("expr")?.to_owned();
    let mut uses = names(&expression);
    let annotations = rule.get("annotations").and_then(Value::as_mapping);
    for annotation in annotations
        .into_iter()
        .flat_map(Mapping::values)
        .filter_map(Value::as_str)
    {
        uses.extend(names(annotation));
    }
    Some(Rule {
        place,
        name: text("alert").or_else(|| text("record"))?.to_owned(),
        expression,
        patience: text("for").map(str::to_owned),
        uses,
    })
}

/// Every word of a text that can be the name of a series or an alert.
#[must_use]
pub fn names(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = text.split(|c| !is_part(c)).map(|word| word.trim_matches(':'));
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
groups:
  - name: one
    rules:
      - {record: 'a:x:sum', expr: sum(x)}
      - {record: 'a:y:sum', expr: sum(y)}
  - name: two
    rules:
      - {record: 'b:x:max', expr: 'max(a:x:sum)'}
      - {alert: Broken, expr: 'b:x:max > 1', for: 5s, annotations: {value: '{{ query \"a:z:sum\" }}'}}
";

    fn files() -> RuleFiles {
        let mut files = RuleFiles::default();
        files.add("all.yml", FILE).unwrap();
        files
    }

    fn names_of(files: &RuleFiles) -> Vec<String> {
        files.rules().into_iter().map(|rule| rule.name).collect()
    }

    #[test]
    fn rules_are_listed_with_what_they_use() {
        let rules = files().rules();
        assert_eq!(names_of(&files()), ["a:x:sum", "a:y:sum", "b:x:max", "Broken"]);
        assert!(rules[0].is_recording() && !rules[3].is_recording());
        assert_eq!(rules[3].patience.as_deref(), Some("5s"));
        assert!(rules[3].uses.contains("b:x:max") && rules[3].uses.contains("a:z:sum"));
    }

    #[test]
    fn one_rule_alone_goes_or_changes() {
        let files = files();
        let places: Vec<_> = files.rules().into_iter().map(|rule| rule.place).collect();
        assert_eq!(names_of(&files.without(&places[1])), ["a:x:sum", "b:x:max", "Broken"]);
        let changed = files.with(&places[3], "for", "15s").rules();
        assert_eq!(changed[3].patience.as_deref(), Some("15s"));
        assert_eq!(changed[..3], files.rules()[..3]);
    }

    #[test]
    fn recordings_that_nothing_needs_are_left_out() {
        assert_eq!(
            names_of(&files().needed(&BTreeSet::new())),
            ["a:x:sum", "b:x:max", "Broken"]
        );
        let wanted = BTreeSet::from(["a:y:sum".to_owned()]);
        assert_eq!(files().needed(&wanted), files());
    }
}
