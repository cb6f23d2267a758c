//! The commented samples beside this crate say what the code says: every key, every default.

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;
use xprober_proto::ProbeSpec;

use crate::agent::{AgentOverrides, AgentSettings};
use crate::node::{Content, Node};
use crate::planner::PlannerSettings;
use crate::{Override, Problems, yaml};

const PLANNER: &str = include_str!("../planner.yml");
const AGENT: &str = include_str!("../agent.yml");

/// Removes the `#` in front of examples; in front of prose it has a space behind it.
pub(crate) fn with_examples(sample: &str) -> String {
    let uncomment = |line: &str| {
        let (indent, rest) = line.split_at(line.len() - line.trim_start().len());
        match rest.strip_prefix('#') {
            Some(example) if !example.starts_with([' ', '#']) => format!("{indent}{example}\n"),
            Some(_) | None => format!("{line}\n"),
        }
    };
    sample.lines().map(uncomment).collect()
}

fn parse_agent(file_name: &str, text: &str) -> Result<AgentSettings, Problems> {
    AgentSettings::parse(file_name, text, &AgentOverrides::default())
}

#[test]
fn planner_sample_shows_the_defaults() {
    let sample = PlannerSettings::parse("planner.yml", PLANNER).unwrap();
    assert_eq!(sample, PlannerSettings::parse("empty", "").unwrap());
}

#[test]
fn agent_sample_shows_the_defaults() {
    let sample = parse_agent("agent.yml", AGENT).unwrap();
    let overrides = AgentOverrides {
        remote_write_url: Some(Override {
            value: sample.remote_write[0].url.to_string(),
            origin: "--remote-write.url".to_owned(),
        }),
        ..AgentOverrides::default()
    };
    assert_eq!(sample, AgentSettings::parse("empty", "", &overrides).unwrap());
}

#[test]
fn first_example_of_a_target_shows_the_defaults() {
    let mut examples = PlannerSettings::parse("planner.yml", &with_examples(PLANNER)).unwrap();
    let minimal = "prober_targets: [{prober_type: http, region: region2, target: https://api.example.com/health}]";
    let minimal = PlannerSettings::parse("minimal", minimal).unwrap();
    let (example, default) = (&mut examples.targets[0], &minimal.targets[0]);
    let (ProbeSpec::Http(shown), ProbeSpec::Http(meant)) = (&mut example.probe, &default.probe) else {
        panic!("not http");
    };
    for status in (100..600).filter_map(|code| StatusCode::from_u16(code).ok()) {
        assert_eq!(shown.accepts(status), meant.accepts(status), "{status}");
    }
    shown.expect_status.clear();
    assert_eq!(example, default);
}

#[test]
fn every_key_appears_in_the_samples() {
    let planner = yaml::read(&with_examples(PLANNER)).unwrap();
    assert_eq!(
        allowed_keys(&planner, |text| PlannerSettings::parse("", text).err()),
        shown_keys(&planner)
    );
    let agent = yaml::read(&with_examples(AGENT)).unwrap();
    assert_eq!(
        allowed_keys(&agent, |text| parse_agent("", text).err()),
        shown_keys(&agent)
    );
}

/// Keys by mapping; the items of a list are taken together.
type Keys = BTreeMap<String, BTreeSet<String>>;

const UNKNOWN: &str = "zzzzzzzz";

/// Puts an unknown key into every mapping and reads from the refusals which keys are known.
fn allowed_keys(node: &Node, problems: impl Fn(&str) -> Option<Problems>) -> Keys {
    let mut keys = Keys::new();
    for problem in problems(&flow(node, "")).unwrap().problems {
        let (path, leaf) = problem.key.rsplit_once('.').unwrap_or(("", &problem.key));
        if problem.message.contains("use only one of") {
            // Examples of things that exclude each other stand beside each other.
            continue;
        }
        assert_eq!(leaf, UNKNOWN, "{problem:?}");
        let (_, allowed) = problem.message.split_once(": use ").unwrap();
        let allowed = allowed.split(", ").map(str::to_owned);
        keys.entry(without_indexes(path)).or_default().extend(allowed);
    }
    keys
}

fn shown_keys(node: &Node) -> Keys {
    fn walk(node: &Node, path: &str, keys: &mut Keys) {
        match &node.content {
            Content::Mapping(entries) if !path.ends_with("headers") && !path.ends_with("labels") => {
                for entry in entries {
                    keys.entry(path.to_owned()).or_default().insert(entry.key.clone());
                    let below = if path.is_empty() {
                        entry.key.clone()
                    } else {
                        format!("{path}.{}", entry.key)
                    };
                    walk(&entry.value, &below, keys);
                }
            }
            Content::List(items) => {
                for item in items {
                    walk(item, &format!("{path}[]"), keys);
                }
            }
            Content::Null | Content::Scalar(_) | Content::Mapping(_) => {}
        }
    }
    let mut keys = Keys::new();
    walk(node, "", &mut keys);
    keys
}

/// `a[3].b` becomes `a[].b`.
fn without_indexes(path: &str) -> String {
    let mut inside = false;
    let keep = |c: &char| {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            _ => {}
        }
        !(inside && c.is_ascii_digit())
    };
    path.chars().filter(keep).collect()
}

/// Writes a node in flow style with the unknown key in every mapping whose keys are not the user's.
fn flow(node: &Node, key: &str) -> String {
    match &node.content {
        Content::Null => "~".to_owned(),
        Content::Scalar(text) => format!("{text:?}"),
        Content::List(items) => {
            let items: Vec<String> = items.iter().map(|item| flow(item, "")).collect();
            format!("[{}]", items.join(", "))
        }
        Content::Mapping(entries) => {
            let mut entries: Vec<String> = entries
                .iter()
                .map(|entry| format!("{}: {}", entry.key, flow(&entry.value, &entry.key)))
                .collect();
            if !key.ends_with("headers") && key != "labels" {
                entries.push(format!("{UNKNOWN}: 1"));
            }
            format!("{{{}}}", entries.join(", "))
        }
    }
}
