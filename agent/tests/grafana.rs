//! Dashboards and rules use only what is recorded or pushed, and have the shape that every Grafana from 9 on imports.

#![expect(clippy::unwrap_used, reason = "what the tests share fails them, too")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use xprober_agent::samples::catalogue::{ALL, Kind};

fn grafana(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../grafana").join(path)
}

fn dashboards() -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(grafana("dashboards")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            all.push((stem, serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap()));
        }
    }
    assert!(!all.is_empty(), "no dashboards found");
    all
}

/// Text of a rule file without its comments.
fn rules(name: &str) -> String {
    let text = fs::read_to_string(grafana("rules").join(name)).unwrap();
    let mut kept = String::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        kept.push_str(line);
        kept.push('\n');
    }
    kept
}

/// Names in an expression that belong to us: `xprober_...` and `level:xprober_...`.
fn names(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = text.split(|c| !is_part(c)).map(|word| word.trim_matches(':'));
    words
        .filter(|word| word.starts_with("xprober_") || word.contains(":xprober_"))
        .map(str::to_owned)
        .collect()
}

/// Names of `record:` lines.
fn recorded() -> BTreeSet<String> {
    let text = [rules("recording.yml"), rules("legacy.yml")].join("\n");
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("- record: "))
        .map(str::to_owned)
        .collect()
}

/// Every name that an agent pushes.
fn pushed() -> BTreeSet<String> {
    let suffixes = |kind| match kind {
        Kind::Histogram => ["_bucket", "_sum", "_count"].as_slice(),
        Kind::Counter | Kind::Gauge => &[""],
    };
    ALL.iter()
        .flat_map(|metric| {
            suffixes(metric.kind)
                .iter()
                .map(|suffix| format!("{}{suffix}", metric.name))
        })
        .collect()
}

/// Calls `visit` for every object inside `value`.
fn walk(value: &Value, visit: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            visit(object);
            object.values().for_each(|inner| walk(inner, visit));
        }
        Value::Array(items) => items.iter().for_each(|inner| walk(inner, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn panels(dashboard: &Value) -> &[Value] {
    dashboard["panels"].as_array().unwrap()
}

#[test]
fn every_name_that_is_used_is_pushed_recorded_or_the_planners() {
    let known: BTreeSet<_> = pushed().union(&recorded()).cloned().collect();
    let mut used = BTreeMap::new();
    for file in ["recording.yml", "legacy.yml", "alerts.yml"] {
        used.extend(names(&rules(file)).into_iter().map(|name| (name, file.to_owned())));
    }
    for (stem, dashboard) in dashboards() {
        walk(&dashboard, &mut |object| {
            for key in ["expr", "query", "definition"] {
                let text = object.get(key).and_then(Value::as_str).unwrap_or_default();
                used.extend(names(text).into_iter().map(|name| (name, stem.clone())));
            }
        });
    }
    assert!(used.len() > 30, "the search for names finds only {used:?}");
    for (name, place) in used {
        // The planner checks its own names: planner/tests.
        assert!(
            known.contains(&name) || name.starts_with("xprober_planner_"),
            "{place} uses {name}, which nobody pushes or records"
        );
    }
}

#[test]
fn dashboards_are_importable_by_file_and_by_hand() {
    for (stem, dashboard) in dashboards() {
        assert_eq!(dashboard["id"], Value::Null, "{stem}: Grafana gives the id");
        assert_eq!(dashboard["uid"], format!("xprober-{stem}"), "{stem}");
        assert_eq!(dashboard["schemaVersion"], 39, "{stem}");
        assert!(
            dashboard.get("__inputs").is_none(),
            "{stem}: provisioning never fills __inputs"
        );
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        let sources: Vec<_> = variables
            .iter()
            .filter(|variable| variable["type"] == "datasource")
            .collect();
        assert_eq!(sources.len(), 1, "{stem}");
        assert_eq!(
            sources[0]["current"],
            json!({}),
            "{stem}: an empty choice takes the default data source"
        );
        let source = json!({"type": "prometheus", "uid": "${datasource}"});
        walk(&dashboard["panels"], &mut |object| {
            if let Some(found) = object.get("datasource") {
                assert_eq!(*found, source, "{stem}: {object:?}");
            }
        });
        let mut ids = BTreeSet::new();
        for panel in panels(&dashboard) {
            let kind = panel["type"].as_str().unwrap();
            assert!(
                ["row", "stat", "table", "timeseries"].contains(&kind),
                "{stem}: {kind} is not in every Grafana"
            );
            assert!(
                ids.insert(panel["id"].as_u64().unwrap()),
                "{stem}: id {} twice",
                panel["id"]
            );
            assert_eq!(
                panel.get("targets").is_some(),
                kind != "row",
                "{stem}: {}",
                panel["title"]
            );
        }
    }
}

#[test]
fn charts_never_show_the_last_healthy_value() {
    for (stem, dashboard) in dashboards() {
        for panel in panels(&dashboard).iter().filter(|panel| panel["type"] == "timeseries") {
            let calcs = panel["options"]["legend"]["calcs"].as_array().unwrap();
            assert!(
                !calcs.is_empty() && !calcs.contains(&json!("lastNotNull")),
                "{stem}: {}",
                panel["title"]
            );
            let span = &panel["fieldConfig"]["defaults"]["custom"]["spanNulls"];
            assert!(
                span.is_null() || span == &json!(false),
                "{stem}: {} bridges outages",
                panel["title"]
            );
        }
    }
}

#[test]
fn matrices_do_not_paint_the_diagonal_healthy() {
    let mut matrices = 0;
    for (stem, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            let steps = panel["transformations"].as_array().cloned().unwrap_or_default();
            let order: Vec<_> = steps.iter().filter_map(|step| step["id"].as_str()).collect();
            let Some(at) = order.iter().position(|id| *id == "groupingToMatrix") else {
                continue;
            };
            matrices += 1;
            let title = format!("{stem}: {}", panel["title"]);
            assert!(
                order[..at].contains(&"sortBy") && order[at..].contains(&"sortBy"),
                "{title} is not sorted"
            );
            let defaults = &panel["fieldConfig"]["defaults"];
            let mappings = defaults["mappings"].to_string();
            assert!(mappings.contains("\"null\""), "{title} has no text for missing pairs");
            for key in ["displayMode", "cellOptions"] {
                assert!(!defaults["custom"][key].is_null(), "{title} lacks custom.{key}");
            }
        }
    }
    assert!(matrices >= 2, "found {matrices} matrices");
}

#[test]
fn every_alert_leads_to_a_section_of_the_runbook() {
    let runbook = fs::read_to_string(grafana("../docs/runbook.md")).unwrap();
    let text = rules("alerts.yml");
    let alerts: Vec<_> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(alerts.len() >= 4, "{alerts:?}");
    for alert in alerts {
        assert!(
            runbook.contains(&format!("\n## {alert}\n")),
            "docs/runbook.md has no section {alert}"
        );
        assert!(
            text.contains(&format!("docs/runbook.md#{}\n", alert.to_lowercase())),
            "{alert} has no runbook link"
        );
    }
}
