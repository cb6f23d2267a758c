//! The committed dashboards, as the questions that their panels and choices ask.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use xprober_lab::process::find;

/// How a panel asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// For the values of this moment.
    Now,
    /// For the values over time.
    Over,
}

/// One query of a panel, or the values that a choice offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// Dashboard and panel, for people.
    pub(crate) place: String,
    /// As the dashboard has it.
    pub(crate) expr: String,
    /// With every variable filled in, and without an `or vector(0)` that would hide that nothing is there.
    pub(crate) asked: String,
    /// How it is asked.
    pub(crate) kind: Kind,
}

/// What a viewer chose: values by variable; every other variable of many values has all of them.
pub(crate) type Choice = BTreeMap<&'static str, &'static str>;

/// A committed English dashboard; the Chinese ones ask the same, which their own check shows.
#[derive(Debug)]
pub(crate) struct Dashboard {
    /// Name of its file.
    pub(crate) name: String,
    content: Value,
}

/// Reads every dashboard.
pub(crate) fn all() -> Vec<Dashboard> {
    let folder = find::repository().join("grafana/dashboards");
    let mut found: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| Dashboard {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            content: serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap(),
        })
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

impl Dashboard {
    /// Every query of every panel.
    pub(crate) fn questions(&self, choice: &Choice) -> Vec<Question> {
        let panels = list(&self.content["panels"]).iter();
        let asked = panels.flat_map(|panel| {
            list(&panel["targets"]).iter().map(|target| {
                let expr = text(&target["expr"]);
                Question {
                    place: format!("{}: {} ({})", self.name, text(&panel["title"]), text(&target["refId"])),
                    asked: self.fill(expr.strip_suffix(" or vector(0)").unwrap_or(expr), choice),
                    expr: expr.to_owned(),
                    kind: if target["instant"] == true {
                        Kind::Now
                    } else {
                        Kind::Over
                    },
                }
            })
        });
        asked.collect()
    }

    /// What every choice at the top offers.
    pub(crate) fn choices(&self, choice: &Choice) -> Vec<Question> {
        let offered = self.variables().filter_map(|variable| {
            let definition = text(&variable["definition"]);
            let (selector, label) = definition
                .strip_prefix("label_values(")?
                .strip_suffix(')')?
                .rsplit_once(", ")?;
            Some(Question {
                place: format!("{}: choice of {}", self.name, text(&variable["name"])),
                expr: definition.to_owned(),
                asked: format!("group by ({label}) ({})", self.fill(selector, choice)),
                kind: Kind::Now,
            })
        });
        offered.collect()
    }

    fn variables(&self) -> impl Iterator<Item = &Value> {
        list(&self.content["templating"]["list"]).iter()
    }

    fn fill(&self, expr: &str, choice: &Choice) -> String {
        // Long names first: `$target` is the beginning of `$target_region`.
        let mut names: Vec<_> = self.variables().map(|variable| text(&variable["name"])).collect();
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        let mut filled = expr.replace("$__rate_interval", "1m");
        for name in names {
            filled = filled.replace(&format!("${name}"), choice.get(name).copied().unwrap_or(".*"));
        }
        filled
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
